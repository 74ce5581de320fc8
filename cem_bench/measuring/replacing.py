"""Replace blocks of the observation by donors: one at a time or many at once, the same way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cem_bench.inputs.interventions import pasted_mask

if TYPE_CHECKING:
    from cem_bench.measuring.prepared import Bench


def replaced(bench: Bench, blocks: Sequence[int] | np.ndarray, donors: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the observation with blocks replaced by donors under the scene's degradation.

    The donors are placed in the clean image and all is degraded as the scene was (same noise field, rain layer,
    kernel); of the result, the replaced blocks enter the observation.

    Args:
        bench: of the cell, interventions of form `true`.
        blocks: flat indices.
        donors: index of a patch of the pool for each.

    Returns:
        (h, w, 3) uint8.
    """
    cell = bench.cell
    clean, observed = cell.scene.clean.copy(), bench.observation.copy()
    for block, donor in zip(blocks, donors, strict=True):
        rect, mask = cell.scene.grid.rect(int(block)), cell.scene.grid.mask(int(block))
        np.copyto(clean[rect.slices], cell.pool.patches[donor][: rect.height, : rect.width], where=mask[..., None])
    degraded = cell.degradation(clean)
    for block in blocks:
        place, mask = bench.input_rect(int(block)).slices, pasted_mask(cell.degradation, cell.scene.grid, int(block))
        np.copyto(observed[place], degraded[place], where=mask[..., None])
    return observed
