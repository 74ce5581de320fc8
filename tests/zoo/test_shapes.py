"""Another filling, another seed, an image that is not square: what the probes cannot tell."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import model_zoo

SALT, SEED = "shapes ", 13
# (height, width) at the network's own size; where sizes must be multiples, so many of them
SIZE, MULTIPLES = (24, 40), (2, 3)
# what looks different when the image is turned: halves of the image cut across only, windows with a table of relative
# positions, offsets (dy, dx) of a deformable convolution
NOT_TURNED = ("MPRNet", "SADNet", "SwinIR", "HAT", "XRestormer", "SCUNet", "CRAFT")


def _size(card: model_zoo.Card) -> tuple[int, int]:
    if card.size_multiple == 1:
        height, width = (max(side, card.size_minimum) for side in SIZE)
        return height, width
    times = max(1, -(-card.size_minimum // card.size_multiple) - 1)
    height, width = (card.size_multiple * (times + more - 1) for more in MULTIPLES)
    return max(height, card.size_minimum), width


def _filled(signatures, key: str, *, tame: bool = False) -> tuple[model_zoo.Card, nn.Module]:
    name = key.split("|")[0]
    if name == "ESPCN":
        pytest.skip("the signature is of layers that do not fit together")
    state = signatures.checkpoint(signatures.entries[key]["tensors"], SALT)
    if tame:
        state = {key: value / 3 if value.ndim == 4 else value for key, value in state.items()}
    return model_zoo.card(name), model_zoo.load(name, state)


@pytest.mark.heavy_from(1e6, "CSNLN")
def test_an_image_that_is_not_square(signatures, key):
    card, network = _filled(signatures, key)
    height, width = _size(card)
    assert height != width
    x = signatures.probe_input(height, width, SEED)
    with torch.no_grad():
        out = network(x)
    assert out.shape == (1, 3, height * card.scale, width * card.scale)
    assert out.isfinite().all()


@pytest.mark.heavy_from(1e6, "CSNLN")
def test_a_size_that_fits_no_multiple_comes_out_right_or_is_refused(signatures, key):
    """Either the right size comes out, or the error names the next size; what it names is then taken."""
    card, network = _filled(signatures, key)
    height, width = (side + 1 for side in _size(card))
    x = signatures.probe_input(height, width, SEED)
    if card.size_multiple > 1:
        valid = [-(-side // card.size_multiple) * card.size_multiple for side in (height, width)]
        with pytest.raises(model_zoo.ZooError, match=f"next valid size is {valid[0]} x {valid[1]}"):
            network(x)
        return
    with torch.no_grad():
        out = network(x)
    assert out.shape == (1, 3, height * card.scale, width * card.scale)
    assert out.isfinite().all()


def _turned_order(x: Tensor, factor: int) -> Tensor:
    """Channels (c, i, j) of a pixel shuffle as (c, j, i)."""
    batch, _, height, width = x.shape
    return x.reshape(batch, -1, factor, factor, height, width).transpose(2, 3).reshape(x.shape)


@pytest.mark.heavy_from(1e6, "CSNLN")
def test_turned_kernels_on_a_turned_image_give_the_turned_image(signatures, key, monkeypatch):
    """Swapping rows and columns of image and kernels swaps those of the output: no height stands for a width.

    In float64, so that networks that sharpen their rounding errors are held to it too; of CSNLN even those of float64
    grow to 1e-3 (an input changed by 1e-15 does), unless its kernels are a third as large.
    """
    card, network = _filled(signatures, key, tame=key.startswith("CSNLN"))
    if card.name.startswith(NOT_TURNED):
        pytest.skip("a turned image is another image to this network")
    network = network.double()
    x = signatures.probe_input(*_size(card), SEED).double()
    with torch.no_grad():
        straight = network(x)
        for value in network.state_dict().values():
            if value.ndim == 4 and value.shape[2] == value.shape[3]:
                value.copy_(value.transpose(2, 3).clone())
        shuffle, unshuffle = F.pixel_shuffle, F.pixel_unshuffle
        monkeypatch.setattr(F, "pixel_shuffle", lambda x, factor: shuffle(_turned_order(x, factor), factor))
        monkeypatch.setattr(F, "pixel_unshuffle", lambda x, factor: _turned_order(unshuffle(x, factor), factor))
        turned = network(x.transpose(2, 3)).transpose(2, 3)
    assert (turned - straight).abs().max() < 1e-3 * straight.std()


# networks whose rounding errors grow (test_official), at a filling with which they do not
TAMED = ("RCAN", "RCAN_DN", "RCAN_mix", "RCAN_pooling16", "RCAN_pooling3x3", "RNAN", "CSNLN", "MPRNet", "MPRNet_DR")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "MPRNet_DR" else pytest.mark.slow) for n in TAMED])
def test_float32_agrees_with_float64_where_the_filling_is_tame(signatures, name):
    """With kernels a third as large the same networks are as exact as float32: nothing in them loses precision."""
    card, network = _filled(signatures, f"{name}|{model_zoo.card(name).tasks[0]}", tame=True)
    x = signatures.probe_input(*_size(card), SEED)
    with torch.no_grad():
        single, double = network(x), network.double()(x.double())
    assert (single - double).abs().max() < 1e-4 * double.std()
