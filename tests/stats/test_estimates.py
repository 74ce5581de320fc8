import numpy as np
import pytest
from scipy import stats

from cem_bench.stats.blocks import block_table
from cem_bench.stats.estimates import outer_interval, robust_interval, skew_interval, t_interval
from cem_bench.stats.stratified import stratified_interval
from cem_bench.stats.verdicts import NAMES, UNDECIDED, PValues, decide, false_discovery, p_values


def covered(make, draws, truth):
    one = make(draws)
    return float(((one.low <= truth) & (truth <= one.high)).mean())


def test_t_interval_is_scipys():
    draws = np.random.default_rng(0).normal(0.1, 0.3, 20)
    one, outside = t_interval(draws), stats.ttest_1samp(draws, 0).confidence_interval(0.95)
    np.testing.assert_allclose([float(one.low), float(one.high)], [outside.low, outside.high])


def test_intervals_cover_normal_draws_at_their_nominal_rate():
    draws = np.random.default_rng(1).normal(0.02, 0.1, (6000, 10))
    for make in (t_interval, skew_interval):
        assert 0.93 < covered(make, draws, 0.02) < 0.97


def test_skew_interval_covers_skewed_draws_better_than_t():
    draws = np.random.default_rng(2).lognormal(0, 1, (6000, 50))
    t, skew = (covered(make, draws, np.exp(0.5)) for make in (t_interval, skew_interval))
    assert t < 0.92
    assert skew > t + 0.01


def test_skewness_lengthens_an_outer_interval_and_never_shortens_it():
    draws = np.random.default_rng(11).lognormal(0, 1, (3000, 18))
    outer = outer_interval(draws)
    for one in (t_interval(draws), skew_interval(draws)):
        assert np.all((outer.low <= one.low) & (one.high <= outer.high))
    assert covered(outer_interval, draws, np.exp(0.5)) > covered(skew_interval, draws, np.exp(0.5))


def test_robust_interval_survives_zero_inflated_rounded_draws():
    rng = np.random.default_rng(3)
    pool = np.where(rng.random(1000) < 0.1, rng.normal(4e-4, 2e-4, 1000).round(4), 0.0)
    draws = pool[rng.integers(0, 1000, (2000, 50))]
    assert covered(robust_interval, draws, pool.mean()) > 0.93


def test_stratified_interval_is_narrower_and_covers():
    rng = np.random.default_rng(4)
    labels = np.stack([np.concatenate([rng.permutation(5) for _ in range(4)]) for _ in range(3000)])
    draws = labels + rng.normal(0, 0.3, labels.shape)
    one, plain = stratified_interval(draws, labels, 5), t_interval(draws)
    assert 0.93 < ((one.low <= 2) & (one.high >= 2)).mean() < 0.97
    assert np.median(one.high - one.low) < 0.3 * np.median(plain.high - plain.low)


@pytest.mark.parametrize("n", [5, 8, 13, 20, 27])
def test_a_part_of_a_sweep_is_narrower_than_uniform_draws_and_covers(n):
    rng = np.random.default_rng(n)
    order = rng.random((4000, 2, 20)).argsort(axis=-1).reshape(4000, 40)[:, :n]
    draws = 0.1 * order + rng.normal(0, 0.3, order.shape)
    one = stratified_interval(draws, order, 20)
    # a full sweep leaves the neighbours' differences alone to judge by, and a straight line is their worst case
    least = 0.90 if n == 20 else 0.93
    assert least < ((one.low <= 0.95) & (one.high >= 0.95)).mean() < 0.975
    plain = skew_interval(draws)
    assert np.median(one.high - one.low) < (0.93 if n < 10 else 0.8) * np.median(plain.high - plain.low)


def test_two_draws_a_stratum_are_covered_at_their_nominal_rate():
    rng = np.random.default_rng(10)
    labels = np.tile(np.arange(25), 2)
    draws = labels + rng.normal(0, 0.3, (4000, 50))
    one = stratified_interval(draws, np.broadcast_to(labels, draws.shape), 25)
    assert 0.94 < ((one.low <= 12) & (one.high >= 12)).mean() < 0.963
    assert 22 < np.median(one.df) <= 25


@pytest.mark.parametrize("draws", [[], [0.3], [0.0, 0.0, 0.0], [0.1] * 50], ids=["none", "one", "zeros", "equal"])
def test_degenerate_draws_are_undecided_never_a_number_that_looks_sound(draws):
    table = block_table({7: np.array(draws)})
    assert table.verdict.tolist() == [UNDECIDED]
    assert np.isnan(table.error[0])
    assert np.isinf([table.low[0], table.high[0], table.robust_low[0], table.robust_high[0]]).all()


def test_draws_that_were_not_run_are_an_error_that_names_the_block():
    with pytest.raises(ValueError, match="block 7: 1 of 2 draws"):
        block_table({7: np.array([0.1, np.nan])})


def test_an_empty_map_is_an_empty_table():
    assert len(block_table({}).verdict) == 0


def test_clear_blocks_get_their_verdicts():
    rng = np.random.default_rng(6)
    means = {0: 0.1, 1: -0.1, 2: 0.0, 3: 0.0101}
    table = block_table({block: rng.normal(mean, 0.01, 40) for block, mean in means.items()})
    assert [NAMES[code] for code in table.verdict] == ["positive", "negative", "none", "undecided"]
    assert table.counts() == {"positive": 1, "negative": 1, "none": 1, "undecided": 1}


def test_p_values_of_a_true_null_at_its_edge_are_uniform():
    draws = np.random.default_rng(7).normal(0.01, 0.005, (4000, 12))
    p = p_values(t_interval(draws), 0.01)
    # at the edge of the region each of the two claims is a one-sided test of a true null
    assert stats.kstest(p.none, "uniform").pvalue > 0.001
    assert abs((p.effect <= 0.05).mean() - 0.05) < 0.015


def test_false_discovery_of_null_maps_stays_at_most_nominal():
    draws = np.random.default_rng(8).normal(0.01, 0.02, (400, 60, 10))
    p = p_values(t_interval(draws), 0.01)
    claims = [np.abs(decide(PValues(*run))) == 1 for run in zip(p.effect, p.none, p.sign, strict=True)]
    assert np.mean([claim.any() for claim in claims]) <= 0.07


def test_by_rejects_no_more_than_bh_and_unknown_corrections_say_so():
    p = np.random.default_rng(9).beta(0.3, 3, 50)
    assert (false_discovery(p, correction="by") <= false_discovery(p)).all()
    with pytest.raises(ValueError, match="got 'holm'"):
        false_discovery(p, correction="holm")  # type: ignore[arg-type]
