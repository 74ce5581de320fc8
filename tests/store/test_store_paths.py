"""A path that comes out of a file stays inside the folder of results; an archive that was changed is not read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_runs import flip, unit, work

from cem_bench.store import archive
from cem_bench.store.archive import keep, read_archive, restore
from cem_bench.store.cells import StoredCell
from cem_bench.store.draws import DamagedError, Store, read_rows
from cem_bench.store.files import file_name, inside, write_atomically
from cem_bench.store.manifest import read_beside
from cem_bench.store.sums import SUMS, read_sums, write_sums

OUTSIDE = ("../../x", "../store2/x", "/etc/x", "..", ".", "", "a/../../x", "sub/../../../x")


def kept(output: Path, model: str = "A", at: str = "made/model=A.json") -> Store:
    """A measured cell with an entry and a LAM, kept in the archive."""
    store = work(output / "store", model=model)
    store.write_files({"lam.npz": b"lam"})
    entry = {"key": store.key, "model": model}
    write_atomically(output / "store" / "experiments" / at, json.dumps(entry).encode())
    keep(output)
    return store


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out of"):
        inside(tmp_path / "results", name)


def test_a_link_does_not_lead_out_either(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of"):
        inside(tmp_path / "results", "link/x")


@pytest.mark.parametrize("at", ["../../../../x.json", "../x.json", "/tmp/never_written_x.json"])
def test_restore_stays_inside_the_results(tmp_path: Path, at: str) -> None:
    output = tmp_path / "deep" / "results"
    kept(output)
    path = output / "draws" / "A.runs.parquet"
    table = pd.read_parquet(path)
    table["entries"] = json.dumps({at: {"key": "0" * 64, "model": "A"}})
    table.to_parquet(path, index=False)
    write_sums(output / "draws")  # whoever changes an archive can write its hashes too
    shutil.rmtree(output / "store")
    before = {found for found in tmp_path.rglob("*") if "store" not in found.parts}
    with pytest.raises(ValueError, match="leads out of"):
        restore(output)
    assert {found for found in tmp_path.rglob("*") if "store" not in found.parts} == before
    assert not Path("/tmp/never_written_x.json").exists()
    assert not list((output / "store").rglob("*.parquet")), "nothing of that run is restored"


def test_an_entry_does_not_lead_out_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out of"):
        StoredCell.of({"key": "../../../etc/x", "rule": {"type": "Uniform", "n": 2}}, tmp_path / "store")
    write_atomically(tmp_path / "store" / "experiments" / "e" / "a.json", b'{"key": "../..", "model": "A"}')
    with pytest.raises(ValueError, match="leads out of"):
        keep(tmp_path)


def test_a_models_name_is_the_name_of_one_file(tmp_path: Path) -> None:
    kept(tmp_path, model="../../my net.py:Net")
    names = {path.name for path in (tmp_path / "draws").iterdir()}
    stem = file_name("../../my net.py:Net")
    assert names == {f"{stem}.parquet", f"{stem}.runs.parquet", SUMS} and "/" not in stem
    shutil.rmtree(tmp_path / "store")
    assert restore(tmp_path) == 1


@pytest.mark.parametrize("name", ["A.parquet", "A.runs.parquet"])
@pytest.mark.parametrize("damage", ["edited", "flipped", "truncated", "swapped"])
def test_a_changed_archive_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    kept(tmp_path)
    kept(tmp_path, model="B", at="made/model=B.json")
    path = tmp_path / "draws" / name
    if damage == "edited":
        table = pd.read_parquet(path)
        column = "psnr" if "psnr" in table else "record"
        table[column] = table[column].iloc[::-1].to_numpy() if column == "psnr" else '{"psnr_roi_db": 99.0}'
        table.to_parquet(path, index=False)
    elif damage == "flipped":
        flip(path, 5)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        shutil.copy(path.with_name(name.replace("A.", "B.")), path)
    for reading in (lambda: restore(tmp_path), lambda: read_archive(tmp_path, "A"), lambda: keep(tmp_path)):
        with pytest.raises(DamagedError, match="restore the file from git"):
            reading()


def test_a_file_that_nobody_listed_is_refused(tmp_path: Path) -> None:
    kept(tmp_path)
    shutil.copy(tmp_path / "draws" / "A.parquet", tmp_path / "draws" / "A.part2.parquet")
    with pytest.raises(DamagedError, match="is not in SHA256SUMS"):
        restore(tmp_path)


def test_keep_killed_between_two_files_leaves_an_archive_that_is_read(tmp_path: Path, monkeypatch) -> None:
    store = kept(tmp_path)
    store.append(unit(6, 0, 5))
    store.write_record({"model": "A"})
    write = archive.write_atomically

    def killed(path: Path, content: bytes) -> None:
        if path.name.endswith("runs.parquet"):
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(archive, "write_atomically", killed)
    before = (tmp_path / "draws" / "A.runs.parquet").read_bytes()
    (tmp_path / "store" / "experiments" / "made" / "more.json").write_bytes(
        (tmp_path / "store" / "experiments" / "made" / "model=A.json").read_bytes()
    )
    with pytest.raises(KeyboardInterrupt):
        keep(tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "draws" / "A.runs.parquet").read_bytes() == before
    assert len(read_archive(tmp_path, "A")[store.key[:16]].draws) == 35
    keep(tmp_path)
    sums = read_sums(tmp_path / "draws") or {}
    assert sorted(sums) == ["A.parquet", "A.runs.parquet"] and all(len(digests) == 1 for digests in sums.values())


def test_pictures_and_lam_are_served_only_as_they_were_written(tmp_path: Path) -> None:
    store = work(tmp_path)
    store.write_files({"clean.png": b"a picture", "lam.npz": b"a lam"})
    assert read_beside(store.folder, "clean.png") == b"a picture"
    flip(store.folder / "clean.png", 1)
    assert read_beside(store.folder, "clean.png") is None
    assert store.read_file("clean.png") is None and store.read_file("lam.npz") == b"a lam"
    flip(store.folder / "manifest.json", 11)  # and with it the hashes of what lies beside
    again = work(tmp_path)
    assert again.read_file("lam.npz") is None
    assert {"clean.png", "lam.npz"} <= {path.name for path in (store.folder / "damaged").iterdir()}
    pd.testing.assert_frame_equal(read_rows(store.folder), store.rows)


@pytest.mark.parametrize("step", ["_list", "_tidy"])
def test_a_picture_is_old_or_new_never_between(tmp_path: Path, monkeypatch, step: str) -> None:
    store = work(tmp_path)
    store.write_files({"clean.png": b"old"})

    class Killed(BaseException):
        pass

    def killed(*_args: object) -> None:
        raise Killed

    with store.claimed():
        monkeypatch.setattr(Store, step, killed)
        with pytest.raises(Killed):
            store.write_files({"clean.png": b"new"})
    monkeypatch.undo()
    expected = b"old" if step == "_list" else b"new"
    assert read_beside(store.folder, "clean.png") == expected
    with store.claimed():
        pass
    assert read_beside(store.folder, "clean.png") == expected


def test_an_edited_record_is_not_archived(tmp_path: Path) -> None:
    store = kept(tmp_path)
    path = store.folder / "record.json"
    path.write_text(path.read_text().replace('"A"', '"B"'))
    with pytest.raises(DamagedError, match=r"record\.json is gone or damaged"):
        keep(tmp_path)
    work(tmp_path / "store")
    assert keep(tmp_path)


def test_a_store_is_never_read_as_code(tmp_path: Path) -> None:
    """A LAM that holds pickled objects is not loaded."""
    from cem_bench.measuring.lam import _steps_of

    np.savez(tmp_path / "lam.npz", attribution=np.array([{}], dtype=object), steps=np.array([print], dtype=object))
    assert _steps_of((tmp_path / "lam.npz").read_bytes()) == 0
