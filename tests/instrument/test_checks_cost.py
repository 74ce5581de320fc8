"""What the checks cost, and that saving work loses no error: small parts, windows, and the size of the sample."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cem_bench import Cell, DonorPool, Noise, Options, Rect, Scene, Uniform, as_model, measure
from cem_bench.engine.cone import ConeEngine
from cem_bench.engine.cost import Cost
from cem_bench.measuring import reach
from cem_bench.measuring.prepared import Bench
from cem_bench.measuring.proof import sample
from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.store import maps


@pytest.fixture
def cell(scene, pool, tiny) -> Cell:
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(3))


class Counted(nn.Module):
    """A network that counts the pixels it is given, in images of `area` pixels."""

    def __init__(self, network: nn.Module, area: int, images: list[float]) -> None:
        super().__init__()
        self.network, self.area, self.images = network, area, images

    def forward(self, x: Tensor) -> Tensor:
        self.images.append(x.shape[0] * x.shape[-1] * x.shape[-2] / self.area)
        return self.network(x)

    def __deepcopy__(self, memo: dict) -> Counted:
        return Counted(copy.deepcopy(self.network, memo), self.area, self.images)


def quickstart(network: Callable[[nn.Module, Cell], nn.Module]) -> Cell:
    """Return the quickstart with one draw per block and no joint draws: its map's checks cost the same."""
    register()
    cell = dataclasses.replace(build_cell(composed(["+experiment=quickstart"])), rule=Uniform(1))
    cell = dataclasses.replace(cell, options=dataclasses.replace(cell.options, joint=0))
    return dataclasses.replace(cell, model=as_model(network(cell.model.restorer, cell), name="quickstart"))


def test_the_checks_of_quickstart_restore_less_than_seven_images():
    """Of 0.3 processor seconds each on the machine that measured it; the whole is to take two at most."""
    images: list[float] = []
    record = measure(quickstart(lambda network, cell: Counted(network, 256 * 256, images))).record
    assert record["engine"]["kind"] == "cone"
    # the answer itself and the record of the network are no checks; draws go through the record
    assert 3 < sum(images) - 2 < 5.5
    assert record["proof"]["random"] >= 4 and record["proof"]["draws"] > record["proof"]["random"]
    assert record["proof"]["window"] == [80, 80]
    assert record["yardstick"]["part_px"] == [64, 64]


def test_the_checks_of_quickstart_take_the_processor_less_than_seven_forwards():
    cell = quickstart(lambda network, cell: network)
    rows, forward = torch.rand(1, 3, 256, 256), Cost()
    with torch.inference_mode():
        cell.model.restorer(rows)
        with forward.counted():
            for _ in range(3):
                cell.model.restorer(rows)
    record = measure(cell).record
    checks = record["checks"]
    parts = [checks[f"{name}_cpu_seconds"] for name in ("yardstick", "engine", "fingerprint", "proof")]
    assert checks["cpu_seconds"] == pytest.approx(sum(parts), abs=0.003)
    assert min(parts) > 0
    assert checks["cpu_seconds"] < 7 * forward.cpu_seconds / 3
    assert 0 < checks["share"] < 1


@pytest.mark.parametrize("most", [0.0, 9.0, 13.0, math.inf])
def test_a_sample_that_costs_too_much_keeps_its_suspects_and_four_random_draws(cell, most: float):
    bench = Bench.of(cell)
    live = np.flatnonzero(bench.status().ravel() == maps.MEASURED).tolist()
    drawn = [(block, k) for block in live for k in range(50)]
    effects = np.linspace(-1, 1, len(drawn))
    chosen, random = sample(bench, drawn, effects, most)
    assert 4 <= random <= 8
    assert random == 8 or len(chosen) <= max(most, 4 + 8)
    assert {drawn[0], drawn[-1]} <= set(chosen)
    assert sample(bench, drawn, effects, math.inf)[1] == 8


@pytest.fixture
def large(pool, tiny) -> Cell:
    """A scene large enough for the yardstick's part and the proof's window."""
    rows, columns = np.mgrid[:144, :160]
    clean = np.stack([127 + 60 * np.sin(rows / 9 + i) * np.cos(columns / 7 - i) for i in range(3)], axis=-1)
    scene = Scene("waves", clean.astype(np.uint8), Rect(64, 64, 16, 16), 8, "made")
    return Cell(as_model(tiny(), name="tiny"), scene, Noise(30), pool, Uniform(3))


def test_draws_are_proven_on_the_window_of_all_that_reaches_the_roi(large, monkeypatch):
    assert measure(large).record["proof"]["window"] == [32, 32]
    exact = ConeEngine.outputs

    def biased(self: ConeEngine, block, patches: Tensor) -> Tensor:
        outputs = exact(self, block, patches).clone()
        outputs[1:, :, ::2] += 2e-3
        return outputs

    monkeypatch.setattr(ConeEngine, "outputs", biased)
    monkeypatch.setattr("cem_bench.engine.choose.TOLERANCE", {"fp32": 1.0})
    measured = measure(large)
    assert measured.record["refuted"][0]["engine"] == "cone"
    assert measured.record["proof"]["window"] is None, "plain forwards call every block in reach"


def test_where_time_is_short_one_forward_is_unlike_the_image_that_the_engine_was_tried_on(large, monkeypatch):
    """What is white there gets a dark donor, what is black a bright one; the record is given the others."""
    given: list[np.ndarray] = []
    exact = reach.replaced

    def seen(bench: Bench, blocks, donors) -> np.ndarray:
        image = exact(bench, blocks, donors)
        elsewhere = bench.yardstick.elsewhere
        assert elsewhere is not None
        levels = bench.cell.pool.patches.mean(axis=(1, 2, 3))
        white = [float(elsewhere.image[(..., *bench.input_rect(block).slices)].mean()) > 0.5 for block in blocks]
        given.append((levels[donors] > np.median(levels)) == np.array(white))
        return image

    monkeypatch.setattr(reach, "replaced", seen)
    monkeypatch.setattr("cem_bench.measuring.drawing.CHECKS_S", 0.0)
    record = measure(large).record["proof"]["reach"]
    assert record["forwards"] == 1
    assert record["elsewhere"] < 1e-5
    assert record["max_abs_db"] < 1e-5
    assert [same.all() for same in given] == [True, False]
    assert not given[1].any()
    monkeypatch.undo()
    assert measure(large).record["proof"]["reach"]["forwards"] == 2


class Gated(nn.Module):
    """A network that a far corner changes where it is bright (or dark), in large images; seen by recorders or not."""

    def __init__(self, network: nn.Module, sign: int, *, hidden: bool) -> None:
        super().__init__()
        self.network, self.sign, self.hidden = network, sign, hidden

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] < 100:
            return self.network(x)
        level = x[:, :, :8, :8].mean((1, 2, 3), keepdim=True)
        if self.hidden:
            with torch._C.DisableTorchFunction():
                level = x[:, :, :8, :8].mean((1, 2, 3), keepdim=True)
        return self.network(x) + torch.relu(self.sign * (level - 0.5) - 0.1)


@pytest.mark.parametrize("sign", [1, -1], ids=["bright", "dark"])
@pytest.mark.parametrize("hidden", [True, False], ids=["lost path", "wrong reach"])
def test_where_time_is_short_no_far_block_is_lost_bright_or_dark(large, monkeypatch, sign: int, hidden: bool):
    flat = np.linspace(0, 255, 40).astype(np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    model = as_model(Gated(large.model.restorer, sign, hidden=hidden), name="gated")
    scene, pool = dataclasses.replace(large.scene, block=16), DonorPool(flat, np.arange(40).astype(str))
    cell = dataclasses.replace(large, scene=scene, model=model, pool=pool, rule=Uniform(1))
    monkeypatch.setattr("cem_bench.measuring.drawing.CHECKS_S", 0.0)
    if hidden:  # a recorder that sees no constant that depends on the image
        monkeypatch.setattr("cem_bench.engine.program._on_rows", lambda *_: ({}, ""))
    else:
        monkeypatch.setattr(ConeEngine, "reaches", lambda self, block, part=None: block.top > 40)
        monkeypatch.setattr("cem_bench.engine.choose.CLEAR", 1.0)
    record = measure(cell).record
    tried = record["engine"]["reason"].startswith("no cone: the record differs from the full forward of another image")
    assert record["engine"]["kind"] != "cone"
    assert tried != bool(record["refuted"]), "one of the trial and the proof of reach saw it"


def test_a_network_that_works_in_tiles_of_16_is_proven_on_a_window_in_their_phase(large):
    class Tiles(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = large.model.restorer

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x) + nn.functional.interpolate(nn.functional.avg_pool2d(x, 16), scale_factor=16.0)

    scene = dataclasses.replace(large.scene, roi=Rect(72, 72, 8, 8))
    record = measure(dataclasses.replace(large, scene=scene, model=as_model(Tiles(), name="tiles"))).record
    assert record["engine"]["kind"] == "cone"
    assert record["proof"]["window"] == [32, 32], "24 is all that reaches the ROI"


@pytest.mark.parametrize(
    "kind", ["minds its borders", "acts globally by a hair", "takes no small image", "answers small images otherwise"]
)
def test_a_window_that_is_not_the_image_is_not_taken(large, kind: str):
    net, area = large.model.restorer, 144 * 160

    def network(x: Tensor) -> Tensor:
        small = x.shape[-1] * x.shape[-2] < area
        if kind == "takes no small image" and small:
            raise ValueError("too small")
        level = {
            "minds its borders": x.shape[-1] / 1e3,
            "acts globally by a hair": x.mean((1, 2, 3), keepdim=True) * 1e-3,
        }
        return net(x) * (1 + level.get(kind, 0.1 * small))

    cell = dataclasses.replace(large, model=as_model(network, name="minds"), options=Options(engine="auto"))
    record = measure(cell).record
    assert record["proof"]["window"] is None
    assert record["yardstick"]["part_px"] == ([144, 160] if kind == "takes no small image" else [64, 64])
    truth = measure(dataclasses.replace(cell, options=Options(engine="full"))).effect_map.effect
    assert np.nanmax(np.abs(measure(cell).effect_map.effect - truth)) < 1e-4
