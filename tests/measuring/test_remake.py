"""Stored draws are made again and compared: an edited number or label does not pass, whoever sealed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cem_bench.inputs.degradations import Bicubic, Noise
from cem_bench.inputs.donors import DonorPool
from cem_bench.inputs.scene import Scene
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure
from cem_bench.measuring.remake import remake
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Uniform

OUTCOMES = ("psnr", "psnr_y", "ssim")


def cell_of(scene: Scene, pool: DonorPool, tiny, *, outcome: str = "psnr", scale: int = 1, form: str = "true") -> Cell:
    degradation = Noise(25.0) if scale == 1 else Bicubic(scale)
    task = "DN" if scale == 1 else "SR"
    model = as_model(tiny(scale), name="tiny", scale=scale, tasks=(task,), identity="tiny")
    return Cell(model, scene, degradation, pool, Uniform(3), Options(outcome=outcome, form=form))


@pytest.mark.parametrize(("outcome", "scale"), [("psnr", 1), ("psnr_y", 1), ("ssim", 1), ("psnr", 2)])
def test_what_was_measured_is_made_again(scene, pool, tiny, tmp_path: Path, outcome: str, scale: int) -> None:
    cell = cell_of(scene, pool, tiny, outcome=outcome, scale=scale)
    measured = measure(cell, tmp_path)
    assert measured.record["engine"]["kind"] != "full", "an engine's numbers against plain forwards"
    found = remake(cell, measured.store.rows, 20)
    assert (found.draws, found.wrong) == (20, ()) and found.max_abs_db < 1e-3


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("psnr", 0.5, "psnr is stored as"),
        ("psnr", -0.002, "psnr is stored as"),
        ("psnr_8bit", 0.2, "psnr_8bit is stored as"),
        ("psnr_untouched", 0.01, "psnr_untouched is stored as"),
        ("donor", 1, "is stored, its key gives"),
    ],
)
def test_an_edited_draw_is_named(scene, pool, tiny, tmp_path: Path, column: str, change: float, words: str) -> None:
    cell = cell_of(scene, pool, tiny)
    rows = measure(cell, tmp_path).store.rows
    rows.loc[4, column] += change
    found = remake(cell, rows, len(rows))
    assert len(found.wrong) == 1 and words in found.wrong[0]
    assert found.wrong[0].startswith(f"block {rows.loc[4, 'block']}, draw {rows.loc[4, 'k']}:")


def test_another_models_draws_do_not_pass(scene, pool, tiny, tmp_path: Path) -> None:
    cell = cell_of(scene, pool, tiny)
    rows = measure(cell, tmp_path).store.rows
    other = Cell(as_model(tiny(seed=1), name="tiny", tasks=("DN",)), scene, cell.degradation, pool, cell.rule)
    assert len(remake(other, rows, 10).wrong) == 10


def test_a_sample_of_none_is_refused(scene, pool, tiny, tmp_path: Path) -> None:
    cell = cell_of(scene, pool, tiny)
    with pytest.raises(ValueError, match="expected at least 1"):
        remake(cell, measure(cell, tmp_path).store.rows, 0)
