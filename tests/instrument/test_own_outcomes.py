"""Outcomes of one's own, and those that need weights: named, keyed, refused where they cannot be."""

from __future__ import annotations

import dataclasses
import importlib
import linecache
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cem_bench import Cell, Options, as_model, measure, outcome
from cem_bench.measuring.outcome import to_measure
from cem_bench.measuring.perceptual import BACKBONES
from cem_bench.measuring.prepared import MeasureError
from cem_bench.run.publish import publish, summary_table
from cem_bench.store.draws import run_key
from tests.instrument.conftest import outcome_of, under

OWN = """
import torch
from cem_bench import outcome

FACTOR = 255.0


@outcome(unit="levels", higher_is_better=False, tol=0.01)
def gradient_error(outputs, clean):
    \"\"\"Mean absolute error of the horizontal gradient.\"\"\"
    error = outputs.double().clamp(0, 1).diff(dim=-1) - clean.diff(dim=-1)
    return FACTOR * error.abs().mean(dim=(1, 2, 3))


@outcome(unit="UQI", higher_is_better=True, tol=0.001)
def uqi(outputs, clean):
    from torchmetrics.functional.image import universal_image_quality_index

    rows = outputs.double().clamp(0, 1)
    return torch.stack([universal_image_quality_index(row[None], clean[None]) for row in rows])


@outcome(unit="x", higher_is_better=True, tol=1)
def one_number(outputs, clean):
    return outputs.mean()


@outcome(unit="x", higher_is_better=True, tol=1)
def endless(outputs, clean):
    return outputs.mean(dim=(1, 2, 3)) * float("inf")


def plain(outputs, clean):
    return outputs.mean(dim=(1, 2, 3))
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module of outcomes into the current folder; call with a text to change it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])

    def write(text: str = OWN) -> None:
        Path("ownmeasures.py").write_text(text)
        sys.modules.pop("ownmeasures", None)
        importlib.invalidate_caches()
        linecache.clearcache()

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write()
    yield write
    sys.modules.pop("ownmeasures", None)


@pytest.mark.parametrize("name", ["ownmeasures.gradient_error", "ownmeasures.uqi"])
def test_an_outcome_of_ones_own(cell: Cell, own, name: str, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    cell = under(dataclasses.replace(cell, model=as_model(lambda x: x, name="same")), name, include_roi=True)
    measured = measure(cell, tmp_path / "store")
    inside = list(cell.scene.grid.overlapping(cell.scene.roi))
    assert np.all(measured.effect_map.effect.ravel()[inside] > 0)
    assert measured.record["unit"] in ("levels", "UQI")
    paths = publish(cell, measured, tmp_path / "single", [])
    assert f"by {name}" in paths[-1].read_text()
    summary_table(cell, measured, paths)
    assert measured.record["unit"] in capsys.readouterr().out
    beside = measure(under(cell, "psnr", also_outcomes=(name,)), tmp_path / "store")
    assert beside.record["session"]["new_draws"] == 0
    assert np.array_equal(beside.under(name).effect_map.effect, measured.effect_map.effect, equal_nan=True)


def test_another_computation_of_ones_own_outcome_is_another_key(cell: Cell, own):
    name = "ownmeasures.gradient_error"
    before = run_key(under(cell, name).identity())
    own(OWN + "\n# a remark\n")
    assert run_key(under(cell, name).identity()) == before
    own(OWN.replace("FACTOR = 255.0", "FACTOR = 256.0"))
    assert run_key(under(cell, name).identity()) != before
    own(OWN.replace("error.abs()", "error.square()"))
    assert run_key(under(cell, name).identity()) != before


def test_outcomes_of_ones_own_that_cannot_be(cell: Cell, own):
    for name, words in (
        ("ownmeasures.plain", "is a function, expected an outcome: write @cem_bench.outcome"),
        ("ownmeasures.missing", "cannot be imported: AttributeError"),
        ("nomodule.sharpness", "cannot be imported: ModuleNotFoundError"),
    ):
        with pytest.raises(ValueError, match=words):
            Options(outcome=name)
    for name, words in (
        ("one_number", r"answered \(\) to outputs of \(3, 3, 16, 16\); expected \(3,\)"),
        ("endless", "NaN"),
    ):
        with pytest.raises(MeasureError, match=words):
            measure(under(cell, f"ownmeasures.{name}"))
    with pytest.raises(ValueError, match=r"got unit ' ' and tol 0, expected a unit"):
        outcome(unit=" ", higher_is_better=True, tol=0)(lambda outputs, clean: outputs)


def test_perceptual_weights_are_looked_for_and_checked(perceptual_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("CEM_WEIGHTS", str(tmp_path / "nothing"))
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    for name, file in BACKBONES.items():
        with pytest.raises(ValueError, match=f"outcome={name} needs {file}, the weights .*; not in .*nothing, .*hub"):
            to_measure([name])
    monkeypatch.setenv("CEM_WEIGHTS", str(perceptual_weights))
    with pytest.raises(
        ValueError, match="expected one that begins with 7be5be79: it is not what torchvision published"
    ):
        to_measure(["lpips"])
    monkeypatch.setenv("CEM_WEIGHTS", "")
    alone = outcome_of("lpips", perceptual_weights / BACKBONES["lpips"])
    assert alone.identity == outcome_of("lpips", perceptual_weights).identity
    assert len(alone.identity["backbone_sha256"]) == 64
    wrong = outcome_of("dists", perceptual_weights / BACKBONES["lpips"])
    with pytest.raises(ValueError, match="does not hold the weights of torchvision's backbone of dists"):
        wrong.measure(torch.zeros(1, 3, 32, 32), torch.zeros(3, 32, 32).double())


def test_perceptual_outcomes_are_torchmetrics_own(perceptual_weights, rng, monkeypatch):
    """Through its own public functions, which find the backbone in torch's cache."""
    from torchmetrics.functional.image import (
        deep_image_structure_and_texture_similarity,
        learned_perceptual_image_patch_similarity,
    )

    hub = perceptual_weights.parent / "hub"
    hub.mkdir(exist_ok=True)
    if not (hub / "checkpoints").exists():
        (hub / "checkpoints").symlink_to(perceptual_weights)
    clean = torch.from_numpy(rng.random((3, 48, 48)))
    rows = (clean + torch.from_numpy(rng.normal(0, 0.1, (2, 3, 48, 48)))).clamp(0, 1)
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(hub))
    try:
        targets = clean.expand_as(rows).float()
        theirs = {
            "lpips": learned_perceptual_image_patch_similarity(rows.float(), targets, "alex", "none", normalize=True),
            "dists": deep_image_structure_and_texture_similarity(rows.float(), targets, "none"),
        }
    finally:
        torch.hub.set_dir(before)
    for name, values in theirs.items():
        ours = outcome_of(name, perceptual_weights).measure(rows, clean)
        assert ours.tolist() == pytest.approx(values.tolist(), rel=1e-4)
    assert torch.hub.get_dir() == before
