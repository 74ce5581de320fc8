"""Maps of segments and of squares of mixed size: the same effects, on other divisions of the image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cem_bench.inputs.camera import Blur
from cem_bench.inputs.degradations import Bicubic, Noise
from cem_bench.inputs.donors import DonorPool
from cem_bench.inputs.geometry import Grid, Rect, ring_distance
from cem_bench.inputs.interventions import pasted_mask
from cem_bench.inputs.segments import Segments
from cem_bench.inputs.sets import SURROUNDINGS
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.joint import joint_unit
from cem_bench.measuring.measure import measure
from cem_bench.measuring.prepared import Bench
from cem_bench.measuring.quadtree import measure_quadtree
from cem_bench.measuring.replacing import replaced
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Uniform
from cem_bench.store import maps


@pytest.fixture
def wide(rng: np.random.Generator) -> DonorPool:
    return DonorPool(rng.integers(0, 256, (20, 64, 64, 3), dtype=np.uint8), np.arange(20).astype(str))


def segmented(scene, count: int = 20):
    return dataclasses.replace(scene, segments=count)


def test_segments_tile_the_image_and_leave_the_roi_whole(scene):
    grid = segmented(scene).grid
    assert isinstance(grid, Segments)
    assert 10 <= len(grid) <= 30
    assert sum(int(grid.mask(index).sum()) for index in range(len(grid))) == 48 * 64
    (roi,) = grid.overlapping(scene.roi)
    assert grid.rect(roi) == scene.roi
    assert grid.mask(roi).all()
    assert np.array_equal(np.kron(grid.cells, np.ones((4, 4), int)), grid.labels)
    assert np.array_equal(segmented(scene).grid.labels, grid.labels)


def test_squares_seen_as_segments_are_as_far_as_blocks(scene):
    blocks = Grid(48, 64, 8)
    labels = np.kron(np.arange(48).reshape(6, 8), np.ones((8, 8), np.int64))
    squares = Segments(48, 64, 8, labels)
    assert [squares.rect(index) for index in range(48)] == [blocks.rect(index) for index in range(48)]
    outside = np.setdiff1d(np.arange(48), list(blocks.overlapping(scene.roi)))
    assert np.array_equal(ring_distance(squares, scene.roi)[outside], ring_distance(blocks, scene.roi)[outside])


@pytest.mark.parametrize("degradation", [Noise(30), Bicubic(4), Blur(1.5)], ids=["DN", "SR", "blur"])
@pytest.mark.parametrize("engine", ["full", "auto"])
def test_a_segment_is_pasted_by_its_mask_and_its_joint_effect_is_its_single_one(scene, wide, tiny, degradation, engine):
    model = as_model(tiny(scale=degradation.scale), name="tiny", scale=degradation.scale)
    cell = Cell(model, segmented(scene), degradation, wide, Uniform(3), Options(engine=engine, joint=0))
    bench, grid = Bench.of(cell), cell.scene.grid
    rows = measure(cell).store.rows
    for index in sorted(set(rows["block"]))[:4]:
        donors = cell.keys.donors(cell.pool, index, 0, 3)[0]
        changed = (replaced(bench, [index], donors[:1]) != bench.observation).any(axis=2)
        allowed = np.zeros(changed.shape, bool)
        allowed[bench.input_rect(index).slices] = pasted_mask(degradation, grid, index)
        assert changed.any()
        assert not (changed & ~allowed).any(), "nothing outside the mask changes"
        unit = joint_unit(bench, (0, 0), [[index]] * 3, range(3))
        assert np.array_equal(unit["psnr"], rows.loc[rows["block"] == index, "psnr"])


def test_a_map_of_segments_has_the_statistics_and_figures_of_any_map(scene, wide, tiny, tmp_path):
    cell = Cell(as_model(tiny(), name="tiny"), segmented(scene), Noise(30), wide, Uniform(3), Options(joint=3))
    measured = measure(cell, tmp_path)
    frame = measured.to_dataframe()
    assert set(frame["status"]) == {"measured", "roi", "unreachable"}
    assert frame["n"].max() == 3
    assert measured.record["joint"]["set"] == SURROUNDINGS
    assert measured.record["joint"]["blocks"] == len(frame) - 1
    measured.plot().savefig(tmp_path / "map.png")
    shown = measured.effect_map.on(cell.scene.grid.cells)  # pyright: ignore[reportAttributeAccessIssue]
    assert shown.effect.shape == (12, 16)
    squares = dataclasses.replace(cell, scene=scene)
    assert "segments_sha256" in cell.identity()
    assert "segments_sha256" not in squares.identity()


def test_segments_are_refused_where_they_cannot_be(scene, pool, wide, tiny):
    model = as_model(tiny(), name="tiny")
    with pytest.raises(ValueError, match="smaller than the largest segment"):
        Cell(model, segmented(scene), Noise(30), pool, Uniform(3))
    with pytest.raises(ValueError, match="square blocks alone"):
        Cell(model, segmented(scene), Noise(30), wide, Uniform(3), Options(form="reference"))
    with pytest.raises(ValueError, match="does not lie on them"):
        _ = dataclasses.replace(scene, roi=Rect(15, 24, 16, 16), segments=9).grid
    with pytest.raises(ValueError, match="not a multiple of the scale 3"):
        segmented(scene).require_scale(3)


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(3), Options(engine="full", tol=1e-5))


def test_a_quadtree_divides_where_there_is_an_effect_and_nowhere_else(cell: Cell, tmp_path):
    found = measure_quadtree(cell, tmp_path, 8)
    sides = found.squares.set_index(["top", "left"])["side"]
    far = ring_distance(cell.scene.grid, cell.scene.roi)
    divided = {int(side) for side in sides}
    assert min(divided) == 8 < max(divided), "fine at the ROI, coarse where nothing reaches it"
    assert (found.squares["blocks"].sum(), (found.effect_map.status == maps.ROI).sum()) == (44, 4)
    assert set(found.squares.loc[found.squares["effect"].abs() > 1e-3, "side"]) == {8}
    assert np.all(np.nan_to_num(found.effect_map.effect.ravel()[far > 8]) == 0)
    assert measure_quadtree(cell, tmp_path, 8).record["draws_made"] == found.record["draws_made"]


def test_single_blocks_of_a_quadtree_are_the_blocks_of_the_map(cell: Cell):
    found = measure_quadtree(cell, None, 8, coarsest=1)
    rows = measure(dataclasses.replace(cell, rule=Uniform(8))).store.effects(range(48), "psnr")
    for row in found.squares.to_dict("records"):
        block = row["top"] // 8 * 8 + row["left"] // 8
        assert row["effect"] == pytest.approx(rows[block][1::2].mean(), abs=1e-12)


def test_a_square_that_cannot_reach_costs_nothing(cell: Cell):
    auto = dataclasses.replace(cell, options=Options(tol=1e-5))
    found = measure_quadtree(auto, None, 8)
    assert isinstance(found.squares, pd.DataFrame)
    none = found.squares[found.squares["status"] == "unreachable"]
    assert len(none)
    assert (none[["draws", "effect", "low", "high"]] == 0).all(axis=None)
    with pytest.raises(ValueError, match="even number"):
        measure_quadtree(auto, None, 5)
    with pytest.raises(ValueError, match="power of two"):
        measure_quadtree(auto, None, 8, coarsest=3)
