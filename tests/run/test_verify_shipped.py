"""`verify` on draws that the repository ships: all holds untouched, and tampering at every level is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cem_bench.run.verify import verify
from cem_bench.store.archive import restore
from cem_bench.store.draws import Store
from cem_bench.store.manifest import read_identity
from cem_bench.store.roots import MARK
from cem_bench.store.sums import write_sums

RESULTS = Path(__file__).resolve().parents[2] / "results"
EXPERIMENT, MODEL, SCENE = "sr_receptive_field", "EDSR_SR_4", "shipped_astronaut_1"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cell of an experiment, restored from the archive in git, beside the experiment's table."""
    output = tmp_path_factory.mktemp("shipped") / "results"
    (output / "draws").mkdir(parents=True)
    for path in (RESULTS / "draws").glob(f"{MODEL}.*"):
        shutil.copy(path, output / "draws")
    write_sums(output / "draws")
    restore(output)
    shutil.copytree(RESULTS / EXPERIMENT, output / EXPERIMENT, ignore=shutil.ignore_patterns("*.png"))
    for path in (output / "store" / "experiments").glob("*/*.json"):
        if path.parent.name != EXPERIMENT or f"scene={SCENE}" not in path.stem:
            path.unlink()  # other scenes need images that are not shipped
    report = output / EXPERIMENT / "README.md"
    report.write_text(f"All draws of this page: `{MARK} {verify(output, EXPERIMENT, 0).walk.root_sha256}`.")
    for path in (output / EXPERIMENT).glob("*.tex"):
        path.unlink()  # of all networks
    return output


def store_of(output: Path) -> Store:
    (path,) = (output / "store" / "experiments" / EXPERIMENT).glob("*.json")
    folder = output / "store" / json.loads(path.read_text())["key"][:16]
    return Store(output / "store", read_identity(folder))


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before


def flipped(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def forge_effects(output: Path) -> None:
    """Better effects, with every hash made anew up to the record: nothing but the network knows."""
    store = store_of(output)
    record = json.loads((store.folder / "record.json").read_text())
    table = store.rows.assign(psnr=store.rows["psnr"] - 0.01)
    with store.claimed():
        store._commit(table, table, whole=True)
        store.write_record({name: value for name, value in record.items() if name not in ("key", "root_sha256")})


def edit_record(output: Path) -> None:
    edit(
        store_of(output).folder / "record.json",
        lambda content: content.replace(b'"psnr_roi_db": ', b'"psnr_roi_db": 1'),
    )


def edit_table(output: Path) -> None:
    path = output / EXPERIMENT / "cells.csv"
    table = pd.read_csv(path)
    own = (table["model"] == MODEL) & (table["scene"] == SCENE)
    assert own.sum() == 1
    table.loc[own, "psnr_roi_db"] += 0.1
    table.to_csv(path, index=False)


def edit_root(output: Path) -> None:
    edit(
        output / EXPERIMENT / "README.md",
        lambda text: text.replace(f"{MARK} ".encode(), f"{MARK} {'0' * 64} ".encode()),
    )


def of_shard(output: Path) -> Path:
    return next(store_of(output).folder.glob("draws-*.parquet"))


def of_archive(output: Path) -> Path:
    return output / "draws" / f"{MODEL}.parquet"


LEVELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "effects, every hash made anew": (forge_effects, "here"),
    "shard": (lambda output: edit(of_shard(output), flipped), "draws-"),
    "manifest": (lambda output: edit(store_of(output).folder / "manifest.json", flipped), "manifest.json"),
    "record": (edit_record, "record.json"),
    "root": (edit_root, "names the root 0000"),
    "table": (edit_table, "psnr_roi_db"),
    "archive": (lambda output: edit(of_archive(output), flipped), f"{MODEL}.parquet"),
}


def test_what_is_shipped_holds_and_is_made_again_here(shipped: Path) -> None:
    verified = verify(shipped, EXPERIMENT, sample=2)
    assert verified.faults == () and verified.not_remade == ()
    assert (verified.remade, verified.table_rows, verified.named, verified.walk.runs) == (2, 1, 1, 1)
    assert verified.max_abs_db <= 1e-3


@pytest.mark.parametrize("level", LEVELS)
def test_tampering_is_named(shipped: Path, tmp_path: Path, level: str) -> None:
    output = shutil.copytree(shipped, tmp_path / "results")
    tamper, named = LEVELS[level]
    tamper(output)
    faults = verify(output, EXPERIMENT, sample=2 if level.startswith("effects") else 0).faults
    assert any(named in fault for fault in faults), faults
