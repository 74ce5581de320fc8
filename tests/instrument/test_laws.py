"""The laws of the instrument, on tiny networks (design.md, Laws)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from cem_bench.inputs.degradations import Bicubic, Noise
from cem_bench.inputs.donors import DonorPool, stratify
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure
from cem_bench.measuring.outcome import OUTCOMES, psnr
from cem_bench.measuring.prepared import Bench, MeasureError
from cem_bench.measuring.proof import prove_draws
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Paper, Request, Uniform
from cem_bench.sampling.sequential import Sequential
from cem_bench.store import maps
from cem_bench.store.draws import Store

FULL = Options(engine="full")


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(2), FULL)


def content_pool(scene, degradation) -> DonorPool:
    """A pool whose only donor is what already stands in block 10."""
    patch = scene.clean[scene.grid.rect(10).slices][None]
    return DonorPool(np.ascontiguousarray(patch), np.array(["itself"]))


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("engine", ["full", "auto"])
def test_identity_intervention_is_exactly_zero(scene, tiny, scale: int, engine: str):
    degradation = Noise(30) if scale == 1 else Bicubic(4)
    model = as_model(tiny(scale), name="tiny", scale=scale)
    cell = Cell(model, scene, degradation, content_pool(scene, degradation), Uniform(5), Options(engine=engine))
    bench, request = Bench.of(cell), Request(10, 0, 5)
    unit = bench.unit(request, bench.run(request))
    assert np.array_equal(unit["psnr"], unit["psnr_untouched"])
    assert np.array_equal(unit["psnr_8bit"], unit["psnr_8bit_untouched"])


@pytest.mark.parametrize("engine", ["full", "cone"])
def test_a_roi_measured_beside_another_has_the_numbers_of_one_measured_alone(cell: Cell, tmp_path, engine: str):
    cell = dataclasses.replace(cell, options=Options(engine=engine))
    other = dataclasses.replace(cell, scene=dataclasses.replace(cell.scene, roi=Rect(32, 32, 16, 16)))
    alone = measure(other, tmp_path / "alone").store.rows
    drawn = set(measure(cell, tmp_path / "beside", also=[other.scene.roi]).store.rows["block"])
    assert drawn == set(measure(cell, tmp_path / "alone").store.rows["block"]), "no draw that cannot touch its ROI"
    kept = Store(tmp_path / "beside", other.identity()).rows
    missing = set(alone["block"]) - drawn
    if engine == "full":
        assert missing == set(other.scene.grid.overlapping(cell.scene.roi)) & set(alone["block"])
    assert set(alone["block"]) - set(kept["block"]) == missing
    again = measure(other, tmp_path / "beside")
    assert again.record["session"]["new_draws"] == 2 * len(missing)
    rows = again.store.rows
    wanted = rows[rows["block"].isin(alone["block"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(wanted, alone, rtol=0, atol=1e-5)


def test_a_constant_model_has_no_effect_anywhere(scene, pool, tmp_path):
    model = as_model(lambda x: torch.full_like(x, 0.4), name="constant")
    measured = measure(Cell(model, scene, Noise(30), pool, Uniform(2), FULL), tmp_path)
    outside = measured.effect_map.status == maps.MEASURED
    assert outside.sum() == 48 - 4
    assert np.all(measured.effect_map.effect[outside] == 0.0)
    assert measured.effect_map.shares()["none"] == 1.0


@pytest.mark.parametrize("engine", ["full", "auto"])
def test_effects_stay_inside_the_receptive_field(cell: Cell, tmp_path, engine: str):
    options = dataclasses.replace(cell.options, engine=engine)
    effect = measure(dataclasses.replace(cell, options=options), tmp_path).effect_map.effect
    near = np.zeros((6, 8), bool)
    near[1:5, 2:6] = True  # blocks within 8 px of the ROI; the network reaches 2 px
    assert np.all(effect[~near] == 0.0)
    assert np.any(np.nan_to_num(effect[near]) != 0.0)


def test_linear_model_has_its_closed_form(scene, pool):
    """For a linear network the output changes by the network's answer to the change of the input alone."""
    linear = nn.Conv2d(3, 3, 5, padding=2, bias=False)
    bench = Bench.of(Cell(as_model(linear, name="linear"), scene, Noise(10), pool, Uniform(3), FULL))
    block = next(iter(scene.grid.overlapping(scene.roi))) - 1
    unit = bench.unit(Request(block, 0, 3), bench.run(Request(block, 0, 3)))
    observation = torch.from_numpy(bench.observation.transpose(2, 0, 1)).double() / 255
    weights = linear.weight.detach().double()
    for k, patch in enumerate(bench.patches(block, unit["donor"], 0).double()):
        delta = torch.zeros_like(observation)
        at = (slice(None), *scene.grid.rect(block).slices)
        delta[at] = patch - observation[at]
        apply = lambda image: nn.functional.conv2d(image[None], weights, padding=2)  # noqa: E731
        closed = (apply(observation) + apply(delta))[(..., *scene.roi.slices)]
        assert unit["psnr"][k] == pytest.approx(float(psnr(closed, bench.target)[0]), abs=1e-5)


def test_order_and_resume_give_the_same_draws(cell: Cell, tmp_path):
    whole = measure(dataclasses.replace(cell, rule=Uniform(6)), tmp_path / "whole")
    measure(dataclasses.replace(cell, rule=Uniform(2)), tmp_path / "parts")
    parts = measure(dataclasses.replace(cell, rule=Uniform(6)), tmp_path / "parts")
    assert parts.record["session"]["new_draws"] == 44 * 4
    for column in ("block", "k", "donor"):
        assert np.array_equal(whole.store.rows[column], parts.store.rows[column])
    assert np.allclose(whole.store.rows["psnr"], parts.store.rows["psnr"], rtol=0, atol=1e-6)
    again = measure(dataclasses.replace(cell, rule=Uniform(6)), tmp_path / "parts")
    assert again.record["session"]["new_draws"] == 0
    assert np.array_equal(again.effect_map.effect, parts.effect_map.effect, equal_nan=True)


@pytest.mark.parametrize("strata", [0, 5])
def test_a_map_under_a_rule_is_the_same_whatever_else_is_stored(cell: Cell, pool, tmp_path, strata: int):
    cell = dataclasses.replace(cell, pool=stratify(pool, strata) if strata else pool)
    sequential = dataclasses.replace(cell, rule=Sequential(maximum=12))
    alone = measure(sequential, tmp_path / "alone").effect_map
    measure(dataclasses.replace(cell, rule=Uniform(14)), tmp_path / "more")
    beside = measure(sequential, tmp_path / "more")
    assert beside.record["session"]["new_draws"] == 0
    assert np.array_equal(beside.effect_map.n, alone.n)
    assert np.allclose(beside.effect_map.effect, alone.effect, rtol=0, atol=1e-6, equal_nan=True)
    assert alone.n[alone.status == maps.MEASURED].min() < alone.n.max() < 14


def test_interrupted_rounds_lose_nothing_and_give_the_same_bits(cell: Cell, tmp_path, monkeypatch):
    whole = measure(cell, tmp_path / "whole")
    real, calls = Bench.run, []

    def stops(self, request):
        calls.append(request)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return real(self, request)

    monkeypatch.setattr(Bench, "run", stops)
    with pytest.raises(KeyboardInterrupt):
        measure(cell, tmp_path / "stopped")
    monkeypatch.undo()
    resumed = measure(cell, tmp_path / "stopped")
    assert resumed.record["session"]["new_draws"] == (44 - 19) * 2
    assert whole.store.rows.equals(resumed.store.rows)


def test_donors_depend_on_seed_scene_block_and_k_only(cell: Cell):
    keys = cell.keys
    donors, _ = keys.donors(cell.pool, 3, 0, 20)
    assert np.array_equal(donors[5:9], keys.donors(cell.pool, 3, 5, 9)[0])
    assert not np.array_equal(donors, keys.donors(cell.pool, 4, 0, 20)[0])
    other = dataclasses.replace(cell, options=dataclasses.replace(cell.options, seed=1))
    assert not np.array_equal(donors, other.keys.donors(cell.pool, 3, 0, 20)[0])
    assert len(set(donors)) > 10


def test_strata_are_visited_evenly(pool, cell: Cell):
    strata = np.repeat(np.arange(4), 10)
    stratified = dataclasses.replace(pool, strata=strata)
    donors, labels = cell.keys.donors(stratified, 0, 0, 12)
    assert np.array_equal(strata[donors], labels)
    assert np.array_equal(np.bincount(labels), [3, 3, 3, 3])


def test_run_key_changes_with_what_changes_a_number_and_with_nothing_else(cell: Cell, scene, tiny):
    replace = dataclasses.replace
    key = cell.identity()
    moved = replace(scene, roi=replace(scene.roi, left=32))
    different = [
        replace(cell, model=as_model(tiny(seed=1), name="tiny")),
        replace(cell, model=as_model(tiny(), name="tiny", value_range=255)),
        replace(cell, scene=moved),
        replace(cell, scene=replace(scene, block=16)),
        replace(cell, degradation=Noise(31)),
        replace(cell, degradation=Noise(30, field_seed=1)),
        replace(cell, pool=cell.pool.fit(8).fit(4)),
        replace(cell, options=replace(cell.options, seed=1)),
        replace(cell, options=replace(cell.options, form="reference")),
        replace(cell, options=replace(cell.options, precision="bf16")),
    ]
    assert all(other.identity() != key for other in different)
    same = [
        replace(cell, rule=Paper()),
        replace(cell, model=as_model(tiny(), name="renamed")),
        replace(cell, options=replace(cell.options, engine="auto", tol=0.5, memory_gb=1.0)),
        replace(cell, scene=replace(scene, name="renamed")),
    ]
    assert all(other.identity() == key for other in same)


def test_paper_rule_counts_fine_draws_alone(cell: Cell, tmp_path):
    rule = Paper(coarse=2, fine=4, tol=1e-5)
    measured = measure(dataclasses.replace(cell, rule=rule), tmp_path)
    effects = measured.store.effects(range(48), "psnr")
    refined = [block for block, values in effects.items() if len(values) == 6]
    assert refined
    for block in refined:
        place = divmod(block, 8)
        assert measured.effect_map.effect[place] == pytest.approx(effects[block][2:].mean())
        assert measured.effect_map.n[place] == 4


def test_sequential_rule_with_donor_strata_resumes(cell: Cell, tmp_path):
    pool = stratify(cell.pool, 4, pool_seed=1)
    rule = Sequential(tol=1e-3, minimum=2, maximum=12)
    cell = dataclasses.replace(cell, pool=pool, rule=rule)
    first = measure(cell, tmp_path)
    n = first.effect_map.n[first.effect_map.status == maps.MEASURED]
    assert n.min() >= 2
    assert n.max() > n.min(), "draws go where they are needed"
    assert measure(cell, tmp_path).record["session"]["new_draws"] == 0


def test_roi_blocks_are_not_counted_unless_asked(cell: Cell, tmp_path):
    effect_map = measure(cell, tmp_path).effect_map
    assert (effect_map.status == maps.ROI).sum() == 4
    shares = effect_map.shares()
    assert sum(shares.values()) == pytest.approx(1.0)
    reference = effect_map.shares(roi_counts_as_positive=True)
    assert reference["positive"] * 48 == pytest.approx(shares["positive"] * 44 + 4)


@pytest.mark.parametrize("name", ["psnr_y", "ssim"])
def test_other_outcomes_are_stored_beside_psnr(cell: Cell, tmp_path, name: str):
    options = dataclasses.replace(cell.options, outcome=name)
    measured = measure(dataclasses.replace(cell, options=options, rule=Uniform(1)), tmp_path)
    assert {"psnr", "psnr_8bit", name} <= set(measured.store.rows.columns)
    assert OUTCOMES[name].higher_is_better
    assert np.nanmax(np.abs(measured.effect_map.effect)) > 0


def test_psnr_outcomes_agree_with_their_definition(rng):
    clean = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    output = np.clip(clean / 255 + rng.normal(0, 0.05, clean.shape), -0.2, 1.2)
    rows = torch.from_numpy(output.transpose(2, 0, 1)[None])
    target = torch.from_numpy(clean.transpose(2, 0, 1)).double() / 255
    clipped = np.clip(output, 0, 1)
    expected = -10 * np.log10(((clipped - clean / 255) ** 2).mean())
    assert float(OUTCOMES["psnr"].compute(rows, target)[0]) == pytest.approx(expected, abs=1e-9)
    rounded = np.round(clipped * 255)
    expected = 10 * np.log10(255**2 / ((rounded - clean) ** 2).mean())
    assert float(OUTCOMES["psnr_8bit"].compute(rows, target)[0]) == pytest.approx(expected, abs=1e-9)
    assert float(OUTCOMES["psnr"].compute(target[None], target)[0]) == 100.0


def test_a_wrong_engine_is_caught(cell: Cell, tmp_path, monkeypatch):
    """Draws that are off by more than 1e-3 dB stop the run with the engine's own diagnosis."""
    options = dataclasses.replace(cell.options, engine="cone")
    bench = Bench.of(dataclasses.replace(cell, options=options))
    exact = bench.engine.outputs

    def biased(block, patches):
        outputs = exact(block, patches).clone()
        outputs[1:] += 1e-3
        return outputs

    store, fresh = Store(tmp_path, bench.cell.identity()), [(11, k) for k in range(8)]
    monkeypatch.setattr(bench.engine, "outputs", biased)
    request = Request(11, 0, 8)
    store.append(bench.unit(request, bench.run(request)))
    with pytest.raises(MeasureError, match=r"differs from the full forward by .* dB .* first op that differs"):
        prove_draws(bench, store.rows, fresh, lambda done, total, stage: None)
    monkeypatch.undo()
    right = Store(tmp_path / "right", bench.cell.identity())
    right.append(bench.unit(request, bench.run(request)))
    assert prove_draws(bench, right.rows, fresh, lambda done, total, stage: None)["max_abs_db"] < 1e-5
