"""Tampering at any level, from a bit of a shard to a number in the table, is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from made_runs import flip, shard, unit, work

from cem_bench.store.archive import keep
from cem_bench.store.audit import walk
from cem_bench.store.draws import Store
from cem_bench.store.files import write_atomically
from cem_bench.store.sums import SUMS


def measured(output: Path) -> Store:
    """Two runs with pictures and entries, kept."""
    for model in ("B", "A"):
        store = work(output / "store", model=model)
        store.write_files({"clean.png": b"picture of " + model.encode(), "lam.npz": b"lam"})
        entry = {"key": store.key, "model": model, "psnr_roi_db": 30.0}
        write_atomically(output / "store" / "experiments" / "made" / f"model={model}.json", json.dumps(entry).encode())
        store.write_record({"model": model, "psnr_roi_db": 30.0})
    keep(output)
    return store


def entry_of(store: Store) -> Path:
    return store.root / "experiments" / "made" / "model=A.json"


def edit_text(path: Path, before: str, after: str) -> None:
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))


def forged(store: Store) -> None:
    """A better effect with a new shard, hash, manifest and seal: only the record still knows the old root."""
    table = store.rows
    table.loc[3, "psnr"] += 0.5
    store._commit(table, table, whole=True)


def with_lone_shard(store: Store) -> None:
    pd.DataFrame(unit(40, 0, 5)).to_parquet(store.folder / "draws-00007.parquet")


TAMPERING: dict[str, tuple[Callable[[Store], object], str]] = {
    "a bit of a shard": (lambda store: flip(shard(store.folder), 5), "draws-"),
    "a removed shard": (lambda store: shard(store.folder).unlink(), "draws-"),
    "a shard beside": (with_lone_shard, "draws-00007"),
    "the manifest": (lambda store: edit_text(store.folder / "manifest.json", "lam.npz", "lan.npz"), "manifest.json"),
    "no manifest": (lambda store: (store.folder / "manifest.json").unlink(), "manifest.json"),
    "all of a run forged but its record": (forged, "record.json"),
    "the record": (lambda store: edit_text(store.folder / "record.json", "30.0", "31.0"), "record.json"),
    "the identity": (lambda store: edit_text(store.folder / "identity.json", '"A"', '"C"'), "identity"),
    "a picture": (lambda store: flip(store.folder / "clean.png", 2), "clean.png"),
    "no LAM": (lambda store: (store.folder / "lam.npz").unlink(), "lam.npz"),
    "an entry's number": (lambda store: edit_text(entry_of(store), "30.0", "33.0"), "model=A.json"),
    "an entry's run": (lambda store: edit_text(entry_of(store), store.key, "0" * 64), "000"),
    "an entry that leads out": (lambda store: edit_text(entry_of(store), store.key, "../../x"), "model=A.json"),
    "an entry that is no JSON": (lambda store: entry_of(store).write_text("["), "model=A.json"),
    "the archive": (lambda store: flip(store.root.parent / "draws" / "A.parquet", 4), "A.parquet"),
    "a file less in the archive": (lambda store: (store.root.parent / "draws" / "B.runs.parquet").unlink(), "B.runs"),
    "the archive's hashes": (lambda store: (store.root.parent / "draws" / SUMS).write_text("x"), SUMS),
}


def test_what_nobody_touched_is_whole(tmp_path: Path) -> None:
    store = measured(tmp_path)
    found = walk(tmp_path, "made")
    assert (found.runs, found.draws, found.damage) == (2, 60, ())
    elsewhere = tmp_path / "elsewhere"
    measured(elsewhere)
    assert walk(elsewhere, "made").root_sha256 == found.root_sha256
    store.append(unit(7, 0, 5))
    store.write_record({"model": "A", "psnr_roi_db": 30.0})
    assert walk(tmp_path, "made").root_sha256 != found.root_sha256


@pytest.mark.parametrize("level", TAMPERING)
def test_tampering_is_found(tmp_path: Path, level: str) -> None:
    store = measured(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    tamper, named = TAMPERING[level]
    tamper(store)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after != before
    found = walk(tmp_path, "made")
    assert found.damage and any(named in f"{item.path} {item.reason}" for item in found.damage), found.damage
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == after, "nothing is changed"


def test_nothing_stored_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="restore its draws"):
        walk(tmp_path, "made")
    measured(tmp_path)
    shutil.rmtree(tmp_path / "draws")
    assert not walk(tmp_path, "made").damage
