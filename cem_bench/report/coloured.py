"""What becomes of the blocks that few draws colour, once every block is drawn until it is decided."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from cem_bench.sampling.rules import Uniform
from cem_bench.stats.verdicts import NONE, UNDECIDED
from cem_bench.store import maps
from cem_bench.store.cells import StoredCell

FEW = Uniform(3)  # the published rule's first look at every block


def coloured_table(cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return, for every cell, what becomes of the blocks that few draws colour.

    Args:
        cells: drawn under a sequential rule.

    Returns:
        One row per cell: model, scene, image, task, coloured (blocks whose |mean| over the first draws is tol or
        more), held (of these, with a verdict of that sign), turned (of the other sign), faded (verdict none),
        undecided, draws, draws_at_most (of these blocks had every one been drawn to the rule's end).
    """
    rows = []
    for cell in cells:
        table = cell.table
        lean, verdict = cell.under(FEW).effect_map.signs.ravel()[table.block], table.verdict
        coloured = lean != NONE
        rows.append(
            {
                "model": cell.model,
                "scene": cell.scene,
                "image": cell.image,
                "task": cell.entry["task"],
                "coloured": int(coloured.sum()),
                "held": int((coloured & (verdict == lean)).sum()),
                "turned": int((coloured & (verdict == -lean)).sum()),
                "faded": int((coloured & (verdict == NONE)).sum()),
                "undecided": int((coloured & (verdict == UNDECIDED)).sum()),
                "draws": int(table.n.sum()),
                "draws_at_most": cell.rule.worst_case(int((cell.status == maps.MEASURED).sum())),
            }
        )
    return pd.DataFrame(rows)
