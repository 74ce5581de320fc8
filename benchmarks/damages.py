"""Ways to damage a stored run on purpose, each of which must be found: for `benchmarks/faults.py`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from cem_bench.store.draws import Store


def _shard(folder: Path) -> Path:
    return next(folder.glob("draws-*.parquet"))


def _flip(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))


def _edit(folder: Path, change: Callable[[pd.DataFrame], object]) -> None:
    table = pd.read_parquet(_shard(folder))
    change(table)
    table.to_parquet(_shard(folder), index=False)


def _set(column: str, value: float) -> Callable[[Path, np.random.Generator], None]:
    def damage(folder: Path, rng: np.random.Generator) -> None:
        _edit(folder, lambda table: table.__setitem__(column, table[column].where(_but_one(table, rng), value)))

    return damage


def _but_one(table: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    rest = np.ones(len(table), bool)
    rest[rng.integers(len(table))] = False
    return rest


def _of_another_key(folder: Path, rng: np.random.Generator) -> None:
    foreign = Store(folder.parent, {"model": "another", "number": int(rng.integers(1 << 30))})
    foreign.append({name: column.to_numpy() for name, column in pd.read_parquet(_shard(folder)).items()})
    foreign.write_record({})
    shutil.copy(_shard(foreign.folder), _shard(folder))
    shutil.rmtree(foreign.folder)


def _gap(folder: Path, rng: np.random.Generator) -> None:
    table = pd.read_parquet(_shard(folder))
    table.drop(index=int(rng.integers(len(table)))).to_parquet(_shard(folder), index=False)


def _swap(folder: Path, rng: np.random.Generator) -> None:
    table = pd.read_parquet(_shard(folder))
    names = rng.permutation(["psnr", "psnr_untouched", "psnr_8bit", "psnr_8bit_untouched"])[:2]
    first, second = map(str, names)
    table.rename(columns={first: second, second: first}).to_parquet(_shard(folder), index=False)


def _truncate(name: str) -> Callable[[Path, np.random.Generator], None]:
    def damage(folder: Path, rng: np.random.Generator) -> None:
        path = next(folder.glob(name))
        path.write_bytes(path.read_bytes()[: int(rng.integers(path.stat().st_size))])

    return damage


DAMAGES: dict[str, Callable[[Path, np.random.Generator], None]] = {
    "hand-edited effect (+0.5 dB)": lambda folder, rng: _edit(
        folder, lambda table: table.__setitem__("psnr", table["psnr"] + 0.5 * ~_but_one(table, rng))
    ),
    "NaN in a row": _set("psnr", np.nan),
    "swapped labels of outcomes": _swap,
    "another donor": _set("donor", 39),
    "a draw taken out": _gap,
    "shard of another key": _of_another_key,
    "flipped bit in a shard": lambda folder, rng: _flip(_shard(folder), rng),
    "truncated shard": _truncate("draws-*.parquet"),
    "removed shard": lambda folder, rng: _shard(folder).unlink(),
    "flipped bit in the manifest": lambda folder, rng: _flip(folder / "manifest.json", rng),
    "truncated manifest": _truncate("manifest.json"),
    "truncated identity": _truncate("identity.json"),
}
