"""The explorer's parts: draws of a network set up beforehand are the same, choices are command lines, refusals are
sentences."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cem_bench import Cell, Noise, Rect, Sequential, Uniform, as_model, measure
from cem_bench.measuring.ready import Ready
from cem_bench.run.explore.rough import RoughFirst
from cem_bench.sampling.rules import asked
from cem_bench.store import maps

pytest.importorskip("starlette", reason="needs the extra explore")
pytest.importorskip("uvicorn", reason="needs the extra explore")


@pytest.fixture
def cell(tiny, scene, pool) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(50), pool, Uniform(3))


@pytest.mark.parametrize("roi", [Rect(16, 24, 16, 16), Rect(0, 0, 16, 16), Rect(32, 48, 16, 16)])
def test_a_network_set_up_beforehand_draws_the_same(cell: Cell, roi: Rect) -> None:
    ready = Ready.of(cell)
    asked_cell = dataclasses.replace(cell, scene=dataclasses.replace(cell.scene, roi=roi))
    at_once, alone = measure(asked_cell, ready=ready), measure(asked_cell)
    assert (at_once.effect_map.status == alone.effect_map.status).all()
    assert (at_once.effect_map.n == alone.effect_map.n).all()
    known = at_once.effect_map.status == maps.MEASURED
    assert at_once.effect_map.effect[known] == pytest.approx(alone.effect_map.effect[known], abs=1e-5)
    assert at_once.store.key == alone.store.key
    reach = at_once.record["proof"]["reach"]
    assert reach["blocks"] == (at_once.effect_map.status == maps.UNREACHABLE).sum() and reach["max_abs_db"] < 1e-4


def test_a_network_set_up_on_another_image_is_refused(cell: Cell) -> None:
    ready, clean = Ready.of(cell), cell.scene.clean.copy()
    clean[0, 0] ^= 1
    with pytest.raises(ValueError, match="image_sha256 differ"):
        measure(dataclasses.replace(cell, scene=dataclasses.replace(cell.scene, clean=clean)), ready=ready)


@pytest.mark.parametrize("rule", [Uniform(3), Sequential(maximum=12)])
def test_rough_first_takes_the_draws_of_its_rule(rule, rng: np.random.Generator) -> None:
    stored = {block: rng.normal(0.05 * block, 0.03, 20) for block in range(6)}
    rough = RoughFirst(rule)
    assert [(r.block, r.first, r.last) for r in rough.next_round({b: d[:0] for b, d in stored.items()})] == [
        (block, 0, 1) for block in range(6)
    ]
    (plain, none), (taken, left) = asked(rule, stored), asked(rough, stored)
    assert none == left == []
    assert {block: len(draws) for block, draws in taken.items()} == {
        block: len(draws) for block, draws in plain.items()
    }


@pytest.mark.parametrize(("row", "column"), [(0, 0), (255, 255), (100, 17), (-5, 400)])
def test_a_click_anywhere_gives_a_region_inside_on_whole_blocks(row: int, column: int) -> None:
    from cem_bench.run.explore.choices import roi_at

    roi = roi_at(row, column, (256, 248))
    assert Rect(0, 0, 256, 248).contains(roi)
    assert roi.top % 8 == roi.left % 8 == 0


def test_a_choice_is_the_command_line_of_its_cell(tmp_path: Path, rng: np.random.Generator) -> None:
    from cem_bench.run.explore.choices import Choice, checked_photo

    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (100, 75, 3), dtype=np.uint8)).save(path)
    choice = Choice("RCAN_DN_none", "dn50", "file", checked_photo(path), others=("seed=3",))
    cell = choice.cell()
    assert cell.scene.size == (96, 72) and cell.options.seed == 3
    assert f"scene.source='\"'\"'{path}'\"'\"'" in choice.command or str(path) in choice.command
    assert Rect(0, 0, 96, 72).contains(cell.scene.roi)


def test_refusals_are_sentences(tmp_path: Path, rng: np.random.Generator) -> None:
    from cem_bench.run.explore.choices import Choice
    from cem_bench.run.explore.server import Explorer, free_port

    explorer = Explorer([f"output={tmp_path}"])
    small = tmp_path / "small.png"
    Image.fromarray(rng.integers(0, 256, (40, 90, 3), dtype=np.uint8)).save(small)
    with pytest.raises(ValueError, match=r"mine.png.*40x90 pixels; expected at least 64x64"):
        explorer.upload(small.read_bytes(), "mine.png")
    with pytest.raises(ValueError, match=r"notes\.txt: expected a photograph"):
        explorer.upload(b"text", "notes.txt")
    with pytest.raises(ValueError, match="is not an image that can be read"):
        explorer.upload(b"text", "notes.png")
    with pytest.raises(ValueError, match="No network is set up yet"):
        explorer.roi(10, 10)
    with pytest.raises(ValueError, match="there is no model 'nonesuch'"):
        Choice("nonesuch").cell()
    assert not list((tmp_path / "photos").glob("*"))
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match=r"Port \d+ is taken"):
            free_port(other.getsockname()[1])


def test_the_page_asks_no_other_host_and_no_name_ends_its_script(tmp_path: Path) -> None:
    from cem_bench.run.explore.server import Explorer

    page = Explorer([f"output={tmp_path}", "model=</script><script>alert(1)"]).page()
    assert "<script>alert" not in page and "https://" not in page.split("<script type")[0]
    content = json.loads(page.split('<script type="application/json" id="content">')[1].split("</script>")[0])
    assert {"RCAN_DN_none", "DnCNN"} <= {row["name"] for row in content["networks"]}
    assert "astronaut" in content["scenes"]
