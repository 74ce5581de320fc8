"""An entry by others, as docs/submit.md has it: kept, sent without its store, restored, walked to the same root."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made_runs import work

from cem_bench.store.archive import keep, restore
from cem_bench.store.audit import walk
from cem_bench.store.draws import Store
from cem_bench.store.files import write_atomically
from cem_bench.store.roots import marked, other_roots

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def entry(tmp_path: Path) -> tuple[Path, str]:
    """A folder as it is sent, and the root that its sender saw."""
    sent = tmp_path / "entry"
    store = work(sent / "store", model="A")
    cell = {"key": store.key, "model": "A", "psnr_roi_db": 30.0}
    write_atomically(sent / "store" / "experiments" / "made" / "model=A.json", json.dumps(cell).encode())
    store.write_record({"model": "A", "psnr_roi_db": 30.0})
    keep(sent)
    root = walk(sent, "made").root_sha256
    write_atomically(sent / "made" / "README.md", f"All draws of this page: `{marked(root)}`.\n".encode())
    shutil.rmtree(sent / "store")
    return sent, root


def test_a_sent_entry_is_walked_to_its_root(entry: tuple[Path, str]) -> None:
    folder, root = entry
    assert restore(folder) == 1
    found = walk(folder, "made")
    assert (found.runs, found.root_sha256, found.damage) == (1, root, ())
    assert other_roots(folder / "made", root) == (1, [])


def test_an_entry_forged_at_every_level_but_the_page_is_found(entry: tuple[Path, str]) -> None:
    """Draws, manifest, seal, record and archive agree; the page was published before."""
    folder, root = entry
    restore(folder)
    identity = next((folder / "store").glob("*/identity.json"))
    store = Store(folder / "store", json.loads(identity.read_text()))
    better = store.rows
    better["psnr"] -= 0.5
    with store.claimed():
        store._commit(better, better, whole=True)
        store.write_record({"model": "A", "psnr_roi_db": 30.0})
    keep(folder)
    found = walk(folder, "made")
    assert found.damage == () and found.root_sha256 != root
    _, damage = other_roots(folder / "made", found.root_sha256)
    assert [item.path.name for item in damage] == ["README.md"]


def test_the_page_says_what_is_sent() -> None:
    page = (DOCS / "submit.md").read_text()
    assert "(entry/README.md)" in page and (DOCS / "entry" / "README.md").is_file()
    for command in ("draws keep --output entry", "draws restore --output entry", "verify entry/denoise_ca --sample 20"):
        assert f"python -m cem_bench {command}" in page
