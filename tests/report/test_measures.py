"""Laws of the numbers in the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cem_bench.report import claims
from cem_bench.report.lam_rows import diffusion_index
from cem_bench.report.measures import halves, measure_cell, over_images, radius, ring_distance, sizes
from cem_bench.report.tables import cells_table, difference, sign_flip_p, summary_table

BLOCKS = [*range(64)]


def live() -> list[int]:
    roi = {row * 8 + column for row in (3, 4) for column in (3, 4)}
    return [block for block in BLOCKS if block not in roi]


def test_masses_of_certain_effects_are_their_sums(make) -> None:
    effects = {block: np.full(6, 0.0) for block in live()}
    effects[0], effects[1], effects[63] = np.full(6, 0.5), np.full(6, -0.2), np.full(6, 0.1)
    row = measure_cell(make(effects))
    assert row["positive_mass_db"] == pytest.approx(0.6, abs=1e-12)
    assert row["negative_mass_db"] == pytest.approx(0.2, abs=1e-12)
    assert row["net_mass_db"] == pytest.approx(0.4, abs=1e-12)
    assert row["max_db"] == pytest.approx(0.5)
    assert row["min_db"] == pytest.approx(-0.2)


def test_noise_alone_has_no_size(rng: np.random.Generator) -> None:
    """Cross-fit sizes of pure noise average to zero, while plain ones do not."""
    crossed, plain = [], []
    for _ in range(300):
        draws = {block: rng.normal(0, 1, 10) for block in range(20)}
        pair = halves(draws)
        crossed.append(sizes(pair).sum())
        plain.append(np.abs((pair[0] + pair[1]) / 2).sum())
    error = np.std(crossed) / np.sqrt(len(crossed))
    assert abs(np.mean(crossed)) < 4 * error
    assert np.mean(plain) > 20 * error


def test_halves_take_every_draw_once_whatever_the_counts(rng: np.random.Generator) -> None:
    draws = {0: rng.normal(size=7), 1: rng.normal(size=4), 2: np.array([0.3]), 3: np.empty(0)}
    first, second = halves(draws)
    assert (4 * first[0] + 3 * second[0]) / 7 == pytest.approx(draws[0].mean())
    assert (first[1] + second[1]) / 2 == pytest.approx(draws[1].mean())
    assert first[2] == 0.3
    assert np.isnan([second[2], first[3], second[3]]).all()


def test_distance_is_zero_in_the_roi_and_a_block_beside_it(make) -> None:
    distance = ring_distance(make({0: np.zeros(2)})).reshape(8, 8)
    assert set(distance[3:5, 3:5].ravel()) == {0}
    assert distance[2, 2] == distance[3, 2] == distance[5, 4] == 8
    assert distance[0, 0] == 24
    assert distance[7, 7] == 24
    assert np.array_equal(distance, distance.T)


def test_radius_holds_the_share() -> None:
    distance = np.array([8, 8, 16, 24])
    assert radius(np.array([1.0, 1.0, 0, 0]), distance, 0.9) <= 8
    assert radius(np.array([0, 0, 0, 1.0]), distance, 0.9) > 16
    spread = np.array([1.0, 1.0, 1.0, 1.0])
    assert radius(spread, distance, 0.5) == pytest.approx(8)
    assert radius(spread, distance, 0.5) < radius(spread, distance, 0.9)
    assert np.isnan(radius(np.array([-1.0, 0, 0, 0]), distance, 0.5))


def table(make, rng: np.random.Generator) -> pd.DataFrame:
    cells = []
    for index, image in enumerate(("coffee", "rocket", "chelsea", "astronaut")):
        for model, size in (("A", 0.3), ("B", 0.1)):
            effects = {block: rng.normal(size * (block == 0), 0.01, 6) for block in live()}
            cells.append(make(effects, model=model, image=image, psnr=30.0 + index + size))
    return cells_table(cells)


def test_swapping_models_negates_the_difference(make, rng: np.random.Generator) -> None:
    rows = table(make, rng)
    one, other = difference(rows, "A", "B", "psnr_roi_db"), difference(rows, "B", "A", "psnr_roi_db")
    assert one["estimate"] == pytest.approx(0.2)
    assert other["estimate"] == pytest.approx(-0.2)
    assert one["low"] == pytest.approx(-other["high"])
    assert one["p"] == other["p"]
    assert difference(rows, "A", "C", "psnr_roi_db") == {}


def test_summary_counts_images_not_cells(make, rng: np.random.Generator) -> None:
    rows = table(make, rng)
    doubled = pd.concat([rows, rows.assign(scene=rows["scene"] + "b")], ignore_index=True)
    assert list(summary_table(doubled)["images"]) == [4, 4]
    once, twice = summary_table(rows).iloc[0], summary_table(doubled).iloc[0]
    assert once["positive_mass_db_low"] == pytest.approx(twice["positive_mass_db_low"])


def test_interval_over_images_covers_the_mean(rng: np.random.Generator) -> None:
    """Of 95 % intervals over 8 images of two cells each, about 95 % hold the truth."""
    images = pd.Series(np.repeat(np.arange(8).astype(str), 2))
    inside = 0
    for _ in range(400):
        values = pd.Series(np.repeat(rng.normal(1.0, 0.5, 8), 2) + rng.normal(0, 0.1, 16))
        _, low, high = over_images(values, images)
        inside += low < 1.0 < high
    assert 0.92 < inside / 400 < 0.98


def test_a_single_image_has_no_interval() -> None:
    mean, low, high = over_images(pd.Series([1.0, 3.0]), pd.Series(["a", "a"]))
    assert mean == 2.0
    assert np.isnan([low, high]).all()


def test_sign_flips_of_five_equal_signs() -> None:
    assert sign_flip_p(np.array([0.1, 0.2, 0.3, 0.4, 0.5])) == pytest.approx(2 / 32)
    assert sign_flip_p(np.array([1.0])) == 1.0


@pytest.mark.parametrize(
    ("low", "high", "expected", "word"),
    [
        (0.2, 0.3, "greater", "supports"),
        (0.0, 0.05, "greater", "contradicts"),
        (0.0, 0.2, "greater", "undecided"),
        (0.0, 0.05, "less", "supports"),
        (0.2, 0.3, "less", "contradicts"),
        (-0.05, 0.05, "equal", "supports"),
        (0.2, 0.3, "equal", "contradicts"),
        (-0.3, -0.2, "equal", "contradicts"),
        (-0.3, 0.05, "equal", "undecided"),
        (np.nan, np.nan, "equal", "undecided"),
    ],
)
def test_verdicts(low: float, high: float, expected: str, word: str) -> None:
    assert claims.verdict(low, high, expected, 0.1) == word


def test_unknown_expectation_is_refused() -> None:
    with pytest.raises(ValueError, match="one of greater, less, equal"):
        claims.verdict(0, 1, "more", 0.1)


def test_training_noise_widens_a_claim(rng: np.random.Generator) -> None:
    """Two trainings that differ make the interval wider than two that agree."""
    images = rng.normal(0.2, 0.05, 12)
    agree = claims.interval(np.stack([images, images]), 0.95)
    differ = claims.interval(np.stack([images + 0.2, images - 0.2]), 0.95)
    assert differ[0] == pytest.approx(agree[0])
    assert differ[2] - differ[1] > 2 * (agree[2] - agree[1])


def test_diffusion_index_of_extremes() -> None:
    assert diffusion_index(np.ones((8, 8))) == pytest.approx(100)
    one = np.zeros((8, 8))
    one[2, 3] = 5.0
    assert diffusion_index(one) == pytest.approx(100 / 64)
    assert diffusion_index(one) == pytest.approx(diffusion_index(one * 7))
