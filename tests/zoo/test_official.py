"""Every network of the reference list: built, loaded strictly, equal to the official one on its probe."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import model_zoo
from model_zoo.checkpoint import learned
from model_zoo.loading import _bare

# the definition in the reference code does not run, so there is no probe and its tensors fit no network
NO_NETWORK = ("ESPCN",)
# filled by the rule these grow to 1e8 and beyond, or sharpen a softmax, and answer to the last bit of arithmetic: an
# input changed by 1e-7, or float64, moves the output by more than the tolerance (checked below), and the library of
# matrix products on an AMD processor sums small ones otherwise than on the machine the probes come from. They are the
# official networks all the same: equal to the bit to a library's own where there is one (test_twins), to the official
# layouts run here (RNAN, CSNLN, MPRNet; done by hand, not kept), and three meet their probes to the last bit once small
# products are summed in plain order (test_the_probes_bits).
ILL_CONDITIONED = (
    "RCAN",
    "RCAN_DN",
    "RCAN_DR",
    "RCAN_mix",
    "RCAN_pooling16",
    "RCAN_pooling2x2",
    "RCAN_pooling3x3",
    "RCAN_pooling4",
    "RNAN",
    "CSNLN",
    "MPRNet",
    "MPRNet_DR",
)
TOLERANCE = 1e-3


def _loaded(signatures, key):
    name = key.split("|")[0]
    if name in NO_NETWORK:
        pytest.skip("the reference definition's layers do not fit together; the card builds the network of the paper")
    return name, model_zoo.load(name, weights=signatures.checkpoint(signatures.entries[key]["tensors"]))


class PlainOrder(TorchFunctionMode):
    """Small 1x1 convolutions as one fused multiply-add after the other over the channels, then the bias."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.conv2d and args[1].shape[2:] == (1, 1) and args[0].shape[2:].numel() <= 16:
            return self._conv(*args[:3])
        return function(*args, **kwargs)

    @staticmethod
    def _conv(x, weight, bias):
        total = torch.zeros(1, weight.shape[0], *x.shape[2:])
        for channel in range(x.shape[1]):  # a float32 product is exact in float64, so this rounds once, as fma does
            product = weight[None, :, channel].double() * x[:, channel, None].double()
            total = (product + total.double()).float()
        return total + bias.view(1, -1, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RCAN_pooling2x2", "RCAN_pooling3x3", "RCAN_pooling16"])
def test_the_probes_bits(signatures, name):
    """Every bit of the probe, of networks that answer to the last bit: the same operations in the same order."""
    network = model_zoo.load(name, weights=signatures.checkpoint(signatures.entries[f"{name}|SR"]["tensors"]))
    size = signatures.entries[f"{name}|SR"]["probe_size"]
    with torch.no_grad(), PlainOrder():
        out = network(signatures.probe_input(size, size))
    assert np.array_equal(out[0].numpy(), signatures.probes[f"{name}|SR"])


def _moved(network: torch.nn.Module, x: torch.Tensor, out: torch.Tensor) -> Iterator[float]:
    """How far rounding moves the output, in its standard deviations: three nudged inputs, and float64."""
    for seed in range(3):
        nudge = 1e-7 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        yield float((network(x + nudge) - out).abs().max() / out.std())
    yield float((network.double()(x.double()) - out).abs().max() / out.std())


def test_equal_to_the_official_network(signatures, key):
    name, network = _loaded(signatures, key)
    size = signatures.entries[key]["probe_size"]
    probe = signatures.probes[key]
    x = signatures.probe_input(size, size)
    with torch.no_grad():
        out = network(x)
    assert out.shape[1:] == probe.shape
    error = np.abs(out[0].numpy() - probe).max() / probe.std()
    if name in ILL_CONDITIONED and error > TOLERANCE:
        with torch.no_grad():
            moved = any(error < 10 * distance for distance in _moved(network, x, out))
        assert moved, f"misses its probe by {error:.1e} and is not ill-conditioned"
        assert 0.2 < out.std() / probe.std() < 5
    else:
        assert error <= TOLERANCE


def test_card_agrees_with_the_signature(signatures, key):
    name = key.split("|")[0]
    if name in NO_NETWORK:
        pytest.skip("the signature is of layers that do not fit together")
    entry, card = signatures.entries[key], model_zoo.card(name)
    assert card.parameters == entry["parameters"]
    assert card.checkpoint == (entry["checkpoint"] or "")
    assert card.scale == entry["scale"]
    assert entry["task"] in card.tasks


def test_strict_both_ways(signatures, key):
    name, _ = _loaded(signatures, key)
    entry = signatures.entries[key]
    tensors = signatures.checkpoint(entry["tensors"])
    dropped = list(tensors)[len(tensors) // 2]
    fewer = {key: value for key, value in tensors.items() if key != dropped}
    with pytest.raises(model_zoo.ZooError, match="missing"):
        model_zoo.load(name, weights=fewer)
    with pytest.raises(model_zoo.ZooError, match=r"left over extra\.weight"):
        model_zoo.load(name, weights={**tensors, "extra.weight": torch.zeros(3)})
    buffers = {name: torch.zeros(shape) for name, (shape, _) in entry["buffers"].items()}
    network = model_zoo.load(name, weights={**tensors, **buffers})
    assert learned(_bare(model_zoo.card(name)), model_zoo.card(name)).keys() <= network.state_dict().keys() | {
        key.removeprefix("network.") for key in network.state_dict()
    }


def test_wrong_size_is_refused_with_the_next_valid_one(signatures, key):
    name = key.split("|")[0]
    card = model_zoo.card(name)
    network = model_zoo.build(name)
    if card.size_multiple == 1 and card.size_minimum == 1:
        with pytest.raises(model_zoo.ZooError, match="expected \\(batch, 3, height, width\\)"):
            network(torch.zeros(1, 1, 16, 16))
        return
    side = card.size_minimum + 1 if card.size_multiple > 1 else card.size_minimum - 1
    valid = -(-max(side, card.size_minimum) // card.size_multiple) * card.size_multiple
    with pytest.raises(model_zoo.ZooError, match=f"next valid size is {valid} x {valid}"):
        network(torch.zeros(1, 3, side, side))
