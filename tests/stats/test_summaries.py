import numpy as np
import pytest

from cem_bench.stats.halves import halves
from cem_bench.stats.repeat import repeatability
from cem_bench.stats.summaries import cross_fit_gini, diffusion_index, gini, map_summary, radius


def test_noise_alone_has_no_size_where_sums_of_absolute_values_do():
    rng = np.random.default_rng(0)
    crossed, plain, peaks = [], [], []
    for _ in range(200):
        pair = halves({block: rng.normal(0, 1, 10) for block in range(20)})
        crossed.append(pair.size.sum())
        plain.append(np.abs(pair.mean).sum())
    for seed in range(12):
        effects = {block: np.random.default_rng(seed).normal(0, 1, 10) for block in range(20)}
        peaks.append(map_summary(effects, dict.fromkeys(effects, 1.0))["peak_db"].value)
    error = np.std(crossed) / np.sqrt(len(crossed))
    assert abs(np.mean(crossed)) < 4 * error
    assert np.mean(plain) > 20 * error
    assert abs(np.mean(peaks)) < 0.5


def test_halves_take_every_draw_once_whatever_the_counts():
    rng = np.random.default_rng(1)
    draws = {0: rng.normal(size=7), 1: rng.normal(size=4), 2: np.array([0.3]), 3: np.empty(0)}
    pair = halves(draws)
    np.testing.assert_allclose(pair.mean[:3], [draws[block].mean() for block in range(3)])
    assert np.isnan([pair.second[2], pair.size[2], pair.first[3], pair.mean[3]]).all()


def test_numbers_of_a_clear_map_are_its_sums_and_lie_in_their_intervals():
    rng = np.random.default_rng(1)
    truth = np.array([1.0, 0.5, -0.3, 0.0])
    effects = {b: mean + rng.normal(0, 0.01, 50) for b, mean in enumerate(truth)}
    parts = map_summary(effects, {0: 8.0, 1: 8.0, 2: 16.0, 3: 24.0, 9: 32.0}, reach=24)
    known = {"positive_mass_db": 1.5, "negative_mass_db": 0.3, "net_mass_db": 1.2, "size_db": 1.8, "peak_db": 1.0}
    for name, value in (known | {"far_mass_db": 0.0, "gini": gini(np.append(np.abs(truth), 0.0))}).items():
        assert parts[name].low <= value <= parts[name].high
    assert parts["share_outside_reach"].value == 0
    assert (parts["r50_px"].value, parts["r90_px"].value) == (pytest.approx(4.8, abs=0.1), pytest.approx(11.2, abs=0.2))


def test_resampled_halves_vary_as_fresh_draws_would():
    rng = np.random.default_rng(2)
    effects = {block: rng.normal(0, 1, 10) for block in range(4000)}
    apart = [halves(effects, rng).first - halves(effects).first for _ in range(10)]
    # five draws resampled as five would vary by 0.16, four fifths of this
    assert np.mean(np.square(apart)) == pytest.approx(1 / 5, rel=0.05)


def test_a_block_with_one_draw_leaves_no_number_that_looks_sound():
    parts = map_summary({0: np.array([1.0, 1.0]), 1: np.array([0.5])}, {0: 8.0, 1: 8.0})
    unknown = [parts[name].value for name in ("positive_mass_db", "size_db", "peak_db", "gini", "r50_px")]
    assert np.isnan(unknown).all()
    with pytest.raises(ValueError, match="block 1 and 0 more have draws but no distance"):
        map_summary({1: np.ones(2)}, {})


def test_summaries_of_noisy_maps_cover_the_truth():
    rng, inside = np.random.default_rng(3), []
    truth = np.concatenate([rng.exponential(0.1, 12), -rng.exponential(0.05, 6), np.zeros(12)])
    far = dict.fromkeys(range(30), 8.0)
    known = {"positive_mass_db": truth[truth > 0].sum(), "net_mass_db": truth.sum(), "size_db": np.abs(truth).sum()}
    for seed in range(30):
        noise = np.random.default_rng(seed).normal(0, 0.05, (30, 20))
        parts = map_summary({b: truth[b] + noise[b] for b in range(30)}, far, resample_seed=seed)
        inside.append([parts[name].low <= value <= parts[name].high for name, value in known.items()])
    assert np.mean(inside, axis=0).min() > 0.85


def test_shapes_of_known_maps():
    assert gini(np.ones(10)) == pytest.approx(0)
    assert gini(np.eye(10)[0]) == pytest.approx(0.9)
    assert np.isnan(gini(np.zeros(3)))
    assert diffusion_index(np.eye(8)[:, :1] * 5.0) == pytest.approx(100 / 8)
    distance = np.array([8, 8, 16, 24])
    assert radius(np.ones(4), distance, 0.5) == pytest.approx(8)
    assert 16 < radius(np.array([0, 0, 0, 1.0]), distance, 0.9) <= 24
    assert np.isnan(radius(np.array([-1.0, 0, 0, 0]), distance, 0.5))


def test_noise_does_not_make_a_flat_map_look_concentrated():
    rng = np.random.default_rng(4)
    pair = halves({block: rng.normal(0.1, 0.1, 8) for block in range(2000)})
    assert gini(np.abs(pair.mean)) > 0.18
    assert abs(cross_fit_gini(pair)) < 0.06


def test_repeatability_of_the_same_and_of_other_halves():
    truth = np.random.default_rng(6).normal(0, 0.1, 100)
    same = repeatability(np.stack([truth, truth], 1))
    assert (same.flip_rate, same.icc) == (0, pytest.approx(1))
    other = repeatability(np.random.default_rng(7).normal(0, 0.1, (400, 2)))
    assert abs(other.icc) < 0.15
    assert other.low < 0 < other.high
    assert other.flip_rate > 0.4


def test_few_flat_or_missing_halves_have_no_correlation():
    assert np.isnan(repeatability(np.zeros((10, 2))).correlation)
    assert repeatability([[1.0, 2.0], [np.nan, 1.0]]).blocks == 1
