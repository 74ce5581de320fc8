"""Every outcome carries unit, direction and a tol of its own; a positive effect helps, whatever the outcome."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from cem_bench import Cell, Noise, Options, Paper, Sequential, Uniform, as_model, measure
from cem_bench.figures.map import Look, map_figure
from cem_bench.measuring.entry import enlist
from cem_bench.measuring.measure import measure_matrix
from cem_bench.measuring.outcome import OUTCOMES
from cem_bench.measuring.prepared import MeasureError
from cem_bench.report import write_report
from cem_bench.report.columns import from_file, in_file
from cem_bench.report.earlier import read_table
from cem_bench.report.experiment import read_experiment
from cem_bench.run.publish import publish, summary_table
from cem_bench.store.cells import read_cells
from cem_bench.store.outcomes import FACTS, facts_of

OTHERS = ["ssim", "mae"]


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(2), Options(engine="full"))


def under(cell: Cell, outcome: str, **more) -> Cell:
    return dataclasses.replace(cell, options=dataclasses.replace(cell.options, outcome=outcome, **more))


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(match=lambda part: hasattr(part, "get_text")))


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_whole(name: str):
    facts = FACTS[name]
    assert OUTCOMES.keys() == FACTS.keys()
    assert OUTCOMES[name].unit == facts.unit != ""
    assert 0 < OUTCOMES[name].tol < math.inf
    assert OUTCOMES[name].higher_is_better is facts.higher_is_better
    assert round(facts.tol, facts.digits) == facts.tol
    assert Options(outcome=name).facts is facts


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_worse_output_has_the_positive_effect(name: str, rng):
    clean = torch.from_numpy(rng.random((3, 32, 32)))
    noise = torch.from_numpy(rng.normal(0, 0.02, (3, 32, 32)))
    rows = torch.stack([clean + part * noise for part in (1, 1, 0.5, 4, 0)])
    values = OUTCOMES[name].compute(rows, clean).numpy()
    assert values.dtype == np.float64 and values.shape == (5,) and np.isfinite(values).all()
    same, better, worse, perfect = facts_of(name).effect(values[:1], values[1:])
    assert same == 0
    assert worse > 0 > better > perfect


@pytest.mark.parametrize("name", OUTCOMES)
def test_what_holds_the_region_helps_it(cell: Cell, name: str, tmp_path):
    """Of a network that hands its input on, a donor over a block of the region makes that region worse."""
    cell = dataclasses.replace(cell, model=as_model(lambda x: x, name="same"), degradation=Noise(5))
    measured = measure(under(cell, name, include_roi=True), tmp_path)
    effect, inside = measured.effect_map.effect, list(cell.scene.grid.overlapping(cell.scene.roi))
    assert np.all(effect.ravel()[inside] > 0)
    assert np.all(np.delete(effect.ravel(), inside) == 0)
    assert measured.record["unit"] == facts_of(name).unit
    assert measured.record["tol"] == measured.effect_map.tol == facts_of(name).tol


@pytest.mark.parametrize("name", OUTCOMES)
def test_rules_gate_at_the_outcomes_own_tol(cell: Cell, name: str):
    facts = facts_of(name)
    for rule in (Paper(), Sequential()):
        told = under(dataclasses.replace(cell, rule=rule), name).sampling
        assert told.tol == facts.tol  # pyright: ignore[reportAttributeAccessIssue]
        assert f"{facts.tol:g} {facts.unit}" in told.describe()
        own = under(dataclasses.replace(cell, rule=dataclasses.replace(rule, tol=0.5)), name).sampling
        assert own.tol == 0.5  # pyright: ignore[reportAttributeAccessIssue]
    assert under(cell, name, tol=0.25).options.threshold == 0.25
    assert "dB" in Paper().describe() and Paper().gate == Sequential().region == 0.01


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_map_names_its_unit(cell: Cell, name: str, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cell, facts = under(cell, name), facts_of(name)
    measured = measure(cell, tmp_path / "store")
    look = Look.of("DN", name)
    assert look.bound == pytest.approx(100 * facts.tol)
    shown = texts(map_figure(measured.effect_map, [], cell.scene.clean, cell.scene.roi, look))
    assert facts.unit in shown
    assert ("dB" in shown) is (facts.unit == "dB")
    paths = publish(cell, measured, tmp_path / "single", [])
    with np.load(paths[0]) as stored:
        assert f"effect_{facts.unit.lower()}" in stored
    summary_table(cell, measured, paths)
    lines = capsys.readouterr().out.splitlines()
    effects = [line for line in lines if "effect of a block" in line or "blocks at" in line]
    assert len(effects) == 2 and all(facts.unit in line for line in effects)
    assert facts.unit == "dB" or "dB" not in "".join(effects)


@pytest.mark.parametrize("name", OTHERS)
def test_a_report_names_the_unit_everywhere(cell: Cell, name: str, tmp_path):
    """From draws to page: two networks on two images under another outcome."""
    facts = facts_of(name)
    for side, model in ((9, "DnCNN"), (5, "FFDNet")):
        network = nn.AvgPool2d(side, stride=1, padding=side // 2, count_include_pad=False)
        for image in ("coffee", "rocket"):
            scene = dataclasses.replace(cell.scene, name=f"shipped_{image}_1", source=f"skimage:data/{image}.png")
            made = dataclasses.replace(cell, scene=scene, model=as_model(network, name=model), rule=Uniform(4))
            measured = measure(under(made, name), tmp_path / "store")
            enlist(
                made := under(made, name), measured, [f"model={model}", f"scene={scene.name}"], tmp_path, "denoise_ca"
            )
            stored = next(
                one for one in read_cells(tmp_path, "denoise_ca") if (one.model, one.scene) == (model, scene.name)
            )
            assert np.array_equal(stored.effect_map.effect, measured.effect_map.effect, equal_nan=True)
            values = measured.store.rows
            block = int(values["block"].iloc[0])
            difference = (values[f"{name}_untouched"] - values[name])[values["block"] == block].to_numpy()
            assert np.array_equal(stored.effects[block], difference * (1 if facts.higher_is_better else -1))
    paths = write_report("denoise_ca", tmp_path)
    page = next(path for path in paths if path.name == "README.md").read_text()
    assert f"{facts.tol:g} {facts.unit}" in page
    assert f"positive sum, {facts.unit}" in page
    assert "positive sum, dB" not in page
    assert "PSNR of ROI, dB" in page
    table = read_experiment("denoise_ca", tmp_path).table
    assert set(table["unit"]) == {facts.unit}
    for path in paths:
        if path.suffix == ".tex":
            assert "sum, dB" not in path.read_text()
    csv = [path for path in paths if path.suffix == ".csv"]
    assert {"cells.csv", "summary.csv", "decay.csv", "paired.csv"} <= {path.name for path in csv}
    for path in csv:
        heads = path.read_text().splitlines()[0].split(",")
        ours = [head for head in heads if not head.startswith(("psnr", "observed_psnr"))]
        assert not [head for head in ours if "_db" in head]
        assert path.name == "paired.csv" or any(facts.suffix in head for head in ours), path.name
        again = read_table(path)
        assert not [head for head in again if facts.suffix in head]
        assert path.name == "paired.csv" or again.attrs["unit"] == facts.unit


@pytest.mark.parametrize("name", OTHERS)
def test_a_table_in_another_unit_is_read_as_it_was(name):
    facts = facts_of(name)
    table = pd.DataFrame({"quantity": ["size_db", "r50_px"], "psnr_roi_db": 1.0, "size_db": 2.0, "size_db_low": 3.0})
    filed = in_file(table, facts)
    assert list(filed) == ["quantity", "psnr_roi_db", f"size{facts.suffix}", f"size{facts.suffix}_low"]
    assert list(filed["quantity"]) == [f"size{facts.suffix}", "r50_px"]
    again = from_file(filed)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs["unit"] == facts.unit
    assert list(in_file(table, facts_of("psnr"))) == list(table)


def test_outcomes_of_two_units_share_no_report(cell: Cell, tmp_path):
    for name in ("psnr", "ssim"):
        made = under(cell, name)
        measured = measure(made, tmp_path / "store")
        enlist(made, measured, ["model=tiny", f"outcome={name}"], tmp_path, "denoise_ca")
    with pytest.raises(ValueError, match="outcomes psnr, ssim, whose effects share no axis"):
        read_experiment("denoise_ca", tmp_path)


def test_all_regions_at_once_are_measured_in_db(cell: Cell, tmp_path):
    with pytest.raises(MeasureError, match="roi=grid measures the PSNR of every output block, got outcome=mae"):
        measure_matrix(under(cell, "mae"), tmp_path, 2)


@pytest.mark.parametrize("tol", [float("nan"), -1, -1e-9, float("inf")])
def test_a_tol_that_is_no_size_is_refused(tol: float):
    for make in (lambda: Options(tol=tol), lambda: Paper(tol=tol), lambda: Sequential(tol=tol)):
        with pytest.raises(ValueError, match=r"tol: got .*, expected"):
            make()
