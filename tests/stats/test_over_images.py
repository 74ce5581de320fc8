"""Geometric mean and median over images: laws, coverage, degenerate samples."""

import numpy as np
import pytest
from scipy import stats

from cem_bench.stats.compare import cluster_mean
from cem_bench.stats.over_images import cluster_median, geometric_mean


def test_the_geometric_mean_is_scipys_and_scales_with_its_unit():
    values, names = np.random.default_rng(0).lognormal(1, 1, 17), np.arange(17)
    one, tenfold = geometric_mean(values, names), geometric_mean(10 * values, names)
    assert one.mean == pytest.approx(stats.gmean(values))
    assert (tenfold.mean, tenfold.low, tenfold.high) == pytest.approx((10 * one.mean, 10 * one.low, 10 * one.high))
    assert 0 < one.low < one.mean < one.high


def test_sums_of_nothing_count_as_the_resolution():
    one = geometric_mean([1.0, 1e-9, -3e-4, 1.0, 0.0], np.arange(5))
    assert one.mean == pytest.approx(1e-3**0.6)
    with pytest.raises(ValueError, match="resolution"):
        geometric_mean([1.0], [0], resolution=0)


@pytest.mark.parametrize(("clusters", "spread"), [(8, 1.0), (17, 1.0), (17, 1.5)])
def test_a_heavy_tail_is_covered_by_the_geometric_mean_where_the_mean_is_not(clusters, spread):
    rng, names = np.random.default_rng(clusters), np.arange(clusters)
    samples = rng.lognormal(0, spread, (300, clusters))
    found = [geometric_mean(one, names) for one in samples]
    assert np.mean([one.low <= 1 <= one.high for one in found]) > 0.925
    plain = [cluster_mean(one, names) for one in samples[:60]]
    truth = np.exp(spread**2 / 2)
    assert np.mean([one.low <= truth <= one.high for one in plain]) < 0.93


@pytest.mark.parametrize("clusters", [6, 8, 11, 17, 34])
def test_the_median_is_covered_whatever_the_distribution(clusters):
    rng = np.random.default_rng(clusters)
    names = np.arange(clusters)
    for draw, truth in ((rng.standard_cauchy, 0.0), (rng.standard_exponential, np.log(2))):
        found = [cluster_median(draw(clusters), names) for _ in range(300)]
        assert np.mean([one.low <= truth <= one.high for one in found]) > 0.92


def test_the_median_of_seventeen_has_the_ends_of_its_bootstrap():
    values = np.sort(np.random.default_rng(4).lognormal(0, 1, 17))
    one = cluster_median(values, np.arange(17))
    again = np.random.default_rng(5).integers(0, 17, (20_000, 17))
    low, high = np.quantile(np.median(values[again], axis=1), [0.025, 0.975], method="nearest")
    assert (one.low, one.high) == (values[4], values[12]) == (low, high)


def test_scenes_of_one_image_are_one_piece_of_evidence():
    one = cluster_median([1.0, 3.0, 10.0, 20.0], ["a", "a", "b", "c"])
    assert (one.mean, one.clusters, one.low, one.high) == (10.0, 3, -np.inf, np.inf)
    assert geometric_mean([1.0, 100.0, 10.0], ["a", "a", "b"]).mean == pytest.approx(10.0)


@pytest.mark.parametrize("function", [geometric_mean, cluster_median])
def test_degenerate_samples_have_no_interval_that_looks_sound(function):
    assert np.isnan(function([], []).mean) and function([], []).clusters == 0
    assert function([2.0], [0]).high == np.inf
    with pytest.raises(ValueError, match="NaN"):
        function([1.0, np.nan], [0, 1])
