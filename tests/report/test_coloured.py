"""What becomes of the colours of few draws."""

from __future__ import annotations

import numpy as np

from cem_bench.report.coloured import coloured_table
from cem_bench.sampling.sequential import Sequential
from tests.report.conftest import Make, live_blocks


def test_colours_of_few_draws_hold_fade_turn_or_stay_open(make: Make, rng: np.random.Generator) -> None:
    effects = {block: rng.normal(0.0, 1e-4, 50) for block in live_blocks()}
    effects[0] += 0.3  # helps
    effects[1] -= 0.3  # harms
    effects[2][:3] += 0.02  # seemed to help
    effects[3][3:] -= 0.3  # harms; seemed to help
    effects[3][:3] += 0.02
    effects[4] = rng.normal(0.0, 0.5, 50)  # cannot be told
    rule = Sequential()
    row = coloured_table([make(effects).under(rule)]).iloc[0]
    assert dict(row[["coloured", "held", "faded", "turned", "undecided"]]) == {
        "coloured": 5,
        "held": 2,
        "faded": 1,
        "turned": 1,
        "undecided": 1,
    }
    assert row["draws_at_most"] == 50 * len(effects)
    assert 2 * len(effects) < row["draws"] < 10 * len(effects)
