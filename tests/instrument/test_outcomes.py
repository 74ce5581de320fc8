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

from cem_bench import Cell, DonorPool, Noise, Options, Paper, Sequential, Uniform, as_model, measure
from cem_bench.figures.map import Look, map_figure
from cem_bench.measuring.entry import enlist
from cem_bench.measuring.measure import measure_matrix
from cem_bench.measuring.perceptual import BACKBONES
from cem_bench.measuring.prepared import Bench, MeasureError
from cem_bench.report import write_report
from cem_bench.report.columns import from_file, in_file
from cem_bench.report.earlier import read_table
from cem_bench.report.experiment import read_experiment
from cem_bench.run.publish import publish, summary_table
from cem_bench.sampling.rules import Request
from cem_bench.store.cells import read_cells
from cem_bench.store.draws import run_key
from cem_bench.store.outcomes import FACTS, OutcomeFacts, facts_of
from model_zoo.compat import basicsr
from tests.instrument.conftest import outcome_of, under

OTHERS = ["ssim", "mae"]


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(match=lambda part: hasattr(part, "get_text")))


@pytest.mark.parametrize("name", FACTS)
def test_facts_are_whole(name: str, perceptual_weights):
    facts, outcome = FACTS[name], outcome_of(name, perceptual_weights)
    assert outcome.unit == facts.unit != ""
    assert 0 < outcome.tol < math.inf
    assert outcome.higher_is_better is facts.higher_is_better
    assert round(facts.tol, facts.digits) == facts.tol
    assert Options(outcome=name).facts is facts


@pytest.mark.parametrize("name", FACTS)
def test_the_worse_output_has_the_positive_effect(name: str, rng, perceptual_weights):
    clean = torch.from_numpy(rng.random((3, 32, 32)))
    noise = torch.from_numpy(rng.normal(0, 0.02, (3, 32, 32)))
    rows = torch.stack([clean + part * noise for part in (1, 1, 0.5, 4, 0)])
    values = outcome_of(name, perceptual_weights).measure(rows, clean).numpy()
    assert values.dtype == np.float64 and values.shape == (5,) and np.isfinite(values).all()
    same, better, worse, perfect = facts_of(name).effect(values[:1], values[1:])
    assert same == 0
    assert worse > 0 > better > perfect


@pytest.mark.parametrize("name", FACTS)
def test_what_holds_the_region_helps_it(cell: Cell, name: str, tmp_path):
    """Of a network that hands its input on, a donor over a block of the region makes that region worse."""
    cell = dataclasses.replace(cell, model=as_model(lambda x: x, name="same"), degradation=Noise(5))
    cell = under(cell, name, include_roi=True)
    measured = measure(cell, tmp_path)
    effect, inside = measured.effect_map.effect, list(cell.scene.grid.overlapping(cell.scene.roi))
    assert np.all(effect.ravel()[inside] > 0)
    assert np.all(np.delete(effect.ravel(), inside) == 0)
    assert measured.record["unit"] == facts_of(name).unit
    assert measured.record["tol"] == measured.effect_map.tol == facts_of(name).tol


@pytest.mark.parametrize("name", FACTS)
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


@pytest.mark.parametrize("name", FACTS)
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


@pytest.mark.parametrize("unit", ["SSIM", "levels", "JND (own)"])
def test_a_table_in_another_unit_is_read_as_it_was(unit):
    facts = OutcomeFacts("mine.own", unit, True, 0.1, "an outcome of somebody's own")
    table = pd.DataFrame({"quantity": ["size_db", "r50_px"], "psnr_roi_db": 1.0, "size_db": 2.0, "size_db_low": 3.0})
    filed = in_file(table, facts)
    assert list(filed) == ["quantity", "psnr_roi_db", f"size{facts.suffix}", f"size{facts.suffix}_low"]
    assert list(filed["quantity"]) == [f"size{facts.suffix}", "r50_px"]
    again = from_file(filed)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs["unit"] == {"JND (own)": "jnd_own"}.get(unit, unit)
    assert list(in_file(table, facts_of("psnr"))) == list(table)
    assert from_file(table).attrs["unit"] == "dB"
    assert from_file(filed.assign(unit=unit)).attrs["unit"] == unit


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


@pytest.mark.parametrize("name", FACTS)
@pytest.mark.parametrize("engine", ["full", "auto"])
def test_what_changes_nothing_has_no_effect(cell: Cell, name: str, engine: str):
    """Exactly: the donor is what stands in the block already."""
    cell = under(cell, name, engine=engine)
    patch = cell.scene.clean[cell.scene.grid.rect(10).slices][None]
    cell = dataclasses.replace(cell, pool=DonorPool(np.ascontiguousarray(patch), np.array(["itself"])))
    bench, request = Bench.of(cell), Request(10, 0, 5)
    unit = bench.unit(request, bench.run(request))
    assert np.array_equal(unit[name], unit[f"{name}_untouched"])


@pytest.mark.parametrize("rule", [Uniform(1), Paper(2, 5), Sequential(maximum=8)], ids=lambda rule: type(rule).__name__)
def test_several_outcomes_have_the_numbers_of_each_alone(cell: Cell, rule, tmp_path):
    others = tuple(name for name in FACTS if name != "mae" and (isinstance(rule, Uniform) or name not in BACKBONES))
    together = under(dataclasses.replace(cell, rule=rule), "mae", also_outcomes=others)
    measured = measure(together, tmp_path / "together")
    alone = measure(dataclasses.replace(together, options=dataclasses.replace(together.options, also_outcomes=())))
    assert measured.record["session"]["new_draws"] == alone.record["session"]["new_draws"] > 0
    assert np.array_equal(measured.effect_map.effect, alone.effect_map.effect, equal_nan=True)
    assert np.array_equal(measured.effect_map.n, alone.effect_map.n)
    for name in others:
        shown, facts = measured.under(name), facts_of(name)
        assert (shown.record["outcome"], shown.record["unit"], shown.record["tol"]) == (name, facts.unit, facts.tol)
        assert shown.effect_map.summary() == shown.record["summary"]
        assert shown.effect_map.tol == facts.tol
        assert np.array_equal(shown.effect_map.n, measured.effect_map.n), "the first outcome decides"
        uniform = isinstance(rule, Uniform)
        own_rule = rule if uniform else Uniform(14)
        single = measure(under(dataclasses.replace(together, rule=own_rule), name, also_outcomes=())).store
        for block, draws in shown.draws.items():
            taken, counted = len(measured.draws[block]), len(draws)
            own = single.effects([block], name)[block][taken - counted : taken]
            # batches of other sizes move last bits, and with them the rounding to 8 bit
            apart = 0 if uniform else 0.1 if name == "psnr_8bit" else 1e-5
            assert np.allclose(draws, own, rtol=0, atol=apart)
            row, column = divmod(block, shown.effect_map.effect.shape[1])
            assert shown.effect_map.effect[row, column] == pytest.approx(np.mean(draws), abs=1e-12)
        assert facts.unit in texts(shown.plot())
        assert len(shown.to_dataframe()) == len(measured.to_dataframe())
    with pytest.raises(ValueError, match="Outcome vif was not measured, only mae, psnr"):
        measured.under("vif")


def test_the_key_names_all_outcomes_in_any_order(cell: Cell):
    """Shipped cells keep theirs; the same outcomes share one whatever comes first: their draws are the same."""
    key = [run_key(under(cell, *names).identity()) for names in (["psnr"], ["ssim"])]
    assert cell.identity()["outcomes"] == ["psnr", "psnr_8bit"]
    assert under(cell, "ssim").identity()["outcomes"] == ["psnr", "psnr_8bit", "ssim"]
    assert run_key(under(cell, "psnr", also_outcomes=("ssim",)).identity()) == key[1] != key[0]
    assert run_key(under(cell, "psnr", also_outcomes=("psnr_8bit", "psnr")).identity()) == key[0]
    pair = [under(cell, one, also_outcomes=(two,)).identity() for one, two in (("mae", "ssim"), ("ssim", "mae"))]
    assert pair[0] == pair[1]


def test_a_second_look_by_another_outcome_costs_no_forward(cell: Cell, tmp_path):
    measure(under(cell, "psnr", also_outcomes=("ssim",)), tmp_path)
    assert measure(under(cell, "ssim"), tmp_path).record["session"]["new_draws"] == 0


def test_several_outcomes_leave_a_map_each(cell: Cell, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cell = under(cell, "psnr", also_outcomes=("ssim", "mae"))
    measured = measure(cell, tmp_path / "store")
    paths = publish(cell, measured, tmp_path / "single", ["also_outcomes=[ssim,mae]"])
    assert [path.suffix for path in paths] == [".npz", ".png", ".json"] * 3 + [".md"]
    page = paths[-1].read_text()
    assert page.count("also_outcomes") == 1, "one command"
    assert "SSIM by ssim" in page and "levels by mae" in page
    summary_table(cell, measured, paths)
    assert "effect of a block, ssim" in capsys.readouterr().out


def test_several_outcomes_have_their_limits(cell: Cell, tmp_path):
    with pytest.raises(ValueError, match=r"also_outcomes=\['ssim'\] with stochastic=4"):
        Options(also_outcomes=("ssim",), stochastic=4)
    with pytest.raises(ValueError, match=r"Unknown outcome 'pnsr'; one of psnr, .* .nearest: psnr"):
        Options(also_outcomes=("pnsr",))
    with pytest.raises(MeasureError, match="roi=grid measures the PSNR of every output block, got outcome=psnr, mae"):
        measure_matrix(under(cell, "psnr", also_outcomes=("mae",)), tmp_path, 2)
    small = dataclasses.replace(cell, options=dataclasses.replace(cell.options, outcome="lpips"))
    with pytest.raises(MeasureError, match="outcome=lpips needs a ROI of at least 31 pixels a side, got 16x16"):
        Bench.of(small)


def test_psnr_y_and_psnr_8bit_are_those_of_basicsr(rng):
    metrics = basicsr("metrics.psnr_ssim")
    clean = rng.integers(0, 256, (40, 32, 3), dtype=np.uint8)
    output = np.clip(clean + rng.normal(0, 9, clean.shape), 0, 255).astype(np.uint8)
    to_rows = lambda image: torch.from_numpy(image.transpose(2, 0, 1).copy()).double() / 255  # noqa: E731
    images = [np.ascontiguousarray(image[..., ::-1]) for image in (output, clean)]
    for name, luma in (("psnr_8bit", False), ("psnr_y", True)):
        ours = outcome_of(name, "").measure(to_rows(output)[None].float(), to_rows(clean))
        theirs = metrics.calculate_psnr(*images, crop_border=0, test_y_channel=luma)
        assert float(ours[0]) == pytest.approx(theirs, abs=1e-5)
    unrounded = torch.clamp(to_rows(clean) + torch.from_numpy(rng.normal(0, 0.03, (3, 40, 32))), 0, 1)[None]
    theirs = metrics.calculate_psnr_pt(unrounded, to_rows(clean)[None], crop_border=0, test_y_channel=True)
    ours = outcome_of("psnr_y", "").measure(unrounded, to_rows(clean))
    assert float(ours[0]) == pytest.approx(float(theirs[0]), abs=1e-3)  # theirs adds 1e-8 to the squared error
