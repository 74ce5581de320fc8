"""The cell that outcomes are tested on, and what changes its outcome."""

from __future__ import annotations

import dataclasses

import pytest

from cem_bench import Cell, Noise, Options, Uniform, as_model
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.outcome import Outcome, to_measure


@pytest.fixture
def cell(scene, pool, tiny, perceptual_weights) -> Cell:
    options = Options(engine="full", outcome_weights=str(perceptual_weights))
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(2), options)


def under(cell: Cell, outcome: str, **more) -> Cell:
    """The cell by another outcome, with a region that is large enough for all that are measured."""
    cell = dataclasses.replace(cell, options=dataclasses.replace(cell.options, outcome=outcome, **more))
    if max(one.facts.least_side for one in cell.outcomes) > cell.scene.roi.height:
        cell = dataclasses.replace(cell, scene=dataclasses.replace(cell.scene, roi=Rect(8, 16, 32, 32)))
    return cell


def outcome_of(name: str, weights) -> Outcome:
    return next(one for one in to_measure([name], str(weights)) if one.name == name)
