"""Sets of blocks that are replaced at once: the surroundings, rings of distance, squares, any list. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cem_bench.inputs.geometry import Grid, Rect, ring_distance

SURROUNDINGS, FAR_PX = "surroundings", 16
FAR = f"beyond {FAR_PX} px"


@dataclass(frozen=True)
class BlockSets:
    """Sets of blocks whose joint draws lie in one store, each under its place in the mapping.

    Attributes:
        spec: what the run key says of them beside the cell's identity.
        blocks: name of a set to the flat indices of its blocks, in rising order.
        first: draw k of a set replaces each block by its donor of draw first + k.
    """

    spec: Mapping[str, Any]
    blocks: Mapping[str, tuple[int, ...]]
    first: int = 0


def outside(grid: Grid, roi: Rect) -> np.ndarray:
    """Return the flat indices of the blocks that hold no pixel of the ROI, (m,) int."""
    return np.setdiff1d(np.arange(len(grid)), list(grid.overlapping(roi)))


def by_distance(grid: Grid, roi: Rect) -> BlockSets:
    """Return all surroundings of the ROI, what lies farther than 16 px, and each ring of distance.

    Args:
        grid: of the image.
        roi: in clean pixels.

    Returns:
        `surroundings`: every block that holds no pixel of the ROI. `beyond 16 px`: those of them whose
        `ring_distance` is more. `ring N px`: those with a distance of N - block (exclusive) to N. Sets without a block
        are left out.
    """
    blocks = outside(grid, roi)
    far = ring_distance(grid, roi)[blocks]
    rings = -(-far // grid.block) * grid.block
    sets = {SURROUNDINGS: blocks, FAR: blocks[far > FAR_PX]}
    sets |= {f"ring {ring} px": blocks[rings == ring] for ring in np.unique(rings)}
    return BlockSets({"sets": "by distance", "far_px": FAR_PX}, _named(sets))


def squares(grid: Grid, roi: Rect, side: int) -> BlockSets:
    """Return the squares of side x side blocks that tile the image from its upper left corner, less the ROI's blocks.

    Args:
        grid: of the image.
        roi: in clean pixels.
        side: blocks; squares at the right and lower edge may be cut.

    Returns:
        Sets called `ROW,COLUMN` of the square; those without a block are left out.
    """
    blocks = outside(grid, roi)
    rows, columns = (at // side for at in np.divmod(blocks, grid.shape[1]))
    names = np.array([f"{row},{column}" for row, column in zip(rows, columns, strict=True)])
    return BlockSets({"squares": side}, _named({str(name): blocks[names == name] for name in np.unique(names)}))


def listed(name: str, blocks: Iterable[int], first: int) -> BlockSets:
    """Return one set of blocks that were chosen by the draws of a map.

    Args:
        name: of the set.
        blocks: flat indices.
        first: the first draw k that had no part in choosing them.
    """
    ordered = np.array(sorted(blocks), dtype=np.int64)
    return BlockSets({"blocks": ordered.tolist(), "first": first}, _named({name: ordered}), first)


def _named(sets: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(blocks.tolist()) for name, blocks in sets.items() if len(blocks)}
