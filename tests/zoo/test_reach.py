"""The reach a card states, found by poisoning: every pixel right (left) of a line is NaN, and how far does it come."""

import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

import model_zoo
from model_zoo.loading import build_card

# the spread does not depend on the number of channels: these options make the deep ones cheap
NARROW = {
    "RCAN": {"features": 4, "reduction": 4},
    "EDSR": {"features": 4},
    "SRResNet": {"features": 4},
    "ESRGAN": {"num_filters": 8},
    "SwinIR": {"embed_dim": 12, "num_heads": [2] * 6},
    "DRUNet": {"nc": [8, 8, 8, 8]},
    "HiTSRF": {"features": 16, "heads": 2},
}
# (height of the strip, columns tried) where (4, 1) does not do: the phase of a window, a stride or a pooling
# changes how far it comes
STRIPS = {
    "RCAN_pooling4": (4, 4),
    "RCAN_pooling16": (16, 16),
    "SwinIR": (8, 8),
    "RFDN": (24, 12),
    "RLFN": (24, 12),
    "DRUNet": (8, 8),
    "HiT-SRF": (64, 1),
    "SCUNet": (64, 64),  # windows of 8 at an eighth of the size
    "MobileSR": (8, 8),
}
# sides of the windows of a group's blocks: their borders repeat every 192 px, too many columns to try each
GROWN = {"HiT-SRF": (4, (4, 8, 16, 32, 48, 64))}
WIDEST = 16384
QUICK = ("ESPCN", "FSRCNN-16-6", "SRCNN", "CARN-M", "PAN", "PRN", "EDSR-64-16", "SRResNet_DN", "IRCNN", "FFDNet")


def narrow(card: model_zoo.Card) -> nn.Module:
    options = dict(card.options) | NARROW.get(card.network.rpartition(":")[2], {})
    return build_card(replace(card, options=options)).eval()


def farthest_phase(groups: int, windows: tuple[int, ...]) -> tuple[int, int]:
    """The column that comes farthest, found on intervals of columns; the probe then says how far it does come.

    A convolution widens the interval, a window fills itself: 3x3 first, per block one before the window and 5x5 after
    it, one per group, two at the end.
    """

    def come(column: int) -> int:
        low = high = column
        low, high = low - 1, high + 1
        for _ in range(groups):
            for side in windows:
                low, high = (low - 1) // side * side - 2, (high + 1) // side * side + side - 1 + 2
            low, high = low - 1, high + 1
        return max(column - low, high - column) + 2

    period = math.lcm(*windows)
    return max(range(period), key=come), period


def columns(name: str, width: int, phases: int) -> list[int]:
    """The columns to poison in a strip of this width."""
    if name not in GROWN:
        return [width // 2 + place for place in range(phases)]
    phase, period = farthest_phase(*GROWN[name])
    return [width // 2 + (phase - width // 2) % period]


def probed(card: model_zoo.Card) -> int:
    """Farthest input pixel along a row that an output pixel depends on.

    Of a network that is the same everywhere one column tells all; of one with windows, strides or pooling each column
    of one period.
    """
    height, phases = next((STRIPS[name] for name in STRIPS if card.name.startswith(name)), (4, 1))
    network, width = narrow(card), 2048 if card.name in GROWN else 128
    while width <= WIDEST:
        found: list[int] = []
        places = columns(card.name, width, phases)
        for place in places:
            reached = spread(network, card.scale, (height, width), place)
            if reached is None:
                break
            found.append(reached)
        if len(found) == len(places):
            return max(found)
        width *= 2
    raise AssertionError(f"no end within {WIDEST} px")


@torch.inference_mode()
def spread(network: nn.Module, scale: int, size: tuple[int, int], column: int) -> int | None:
    """How far NaN in one column comes along the rows, None where it meets an end of the strip.

    One column and not all beyond it: where windows are shifted around the image's edge, NaN passes their mask.
    """
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    x[..., column] = torch.nan
    hit = torch.isnan(network(x)).any(1)[0].any(0).view(-1, scale).any(1)
    if hit[0] or hit[-1]:
        return None
    reached = torch.nonzero(hit).flatten()
    return max(column - int(reached.min()), int(reached.max()) - column)


LOCAL = [name for name in model_zoo.list_models() if not model_zoo.card(name).global_statistics]


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in LOCAL])
def test_reach_of_the_card(name):
    card = model_zoo.card(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        assert probed(card) == card.reach


@pytest.mark.parametrize("name", model_zoo.list_models())
def test_every_card_says_how_far_it_looks_or_why_there_is_no_end(name):
    card = model_zoo.card(name)
    assert (card.reach is None) == bool(card.global_statistics)
