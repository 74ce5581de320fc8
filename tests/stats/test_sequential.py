from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from cem_bench.run.build import CONF, register
from cem_bench.sampling.rules import Paper, Smoke, Uniform, asked
from cem_bench.sampling.sequential import FLAT, Sequential
from cem_bench.stats.blocks import block_table
from cem_bench.stats.estimates import outer_interval
from cem_bench.stats.looks import DOUBT_SHARE, interval, looks_of, p_values_over_looks
from cem_bench.stats.simulate import draw, load_gold, replay_fixed, replay_paper, replay_sequential, score

GOLD = sorted((Path(__file__).resolve().parents[2] / "results" / "statistics").glob("gold_*.npz"))
RUNS = 300  # at 60 the verdict on the smaller gold map is Monte Carlo noise


@pytest.fixture(scope="module", params=GOLD, ids=lambda path: path.stem)
def gold(request):
    return load_gold(request.param)


def run(rule, source):
    """Ask a rule round by round, as the instrument does; (blocks, draws) holds every draw it may ask for."""
    stored = {block: np.zeros(0) for block in range(len(source))}
    while requests := rule.next_round(stored):
        for request in requests:
            assert request.first == len(stored[request.block])
            stored[request.block] = source[request.block, : request.last]
    return stored


def source_of(seed=0):
    rng = np.random.default_rng(seed)
    mean = np.array([0.3, 0.05, 0.0, 0.0, -0.2, 0.011])
    spread = np.array([0.2, 0.02, 1e-4, 0.004, 0.1, 0.02])
    return mean[:, None] + spread[:, None] * rng.standard_normal((6, 400))


def test_paper_rule_asks_for_fine_draws_only_where_a_coarse_one_reached_tol():
    source = np.zeros((2, 53))
    source[1, 2] = -0.01
    rule = Paper()
    stored = run(rule, source)
    assert [len(draws) for draws in stored.values()] == [3, 53]
    np.testing.assert_array_equal(rule.estimate(stored[1]), source[1, 3:])


@pytest.mark.parametrize(("rule", "draws"), [(Uniform(7), 7), (Smoke(), 2)])
def test_fixed_rules_ask_once_and_are_done(rule, draws):
    assert all(len(part) == draws for part in run(rule, source_of()).values())
    assert rule.worst_case(6) == 6 * draws


@pytest.mark.parametrize(
    "rule", [Paper(), Uniform(20), Sequential(), Sequential(budget=60), Sequential(half_width=0.05)]
)
def test_asking_again_in_the_middle_changes_nothing(rule):
    source = source_of()
    whole, stored = run(rule, source), {block: np.zeros(0) for block in range(6)}
    while requests := asked(rule, stored)[1]:
        # killed after any one unit of a round
        one = requests[0]
        assert one.first == len(stored[one.block])
        stored[one.block] = source[one.block, : one.last]
    assert {block: len(draws) for block, draws in stored.items()} == {b: len(d) for b, d in whole.items()}


@pytest.mark.parametrize("rule", [Paper(), Uniform(20), Sequential(), Sequential(budget=60), Sequential(minimum=4)])
@pytest.mark.parametrize("others", [[6] * 6, [400] * 6, [0, 1, 7, 33, 400, 2]])
def test_what_else_is_stored_has_no_part_in_what_a_rule_takes(rule, others):
    source = source_of()
    stored = {block: source[block, :n] for block, n in enumerate(others)}
    while requests := asked(rule, stored)[1]:
        stored |= {r.block: source[r.block, : r.last] for r in requests}
    taken, whole = asked(rule, stored)[0], run(rule, source)
    assert {block: len(draws) for block, draws in taken.items()} == {b: len(d) for b, d in whole.items()}


def test_sequential_keeps_minimum_maximum_and_budget():
    rule = Sequential(minimum=4, maximum=50, budget=90)
    lengths = [len(draws) for draws in run(rule, source_of()).values()]
    assert min(lengths) >= 4
    assert max(lengths) <= 50
    assert sum(lengths) <= 90


def test_two_equal_draws_are_too_few_to_give_a_block_up():
    lengths = [len(draws) for draws in run(Sequential(), np.repeat([[0.0], [0.3]], 40, axis=1)).values()]
    assert lengths == [FLAT, FLAT]
    source = np.full((1, 40), 0.05)
    source[0, 2:] += np.random.default_rng(14).normal(0, 1e-3, 38)
    assert block_table(run(Sequential(), source), looks=Sequential().looks).counts()["positive"] == 1


def test_a_rule_of_few_draws_claims_an_effect_at_its_last_look():
    source = 0.3 + 0.01 * np.random.default_rng(15).standard_normal((3, 5))
    rule = Sequential(maximum=5)
    assert block_table(run(rule, source), looks=rule.looks).counts()["positive"] == 3


def test_half_width_mode_reaches_the_half_width():
    rule = Sequential(half_width=0.05, maximum=400)
    table = block_table(run(rule, source_of()), looks=rule.looks)
    assert np.all(table.high - table.low <= 0.1 * 1.15)
    assert table.n.min() >= 12, "fewer draws that look alike do not count as precise"


def test_expected_draws_fall_as_draws_come_in():
    rule, source = Sequential(), source_of()
    need = [sum(rule.draws_needed({b: source[b, :n] for b in range(6)}).values()) for n in (0, 3, rule.maximum)]
    assert need[0] == rule.worst_case(6)
    assert need[0] > need[1] > need[2] == 0


def test_looks_grow_to_the_maximum():
    assert looks_of(3, 32, 2.0) == (3, 6, 12, 24, 32)
    assert Sequential().looks == (2, 3, 5, 8, 12, 18, 27, 41, 50)
    with pytest.raises(ValueError, match="2 <= minimum"):
        looks_of(1, 10)


def test_peeking_at_every_look_keeps_the_level():
    draws = np.random.default_rng(3).normal(0.01, 0.01, (4000, 32))
    p = p_values_over_looks(draws, 0.01, looks_of(2, 32))
    assert (p.effect <= 0.05).mean() <= 0.05
    assert (p.none <= 0.05).mean() <= 0.05


def test_only_a_stop_in_doubt_pays():
    looks, rng = looks_of(2, 34), np.random.default_rng(12)
    sure, doubtful = rng.normal(0, 1e-5, 3), rng.normal(0, 3e-4, 3)
    for draws, level in ((sure, 0.95), (doubtful, 1 - 0.05 * DOUBT_SHARE), (rng.normal(0.012, 0.03, 34), 0.95)):
        one, fixed = interval(draws, None, looks=looks, tol=0.01), outer_interval(draws, level)
        assert (one.low, one.high) == (fixed.low, fixed.high)
    # a half-width says nothing of verdicts: every early stop counts as doubt
    one, fixed = interval(sure, None, looks=looks), outer_interval(sure, 1 - 0.05 * DOUBT_SHARE)
    assert (one.low, one.high) == (fixed.low, fixed.high)


@pytest.mark.parametrize("labelled", [False, True], ids=["uniform", "stratified"])
def test_a_block_of_few_large_effects_is_covered_after_stopping(labelled):
    """The least favourable kind of the gold maps: calm draws stop it early and lack the rare large ones."""
    rng = np.random.default_rng(13)
    pool = rng.lognormal(-7.5, 1.1, (1, 1000))
    strata = np.sort(rng.permutation(1000) % 25) if labelled else None
    looks = Sequential().looks
    draws, labels = draw(pool, 1500, 34, rng, strata)
    found = replay_sequential(draws, pool.mean(axis=1), looks, labels)
    assert (found.draws < 34).mean() > 0.5
    assert found.covered.mean() > 0.88


def test_replay_equals_the_rule_asked_round_by_round(gold):
    rule = Sequential()
    draws, labels = draw(gold.effects, 2, rule.maximum, np.random.default_rng(0), gold.strata)
    assert labels is not None
    outcome = replay_sequential(draws[:1], gold.truth, rule.looks, labels[:1])
    stored = {block: np.zeros(0) for block in range(len(gold.blocks))}
    while requests := rule.next_round(stored, {b: labels[0, b, : len(d)] for b, d in stored.items()}):
        for request in requests:
            stored[request.block] = draws[0, request.block, : request.last]
    table = block_table(stored, looks=rule.looks, labels={b: labels[0, b, : len(d)] for b, d in stored.items()})
    np.testing.assert_array_equal(outcome.draws[0], table.n)
    np.testing.assert_array_equal(outcome.verdict[0], table.verdict)


def test_blocks_of_any_lengths_are_judged_as_each_alone():
    rng, looks = np.random.default_rng(16), Sequential().looks
    effects = {block: rng.normal(0.02, 0.01, n) for block, n in enumerate((5, 0, 12, 5, 2, 1, 12, 34))}
    labels = {block: rng.integers(0, 25, len(draws)) for block, draws in effects.items()}
    labels[7][0] = 24  # so that a block alone and all of them together tell of the same strata
    whole = block_table(effects, looks=looks, labels=labels)
    for place, (block, draws) in enumerate(effects.items()):
        alone = block_table({block: draws, 7: effects[7]}, looks=looks, labels={block: labels[block], 7: labels[7]})
        for name in ("n", "mean", "low", "high", "robust_low", "below_resolution"):
            np.testing.assert_allclose(getattr(whole, name)[place], getattr(alone, name)[0], rtol=1e-12)


def test_coverage_at_50_draws_of_a_gold_map(gold):
    draws, _ = draw(gold.effects, RUNS, 50, np.random.default_rng(1))
    assert 0.93 < score(replay_fixed(draws, gold.truth), gold)["coverage"] < 0.97


# the rule was tuned on local networks; where the whole image mixes, more blocks lie near tol
DRAWS_OF_PAPER = {"gold_rcan_dn_ca": 0.6}


def test_half_the_draws_of_the_paper_rule_at_no_more_errors(gold, request):
    draws, _ = draw(gold.effects, RUNS, 53, np.random.default_rng(2))
    paper = score(replay_paper(draws, gold.truth), gold)
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["sampling=stratified"])
    rule = instantiate(config.sampling)
    assert config.donors.strata == len(np.unique(gold.strata))
    draws, labels = draw(gold.effects, RUNS, rule.maximum, np.random.default_rng(3), gold.strata)
    ours = score(replay_sequential(draws, gold.truth, rule.looks, labels), gold)
    assert ours["draws"] <= DRAWS_OF_PAPER.get(request.node.callspec.id, 0.5) * paper["draws"]
    # two standard errors of the difference over RUNS runs
    assert ours["missed"] + ours["false"] <= paper["missed"] + paper["false"] + 0.15
    assert ours["fdr"] <= 0.05
    assert ours["miss_rate"] <= rule.miss_probability
    assert ours["contradictory"] <= 0.03
    if request.node.callspec.id not in DRAWS_OF_PAPER:
        assert paper["contradictory"] > 0.03
        assert ours["coverage"] < 0.975
    assert ours["coverage"] > 0.93
    # the least of 20 to 72 blocks of RUNS runs each: two standard errors below what the full run of 1,000 has to reach
    assert ours["coverage_worst"] > 0.865
