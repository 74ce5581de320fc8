"""Laws of the numbers in the tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cem_bench.figures.panels import difference_verdicts
from cem_bench.inputs.geometry import Grid, Rect, ring_distance
from cem_bench.report.tables import cells_table, difference, paired_decay_table, summary_table
from cem_bench.stats.verdicts import NEGATIVE, NONE, POSITIVE
from cem_bench.store.cells import StoredCell
from cem_bench.store.quantities import measure_cell, over_images, ring_sizes

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
    assert row["peak_db"] == pytest.approx(0.5)
    assert row["share_outside_reach"] == 0
    assert (row["flip_rate"], row["blocks_flippable"], row["icc"]) == (0, 3, pytest.approx(1))
    assert row["min_db"] == pytest.approx(-0.2)


def test_distance_is_zero_in_the_roi_and_a_block_beside_it() -> None:
    distance = ring_distance(Grid(64, 64, 8), Rect(24, 24, 16, 16)).reshape(8, 8)
    assert set(distance[3:5, 3:5].ravel()) == {0}
    assert distance[2, 2] == distance[3, 2] == distance[5, 4] == 8
    assert distance[0, 0] == 24
    assert distance[7, 7] == 24
    assert np.array_equal(distance, distance.T)


def test_ring_sizes_hold_every_block_outside_the_roi_and_zeros_where_none_was_drawn(make) -> None:
    size, far = ring_sizes(make({block: np.full(4, 0.2 * (block == 0)) for block in live()}))
    assert len(size) == len(far) == 60
    assert size.sum() == pytest.approx(0.2)


def table(make, rng: np.random.Generator) -> pd.DataFrame:
    cells = []
    for index, image in enumerate(("coffee", "rocket", "chelsea", "astronaut")):
        for model, size in (("A", 0.3), ("B", 0.1)):
            effects = {block: rng.normal(size * (block == 0), 0.01, 6) for block in live()}
            cells.append(make(effects, model=model, image=image, psnr=30.0 + index + size * (1 + index)))
    return cells_table(cells)


def test_swapping_models_negates_the_difference(make, rng: np.random.Generator) -> None:
    rows = table(make, rng)
    one, other = difference(rows, "A", "B", "psnr_roi_db"), difference(rows, "B", "A", "psnr_roi_db")
    assert one["estimate"] == pytest.approx(0.5)
    assert other["estimate"] == pytest.approx(-0.5)
    assert one["low"] == pytest.approx(-other["high"])
    assert one["p"] == other["p"]
    assert difference(rows, "A", "C", "psnr_roi_db") == {}


def test_summary_counts_images_not_cells(make, rng: np.random.Generator) -> None:
    rows = table(make, rng)
    doubled = pd.concat([rows, rows.assign(scene=rows["scene"] + "b")], ignore_index=True)
    assert list(summary_table(doubled)["images"]) == [4, 4]
    once, twice = summary_table(rows).iloc[0], summary_table(doubled).iloc[0]
    assert once["positive_mass_db_low"] == pytest.approx(twice["positive_mass_db_low"])


def test_an_ablation_is_compared_within_images(make, rng: np.random.Generator) -> None:
    """What every setting of an image shares, however large, widens no interval; the means stay."""
    rows = table(make, rng)
    rows = pd.concat([rows.assign(variant=f"draws={n}") for n in (5, 10)], ignore_index=True)
    rows["net_mass_db"] += rng.normal(0, 0.1, len(rows))
    shift = dict(zip(sorted(rows["image"].unique()), (0.0, 10.0, 1000.0, -50.0), strict=True))
    far = rows.assign(net_mass_db=rows["net_mass_db"] + rows["image"].map(shift))
    near, apart = summary_table(rows), summary_table(far)
    for end in ("low", "high"):
        gap = near[f"net_mass_db_{end}"] - near["net_mass_db"]
        assert np.allclose(apart[f"net_mass_db_{end}"] - apart["net_mass_db"], gap)
    assert np.allclose(apart["net_mass_db"] - near["net_mass_db"], np.mean(list(shift.values())))


def test_no_interval_of_an_ablation_leaves_the_range_of_its_number(make, rng: np.random.Generator) -> None:
    rows = table(make, rng)
    rows = pd.concat([rows.assign(variant=f"draws={n}") for n in (5, 10)], ignore_index=True)
    level = dict(zip(sorted(rows["image"].unique()), (1.0, 2.0, 3.0, 100.0), strict=True))
    # one setting multiplies the number everywhere: in the image of the large ones by more than the others' whole number
    more = np.where(rows["variant"] == "draws=10", 20.0, 1.0) * rng.uniform(0.9, 1.1, len(rows))
    found = summary_table(rows.assign(size_db=rows["image"].map(level) * more, r90_px=10 * more))
    assert (found["r90_px_low"] > 0).all()
    # in proportion an image of large numbers says no more than the others: the interval is that of the ratio
    half = (found["size_db_high"] - found["size_db_low"]) / found["size_db"] / 2
    assert ((found["size_db_low"] > 0) & (half < 0.5)).all()


def test_a_single_image_has_no_interval_and_missing_cells_are_left_out() -> None:
    mean, low, high = over_images(pd.Series([1.0, 3.0, np.nan]), pd.Series(["a", "a", "b"]))
    assert mean == 2.0
    assert np.isnan([low, high]).all()


def test_verdicts_of_a_difference_pair_the_draws_and_swap_sign(make, rng: np.random.Generator) -> None:
    blocks = live()
    shared = {block: rng.normal(0, 0.5, 20) for block in blocks}
    gap = dict.fromkeys(blocks, 0.0) | {blocks[0]: 0.3, blocks[1]: -0.3}
    one, two = (
        make({block: shared[block] + sign * gap[block] / 2 + rng.normal(0, 1e-3, 20) for block in blocks}, model=name)
        for name, sign in (("A", 1), ("B", -1))
    )
    (there, status), (back, _) = difference_verdicts(one, two), difference_verdicts(two, one)
    by_block = dict(zip(there.block.tolist(), there.verdict.tolist(), strict=True))
    assert (by_block.pop(blocks[0]), by_block.pop(blocks[1])) == (POSITIVE, NEGATIVE)
    assert set(by_block.values()) == {NONE}
    np.testing.assert_array_equal(np.where(there.verdict == NONE, NONE, -there.verdict), back.verdict)
    np.testing.assert_array_equal(status, one.status)


def test_decay_curves_of_a_pair_differ_where_the_models_do(make, rng: np.random.Generator) -> None:
    cells = []
    for image in ("coffee", "rocket", "chelsea", "astronaut", "cat", "dog"):
        for model, size in (("A", 0.3), ("B", 0.1)):
            effects = {block: rng.normal(size * (block == 0), 0.001, 6) for block in live()}
            cells.append(make(effects, model=model, image=image))
    found = paired_decay_table(cells, [["A", "B"]]).set_index("distance_px")
    assert found["images"].eq(6).all()
    assert found.loc[24, "p_ring"] == found.loc[24, "p"] == 2 / 2**6
    assert found.loc[24, "low"] > 0
    assert found.loc[16, "low"] < 0 < found.loc[16, "high"]
    np.testing.assert_allclose(found["first_db"] - found["second_db"], found["estimate"], atol=1e-12)


def test_stored_draws_are_judged_by_the_correction_of_their_cell(make, rng: np.random.Generator) -> None:
    cell = make({block: rng.normal(0.019, 0.01, 12) for block in live()})
    by, bh = (StoredCell({**cell.entry, "fdr": name}, cell.folder, cell.rule).table for name in ("by", "bh"))
    assert (by.correction, bh.correction) == ("by", "bh")
    assert by.counts()["positive"] < bh.counts()["positive"] == cell.table.counts()["positive"]
