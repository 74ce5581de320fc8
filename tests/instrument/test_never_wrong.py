"""No number that the plain network contradicts is kept or served; an engine that fails is replaced, and it is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cem_bench.engine.cone import ConeEngine
from cem_bench.inputs.degradations import Noise
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.measure import measure
from cem_bench.measuring.prepared import Bench, MeasureError
from cem_bench.measuring.proof import detects, sample
from cem_bench.measuring.yardstick import check
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Uniform
from cem_bench.store import maps
from cem_bench.store.draws import Store


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(3))


def under(cell: Cell, engine: str) -> Cell:
    return dataclasses.replace(cell, options=Options(engine=engine))


def truth(cell: Cell, folder: Path) -> np.ndarray:
    return measure(under(cell, "full"), folder / "truth").effect_map.effect


def wrong_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make cones answer what is 2e-3 off, as a lost path would."""
    exact = ConeEngine.outputs

    def biased(self: ConeEngine, block, patches: Tensor) -> Tensor:
        outputs = exact(self, block, patches).clone()
        if block.top >= 8:
            outputs[1:, :, ::2] += 2e-3
        return outputs

    monkeypatch.setattr(ConeEngine, "outputs", biased)


def test_refuted_draws_leave_the_store_and_auto_goes_on_with_plain_forwards(cell, tmp_path, monkeypatch, caplog):
    expected = truth(cell, tmp_path)
    wrong_outputs(monkeypatch)
    monkeypatch.setattr("cem_bench.engine.choose.TOLERANCE", {"fp32": 1.0})
    measured = measure(cell, tmp_path)
    assert np.nanmax(np.abs(measured.effect_map.effect - expected)) < 1e-5
    (refuted,) = measured.record["refuted"]
    assert refuted["engine"] == "cone"
    assert refuted["difference_db"] > 1e-3
    assert refuted["removed_draws"] > 0
    assert measured.record["engine"]["kind"] == "full"
    assert measured.record["engines"] == ["full"]
    assert "draws were removed from the store" in caplog.text
    assert measure(under(cell, "full"), tmp_path).record["session"]["new_draws"] == 0


def test_an_engine_asked_for_by_name_is_refused_and_nothing_of_it_is_served(cell, tmp_path, monkeypatch):
    expected = truth(cell, tmp_path)
    with monkeypatch.context() as patch:
        wrong_outputs(patch)
        patch.setattr("cem_bench.engine.choose.TOLERANCE", {"fp32": 1.0})
        with pytest.raises(MeasureError, match=r"Engine cone differs .* Use engine=auto or engine=full"):
            measure(under(cell, "cone"), tmp_path)
    again = measure(under(cell, "full"), tmp_path)
    assert np.nanmax(np.abs(again.effect_map.effect - expected)) < 1e-5


def test_draws_that_no_proof_stands_for_are_proven_by_the_next_session(cell, tmp_path, monkeypatch):
    """A session that dies before its proof leaves draws behind; so do the ROIs measured beside another."""
    with monkeypatch.context() as patch:
        wrong_outputs(patch)
        patch.setattr("cem_bench.engine.choose.TOLERANCE", {"fp32": 1.0})
        patch.setattr("cem_bench.measuring.drawing.prove_draws", _killed)
        with pytest.raises(KeyboardInterrupt):
            measure(cell, tmp_path)
    assert len(Store(tmp_path, cell.identity()).rows) > 0
    measured = measure(cell, tmp_path)
    assert measured.record["refuted"]
    assert np.nanmax(np.abs(measured.effect_map.effect - truth(cell, tmp_path))) < 1e-5


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("engine", ["auto", "cone"])
def test_blocks_called_unreachable_are_replaced_at_once(cell, tmp_path, monkeypatch, engine: str):
    """An engine that reaches too little is refuted: here, every block but those of row 2."""
    monkeypatch.setattr(ConeEngine, "reaches", lambda self, block, part=None: block.top == 16)
    if engine == "cone":
        with pytest.raises(MeasureError, match=r"calls \d+ blocks unreachable, but replacing them all at once moves"):
            measure(under(cell, engine), tmp_path)
        return
    measured = measure(cell, tmp_path)
    assert (measured.effect_map.status == maps.UNREACHABLE).sum() == 0
    assert measured.record["refuted"][0]["engine"] == "cone"
    assert np.nanmax(np.abs(measured.effect_map.effect - truth(cell, tmp_path))) < 1e-5


def test_the_record_holds_what_the_proof_stands_for(cell, tmp_path):
    record = measure(cell, tmp_path).record
    proof = record["proof"]
    assert proof["stands_for"] == record["session"]["new_draws"]
    assert proof["reach"]["forwards"] == 2
    assert proof["reach"]["max_abs_db"] < 1e-5
    assert proof["finds_share_95"] == pytest.approx(1 - 0.05 ** (1 / proof["random"]), abs=1e-4)
    assert 0 < record["checks"]["seconds"] < record["session"]["seconds"]
    assert record["yardstick"]["difference"] < record["yardstick"]["tolerance"]


def test_a_proof_looks_where_errors_would_be(cell):
    bench = Bench.of(cell)
    live = np.flatnonzero(bench.status().ravel() == maps.MEASURED).tolist()
    drawn = [(block, k) for block in live for k in range(50)]
    effects = np.zeros(len(drawn))
    effects[77], effects[123] = 2.0, -2.0
    chosen, random = sample(bench, drawn, effects)
    assert random == 8
    assert {drawn[77], drawn[123]} <= set(chosen)
    work = {block: bench.engine.work(bench.input_rect(block)) for block in live}
    seen = {work[block] for block, _ in chosen}
    assert {min(work.values()), max(work.values())} <= seen
    assert detects(59) == pytest.approx(0.05, abs=0.001)


class Stumbles:
    """A network that raises on its n-th call, and on every call with two images from then on."""

    def __init__(self, network, at: int) -> None:
        self.network, self.at, self.calls = network, at, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls >= self.at and len(x) > 1:
            raise IndexError("list index out of range")
        return self.network(x)


def test_a_network_that_raises_in_the_middle_goes_on_one_image_at_a_time(cell, tmp_path, tiny):
    stumbles = Stumbles(tiny().eval(), 30)
    model = as_model(lambda x: stumbles(x), name="stumbles")
    measured = measure(dataclasses.replace(cell, model=model, options=Options(engine="full")), tmp_path)
    assert np.nanmax(np.abs(measured.effect_map.effect - truth(cell, tmp_path))) < 1e-5
    assert measured.record["session"]["new_draws"] == 44 * 3
    assert measured.record["engine"]["reason"].startswith("full given up: list index out of range")


def test_rows_that_touch_go_one_at_a_time_and_the_record_says_so(cell, tmp_path, tiny):
    net = tiny().eval()
    model = as_model(lambda x: net(x) * (1 + (x - x.flip(0)).abs().mean()), name="touching")
    for engine in ("auto", "full"):
        record = measure(dataclasses.replace(under(cell, engine), model=model), tmp_path / engine).record
        assert record["yardstick"]["one_row"] == "its answer to an image depends on the batch"


def test_the_untouched_image_is_asked_for_again_at_the_end(cell, tmp_path, tiny):
    """A change that comes after the checks before the first draw, and what it measured, are not kept."""
    calls, net = [], tiny().eval()

    def drifts(x: Tensor) -> Tensor:
        calls.append(1)
        return net(x) + 0.01 * (len(calls) > 40)

    cell = dataclasses.replace(cell, model=as_model(drifts, name="drifts"), options=Options(engine="full"))
    with pytest.raises(MeasureError, match=r"answers the untouched image differently after the draws .* keeps state"):
        measure(cell, tmp_path)
    assert len(Store(tmp_path, cell.identity()).rows) == 0


def test_the_yardstick_costs_four_forwards_beside_the_answer_itself(cell):
    tensor = torch.from_numpy(np.ascontiguousarray(cell.degradation(cell.scene.clean).transpose(2, 0, 1))) / 255
    assert check(cell.model, tensor, cell.scene.size).forwards == 4
