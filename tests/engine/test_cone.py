"""The fast engine equals the full forward: on every rule, on random graphs, at image borders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from engine_nets import CHANNELS, LAYERS, LOCAL, Net, networks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from cem_bench.engine import prepare
from cem_bench.engine.base import intervened
from cem_bench.inputs.geometry import Rect

SIDE = (16, 20)
PLACES = [  # ROI and block: overlapping, in corners, the whole output, far apart
    (Rect(6, 8, 4, 4), Rect(7, 6, 2, 2)),
    (Rect(0, 0, 5, 3), Rect(0, 2, 2, 2)),
    (Rect(12, 15, 4, 5), Rect(13, 17, 3, 3)),
    (Rect(0, 0, 16, 20), Rect(3, 0, 4, 4)),
    (Rect(0, 0, 3, 3), Rect(12, 16, 4, 4)),
]


@st.composite
def rects(draw: st.DrawFn, height: int, width: int, largest: int = 8) -> Rect:
    """A rectangle inside an image, borders included."""
    rows, columns = draw(st.integers(1, min(largest, height))), draw(st.integers(1, min(largest, width)))
    return Rect(draw(st.integers(0, height - rows)), draw(st.integers(0, width - columns)), rows, columns)


def image(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def full_forward(net: nn.Module, observation: Tensor, block: Rect, patches: Tensor) -> Tensor:
    with torch.inference_mode():
        return net(torch.cat([observation[None], intervened(observation, block, patches)]))


def assert_equal_to_full(net: nn.Module, roi: Rect, block: Rect) -> None:
    observation = image(1, 3, *SIDE)
    patches = torch.cat([observation[(slice(None), *block.slices)][None], image(2, 2, 3, block.height, block.width)])
    engine = prepare(net, observation, roi, kind="cone")
    whole = full_forward(net, observation, block, patches)
    expected = whole[(..., *roi.slices)]
    got = engine.outputs(block, patches)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * whole.abs().max()
    assert torch.equal(got[0], got[1]), "a patch of the block's own content must change nothing, bit for bit"
    if not engine.reaches(block):
        assert torch.equal(expected, expected[:1].expand_as(expected)), "a block called dead moved the ROI"


@pytest.mark.parametrize("name", sorted(LAYERS))
@pytest.mark.parametrize(("roi", "block"), PLACES)
def test_every_rule_equals_the_full_forward(name: str, roi: Rect, block: Rect) -> None:
    assert_equal_to_full(Net([name], 1, 0), roi, block)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(networks(), st.data())
def test_random_graphs_equal_the_full_forward(net: Net, data: st.DataObject) -> None:
    height, width = (side * net.scale for side in SIDE)
    assert_equal_to_full(net, data.draw(rects(height, width, 12)), data.draw(rects(*SIDE)))


@pytest.mark.parametrize("name", LOCAL)
def test_local_ops_have_a_local_rule(name: str) -> None:
    engine = prepare(Net([name], 1, 0), image(1, 3, *SIDE), Rect(0, 0, 2, 2), kind="cone")
    assert engine.program.mixing == []


@pytest.mark.parametrize("name", ["channel_attention", "transposed_attention", "instance_norm"])
def test_global_ops_change_everything_but_the_tail_stays_narrow(name: str) -> None:
    engine = prepare(Net([name], 1, 0), image(1, 3, *SIDE), Rect(0, 0, 2, 2), kind="cone")
    assert engine.program.mixing
    assert engine.reaches(Rect(15, 19, 1, 1))
    assert engine.cone(Rect(15, 19, 1, 1)).regions[engine.program.output] == Rect(0, 0, 2, 2)


def test_a_kernel_acts_only_inside_its_receptive_field() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 5, padding=2))
    engine = prepare(net, image(1, 3, *SIDE), Rect(8, 8, 1, 1), kind="cone")
    reached = [(row, column) for row in range(16) for column in range(20) if engine.reaches(Rect(row, column, 1, 1))]
    assert reached == [(row, column) for row in range(5, 12) for column in range(5, 12)]


def test_a_block_reaches_a_part_of_the_roi_as_if_that_were_the_roi() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 5, padding=2))
    parts = [Rect(8, 8, 1, 1), Rect(0, 16, 3, 4)]
    both = prepare(net, image(1, 3, *SIDE), Rect(0, 0, *SIDE), kind="cone")
    for part in parts:
        alone = prepare(net, image(1, 3, *SIDE), part, kind="cone")
        pixels = [Rect(row, column, 1, 1) for row in range(16) for column in range(20)]
        assert [both.reaches(pixel, part) for pixel in pixels] == [alone.reaches(pixel) for pixel in pixels]


def test_an_unknown_op_falls_back_to_everywhere_and_says_so() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(torch.fft.ifft2(torch.fft.fft2(x) * 0.5).real + torch.cumsum(x, 1))

    net = Odd()
    assert_equal_to_full(net, Rect(2, 3, 4, 4), Rect(9, 9, 2, 2))
    engine = prepare(net, image(1, 3, *SIDE), Rect(2, 3, 4, 4), kind="cone")
    assert engine.reaches(Rect(15, 19, 1, 1))
    assert "no rule for" in engine.reason
    assert "fft_fft2" in engine.reason


def test_first_difference_names_the_op_that_read_a_wrong_value() -> None:
    net = Net(["gelu", "conv3"], 1, 0)
    engine = prepare(net, image(1, 3, *SIDE), Rect(4, 4, 4, 4), kind="cone")
    block, patches = Rect(5, 5, 2, 2), image(3, 2, 3, 2, 2)
    assert engine.first_difference(block, patches).startswith("none")
    wrong = next(ref for ref, step in engine.program.steps.items() if step.call.name == "clone")
    with torch.inference_mode():
        engine._material.clean[wrong].add_(1)
    assert engine.first_difference(block, patches) == "layers.1: conv2d"


def test_values_inside_one_window_attention_are_not_remembered() -> None:
    engine = prepare(Net(["shifted_windows"], 1, 0), image(1, 3, *SIDE), Rect(4, 4, 4, 4), kind="cone")
    inside = [ref for ref, step in engine.program.steps.items() if step.call.name in ("linear", "unbind")]
    assert len(inside) == 4
    assert not engine.program.clean_values & set(inside)


class Scores(nn.Module):
    """Window attention written out, whose scores pass through a function before the softmax."""

    def __init__(self, between: Callable[[Tensor], Tensor], channels: int = CHANNELS) -> None:
        super().__init__()
        self.between, self.channels = between, channels
        self.inner = nn.Conv2d(3, channels, 1)
        self.outer = nn.Conv2d(channels, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        tokens = self.inner(x).view(b, self.channels, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
        tokens = tokens.reshape(-1, 1, 16, self.channels)
        weights = self.between((0.5 * tokens) @ tokens.transpose(-2, -1)).softmax(dim=-1)
        out = (weights @ tokens).view(b, h // 4, w // 4, 4, 4, self.channels).permute(0, 5, 1, 3, 2, 4)
        return self.outer(out.reshape(b, self.channels, h, w))


BIAS = image(4, 16, 16) * 8


@pytest.mark.parametrize(
    ("between", "channels", "is_fused"),
    [
        (lambda scores: scores, 4, True),
        (lambda scores: scores * 3.5 + BIAS, 4, True),
        (lambda scores: scores + BIAS[:1] + BIAS[:, :1], 4, True),
        (lambda scores: functional.dropout(scores + BIAS, 0.0), 4, False),
        (lambda scores: (scores + BIAS) * 2, 4, False),
        (lambda scores: scores.square() + BIAS, 4, False),
        (lambda scores: scores + scores.mean(-1, keepdim=True) * BIAS, 4, False),
        (lambda scores: scores, 20, False),
    ],
)
def test_attention_written_out_becomes_one_call_only_where_that_is_the_same(
    between: Callable[[Tensor], Tensor], channels: int, is_fused: bool
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Scores(between, channels).eval()
    engine = prepare(net, image(1, 3, *SIDE), PLACES[0][0], kind="cone")
    names = [step.call.name for step in engine.program.steps.values()]
    assert ("scaled_dot_product_attention" in names, "softmax" in names) == (is_fused, not is_fused)
    for roi, block in PLACES:
        assert_equal_to_full(net, roi, block)
