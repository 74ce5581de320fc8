import numpy as np
import pytest

from cem_bench.stats.sanity import deletion_curve, deletion_gap, noise_share, orders, pool_halves, randomisation


def test_every_order_holds_every_block_and_the_maps_own_starts_with_the_largest():
    means, distance, contrast = {3: 0.1, 5: 0.9, 8: -0.2}, {3: 1.0, 5: 9.0, 8: 4.0}, {3: 2.0, 5: 1.0, 8: 7.0}
    found = orders(means, distance, contrast)
    assert all(sorted(order) == [3, 5, 8] for order in found.values())
    assert (found["map"], found["nearest"], found["contrast"]) == ([5, 3, 8], [3, 8, 5], [8, 3, 5])


def test_deletion_curve_of_additive_effects_is_their_running_sum():
    joint = np.cumsum([1.0, 0.5, 0.1])[:, None] + np.random.default_rng(0).normal(0, 0.01, (3, 40))
    curve = deletion_curve([1, 2, 3], joint)
    np.testing.assert_allclose(curve.effect.mean, [1.0, 1.5, 1.6], atol=0.01)
    assert float(curve.area.low) <= np.mean([1.0, 1.5, 1.6]) <= float(curve.area.high)
    with pytest.raises(ValueError, match="2 steps"):
        deletion_curve([1, 2], joint)


def test_pool_halves_part_the_donors_not_the_draws():
    donors = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    halves = pool_halves({0: donors.astype(float), 1: np.ones(8)}, {0: donors, 1: donors}, 4)
    assert halves.shape == (2, 2)
    assert halves[0].sum() == pytest.approx(3.0)
    assert halves[1].tolist() == [1.0, 1.0]


def test_random_weights_lose_the_map_and_the_same_weights_keep_it():
    rng = np.random.default_rng(1)
    means = rng.normal(0, 1, 200)
    halves = means[:, None] + rng.normal(0, 0.05, (200, 2))
    found = randomisation(means, halves, {"none": means, "all": rng.normal(0, 1, 200), "dead": np.zeros(200)})
    assert found.spearman[0] == pytest.approx(1)
    assert abs(found.spearman[1]) < 0.2
    assert np.isnan(found.spearman[2])
    assert found.spearman[3] > 0.9
    assert found.low[1] < 0 < found.high[1]
    assert found.agreement[0] == 1 > found.agreement[3] > 0.9 > found.agreement[1]
    assert found.stages[3] == "halves of the true map"


def test_noise_share_recovers_its_components():
    rng = np.random.default_rng(2)
    effects = rng.normal(0, 1, (500, 8, 1)) + rng.normal(0, 2, (500, 8, 20))
    assert noise_share(effects).whole == pytest.approx(0.2, abs=0.03)
    assert noise_share(effects).low < 0.2 < noise_share(effects).high
    assert np.isnan(noise_share(effects[:, :1]).whole)
    assert np.isnan(noise_share(effects[:, :1]).by_block).all()


def test_an_order_that_finds_what_matters_beats_one_that_does_not():
    shared = np.random.default_rng(3).normal(0, 0.5, 12)
    good, bad = np.array([[1.0], [1.5], [1.6]]) + shared, np.array([[0.1], [0.6], [1.6]]) + shared
    gap = deletion_gap(good + np.random.default_rng(4).normal(0, 0.01, (3, 12)), bad)
    assert gap.mean == pytest.approx(0.6, abs=0.02)
    assert gap.low < 0.6 < gap.high
    assert gap.p <= 2 / 2**12
    assert (gap.verdict, deletion_gap(bad, good).verdict, gap.draws) == ("better", "worse", 12)
    with pytest.raises(ValueError, match="alike"):
        deletion_gap(good, bad[:2])


def test_a_word_needs_interval_and_p_and_draws_enough():
    rng = np.random.default_rng(5)
    four = deletion_gap(rng.normal(1, 0.1, (3, 4)), np.zeros((3, 4)))
    assert four.low > 0
    assert (four.p, four.verdict) == (2 / 2**4, "too few draws")
    # one draw that goes the other way: at 6 draws the smallest p left is 4 / 2**6
    six = deletion_gap(np.array([[1.0, 1.0, 1.1, 1.1, 1.0, -0.001]]), np.zeros((1, 6)))
    assert six.low > 0
    assert (six.p, six.verdict) == (4 / 2**6, "undecided")
