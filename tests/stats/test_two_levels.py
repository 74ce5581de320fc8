"""Two levels: unbiased whatever the cheap one, covering, narrower where it follows."""

from __future__ import annotations

import numpy as np
import pytest

from cem_bench.stats.estimates import skew_interval
from cem_bench.stats.two_level import two_level


@pytest.mark.parametrize(("follows", "shift"), [(1.0, 0.0), (0.98, 0.3), (0.0, -2.0)])
def test_the_mean_is_unbiased_and_covered_whatever_the_level(follows: float, shift: float):
    rng = np.random.default_rng(0)
    real = rng.gamma(2.0, 1.0, (4000, 60))
    level = shift + follows * real + (1 - follows) * rng.normal(0, 2, real.shape)
    estimate = two_level(real[:, :6], level)
    error = estimate.mean.std() / np.sqrt(len(real))
    assert abs(estimate.mean.mean() - 2.0) < 4 * error
    covered = ((estimate.low <= 2.0) & (estimate.high >= 2.0)).mean()
    assert covered > 0.93


def test_a_level_that_follows_makes_few_real_draws_worth_many():
    rng = np.random.default_rng(1)
    real = rng.normal(0, 1, (500, 50))
    estimate, alone = two_level(real[:, :4], real + rng.normal(0, 0.03, real.shape)), skew_interval(real)
    assert np.median(estimate.high - estimate.low) < 1.15 * np.median(alone.high - alone.low)


def test_draws_that_cannot_tell_say_so():
    estimate = two_level(np.zeros((1, 3)), np.zeros((1, 8)))
    assert estimate.low[0] == -np.inf
    assert np.isnan(estimate.error[0])


@pytest.mark.parametrize(("real", "level"), [(1, 5), (4, 3)])
def test_too_few_draws_are_refused(real: int, level: int):
    with pytest.raises(ValueError, match="expected 2 or more"):
        two_level(np.zeros((2, real)), np.zeros((2, level)))
