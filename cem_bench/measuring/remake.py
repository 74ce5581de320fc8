"""Make stored draws again on the reader's machine and compare: in fp32 by the plain forward, not the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.measuring.cell import Cell
from cem_bench.measuring.prepared import Bench

ALLOWED_DB = 1e-3
ALLOWED_8BIT_DB = 0.05  # a last bit that moves a pixel over a half moves it by a whole code value


@dataclass(frozen=True)
class Remade:
    """What making draws again came to.

    Attributes:
        draws: how many.
        max_abs_db: largest difference from what is stored, over outcomes that are not rounded.
        wrong: one line for each draw that differs by more than is allowed or has another donor.
    """

    draws: int
    max_abs_db: float
    wrong: tuple[str, ...]


def remake(cell: Cell, rows: pd.DataFrame, sample: int, sample_seed: int = 0) -> Remade:
    """Make a random sample of a cell's stored draws again.

    Args:
        cell: the cell, on this machine.
        rows: its stored draws.
        sample: how many draws; all where there are fewer.
        sample_seed: chooses them.

    Raises:
        ValueError: if sample is below 1.
    """
    if sample < 1:
        raise ValueError(f"sample: got {sample}, expected at least 1, as 20")
    rng = np.random.Generator(np.random.Philox(sample_seed))
    chosen = np.sort(rng.choice(len(rows), min(sample, len(rows)), replace=False))
    bench, worst, wrong = Bench.of(cell), 0.0, []
    untouched = {outcome: _untouched(bench, outcome) for outcome in _names(cell)}
    for row in rows.iloc[chosen].to_dict("records"):
        difference, fault = _differs(bench, row, untouched)
        worst = max(worst, difference)
        if fault:
            wrong.append(f"block {row['block']}, draw {row['k']}: {fault}")
    return Remade(len(chosen), worst, tuple(wrong))


def _names(cell: Cell) -> list[str]:
    return [outcome.name for outcome in cell.outcomes]


def _untouched(bench: Bench, name: str) -> float:
    outcome = next(item for item in bench.cell.outcomes if item.name == name)
    return float(outcome.measure(bench.plain_roi(bench.tensor[None]), bench.target)[0])


def _differs(bench: Bench, row: dict[Any, Any], untouched: dict[str, float]) -> tuple[float, str]:
    """Return by how much a stored draw differs from the same draw made now, dB, and what is wrong with it."""
    block, k = int(row["block"]), int(row["k"])
    donors, strata = bench.cell.keys.donors(bench.cell.pool, block, k, k + 1)
    if (int(donors[0]), int(strata[0])) != (int(row["donor"]), int(row["stratum"])):
        return 0.0, f"donor {int(row['donor'])} is stored, its key gives {int(donors[0])}"
    patch = bench.patches(block, donors, k)
    plain = bench.cell.options.precision == "fp32"
    output = bench.plain_roi(bench.under(block, patch)) if plain else bench.engine_roi(block, patch)
    pairs = []
    # an archive keeps fewer outcomes
    for outcome in (item for item in bench.cell.outcomes if item.name in row):
        now = float(outcome.measure(output, bench.target)[0])
        pairs += [(outcome.name, row[outcome.name], now)]
        pairs += [(f"{outcome.name}_untouched", row[f"{outcome.name}_untouched"], untouched[outcome.name])]
    apart = [(abs(stored - now) - (ALLOWED_8BIT_DB if "8bit" in name else ALLOWED_DB)) for name, stored, now in pairs]
    name, stored, now = pairs[int(np.argmax(apart))]
    fault = f"{name} is stored as {stored:.6f}, made again {now:.6f}" if max(apart) > 0 else ""
    return max(abs(stored - now) for name, stored, now in pairs if "8bit" not in name), fault
