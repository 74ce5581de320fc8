import numpy as np
import pytest

from cem_bench.stats.compare import cluster_test, difference_table, sign_flip
from cem_bench.stats.repeat import half_means, repeatability
from cem_bench.stats.summaries import gini, map_summary, radius, rings
from cem_bench.stats.verdicts import NEGATIVE, POSITIVE


def test_pure_noise_has_no_mass_where_sums_of_absolute_values_do():
    rng = np.random.default_rng(0)
    masses, naive = [], []
    for _ in range(6):
        effects = {block: rng.normal(0, 0.1, 10) for block in range(50)}
        parts = map_summary(effects, dict.fromkeys(effects, 1.0))
        masses.append(parts["positive_mass"].value)
        naive.append(sum(max(draws.mean(), 0) for draws in effects.values()))
    assert abs(np.mean(masses)) < 0.2
    assert np.mean(naive) > 0.4


def test_masses_of_a_clear_map_are_its_sums_and_lie_in_their_intervals():
    rng = np.random.default_rng(1)
    truth = np.array([1.0, 0.5, -0.3, 0.0])
    parts = map_summary(
        {b: mean + rng.normal(0, 0.01, 50) for b, mean in enumerate(truth)},
        {0: 0.0, 1: 8.0, 2: 16.0, 3: 24.0},
        reach=20,
    )
    assert parts["positive_mass"].low <= 1.5 <= parts["positive_mass"].high
    assert parts["negative_mass"].low <= -0.3 <= parts["negative_mass"].high
    assert (parts["r50"].value, parts["r90"].value) == (0.0, 16.0)
    assert parts["outside_reach"].value == 0


def test_shapes_of_known_maps():
    assert gini(np.ones(10)) == pytest.approx(0)
    assert gini(np.eye(10)[0]) == pytest.approx(0.9)
    assert np.isnan(gini(np.zeros(3)))
    assert radius(np.array([1.0, 1.0, 2.0]), np.array([0.0, 5.0, 9.0]), 0.5) == 5.0
    edges, means = rings(np.array([4.0, 2.0, 1.0]), np.array([0.0, 1.0, 9.0]), 8.0)
    assert edges.tolist() == [0.0, 8.0]
    assert means.tolist() == [3.0, 1.0]


def test_swapping_two_models_negates_the_paired_difference():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 1, 30)
    one, two = (
        {0: shared + 0.5 + rng.normal(0, 0.05, 30), 1: shared},
        {0: shared, 1: shared + rng.normal(0.4, 0.05, 30)},
    )
    there, back = difference_table(one, two), difference_table(two, one)
    np.testing.assert_allclose(there.mean, -back.mean)
    assert there.verdict.tolist() == [POSITIVE, NEGATIVE]
    assert back.verdict.tolist() == [NEGATIVE, POSITIVE]


def test_sign_flip_matches_the_count_of_flips_and_keeps_its_level():
    assert sign_flip([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert sign_flip([]) == 1.0
    rng = np.random.default_rng(3)
    p = np.array([sign_flip(rng.normal(0, 1, 8)) for _ in range(400)])
    assert (p <= 0.05).mean() < 0.08


def test_many_rois_of_one_image_are_one_piece_of_evidence():
    one = cluster_test(np.random.default_rng(4).normal(1, 0.1, 20), ["a"] * 20)
    assert (one.clusters, one.verdict, one.low) == (1, "undecided", -np.inf)
    many = cluster_test(np.random.default_rng(5).normal(1, 0.1, 20), np.arange(20))
    assert (many.clusters, many.verdict) == (20, "positive")
    assert many.low <= 1 <= many.high


def test_repeatability_of_the_same_and_of_other_halves():
    truth = np.random.default_rng(6).normal(0, 0.1, 100)
    same = repeatability(np.stack([truth, truth], 1))
    assert (same.flip_rate, same.icc) == (0, pytest.approx(1))
    other = repeatability(np.random.default_rng(7).normal(0, 0.1, (400, 2)))
    assert abs(other.icc) < 0.15
    assert other.low < 0 < other.high
    assert other.flip_rate > 0.4


def test_few_or_flat_blocks_have_no_correlation():
    assert np.isnan(repeatability(np.zeros((10, 2))).correlation)
    assert half_means({0: np.array([1.0]), 1: np.array([1.0, 3.0])}).tolist() == [[1.0, 3.0]]
