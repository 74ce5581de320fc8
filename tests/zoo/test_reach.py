"""The reach a card states, found by poisoning: every pixel right (left) of a line is NaN, and how far does it come."""

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
    "SCUNet": (64, 64),  # windows of 8 at an eighth of the size
    "MobileSR": (8, 8),
}
WIDEST = 16384
QUICK = ("ESPCN", "FSRCNN-16-6", "SRCNN", "CARN-M", "PAN", "PRN", "EDSR-64-16", "SRResNet_DN", "IRCNN", "FFDNet")


def narrow(card: model_zoo.Card) -> nn.Module:
    options = dict(card.options) | NARROW.get(card.network.rpartition(":")[2], {})
    return build_card(replace(card, options=options)).eval()


def probed(card: model_zoo.Card) -> int:
    """Farthest input pixel along a row that an output pixel depends on.

    Of a network that is the same everywhere one column tells all; of one with windows, strides or pooling each column
    of one period.
    """
    height, phases = next((STRIPS[name] for name in STRIPS if card.name.startswith(name)), (4, 1))
    network, width = narrow(card), 128
    while width <= WIDEST:
        found: list[int] = []
        for place in range(phases):
            reached = spread(network, card.scale, (height, width), width // 2 + place)
            if reached is None:
                break
            found.append(reached)
        if len(found) == phases:
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
