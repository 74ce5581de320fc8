import numpy as np
import pytest

from cem_bench.stats.compare import cluster_mean, cluster_test, crossed_mean, difference_table, sign_flip
from cem_bench.stats.decay import compare_decay, decay
from cem_bench.stats.scale import ANY, PERCENT, SHARE, SIZE, Scale
from cem_bench.stats.verdicts import NEGATIVE, POSITIVE


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
    assert 0 < sign_flip(np.ones(30)) < 1e-3


@pytest.mark.parametrize(("clusters", "least"), [(5, 0.83), (8, 0.85), (17, 0.85)])
def test_intervals_over_images_cover_skewed_means_and_differences(clusters, least):
    rng = np.random.default_rng(clusters)
    names = np.arange(clusters)
    skewed = [cluster_mean(rng.lognormal(0, 1, clusters), names, scale=SIZE) for _ in range(300)]
    apart = [cluster_mean(rng.lognormal(0, 1, clusters) - rng.lognormal(0, 1, clusters), names) for _ in range(300)]
    assert np.mean([one.low <= np.exp(0.5) <= one.high for one in skewed]) > least
    assert np.mean([one.low <= 0 <= one.high for one in apart]) > 0.87


def test_a_heavy_tail_throws_no_end_away_and_is_covered_as_before():
    names, rng = np.arange(12), np.random.default_rng(21)
    sums = [rng.lognormal(0, 1.5, 12) for _ in range(200)]
    found = [cluster_mean(part, names, scale=SIZE) for part in sums]
    # resamples without the largest image threw the end of one in ten beyond 50 times the mean
    assert np.quantile([one.high / one.mean for one in found], 0.9) < 15
    assert np.mean([one.low <= np.exp(1.125) <= one.high for one in found]) > 0.78
    assert all(0 < one.low < one.mean < one.high for one in found)


@pytest.mark.parametrize("clusters", [5, 9, 12])
def test_an_interval_over_images_stays_in_the_range_of_its_quantity(clusters):
    rng, names = np.random.default_rng(clusters), np.arange(clusters)
    for seed in range(40):
        radii = rng.lognormal(2, 1.2, clusters)
        share = rng.beta(0.3, 4, clusters)
        for values, scale in ((radii, SIZE), (share, SHARE), (100 * (1 - share), PERCENT)):
            one = cluster_mean(values, names, resample_seed=seed, scale=scale)
            assert scale.low <= one.low < one.mean < one.high <= scale.high
        assert one.low > 0


def test_near_ties_of_few_images_throw_no_end_away():
    # three of five images alike to rounding: resamples of these alone have next to no error to be measured by
    values = np.array([0.121, 0.121 + 1e-14, 0.121 - 1e-14, 0.15, 0.09])
    one = cluster_mean(values, np.arange(5))
    assert one.high - one.low < 4 * np.ptp(values)


def test_sums_of_nothing_are_not_stretched():
    # cross-fit masses of a network without far effect: noise about 0, partly below it
    noise = np.array([2e-4, -1e-4, 3e-4, -2e-4, -1e-4])
    assert cluster_mean(noise, np.arange(5), scale=SIZE) == cluster_mean(noise, np.arange(5))


@pytest.mark.parametrize("scale", [ANY, SIZE, SHARE, PERCENT, Scale(high=3.0)])
def test_a_scale_goes_there_and_back_and_its_slope_is_its_derivative(scale):
    for value in (0.2, 0.5, 0.9):
        assert scale.back(float(scale.stretched(value))) == pytest.approx(value)
        rise = scale.stretched(value + 1e-6) - scale.stretched(value - 1e-6)
        assert float(scale.slope(value)) == pytest.approx(float(rise) / 2e-6, rel=1e-6)


def test_many_rois_of_one_image_are_one_piece_of_evidence():
    one = cluster_test(np.random.default_rng(4).normal(1, 0.1, 20), ["a"] * 20)
    assert (one.clusters, one.verdict, one.low) == (1, "undecided", -np.inf)
    many = cluster_test(np.random.default_rng(5).normal(1, 0.1, 20), np.arange(20))
    assert (many.clusters, many.verdict) == (20, "positive")
    assert many.low <= 1 <= many.high


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.1, 1.2], [0.3] * 9], ids=["none", "one", "three", "equal"])
def test_degenerate_clusters_have_no_interval_that_looks_sound(values):
    one = cluster_test(values, np.arange(len(values)))
    assert (one.low, one.high, one.verdict) == (-np.inf, np.inf, "undecided")
    with pytest.raises(ValueError, match="NaN"):
        cluster_mean([*values, np.nan], np.arange(len(values) + 1))


def test_training_noise_widens_a_claim():
    images = np.random.default_rng(6).normal(0.2, 0.05, 12)
    agree = crossed_mean(np.stack([images, images]))
    differ = crossed_mean(np.stack([images + 0.2, images - 0.2]))
    assert differ.mean == pytest.approx(agree.mean)
    assert differ.high - differ.low > 2 * (agree.high - agree.low)
    assert agree.clusters == 12


def test_decay_is_the_mean_by_ring():
    rings, sizes = decay([4.0, 2.0, 1.0, 0.0], [0.0, 0.0, 8.0, 8.0])
    assert rings.tolist() == [0.0, 8.0]
    assert sizes.tolist() == [3.0, 0.5]


def curves(rng, scenes, gap):
    one = rng.lognormal(0, 0.3, (scenes, 4)) * [1.0, 0.5, 0.1, 0.0]
    return one + np.array([0.0, gap, 0.0, 0.0]), one * rng.lognormal(0, 0.1, (scenes, 1))


def test_swapping_models_negates_the_decay_gap():
    one, two = curves(np.random.default_rng(7), 9, 0.3)
    there, back = (compare_decay(*pair, np.arange(9)) for pair in ((one, two), (two, one)))
    np.testing.assert_allclose([there.gap, there.low], [-back.gap, -back.high])
    assert there.p == back.p <= 0.05
    assert there.p_ring.argmin() == 1
    assert (there.low[3], there.p_ring[3]) == (-np.inf, 1.0)


def test_decay_band_holds_the_whole_curve_and_p_keeps_its_level():
    rng, inside, p = np.random.default_rng(8), [], []
    for _ in range(150):
        found = compare_decay(*curves(rng, 8, 0.0), np.arange(8))
        truth = np.exp(0.045) * (1 - np.exp(0.005)) * np.array([1.0, 0.5, 0.1, 0.0])
        inside.append(np.all((found.low <= truth) & (truth <= found.high)))
        p.append(found.p)
    assert np.mean(inside) > 0.9
    assert np.mean(np.array(p) <= 0.05) < 0.1


def test_one_image_has_no_band():
    found = compare_decay(np.ones((3, 2)), np.zeros((3, 2)), ["a"] * 3)
    assert (found.p, found.clusters) == (1.0, 1)
    assert np.isinf([found.low, found.high]).all()
