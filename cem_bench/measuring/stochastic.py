"""Networks that draw random numbers of their own, measured under common random numbers.

Every draw and the untouched image are restored under the same K states of the generators (torch's, Python's, NumPy's),
one image at a time. A draw's outcome is its mean over the states, so that the network's noise, being the same on both
sides, leaves most of the difference. The effects' variance is split into the donors' and the network's.

Source: common random numbers, Glasserman and Yao 1992, doi 10.1287/mnsc.38.6.884.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cem_bench.engine.base import exact_arithmetic, intervened
from cem_bench.measuring.yardstick import common_random_numbers
from cem_bench.stats.components import components

if TYPE_CHECKING:
    import pandas as pd

    from cem_bench.inputs.geometry import Rect
    from cem_bench.measuring.cell import Options
    from cem_bench.measuring.prepared import Bench

COLUMN = "effect_state_"


def states_of(options: Options) -> list[int]:
    """Return the names of the K states of the generators; none for a network that is measured as it stands."""
    return [int(np.random.SeedSequence((options.seed, k)).generate_state(1)[0]) for k in range(options.stochastic)]


def outputs_under_states(bench: Bench, block: Rect, patches: Tensor) -> Tensor:
    """Return the answered region untouched (row 0) and under each patch, for every state.

    Args:
        bench: of the cell.
        block: where the patches go, input pixels.
        patches: (n, 3, b, b) float32 in 0..1.

    Returns:
        (K, n + 1, 3, h, w) float32.
    """
    rows = torch.cat([bench.tensor[None], intervened(bench.tensor, block, patches)])
    return torch.stack(
        [torch.cat([_under(bench, row, state) for row in rows]) for state in states_of(bench.cell.options)]
    )


def _under(bench: Bench, row: Tensor, state: int) -> Tensor:
    with common_random_numbers(state), exact_arithmetic():
        whole = bench.cell.model.restorer.to(row.device)(row[None].clone())
    return whole[(..., *bench.answered.slices)].float()


def split(rows: pd.DataFrame) -> dict[str, Any]:
    """Return what the record says of the two variances, from stored draws."""
    columns = [name for name in rows.columns if str(name).startswith(COLUMN)]
    effects = [block[columns].to_numpy(np.float64) for _, block in rows.groupby("block")]
    return {"states": len(columns), **components(effects)}
