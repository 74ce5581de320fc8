"""Degenerate input to every public estimator: undecided, unknown or an error, never a number that looks sound."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import cem_bench.stats
from cem_bench.stats import compare, decay, estimates, halves, looks, repeat, sanity, stratified, summaries
from cem_bench.stats.blocks import block_table
from cem_bench.stats.strata import strata_of_patches
from cem_bench.stats.verdicts import UNDECIDED, PValues, decide, false_discovery

FEW = {"none": [], "one": [0.3], "equal": [0.3] * 12}
LOOKS = (2, 3, 5, 8, 13)
# what has no estimand: plans, draws, donors' groups, and the replays that measure the rest
HELPERS = {"looks_of", "strata_count", "orders", "donor_features", "strata_of_patches", "draw", "load_gold"}


def labelled(draws, confidence=0.95):
    return stratified.stratified_interval(draws, np.arange(len(draws)) % 5, 5, confidence)


def looked(draws):
    return looks.interval(np.asarray(draws), None, looks=LOOKS)


PLAIN = [estimates.t_interval, estimates.skew_interval, estimates.outer_interval, estimates.robust_interval]
INTERVALS = [*PLAIN, labelled, looked]


@pytest.mark.parametrize("draws", FEW.values(), ids=FEW)
@pytest.mark.parametrize("make", INTERVALS, ids=lambda make: make.__name__)
def test_intervals(make, draws):
    one = make(np.array(draws))
    assert np.isnan(one.error)
    assert (one.low, one.high) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="NaN or infinite"):
        make(np.array([*draws, np.nan]))


@pytest.mark.parametrize("draws", FEW.values(), ids=FEW)
def test_p_values_and_verdicts(draws):
    effects = {4: np.array(draws)}
    for planned in ((), LOOKS):
        p = looks.sequential_p_values(effects, 0.01, planned)
        assert (p.effect.tolist(), p.none.tolist()) == ([1.0], [1.0])
        assert block_table(effects, looks=planned).verdict.tolist() == [UNDECIDED]
    p = looks.look_p_values(effects[4], 0.01, LOOKS)
    assert np.all(p.effect == 1)
    assert np.all(p.none == 1)
    table = compare.difference_table(effects, {4: np.zeros(len(draws))})
    assert table.verdict.tolist() == [UNDECIDED]
    with pytest.raises(ValueError, match="are NaN"):
        looks.sequential_p_values({4: np.array([*draws, np.nan])}, 0.01)


def test_families_without_a_block_and_p_values_that_are_none():
    none = np.zeros(0)
    assert decide(PValues(none, none, none.astype(int))).tolist() == []
    assert false_discovery(none).tolist() == []
    assert len(compare.difference_table({1: np.ones(3)}, {2: np.ones(3)}).verdict) == 0
    with pytest.raises(ValueError):
        false_discovery([0.1, np.nan])


@pytest.mark.parametrize("values", [[], [0.3], [0.3] * 3], ids=["none", "one", "equal"])
def test_sign_flips_of_few_are_no_evidence(values):
    assert compare.sign_flip(values) >= 0.25
    with pytest.raises(ValueError, match="NaN"):
        compare.sign_flip([*values, np.nan])


@pytest.mark.parametrize("shape", [(1, 0), (2, 0), (1, 1), (3, 2)])
def test_too_few_images_or_trainings_have_no_interval(shape):
    one = compare.crossed_mean(np.random.default_rng(0).normal(size=shape))
    assert (one.low, one.high) == (-np.inf, np.inf)
    flat = compare.crossed_mean(np.full((3, 6), 0.2))
    assert (flat.low, flat.high) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="NaN"):
        compare.crossed_mean(np.full((2, 5), np.nan))
    with pytest.raises(ValueError, match="at least one training"):
        compare.crossed_mean(np.zeros((0, 5)))


@pytest.mark.parametrize(("scenes", "spread"), [(1, 1.0), (3, 1.0), (9, 0.0)])
def test_decay_of_few_or_equal_clusters_has_no_band(scenes, spread):
    curves = 1 + spread * np.random.default_rng(0).normal(size=(scenes, 4))
    found = decay.compare_decay(curves, np.zeros((scenes, 4)), np.arange(scenes))
    assert np.isinf([found.low, found.high]).all()
    assert found.p >= 0.25
    one_image = decay.compare_decay(np.random.default_rng(1).normal(size=(9, 4)), np.zeros((9, 4)), ["a"] * 9)
    assert np.isinf([one_image.low, one_image.high]).all()
    with pytest.raises(ValueError, match="NaN"):
        decay.compare_decay(np.full((2, 4), np.nan), np.zeros((2, 4)), [0, 1])
    with pytest.raises(ValueError, match="1 or more"):
        decay.compare_decay(np.zeros((0, 4)), np.zeros((0, 4)), [])


def test_rings_keep_what_is_unknown():
    rings, sizes = decay.decay([np.nan, 1.0, 3.0], [8.0, 16.0, 16.0])
    assert (rings.tolist(), sizes[1]) == ([8.0, 16.0], 2.0)
    assert np.isnan(sizes[0])
    assert [len(part) for part in decay.decay([], [])] == [0, 0]
    assert np.isnan(summaries.radius(np.zeros(0), np.zeros(0), 0.9))


@pytest.mark.parametrize("draws", FEW.values(), ids=FEW)
def test_summaries_of_a_map(draws):
    found = summaries.map_summary({4: np.array(draws)}, {4: 8.0})
    assert all(np.isnan([one.low, one.high]).all() for one in found.values())
    assert len(draws) > 1 or np.isnan(found["size_db"].value)
    with pytest.raises(ValueError, match="NaN"):
        summaries.map_summary({4: np.array([*draws, np.nan])}, {4: 8.0})
    with pytest.raises(ValueError, match="NaN"):
        halves.halves({4: np.array([*draws, np.nan])})


@pytest.mark.parametrize("sizes", [[], [0.0, 0.0], [np.nan, 1.0]], ids=["none", "zeros", "nan"])
def test_shape_of_nothing_is_unknown(sizes):
    assert np.isnan([summaries.gini(np.array(sizes)), summaries.diffusion_index(np.array(sizes))]).all()
    pair = halves.Halves(np.array(sizes), np.array(sizes), np.full(len(sizes), 2.0))
    assert np.isnan(summaries.cross_fit_gini(pair))


@pytest.mark.parametrize("pairs", [np.zeros((0, 2)), [[0.1, 0.2]], np.full((9, 2), 0.3)], ids=["none", "one", "equal"])
def test_repeatability_of_few_or_equal_blocks_is_unknown(pairs):
    one = repeat.repeatability(pairs)
    assert np.isnan([one.icc, one.correlation, one.low, one.high]).all()
    assert repeat.repeatability([[np.nan, 0.1]]).blocks == 0
    with pytest.raises(ValueError, match="infinite"):
        repeat.repeatability([[np.inf, 0.1]])


@pytest.mark.parametrize("draws", FEW.values(), ids=FEW)
def test_deletion(draws):
    joint = np.tile(np.array(draws), (2, 1))
    curve, gap = sanity.deletion_curve([1, 2], joint), sanity.deletion_gap(joint, np.zeros_like(joint))
    assert np.isinf([curve.effect.low, curve.effect.high]).all()
    assert np.isinf([float(curve.area.low), float(curve.area.high), gap.low, gap.high]).all()
    assert gap.verdict == ("undecided" if len(draws) > 5 else "too few draws")
    with pytest.raises(ValueError, match="NaN"):
        sanity.deletion_gap(np.full((2, 3), np.nan), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        sanity.deletion_curve([1], [[np.nan]])


def test_halves_of_a_pool_need_a_draw_in_each():
    none, one, some = np.zeros(0), np.ones(1), np.ones(4)
    donors = {0: none.astype(int), 1: one.astype(int), 2: np.zeros(4, int)}
    assert sanity.pool_halves({0: none, 1: one, 2: some}, donors, 2).shape == (0, 2)
    with pytest.raises(ValueError, match="NaN"):
        sanity.pool_halves({0: np.full(40, np.nan)}, {0: np.arange(40)}, 40)


@pytest.mark.parametrize("blocks", [0, 1, 3, 9])
def test_likeness_of_few_or_equal_blocks_is_unknown(blocks):
    found = sanity.randomisation(np.full(blocks, 0.3), np.full((blocks, 2), 0.3), {"all": np.full(blocks, 0.3)})
    assert np.isnan([found.spearman, found.low, found.high]).all()
    with pytest.raises(ValueError, match="NaN"):
        sanity.randomisation([np.nan], [[0.1, 0.1]], {})


@pytest.mark.parametrize("shape", [(0, 3, 4), (5, 1, 4), (5, 3, 1), (5, 3, 4)])
def test_noise_share_of_few_or_equal_draws_is_unknown(shape):
    found = sanity.noise_share(np.full(shape, 0.3))
    assert np.isnan([found.whole, found.low, found.high]).all()
    with pytest.raises(ValueError, match="NaN"):
        sanity.noise_share(np.full((2, 2, 2), np.nan))


def test_more_strata_than_the_pool_holds_or_was_said():
    with pytest.raises(ValueError, match="use at most 2 strata"):
        strata_of_patches(np.zeros((5, 8, 8, 3), np.uint8), 3)
    with pytest.raises(ValueError, match="got 0 to 2, expected 0 to 1"):
        stratified.stratified_interval([0.1, 0.2], [0, 2], 2)


def estimators():
    for found in pkgutil.iter_modules(cem_bench.stats.__path__):
        module = importlib.import_module(f"cem_bench.stats.{found.name}")
        for name in module.__all__:
            made_here = (
                inspect.isfunction(getattr(module, name)) and getattr(module, name).__module__ == module.__name__
            )
            if made_here and name not in HELPERS and found.name != "simulate":
                yield pytest.param(getattr(module, name), id=name)


@pytest.mark.parametrize("function", list(estimators()))
def test_every_estimator_states_what_of_and_whence(function):
    said = inspect.getdoc(function) or ""
    assert all(f"\n{part}: " in said for part in ("Estimand", "Assumes", "Source"))
