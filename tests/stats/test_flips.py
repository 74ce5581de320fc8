"""Sign flips: all of them up to 20 differences, as scipy counts them."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from cem_bench.stats.decay import compare_decay
from cem_bench.stats.flips import EXACT, extreme_flips, sign_flip


@pytest.mark.parametrize("count", [2, 3, 7, 12, 13, 14])
def test_sign_flip_is_scipys_paired_permutation_test(count):
    rng = np.random.default_rng(count)
    for values in (rng.normal(0.3, 1, count), rng.integers(-2, 3, count).astype(float)):
        oracle = stats.permutation_test(
            (values,), lambda x, axis: np.abs(x.sum(axis)), permutation_type="samples", n_resamples=np.inf,
            alternative="greater", vectorized=True,
        )  # fmt: skip
        assert sign_flip(values) == pytest.approx(oracle.pvalue, abs=1e-12)


@pytest.mark.parametrize("count", [15, 17, EXACT])
def test_all_flips_of_up_to_twenty_images_are_made(count):
    """Once 20,000 random flips stood for more than 14: the smallest p was 5e-5 whatever the number of images."""
    assert sign_flip(np.ones(count)) == 2 / 2**count
    values = np.random.default_rng(count).normal(0.2, 1, count)
    assert {sign_flip(values, seed) for seed in range(3)} == {sign_flip(values)}
    assert sign_flip(values) * 2**count == pytest.approx(round(sign_flip(values) * 2**count), abs=1e-6)


def test_seventeen_images_agree_with_ten_thousand_random_flips():
    values = np.random.default_rng(1).normal(0.4, 1, 17)
    signs = np.random.default_rng(2).choice([-1.0, 1.0], (100_000, 17))
    expected = (np.abs(signs @ values) >= abs(values.sum())).mean()
    assert sign_flip(values) == pytest.approx(expected, abs=0.005)


def test_more_than_twenty_never_give_zero():
    assert 0 < sign_flip(np.ones(EXACT + 1)) < 1e-3


def test_the_largest_over_columns_equals_a_count_by_hand():
    values = np.random.default_rng(5).normal(0.3, 1, (7, 3))
    scale = np.sqrt((values**2).sum(axis=0))
    every = np.array(list(product([-1.0, 1.0], repeat=7))) @ values
    largest = (np.abs(every) / scale).max(axis=1)
    expected = [
        (largest >= abs(column) / size * (1 - 1e-12)).mean() for column, size in zip(values.sum(0), scale, strict=True)
    ]
    np.testing.assert_allclose(extreme_flips(values, scale, 0), expected)


def test_the_p_of_curves_over_seventeen_images_is_no_multiple_of_a_random_one():
    rng = np.random.default_rng(3)
    two = rng.lognormal(0, 0.3, (17, 3))
    found = compare_decay(two + 1.0, two, np.arange(17))
    assert found.p == 2 / 2**17
