"""All ROIs at once: equal to one map a block, sparse, resumable, with radius and decay."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cem_bench.inputs.degradations import Noise
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure, measure_matrix
from cem_bench.measuring.prepared import Bench, MeasureError
from cem_bench.measuring.proof import prove_draws_on_all
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Uniform
from cem_bench.store.matrix import EffectMatrix, unit_of


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(4), Options(engine="full"))


def test_a_column_is_the_map_of_that_roi(cell: Cell, tmp_path):
    matrix, _, _ = measure_matrix(cell, tmp_path, draws=4)
    target = 20
    scene = dataclasses.replace(cell.scene, roi=cell.scene.grid.rect(target))
    effect = measure(dataclasses.replace(cell, scene=scene), tmp_path).effect_map.effect.ravel()
    column = matrix.mean_db.toarray()[:, target]
    outside = np.arange(48) != target
    assert np.allclose(column[outside], effect[outside], rtol=0, atol=1e-5)
    assert np.abs(column[outside]).max() > 0


def test_only_what_moved_is_kept_and_nothing_is_measured_twice(cell: Cell, tmp_path):
    matrix, store, record = measure_matrix(cell, tmp_path, draws=2)
    assert set(matrix.distance_px()) <= {0, 8}, "the network reaches 2 pixels"
    assert len(store.rows) < 48 * 9
    assert record["r50_px"] == pytest.approx(4.0)
    assert record["r90_px"] == pytest.approx(7.2)
    _, _, again = measure_matrix(cell, tmp_path, draws=2)
    assert again["session"]["new_blocks"] == 0
    decay = matrix.decay()
    assert decay["pairs"].sum() == 48 * 48
    assert decay["mass_db"].iloc[0] > decay["mass_db"].iloc[1] > 0
    assert (decay["mass_db"].iloc[2:] == 0).all()


def test_draws_on_all_rois_are_proven_by_full_forwards(cell: Cell, tmp_path, monkeypatch):
    _, _, plain = measure_matrix(cell, tmp_path, draws=2)
    assert plain["proof"]["draws"] == plain["proof"]["random"] == 8
    cone = dataclasses.replace(cell, options=Options(engine="cone"))
    _, _, proven = measure_matrix(cone, tmp_path / "cone", draws=2)
    assert proven["proof"]["draws"] >= proven["proof"]["random"] == 8
    assert proven["proof"]["max_abs_db"] < 1e-5
    whole = dataclasses.replace(cell.scene, roi=Rect(0, 0, *cell.scene.size))
    bench = Bench.of(dataclasses.replace(cone, scene=whole))
    exact = bench.engine.outputs
    monkeypatch.setattr(bench.engine, "outputs", lambda block, patches: exact(block, patches) + 1e-3)
    with pytest.raises(MeasureError, match="differs"):
        prove_draws_on_all(bench, [(0, 0)], lambda done, total, stage: None)


def test_radius_and_mass_of_a_made_matrix(scene):
    """Effects of 3 dB one block away and 1 dB three blocks away: r50 is 5.3 px, r90 20.8; pure noise has none."""
    effects = np.zeros((4, 48))
    effects[:, [21, 23]] = 3.0, 1.0
    matrix = EffectMatrix(scene.grid, rows_of(unit_of(20, effects)))
    assert matrix.radius_px(0.5) == pytest.approx(8 * 2 / 3)
    assert matrix.radius_px(0.9) == pytest.approx(8 + 16 * 0.6)
    assert matrix.halves.size.sum() == pytest.approx(4.0)
    noise = np.zeros((2, 48))
    noise[:, 21] = 1.0, -1.0
    assert np.isnan(EffectMatrix(scene.grid, rows_of(unit_of(20, noise))).radius_px(0.5))


def rows_of(unit):
    import pandas as pd

    return pd.DataFrame(unit)


def test_one_draw_is_refused():
    with pytest.raises(ValueError, match="needs at least 2 draws, got 1"):
        unit_of(0, np.zeros((1, 4)))
