"""Runs of made-up draws for the tests of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cem_bench.store.draws import Limits, Store

IDENTITY = {"model": "A", "seed": 0}


def unit(block: int, first: int, last: int, model: str = "A") -> dict[str, np.ndarray]:
    """Draws first to last - 1 of a block: a pure function of their names, as in a run."""
    k = np.arange(first, last)
    columns = {"block": np.full(len(k), block), "k": k, "donor": (7 * k + block) % 40, "stratum": k % 3}
    effect = np.sin(k + 10 * block + len(model)) / 10
    return columns | {"psnr": 30.0 - effect, "psnr_untouched": np.full(len(k), 30.0)}


def work(root: Path, *, model: str = "A", blocks: int = 6, flushes: int = 1) -> Store:
    """Measure what is missing of a run of 5 draws per block."""
    store = Store(root, {**IDENTITY, "model": model}, limits=Limits(48, 40))
    with store.claimed():
        drawn = store.rows["block"].value_counts()
        for block in range(blocks):
            first = int(drawn.get(block, 0))
            if first < 5:
                store.append(unit(block, first, 5, model))
            if block % flushes == 0:
                store.flush()
        store.write_record({"model": model})
    return store


def shard(folder: Path) -> Path:
    return max(folder.glob("draws-*.parquet"), key=lambda path: path.name)


def flip(path: Path, seed: int) -> None:
    content = bytearray(path.read_bytes())
    content[np.random.default_rng(seed).integers(len(content))] ^= 1 << seed % 8
    path.write_bytes(bytes(content))
