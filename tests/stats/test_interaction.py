"""A joint effect beside the sum of single effects: what the numbers are, and that their intervals hold."""

from __future__ import annotations

import numpy as np
import pytest

from cem_bench.stats.interaction import interaction, sum_of_singles


def test_numbers_of_known_draws():
    found = interaction(np.array([1.0, 2.0, 3.0]), {4: np.array([0.5, 1.5]), 7: np.array([-1.0, -1.0, -4.0])})
    assert (found.effect, found.sum_of_singles, found.interaction) == (2.0, -1.0, 3.0)
    assert found.effect_high - 2.0 == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert found.interaction_low < found.effect_low - found.sum_of_singles_high
    assert found.interaction_high > found.effect_high - found.sum_of_singles_low


def test_what_cannot_reach_is_exactly_zero_and_what_was_not_drawn_is_unknown():
    none = interaction(None, {})
    assert set(none.named().values()) == {0.0}
    one = interaction(np.array([1.0]), {0: np.array([1.0, 2.0])})
    assert (one.effect, one.effect_low, one.effect_high) == (1.0, -np.inf, np.inf)
    assert np.isinf([one.interaction_low, one.interaction_high]).all()
    assert np.isnan(sum_of_singles({0: np.empty(0), 1: np.array([1.0, 2.0])}).mean)
    assert np.isinf(sum_of_singles({0: np.array([1.0]), 1: np.array([1.0, 2.0])}).high)
    with pytest.raises(ValueError, match="NaN"):
        interaction(np.array([np.nan, 1.0]), {})


@pytest.mark.parametrize("shared", [0.0, 1.0, -1.0])
def test_the_interval_of_the_interaction_holds_however_joint_and_single_draws_depend(shared: float):
    rng, held, runs = np.random.default_rng(3), 0, 400
    for _ in range(runs):
        singles = rng.normal(0.1, 0.3, (30, 6))
        own = rng.normal(0, 1, 6)
        together = 2.0 + (shared * (singles - 0.1).sum(axis=0) if shared else own)
        found = interaction(together, dict(enumerate(singles)))
        held += found.interaction_low <= 2.0 - 3.0 <= found.interaction_high
    assert held / runs >= 0.95
