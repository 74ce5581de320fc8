"""What the archive leaves out of a run's draws, and how a run is made whole again. No torch.

Donors are not kept where they are what the names of the draws say (seed, scene, block, k): they are drawn again. Of the
outcomes only those that statistics are of are kept: the 8-bit PSNR beside every draw would be a third of the archive
and no page reads it. A hash over what is restored says that it is what was kept, to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.inputs.donors import DrawKeys
from cem_bench.store.shards import rows_root

CHUNK = 4  # draws of a block whose donors are remembered together: most runs have that many per block


def packed(draws: pd.DataFrame, identity: Mapping[str, Any], pool: int | None) -> pd.DataFrame:
    """Return the draws of a run as the archive holds them.

    Args:
        draws: one row per draw: `block`, `k`, `donor`, `stratum`, and every outcome with its untouched value.
        identity: what the run key hashes.
        pool: number of patches of the donor pool; None where it is not known.
    """
    if pool and "donor" in draws and np.array_equal(donors_of(draws, identity, pool), draws["donor"]):
        return draws.drop(columns="donor")
    return draws


def unpacked(rows: pd.DataFrame, identity: Mapping[str, Any], pool: int | None) -> pd.DataFrame:
    """Return the draws of a run from what the archive holds of them.

    Args:
        rows: of the archive, without the run's name; `root` is the sha256 of the draws, the same in every row. An
            archive of an earlier version has none, and left nothing out.
        identity: what the run key hashes.
        pool: number of patches of the donor pool.

    Raises:
        ValueError: if the draws are not those that were kept.
    """
    roots = set(rows["root"]) if "root" in rows else set()
    rows = rows.drop(columns="root", errors="ignore")
    if "donor" not in rows and "joint" not in identity:  # a joint draw has a donor for every block
        if not pool:
            raise ValueError("it has no donors, and its record no number of patches of the donor pool")
        rows.insert(2, "donor", donors_of(rows, identity, pool))
    rows = rows.astype({name: np.int64 for name in ("block", "k", "donor", "stratum") if name in rows})
    if roots and roots != {rows_root(rows)}:
        raise ValueError("its draws have another hash than when they were kept")
    return rows


def with_outcomes(draws: pd.DataFrame, outcomes: Collection[str]) -> pd.DataFrame:
    """Return draws without the outcomes that are not among those named."""
    left_out = [name for name in map(str, draws.columns) if f"{name}_untouched" in draws and name not in outcomes]
    return draws.drop(columns=[*left_out, *(f"{name}_untouched" for name in left_out)])


def donors_of(rows: pd.DataFrame, identity: Mapping[str, Any], pool: int) -> np.ndarray:
    """Return the donors that the draws' names say, of a pool without strata.

    Args:
        rows: `block` and `k` of every draw.
        identity: gives the seed, the scene and the side of a block.
        pool: number of patches.

    Returns:
        (rows,) int64.
    """
    keys = DrawKeys(identity["seed"], identity["image_sha256"], identity["block"])
    blocks, ks = rows["block"].to_numpy(np.int64), rows["k"].to_numpy(np.int64)
    donors = np.empty(len(rows), np.int64)
    for block, at in rows.groupby(blocks).indices.items():
        last = int(ks[at].max())
        chunks = [_donors(keys, pool, int(str(block)), first) for first in range(0, last + 1, CHUNK)]
        donors[at] = np.concatenate(chunks)[ks[at]]
    return donors


@lru_cache(maxsize=2**18)
def _donors(keys: DrawKeys, pool: int, block: int, first: int) -> np.ndarray:
    """Return the donors of draws first, first + 1, ...: models that share a scene share them."""
    return np.array([keys.generator(block, k).integers(pool) for k in range(first, first + CHUNK)], np.int64)
