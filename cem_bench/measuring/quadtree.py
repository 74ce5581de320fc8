"""A map in squares of mixed size, coarse to fine: a square is divided where replacing all of it has an effect.

A square is a set of blocks that are replaced together, the smallest a single block. The even draws of a square say
whether it is divided, the odd ones what its effect is, so that no number was chosen by its own draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.sets import BlockSets, squares
from cem_bench.measuring import fingerprint
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.joint import draw_sets, joint_store, proven_bench, refusal
from cem_bench.measuring.prepared import Bench, Progress
from cem_bench.measuring.provenance import provenance
from cem_bench.stats.blocks import block_table
from cem_bench.stats.verdicts import NAMES
from cem_bench.store import maps
from cem_bench.store.draws import Store
from cem_bench.store.roots import root_over

COARSEST = 4  # blocks along the side of the largest squares


@dataclass(frozen=True, eq=False)
class Quadtree:
    """A measured map of squares.

    Attributes:
        effect_map: over the finest blocks, each with effect and draws of its square.
        squares: one row per square: top, left, side (clean px; the part in the image, the ROI's blocks left as they
            are), blocks, status, draws, effect, low, high (the outcome's unit), verdict.
        observation: (h, w, 3) uint8.
        restored: (H, W, 3) uint8.
        record: how it was measured.
    """

    effect_map: maps.EffectMap
    squares: pd.DataFrame
    observation: np.ndarray
    restored: np.ndarray
    record: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Square:
    side: int
    place: tuple[int, int]
    blocks: tuple[int, ...]
    draws: np.ndarray | None  # None where no block can reach the ROI


def measure_quadtree(
    cell: Cell,
    root: Path | None = None,
    draws: int = 20,
    progress: Progress = lambda done, total, text: None,
    *,
    coarsest: int = COARSEST,
) -> Quadtree:
    """Measure the joint effect of squares, dividing those where it is tol or more, down to single blocks.

    Args:
        cell: what to measure; its sampling rule plays no part.
        root: folder of the store; None to keep nothing on disk.
        draws: of every square, an even number of at least 4: half to divide by, half to judge.
        progress: called with draws done and wanted of a level.
        coarsest: blocks along the side of the largest squares, a power of two.

    Raises:
        ValueError: for other draws or sides, or interventions of the reference form.
        MeasureError: as `measure`.
    """
    if draws < 4 or draws % 2:
        raise ValueError(f"draws: got {draws}, expected an even number of at least 4: half of them divide squares")
    if coarsest < 1 or coarsest & (coarsest - 1):
        raise ValueError(f"coarsest: got {coarsest}, expected a power of two, as 4: blocks along a side")
    if why := refusal(cell):
        raise ValueError(why)
    with cell.model.forwards():
        bench = proven_bench(cell)
    leaves, roots, spent, side = [], {}, 0, coarsest
    wanted = [*squares(cell.scene.grid, cell.scene.roi, side).blocks]
    while wanted:
        bench, level, store = _drawn(bench, root, (side, wanted), draws, progress)
        roots[store.key] = store.root_sha256
        spent += sum(len(square.draws) for square in level if square.draws is not None)
        divided = [square for square in level if side > 1 and _matters(square, cell.options.threshold)]
        leaves += [square for square in level if square not in divided]
        side //= 2
        finer = squares(cell.scene.grid, cell.scene.roi, side).blocks if divided else {}
        wanted = [name for square in divided for name in _quarters(square) if name in finer]
    table = _table(cell, leaves)
    record = {"model": cell.model.name, "scene": cell.scene.name, "identity": cell.identity(), "draws_made": spent}
    record |= {"draws_per_square": draws, "root_sha256": root_over(roots), **bench.facts(), "provenance": provenance()}
    return Quadtree(_map(cell, leaves), table, bench.observation, bench.restored, record)


def _drawn(
    bench: Bench, root: Path | None, wanted: tuple[int, list[str]], draws: int, progress: Progress
) -> tuple[Bench, list[_Square], Store]:
    """Draw the squares of one level; returns the bench with the engine that did it, the squares, and their store."""
    side, names = wanted
    cell, sets = bench.cell, squares(bench.cell.scene.grid, bench.cell.scene.roi, side)
    store = joint_store(cell, root, sets)
    with store.claimed():
        fingerprint.compare(bench, [(bench, store)])
        bench = draw_sets(bench, store, sets, draws, progress, names=names)
    stored = store.effects(range(len(sets.blocks)), cell.options.outcome)
    return bench, [_square(sets, side, name, stored, draws) for name in names], store


def _square(sets: BlockSets, side: int, name: str, stored: Mapping[int, np.ndarray], draws: int) -> _Square:
    row, column = map(int, name.split(","))
    drawn = stored[list(sets.blocks).index(name)][:draws]
    return _Square(side, (row, column), sets.blocks[name], drawn if len(drawn) else None)


def _matters(square: _Square, tol: float) -> bool:
    return square.draws is not None and abs(float(square.draws[::2].mean())) >= tol


def _quarters(square: _Square) -> list[str]:
    row, column = square.place
    return [f"{2 * row + down},{2 * column + right}" for down in (0, 1) for right in (0, 1)]


def _table(cell: Cell, leaves: list[_Square]) -> pd.DataFrame:
    """Return the squares with the verdicts of their odd draws."""
    judged = {index: square.draws[1::2] for index, square in enumerate(leaves) if square.draws is not None}
    options = cell.options
    table = block_table(judged, tol=options.threshold, correction=options.fdr)  # pyright: ignore[reportArgumentType]
    at = {int(index): place for place, index in enumerate(table.block)}
    rows = []
    for index, square in enumerate(leaves):
        px = square.side * cell.scene.block
        where = Rect(square.place[0] * px, square.place[1] * px, px, px).intersect(Rect(0, 0, *cell.scene.size))
        row: dict[str, Any] = {"top": where.top, "left": where.left, "side": px, "blocks": len(square.blocks)}
        place = at.get(index)
        if place is None:
            row |= {"status": maps.STATUS[maps.UNREACHABLE], "draws": 0, "effect": 0.0, "low": 0.0, "high": 0.0}
            rows.append(row | {"verdict": "none"})
            continue
        row |= {"status": maps.STATUS[maps.MEASURED], "draws": int(table.n[place]), "effect": float(table.mean[place])}
        row |= {"low": float(table.low[place]), "high": float(table.high[place])}
        rows.append(row | {"verdict": NAMES[int(table.verdict[place])]})
    return pd.DataFrame(rows).sort_values(["top", "left"], ignore_index=True)


def _map(cell: Cell, leaves: list[_Square]) -> maps.EffectMap:
    """Return the map over the finest blocks: each has the effect of its square."""
    grid = cell.scene.grid
    effect, status, n = np.full(len(grid), np.nan), np.full(len(grid), maps.ROI, np.int8), np.zeros(len(grid), np.int64)
    for square in leaves:
        blocks = list(square.blocks)
        reached = square.draws is not None
        status[blocks] = maps.MEASURED if reached else maps.UNREACHABLE
        effect[blocks] = square.draws[1::2].mean() if square.draws is not None else 0.0
        n[blocks] = len(square.draws[1::2]) if square.draws is not None else 0
    shape = grid.shape
    return maps.EffectMap(effect.reshape(shape), status.reshape(shape), n.reshape(shape), cell.options.threshold)
