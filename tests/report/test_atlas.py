"""Laws of the atlas: what its script unpacks is what the store holds, no name breaks it, no other host is asked."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from cem_bench.report import atlas, write_report
from cem_bench.report.experiment import read_experiment
from cem_bench.report.packed import UNKNOWN, pack, steps
from cem_bench.store.cells import StoredCell
from tests.report.conftest import Make, live_blocks

RESULTS = Path(__file__).resolve().parents[2] / "results"
COMMITTED_BYTES = 4_000_000
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def unpacked(text: str) -> np.ndarray:
    """What `unpack` of panel.js does."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(4, -1)
    unsigned = np.ascontiguousarray(planes.T).view("<u4").ravel().astype(np.int64)
    return np.where(unsigned & 1, -(unsigned >> 1) - 1, unsigned >> 1)


def content_of(page: str) -> dict:
    return json.loads(page.split('<script type="application/json" id="content">')[1].split("</script>")[0])


def small(rng: np.random.Generator, size: float = 0.02) -> dict[int, np.ndarray]:
    return {block: rng.normal(size * (block < 3), 0.02, 6) for block in live_blocks()}


@pytest.mark.parametrize("numbers", [[0, 1, -1], [2**31 - 1, -(2**31), 5], [300, -70_000, UNKNOWN]])
def test_packed_numbers_come_back(numbers: list[int]) -> None:
    assert unpacked(pack(np.array(numbers, np.int32), [7])).tolist() == [*numbers, 7]


def test_what_is_not_known_is_no_number() -> None:
    assert steps([np.nan, np.inf, -np.inf, 1e9, -0.00014], 1e-4).tolist() == [UNKNOWN] * 4 + [-1]


def test_every_draw_and_donor_of_the_page_is_that_of_the_store(
    make: Make, rng: np.random.Generator, tmp_path: Path
) -> None:
    stored = {(model, image): make(small(rng), model=model, image=image) for model in "AB" for image in ("a", "b")}
    write_report("denoise_ca", tmp_path)
    content = content_of((tmp_path / "denoise_ca" / "atlas.html").read_text())
    assert len(content["cells"]) == len(content["rows"]) == 4
    for cell in content["cells"]:
        own = stored[cell["model"], cell["scene"].split("_")[1]]
        compare_cell(cell, own, content)


def compare_cell(cell: dict, own: StoredCell, content: dict) -> None:
    numbers, total, step = unpacked(cell["packed"]), len(own.grid), content["outcome"]["step"]
    status, n, first, verdict, mean, low, high = numbers[: 7 * total].reshape(7, total)
    assert (status == own.status.ravel()).all() and (first == 0).all()
    assert (n[own.table.block] == own.table.n).all() and (verdict[own.table.block] == own.table.verdict).all()
    for packed, values in ((mean, own.table.mean), (low, own.table.low), (high, own.table.high)):
        assert packed[own.table.block] * step == pytest.approx(values, abs=0.51 * step)
    effects = np.concatenate(list(own.effects.values()))
    assert numbers[7 * total :] * step == pytest.approx(effects, abs=0.51 * step)
    table = content["donors"][cell["donors"]]
    donors = unpacked(table["packed"])[2 * table["blocks"] :]
    assert donors.tolist() == own.draws["donor"].tolist()


def test_draws_before_those_that_count_keep_their_donors(make: Make, rng: np.random.Generator, tmp_path: Path) -> None:
    """Under the published rule the first draws only open the gate: the mean is of the later ones."""
    cell = make({block: rng.normal(0.5, 0.1, 8) for block in live_blocks()})
    path = next((tmp_path / "store" / "experiments" / "denoise_ca").glob("*.json"))
    path.write_text(json.dumps({**cell.entry, "rule": {"type": "Paper", "coarse": 3, "fine": 5}}))
    experiment = read_experiment("denoise_ca", tmp_path)
    (drawn,) = content_of(atlas.atlas(experiment, tmp_path))["cells"]
    _, n, first = unpacked(drawn["packed"])[: 3 * 64].reshape(3, 64)
    assert set(n[live_blocks()]) == {5} and set(first[live_blocks()]) == {3}
    donors = content_of(atlas.atlas(experiment, tmp_path))["donors"][0]
    counts = unpacked(donors["packed"])[donors["blocks"] : 2 * donors["blocks"]]
    assert set(counts) == {8}


def test_no_name_breaks_the_page(make: Make, rng: np.random.Generator, tmp_path: Path) -> None:
    cell = make(small(rng))
    path = next((tmp_path / "store" / "experiments" / "denoise_ca").glob("*.json"))
    path.write_text(json.dumps({**cell.entry, "model": HOSTILE}))
    page = atlas.atlas(read_experiment("denoise_ca", tmp_path), tmp_path)
    assert "<script>alert" not in page and "<img src=x" not in page
    assert content_of(page)["cells"][0]["model"] == HOSTILE


def test_a_page_that_would_be_too_large_leaves_draws_out_and_says_so(
    make: Make, rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for image in "abc":
        make(small(rng), image=image)
    experiment = read_experiment("denoise_ca", tmp_path)
    whole = len(atlas.atlas(experiment, tmp_path).encode())
    monkeypatch.setattr(atlas, "LIMIT_BYTES", whole - 100)
    page = atlas.atlas(experiment, tmp_path)
    left_out = [cell for cell in content_of(page)["cells"] if cell["donors"] is None]
    assert len(page.encode()) < whole and left_out
    assert f"draws of {len(left_out)} cells are left out" in page
    assert all(len(unpacked(cell["packed"])) == 7 * 64 for cell in left_out)


def test_committed_pages_are_small_and_show_shipped_photographs_alone() -> None:
    pages = sorted(RESULTS.glob("*/atlas.html"))
    committed = [page for page in pages if page.parent.name in ("denoise_ca", "verdict_maps")]
    assert len(committed) == 2 and sum(page.stat().st_size for page in committed) <= COMMITTED_BYTES
    for page in pages:
        assert page.stat().st_size <= atlas.LIMIT_BYTES
        text = page.read_text()
        pictures = content_of(text)["pictures"]
        assert all(name.startswith("shipped_") for name in pictures)
        assert len(re.findall(r"data:image/", text)) == len(pictures)
        assert not re.search(r"""(src|href)=["']?(https?:)?//|url\(|@import|fetch\(""", text)
