"""The cheap levels: mixing ops held at their clean values, and what pools add to first order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from engine_nets import LOCAL, Net
from torch import Tensor, nn
from torch.nn import functional

import model_zoo
from cem_bench.engine import prepare
from cem_bench.engine.cone import ConeEngine
from cem_bench.engine.levels import Levels
from cem_bench.inputs.degradations import Noise
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.images import locate, read_rgb
from cem_bench.measuring.outcome import psnr

SIDE = (16, 20)
ROI, NEAR, FAR = Rect(2, 3, 4, 4), Rect(3, 8, 2, 2), Rect(12, 14, 2, 3)


def image(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def cone(net: nn.Module, observation: Tensor, roi: Rect) -> ConeEngine:
    engine = prepare(net, observation, roi, kind="cone")
    assert isinstance(engine, ConeEngine)
    return engine


def summed(outputs: Tensor) -> Tensor:
    weights = image(9, 3, outputs.shape[-2], outputs.shape[-1]).to(outputs.device)
    return (outputs.double() * weights).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("name", LOCAL)
def test_without_mixing_ops_frozen_is_the_network_bit_for_bit(name: str) -> None:
    engine = cone(Net([name, "conv3"], 1, 0), image(1, 3, *SIDE), ROI)
    levels = Levels.of(engine, lambda rows: summed(rows)[0])
    patches = image(2, 3, 3, 2, 2)
    outputs, added = levels.outputs(NEAR, patches)
    assert torch.equal(outputs, engine.outputs(NEAR, patches))
    assert added.shape == (4, 0)


class Pooled(nn.Module):
    """Features by a network that is not linear; everything behind the pooled statistics is."""

    def __init__(self, statistic: str) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.start = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 4, 3, padding=1))
            self.later, self.end = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 3, 1)
            self.table = nn.Linear(16 if "product" in statistic else 4, 4)
        self.statistic = statistic

    def pooled(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        unit = functional.normalize(tokens, dim=-1)
        found = {
            "mean": lambda: x.mean((2, 3)),
            "sum": lambda: x.sum((-1, -2), keepdim=True).flatten(1) / 50,
            "adaptive": lambda: functional.adaptive_avg_pool2d(x, 1).flatten(1),
            "average": lambda: functional.avg_pool2d(x, x.shape[-2:]).flatten(1),
            "variance": lambda: x.var((2, 3)),
            "deviation": lambda: x.std((2, 3), unbiased=False),
            "product": lambda: (tokens @ tokens.transpose(1, 2)).flatten(1) / 50,
            "normalised product": lambda: (unit @ unit.transpose(1, 2)).flatten(1),
        }
        return self.table(found[self.statistic]())

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        x = x + self.pooled(x)[..., None, None]
        x = self.later(x)
        return self.end(x + x.mean((2, 3), keepdim=True))


STATISTICS = ("mean", "sum", "adaptive", "average", "variance", "deviation", "product", "normalised product")


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("block", [NEAR, FAR, Rect(0, 0, *SIDE)])
def test_the_adjoint_is_exact_where_all_behind_the_pools_is_linear(statistic: str, block: Rect) -> None:
    engine = cone(Pooled(statistic).eval(), image(1, 3, *SIDE), ROI)
    levels = Levels.of(engine, lambda rows: summed(rows)[0])
    assert len(levels.pools) == 2, levels.why
    patches = image(2, 5, 3, block.height, block.width)
    outputs, added = levels.outputs(block, patches)
    exact = summed(engine.outputs(block, patches))
    effects, pixels = exact - exact[0], summed(outputs) - summed(outputs)[0]
    assert float(added[0].abs().max()) == 0.0
    assert float(added.abs().max()) > 1e-3
    assert torch.allclose(pixels + added.sum(dim=1), effects, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("statistic", ["variance", "normalised product"])
def test_parts_of_the_pools_are_what_releasing_one_after_the_other_gives(statistic: str) -> None:
    engine = cone(Pooled(statistic).eval(), image(1, 3, *SIDE), ROI)
    levels, patches = Levels.of(engine, lambda rows: summed(rows)[0]), image(2, 4, 3, 2, 3)
    _, added = levels.outputs(FAR, patches)
    values = [summed(levels.releasing(first).outputs(FAR, patches)) for first in range(3)]
    effects = torch.stack([value - value[0] for value in values])
    assert torch.allclose((effects[:-1] - effects[1:]).T, added.double(), rtol=1e-4, atol=1e-5)
    assert levels.releasing(0) is engine


@pytest.mark.parametrize("statistic", ["variance", "normalised product"])
def test_pixels_and_pools_add_to_the_whole_where_they_meet_in_a_sum_alone(statistic: str) -> None:
    engine = cone(Pooled(statistic).eval(), image(1, 3, *SIDE), ROI)
    levels, patches = Levels.of(engine), image(2, 4, 3, 2, 2)
    exact, pixels, pools = (
        summed(outputs) - summed(outputs)[0]
        for outputs in (
            engine.outputs(NEAR, patches),
            levels.outputs(NEAR, patches)[0],
            levels.by_pools_alone(NEAR, patches),
        )
    )
    assert float(pools.abs().max()) > 1e-3
    assert torch.allclose(pixels + pools, exact, rtol=1e-4, atol=1e-5)


def test_pools_alone_are_the_network_with_the_gates_of_the_draw() -> None:
    made, block = Photograph(64, Rect(24, 16, 16, 16)), Rect(24, 34, 8, 8)
    rows = made.observation.expand(3, -1, -1, -1).clone()
    patches = image(3, 2, 3, 8, 8)
    rows[(slice(1, None), ..., *block.slices)] = patches
    pools = {name: part for name, part in made.net.named_modules() if isinstance(part, nn.AdaptiveAvgPool2d)}
    values: dict[str, Tensor] = {}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: values.setdefault(name, out.clone()))
        for name, part in pools.items()
    ]
    try:
        with torch.inference_mode():
            made.net(rows)
            plain = made.net(made.observation.expand(3, -1, -1, -1))[(..., *made.roi.slices)]
    finally:
        for hook in hooks:
            hook.remove()
    assert float((made.levels.by_pools_alone(block, patches) - plain).abs().max()) <= 1e-5
    assert float((plain[1] - plain[0]).abs().max()) > 1e-6


def test_pools_of_other_images_are_their_mean() -> None:
    made = Photograph(64, Rect(24, 16, 16, 16))
    images = torch.stack([made.observation.flip(2), 0.5 * made.observation])
    pools = [part for part in made.net.modules() if isinstance(part, nn.AdaptiveAvgPool2d)]
    means: dict[nn.Module, Tensor] = {}
    noting = [
        part.register_forward_hook(lambda part, _, out: means.update({part: out.mean(dim=0, keepdim=True)}))
        for part in pools
    ]
    with torch.inference_mode():
        made.net(images)
        for hook in noting:
            hook.remove()
        hooks = [part.register_forward_hook(lambda part, _, __: means[part]) for part in pools]
        plain = made.net(made.observation[None])[(..., *made.roi.slices)]
        for hook in hooks:
            hook.remove()
        own = made.net(made.observation[None])[(..., *made.roi.slices)]
    given = made.levels.under_pools_of(images)
    assert given is not None
    assert float((given - plain).abs().max()) <= 1e-5
    assert float((plain - own).abs().max()) > 1e-4


def test_released_from_the_first_pool_on_a_network_is_itself_whatever_is_held_without_a_sum() -> None:
    class Largest(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * x.amax((2, 3), keepdim=True))

    engine = cone(Largest("mean").eval(), image(1, 3, *SIDE), ROI)
    levels = Levels.of(engine, lambda rows: summed(rows)[0])
    assert len(engine.program.mixed) == 3
    assert len(levels.pools) == 2
    assert levels.releasing(0) is engine
    patches = image(2, 2, 3, 2, 3)
    assert torch.equal(levels.releasing(2).outputs(FAR, patches), levels.frozen.outputs(FAR, patches))


def test_a_network_bound_to_one_row_goes_one_row_at_a_time() -> None:
    net, observation, patches = Pooled("mean").eval(), image(1, 3, *SIDE), image(2, 3, 3, 2, 3)
    alone = prepare(net, observation, ROI, kind="cone", one_row=True)
    assert isinstance(alone, ConeEngine)
    outputs, added = Levels.of(alone, lambda rows: summed(rows)[0]).outputs(FAR, patches)
    expected, parts = Levels.of(cone(net, observation, ROI), lambda rows: summed(rows)[0]).outputs(FAR, patches)
    assert alone.rows_for(alone.program.everything) == 1
    assert torch.allclose(outputs, expected, atol=1e-6)
    assert torch.allclose(added, parts, atol=1e-5)


def test_an_op_that_mixes_positions_without_a_known_sum_is_held_and_has_no_first_order_part() -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.fft.fft2(x).abs().amax((2, 3), keepdim=True)

    engine = cone(Spectrum(), image(1, 3, *SIDE), ROI)
    levels = Levels.of(engine, lambda rows: summed(rows)[0])
    outputs, added = levels.outputs(FAR, image(2, 2, 3, 2, 3))
    assert levels.pools == ()
    assert added.shape == (3, 0)
    assert torch.equal(outputs[1], outputs[0])
    assert levels.reaches(FAR)


class Photograph:
    """RCAN with channel attention on a noisy crop of a photograph."""

    def __init__(self, side: int, roi: Rect) -> None:
        crop = np.ascontiguousarray(read_rgb(locate("skimage:data/astronaut.png"))[20 : 20 + side, 160 : 160 + side])
        self.net, self.roi = model_zoo.load("RCAN_DN_ca"), roi
        observed = Noise(50.0)(crop)
        self.observation = torch.from_numpy(observed.transpose(2, 0, 1).copy()).float() / 255
        self.target = torch.from_numpy(crop.transpose(2, 0, 1).copy())[(..., *roi.slices)].double() / 255
        self.engine = cone(self.net, self.observation, roi)
        self.levels = Levels.of(self.engine, lambda rows: psnr(rows, self.target)[0])


def test_frozen_draws_are_those_of_the_network_with_its_gates_held() -> None:
    made = Photograph(64, Rect(24, 16, 16, 16))
    held: dict[str, Tensor] = {}
    pools = {name: part for name, part in made.net.named_modules() if isinstance(part, nn.AdaptiveAvgPool2d)}
    assert len(pools) == len(made.levels.pools) == 8
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: held.setdefault(name, out.clone()).expand_as(out))
        for name, part in pools.items()
    ]
    try:
        for block in (Rect(24, 34, 8, 8), Rect(0, 56, 8, 8), Rect(8, 8, 8, 8)):
            patches = image(block.left, 3, 3, 8, 8)
            rows = made.observation.expand(4, -1, -1, -1).clone()
            rows[(slice(1, None), ..., *block.slices)] = patches
            held.clear()
            with torch.inference_mode():
                made.net(rows[:1])
                plain = made.net(rows)[(..., *made.roi.slices)]
            outputs, _ = made.levels.outputs(block, patches)
            assert float((outputs - plain).abs().max()) <= 1e-5
    finally:
        for hook in hooks:
            hook.remove()


def test_the_adjoint_leaves_next_to_nothing_of_the_variance_that_freezing_leaves() -> None:
    made = Photograph(96, Rect(0, 0, 32, 32))
    left = {}
    for distance, block in ((8, Rect(8, 40, 8, 8)), (24, Rect(56, 16, 8, 8)), (48, Rect(80, 80, 8, 8))):
        patches = image(block.top, 6, 3, 8, 8)
        outputs, added = made.levels.outputs(block, patches)
        exact = psnr(made.engine.outputs(block, patches), made.target)
        frozen = psnr(outputs, made.target)
        total, pixels = exact[1:] - exact[0], frozen[1:] - frozen[0]
        adjoint = pixels + added[1:].sum(dim=1)
        left[distance] = [float((total - part).var() / total.var()) for part in (pixels, adjoint)]
    assert left[48][0] == pytest.approx(1, abs=1e-6)
    assert all(adjoint < 0.03 for _, adjoint in left.values()), left


def test_near_leaves_out_what_lies_farther_and_nothing_else() -> None:
    engine = cone(Pooled("mean"), image(1, 3, *SIDE), ROI)
    levels, patches = Levels.of(engine, lambda rows: summed(rows)[0]), image(2, 3, 3, 2, 2)
    whole, wide, narrow = (each.outputs(NEAR, patches) for each in (levels, levels.near(20), levels.near(0)))
    assert all(torch.equal(first, second) for first, second in zip(whole, wide, strict=True))
    assert not torch.allclose(whole[1], narrow[1], atol=1e-6)
    assert levels.near(0).work(NEAR) < levels.near(1).work(NEAR) < levels.work(NEAR)
    assert torch.allclose(narrow[0][0], whole[0][0], atol=1e-5)
