"""Laws of joint effects: many blocks replaced at once, beside the same blocks one at a time."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cem_bench.engine.cone import ConeEngine
from cem_bench.inputs.degradations import Bicubic, Noise
from cem_bench.inputs.geometry import ring_distance
from cem_bench.inputs.sets import FAR, SURROUNDINGS, by_distance, listed, outside
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.entry import enlist
from cem_bench.measuring.joint import draw_sets, joint_store, joint_unit, reaching
from cem_bench.measuring.measure import measure
from cem_bench.measuring.prepared import Bench
from cem_bench.models.model import as_model
from cem_bench.report.experiment import read_experiment
from cem_bench.sampling.rules import Uniform
from cem_bench.store import maps
from cem_bench.store.archive import keep, restore
from cem_bench.store.audit import walk
from cem_bench.store.cells import StoredCell
from cem_bench.store.joint_runs import joint_folders, joint_rows


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(4), Options(joint=4))


class Brightened(nn.Module):
    """Linear up to a constant, above any dark image and below white: its mean absolute error is linear too."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = nn.Conv2d(3, 3, 31, padding=15, bias=False, groups=3)
        nn.init.constant_(self.blur.weight, 0.3 / 961)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blur(x) + 0.6


@pytest.fixture
def linear(scene, pool) -> Cell:
    dark = dataclasses.replace(scene, clean=scene.clean // 2)
    model = as_model(Brightened(), name="linear")
    return Cell(model, dark, Noise(10), pool, Uniform(3), Options(outcome="mae", joint=3))


def drawn(cell: Cell, sets, draws: int) -> tuple[Bench, dict[str, np.ndarray]]:
    bench, store = Bench.of(cell), joint_store(cell, None, sets)
    bench = draw_sets(bench, store, sets, draws)
    stored = store.effects(range(len(sets.blocks)), cell.options.outcome)
    return bench, {name: stored[place] for place, name in enumerate(sets.blocks)}


@pytest.mark.parametrize("engine", ["full", "cone"])
@pytest.mark.parametrize("degradation", [Noise(30), Bicubic(4)], ids=["DN", "SR"])
def test_the_joint_effect_of_one_block_is_its_single_effect_bit_for_bit(cell, tiny, engine, degradation):
    model = as_model(tiny(scale=degradation.scale), name="tiny", scale=degradation.scale)
    cell = dataclasses.replace(cell, model=model, degradation=degradation, options=Options(engine=engine))
    for block, rows in measure(cell).store.rows.groupby("block"):
        unit = joint_unit(Bench.of(cell), (0, 0), [[int(str(block))]] * 4, range(4))
        for outcome in ("psnr", "psnr_untouched", "psnr_8bit"):
            assert np.array_equal(unit[outcome], rows[outcome]), (block, outcome)


def test_a_linear_networks_joint_effect_is_the_sum_over_any_partition(linear: Cell, rng):
    measured = measure(linear)
    blocks = outside(linear.scene.grid, linear.scene.roi)
    singles = measured.store.effects(blocks.tolist(), "mae")
    total = sum(draws for draws in singles.values() if len(draws))
    shuffled = rng.permutation(blocks)
    parts = [listed(f"part {number}", part, 0) for number, part in enumerate(np.split(shuffled, [3, 17]))]
    joint = [next(iter(drawn(linear, sets, 3)[1].values())) for sets in parts]
    whole = drawn(linear, by_distance(linear.scene.grid, linear.scene.roi), 3)[1]
    rings = sum(draws for name, draws in whole.items() if name.startswith("ring") and len(draws))
    assert np.abs(total).min() > 0.1  # levels of 255: there is an effect to divide
    for sums in (sum(draws for draws in joint if len(draws)), rings, total):
        np.testing.assert_allclose(sums, whole[SURROUNDINGS], atol=1e-4)
    told = measured.record["joint"]
    assert told["interaction"] == pytest.approx(0, abs=1e-4)
    assert told["interaction_low"] < 0 < told["interaction_high"]


def test_blocks_stand_in_for_each_other_where_the_network_takes_the_best_of_them(scene, pool):
    """The brightest pixel right of the ROI decides: one dark block changes nothing, all of them do."""

    class Brightest(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 0.2 + 0.5 * x[..., 48:].amax(dim=(2, 3), keepdim=True)

    grey = dataclasses.replace(scene, clean=np.full_like(scene.clean, 200))
    dark = dataclasses.replace(pool, patches=pool.patches // 4)
    cell = Cell(as_model(Brightest(), name="max"), grey, Noise(1), dark, Uniform(3), Options(joint=3))
    told = measure(cell).record["joint"]
    assert abs(told["sum_of_singles"]) < 0.1
    assert abs(told["interaction"]) > 1


@pytest.mark.parametrize("engine", ["auto", "full"])
def test_blocks_out_of_reach_have_a_joint_effect_of_zero(cell: Cell, engine: str):
    cell = dataclasses.replace(cell, options=Options(engine=engine))
    far = np.flatnonzero(ring_distance(cell.scene.grid, cell.scene.roi) > 8)  # the network reaches 2 px
    bench, found = drawn(cell, listed("far", far, 0), 3)
    if engine == "auto":
        assert not reaching(bench, far.tolist())
        assert not len(found["far"]), "what cannot have an effect costs no forward"
    else:
        assert np.array_equal(found["far"], np.zeros(3))


def test_a_map_says_its_joint_effect_and_draws_it_once(cell: Cell, tmp_path: Path, monkeypatch):
    told = measure(cell, tmp_path).record["joint"]
    assert (told["set"], told["blocks"], told["draws"], told["unit"]) == (SURROUNDINGS, 44, 4, "dB")
    assert told["effect_low"] < told["effect"] < told["effect_high"]
    assert told["sum_of_singles_low"] < told["sum_of_singles"] < told["sum_of_singles_high"]
    assert told["interaction"] == pytest.approx(told["effect"] - told["sum_of_singles"])
    assert told["proof_db"] < 1e-3
    monkeypatch.setattr(Bench, "outputs", None)
    assert measure(cell, tmp_path).record["joint"] == told
    more = dataclasses.replace(cell, options=Options(joint=0))
    assert measure(more, tmp_path).record["joint"] == {"reason": "joint=0"}
    assert more.identity() == cell.identity(), "the map's key does not see the option"


def test_the_reference_form_has_no_joint_effect_and_says_so(cell: Cell):
    record = measure(dataclasses.replace(cell, options=Options(form="reference"))).record
    assert "intervention=lv" in record["joint"]["reason"]


def test_an_engine_that_is_wrong_on_many_blocks_gives_way_to_plain_forwards(cell: Cell, monkeypatch):
    cell = dataclasses.replace(cell, options=Options(joint=3))
    plain = measure(dataclasses.replace(cell, options=Options(joint=3, engine="full"))).record["joint"]
    outputs = ConeEngine.outputs

    def wrong(self, block, patches):
        found = outputs(self, block, patches)
        return found + 0.01 * (torch.arange(len(found)) > 0).reshape(-1, 1, 1, 1) if block.area > 64 else found

    monkeypatch.setattr(ConeEngine, "outputs", wrong)
    told = measure(cell).record["joint"]
    assert told["effect"] == pytest.approx(plain["effect"], abs=1e-5)


@pytest.fixture
def kept(cell: Cell, tmp_path: Path) -> Path:
    """A cell of an experiment with joint draws by distance, in store and archive."""
    measured = measure(cell, tmp_path / "store")
    sets = by_distance(cell.scene.grid, cell.scene.roi)
    store = joint_store(cell, tmp_path / "store", sets)
    draw_sets(Bench.of(cell), store, sets, 4)
    enlist(cell, measured, ["model=tiny", "scene=waves", "seed=0"], tmp_path, "denoise_ca")
    keep(tmp_path)
    return tmp_path


def stored(output: Path) -> StoredCell:
    (path,) = (output / "store" / "experiments" / "denoise_ca").glob("*.json")
    return StoredCell.of(json.loads(path.read_text()), output / "store")


def test_joint_draws_are_kept_restored_and_verified_beside_the_map(kept: Path, tmp_path_factory):
    rows = joint_rows(stored(kept))
    names = [row["set"] for row in rows]
    assert names[:2] == [SURROUNDINGS, FAR]
    assert {row["draws"] for row in rows} == {0, 4}, "rings out of reach have no draws, and an effect of 0"
    assert all(row["effect"] == row["interaction"] == 0 for row in rows if not row["draws"])
    clone = tmp_path_factory.mktemp("clone")
    (kept / "draws").rename(clone / "draws")
    assert restore(clone) == 2
    assert joint_rows(stored(clone)) == rows
    assert not walk(clone, "denoise_ca").damage
    assert walk(clone, "denoise_ca").runs == 2
    whole = read_experiment("denoise_ca", clone).root_sha256
    assert walk(clone, "denoise_ca").root_sha256 == whole
    keep(clone, ["ti*"])
    assert restore(clone) == 0
    with pytest.raises(FileNotFoundError, match="nothing to keep"):
        keep(clone, ["IMDN"])
    (joint,) = joint_folders(clone / "store")[stored(clone).folder.name]
    shutil.rmtree(joint)
    assert walk(clone, "denoise_ca").root_sha256 == read_experiment("denoise_ca", clone).root_sha256 != whole


def test_a_damaged_joint_draw_is_named(kept: Path):
    joint = next(path for path in (kept / "store").glob("*/identity.json") if b'"joint"' in path.read_bytes()).parent
    shard = next(joint.glob("draws-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"0")
    assert [damage.path for damage in walk(kept, "denoise_ca").damage] != []
    assert any(damage.path.parent == joint for damage in walk(kept, "denoise_ca").damage)


def test_blocks_by_verdict_are_replaced_by_donors_that_had_no_part_in_it(cell: Cell, tmp_path: Path):
    measured = measure(dataclasses.replace(cell, rule=Uniform(6)), tmp_path / "store")
    enlist(dataclasses.replace(cell, rule=Uniform(6)), measured, ["model=tiny", "seed=0"], tmp_path, "denoise_ca")
    from cem_bench.store.joint_runs import sets_of

    found = sets_of(stored(tmp_path))
    assert [sets.first for sets in found] == [0] + [6] * (len(found) - 1)
    live = set(np.flatnonzero(measured.effect_map.status.ravel() == maps.MEASURED).tolist())
    for sets in found[1:]:
        assert set(next(iter(sets.blocks.values()))) <= live
        unit = joint_unit(Bench.of(cell), (0, 0), [next(iter(sets.blocks.values()))] * 2, [6, 7])
        assert np.array_equal(drawn(cell, sets, 2)[1][next(iter(sets.blocks))], unit["psnr_untouched"] - unit["psnr"])
