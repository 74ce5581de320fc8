"""Sums and shares of maps: laws, the side of every bias, coverage on enumerated maps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.prove_shares import distances, prove
from cem_bench.stats.shares import map_shares
from cem_bench.stats.simulate import draw, load_gold

GOLD = sorted((Path(__file__).parents[2] / "results/statistics").glob("gold_*.npz"))


def summed(truth: np.ndarray, far: np.ndarray) -> dict[str, float]:
    """The numbers of a map whose mean effects are known."""
    size = np.abs(truth).sum()
    negative, beyond = -np.minimum(truth, 0).sum(), np.abs(truth)[far].sum()
    sums = {"positive_sum_db": np.maximum(truth, 0).sum(), "negative_sum_db": negative, "size_sum_db": size}
    return sums | {"far_sum_db": beyond, "harm_share": negative / size, "far_share": beyond / size}


def test_draws_without_noise_give_the_numbers_themselves():
    truth = np.array([1.0, -0.5, 0.25, -0.25])
    exact = {block: effect + 1e-9 * np.array([-1.0, 0.0, 1.0, 0.0]) for block, effect in enumerate(truth)}
    found = map_shares(exact, {0: 0.0, 1: 8.0, 2: 24.0, 3: 16.0})
    expected = summed(truth, np.array([False, False, True, False]))
    assert expected["harm_share"] == 0.375 and expected["far_share"] == 0.125
    for name, one in found.items():
        assert (one.value, one.floor, one.ceiling) == pytest.approx((expected[name],) * 3, abs=1e-8)
        assert one.low <= one.value <= one.high


def test_shares_do_not_know_the_scale_nor_the_order_and_harm_turns_with_the_sign():
    rng = np.random.default_rng(0)
    effects = {block: rng.normal(rng.normal(0, 1), 0.5, 4 + block % 3) for block in range(30)}
    distance = {block: float(block) for block in range(30)}
    one = map_shares(effects, distance)
    scaled = map_shares({block: 7 * draws for block, draws in effects.items()}, distance)
    back = map_shares(dict(reversed(effects.items())), distance)
    turned = map_shares({block: -draws for block, draws in effects.items()}, distance)
    for name in ("harm_share", "far_share"):
        fields = [vars(found[name]).values() for found in (one, scaled, back)]
        np.testing.assert_allclose(list(fields[1]), list(fields[0]))
        np.testing.assert_allclose(list(fields[2]), list(fields[0]))
    assert turned["harm_share"].value == pytest.approx(1 - one["harm_share"].value)
    assert turned["negative_sum_db"].value == pytest.approx(one["positive_sum_db"].value)
    sums = (one["positive_sum_db"].value + one["negative_sum_db"].value, one["size_sum_db"].value)
    assert sums[0] == pytest.approx(sums[1])


def test_a_map_of_noise_has_no_shares():
    rng = np.random.default_rng(1)
    maps = [{block: rng.normal(0, 1, 6) for block in range(60)} for _ in range(60)]
    found = [map_shares(one, dict.fromkeys(one, 32.0)) for one in maps]
    assert np.mean([np.isnan(one["harm_share"].value) for one in found]) > 0.9
    assert abs(np.mean([one["size_sum_db"].floor for one in found])) < 1.0  # the plain sum of |mean| is 20
    assert np.mean([one["size_sum_db"].ceiling for one in found]) > 15
    assert all(
        (one["harm_share"].low, one["harm_share"].high) == (0, 1) for one in found if np.isnan(one["harm_share"].value)
    )


@pytest.mark.parametrize("draws", [[], [1.0]])
def test_a_block_that_its_draws_cannot_tell_leaves_the_map_unknown(draws):
    found = map_shares({0: np.array([1.0, 1.1]), 1: np.array(draws)}, {0: 0.0, 1: 8.0})
    assert all(np.isnan(one.value) for one in found.values())
    assert (found["size_sum_db"].low, found["harm_share"].low, found["harm_share"].high) == (-np.inf, 0, 1)


@pytest.mark.parametrize("count", [4, 10, 20])
def test_noise_alone_passes_for_a_size_as_rarely_as_it_should(count):
    """Signs that single draws turn vary too: with the spread of the signed draws alone it was one map in seven."""
    rng = np.random.default_rng(count)
    maps = [{block: rng.normal(0, 1, count) for block in range(40)} for _ in range(200)]
    assert np.mean([map_shares(one, dict.fromkeys(one, 8.0))["size_sum_db"].low > 0 for one in maps]) < 0.07


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no distance"):
        map_shares({0: np.ones(3)}, {1: 0.0})
    with pytest.raises(ValueError, match="NaN"):
        map_shares({0: np.array([1.0, np.nan])}, {0: 0.0})


@pytest.mark.parametrize("count", [4, 10])
@pytest.mark.parametrize("path", GOLD, ids=lambda path: path.stem)
def test_floor_and_ceiling_hold_the_truth_and_the_interval_covers_it(path, count):
    gold = load_gold(path)
    far = np.arange(len(gold.blocks)) % 3 == 0
    distance = {block: 24.0 if far[block] else 8.0 for block in range(len(far))}
    draws, _ = draw(gold.effects, 100, count, np.random.default_rng(count))
    found = [map_shares(dict(enumerate(one)), distance) for one in draws]
    for name, truth in summed(gold.truth, far).items():
        floor, ceiling = (np.mean([getattr(one[name], side) for one in found]) for side in ("floor", "ceiling"))
        if name.endswith("_db"):
            noise = 3 * np.std([one[name].value for one in found]) / 10
            assert floor - noise <= truth <= ceiling + noise
        covered = np.mean([one[name].low <= truth <= one[name].high for one in found])
        assert covered >= 0.87, (name, covered)


def test_the_harm_of_four_draws_is_no_quarter_of_the_truth():
    """Cross-fit halves saw 0.06 to 0.08 of FSRCNN's 0.262 dB at 4 draws."""
    gold = load_gold(next(path for path in GOLD if "fsrcnn" in path.stem))
    draws, _ = draw(gold.effects, 100, 4, np.random.default_rng(0))
    distance = dict.fromkeys(range(len(gold.blocks)), 8.0)
    harm = np.mean([map_shares(dict(enumerate(one)), distance)["negative_sum_db"].value for one in draws])
    assert 0.17 < harm < 0.3


def test_the_proof_measures_both_estimators_against_the_enumerated_map(capsys):
    gold = load_gold(next(path for path in GOLD if "ffdnet" in path.stem))
    table = prove("ffdnet", gold, 20, 4)
    assert set(table["draws"]) == {4, 6, 10, 20, 50, "sequential", "stratified"}
    assert set(table["estimator"]) == {"bracket", "halves"}
    harm = table[(table["quantity"] == "negative_sum_db") & (table["draws"] == 50)].iloc[0]
    assert harm["truth"] == pytest.approx(-np.minimum(gold.truth, 0).sum())
    assert harm["bias"] == pytest.approx(harm["mean"] - harm["truth"]) and abs(harm["bias"]) < 0.1 * harm["truth"]
    assert distances(gold).max() <= 24  # FFDNet reads 24 px


def test_the_recorded_proof_holds_at_every_number_of_draws():
    """What a claim may rest on: `results/statistics/shares.csv`, written by benchmarks/prove_shares.py."""
    table = pd.read_csv(Path(__file__).parents[2] / "results/statistics/shares.csv")
    bracket = table[table["estimator"] == "bracket"]
    assert set(bracket["map"]) == {path.stem.removeprefix("gold_") for path in GOLD}
    # a sequential rule stops where draws look decided: sums rise by up to 3 %, the bracket is of fixed numbers
    sums = bracket[bracket["quantity"].str.endswith("_db") & bracket["draws"].str.isdigit()]
    noise = 3 * sums["sd"] / sums["runs"] ** 0.5
    assert (sums["floor"] - noise <= sums["truth"]).all() and (sums["truth"] <= sums["ceiling"] + noise).all()
    assert bracket["coverage"].min() >= 0.88
    harm = bracket[bracket["quantity"].isin(["negative_sum_db", "harm_share"])]
    assert (harm["bias"].abs() <= np.where(harm["draws"] == "4", 0.3, 0.15) * harm["truth"]).all()
    assert bracket[["quantity", "coverage"]].groupby("quantity").mean()["coverage"].min() >= 0.93
