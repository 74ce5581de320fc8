"""Networks that a library holds too: same salted checkpoint, a non-square input, the same output.

The library's code is an oracle of its own: it was not written here, and the probes cannot tell height from width.
Where both do the same float operations in the same order the outputs agree to the last bit, however large the numbers
grow (RCAN and its pooling variants reach 1e8 and answer to the last bit of arithmetic, see test_official).
"""

import sys
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import model_zoo
from model_zoo.compat import basicsr

if sys.version_info >= (3, 13):
    pytest.skip("basicsr 1.4.2 does not build on Python 3.13", allow_module_level=True)

SALT, SEED, SIZE = "twin ", 29, (24, 40)


class Pooled(nn.Module):
    """basicsr's channel attention, with another pooling and its weights stretched over the image."""

    def __init__(self, attention: nn.Sequential, pool: nn.Module) -> None:
        super().__init__()
        self.attention = nn.Sequential(pool, *attention[1:])

    def forward(self, x: Tensor) -> Tensor:
        return x * nn.functional.interpolate(self.attention(x), size=x.shape[2:], mode="nearest")


def rcan(scale: int = 4, blocks: int = 20, pool: Callable[[int], nn.Module | None] = lambda group: None) -> nn.Module:
    """basicsr's RCAN; pool(group) is what its attention averages over, None to leave it."""
    module = basicsr("archs.rcan_arch")
    network = module.RCAN(3, 3, num_feat=64, num_group=10, num_block=blocks, upscale=scale)
    for number, group in enumerate(network.body):
        for block in group.residual_group:
            if (kind := pool(number)) is not None:
                block.rcab[3] = Pooled(block.rcab[3].attention, kind) if not isinstance(kind, nn.Identity) else kind
    return network


def spandrel_rcan() -> nn.Module:
    from spandrel.architectures.RCAN import RCAN

    return RCAN(n_resgroups=10, n_resblocks=20, n_feats=64, scale=4)


def edsr(features: int, blocks: int) -> nn.Module:
    return basicsr("archs.edsr_arch").EDSR(3, 3, features, blocks, 4, res_scale=1, img_range=1.0)


def rrdb() -> nn.Module:
    return basicsr("archs.rrdbnet_arch").RRDBNet(3, 3, scale=4)


def srresnet() -> nn.Module:
    return basicsr("archs.srresnet_arch").MSRResNet(upscale=4)


def ridnet() -> nn.Module:
    return basicsr("archs.ridnet_arch").RIDNet(3, 64, 3)


def swinir(size: int = 64, upscale: int = 4, upsampler: str = "pixelshuffle") -> nn.Module:
    deep = {"depths": [6] * 6, "num_heads": [6] * 6, "embed_dim": 180, "mlp_ratio": 2}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        return basicsr("archs.swinir_arch").SwinIR(
            upscale=upscale, img_size=size, window_size=8, upsampler=upsampler, **deep
        )


# name on the reference list: (twin, white of its input, largest difference allowed as a share of the output's std)
TWINS = {
    "RCAN": (spandrel_rcan, 1, 0.0),
    "RCAN_DN": (lambda: rcan(1), 1, 0.0),
    "RCAN_DR": (lambda: rcan(1), 1, 0.0),
    "RCAN_mix": (lambda: rcan(1, 16), 1, 0.0),
    "RCAN_no_ca": (lambda: rcan(pool=lambda group: nn.Identity()), 1, 0.0),
    "RCAN_half_ca": (lambda: rcan(pool=lambda group: nn.Identity() if group > 4 else None), 1, 0.0),
    "RCAN_pooling4": (lambda: rcan(pool=lambda group: nn.AvgPool2d(4)), 1, 0.0),
    "RCAN_pooling16": (lambda: rcan(pool=lambda group: nn.AvgPool2d(16)), 1, 0.0),
    "RCAN_pooling2x2": (lambda: rcan(pool=lambda group: nn.AdaptiveAvgPool2d(2)), 1, 0.0),
    "RCAN_pooling3x3": (lambda: rcan(pool=lambda group: nn.AdaptiveAvgPool2d(3)), 1, 0.0),
    "SRResNet": (srresnet, 1, 0.0),
    "RRDBNet": (rrdb, 1, 0.0),
    "RIDNet": (ridnet, 255, 1e-4),
    "SwinIR": (swinir, 1, 1e-4),
    "SwinIR_DN": (lambda: swinir(128, 1, ""), 1, 1e-4),
    "SwinIR-Real-PSNR": (lambda: swinir(upsampler="nearest+conv"), 1, 1e-4),
}
QUICK = ("RCAN_mix", "RCAN_pooling16", "SRResNet", "RIDNet")


def _fill_alike(twin: nn.Module, ours: nn.Module) -> None:
    """Puts the learned tensors of one network into the other, in order; a swapped pair shows in the output."""
    theirs, given = list(twin.parameters()), list(ours.parameters())
    assert [value.shape for value in theirs] == [value.shape for value in given]
    with torch.no_grad():
        for target, value in zip(theirs, given, strict=True):
            target.copy_(value)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in TWINS])
def test_equal_to_the_librarys_own(signatures, name):
    make, white, tolerance = TWINS[name]
    card = model_zoo.card(name)
    entry = signatures.entries[f"{name}|{card.tasks[0]}"]
    ours = model_zoo.load(name, weights=signatures.checkpoint(entry["tensors"], SALT))
    twin = make().eval()
    _fill_alike(twin, ours)
    x = signatures.probe_input(*SIZE, SEED)
    with torch.no_grad():
        out, expected = ours(x), twin(x * white) / white
    assert out.shape == (1, 3, SIZE[0] * card.scale, SIZE[1] * card.scale)
    assert (out - expected).abs().max() <= tolerance * expected.std()


@pytest.mark.parametrize("features, blocks", [(32, 16), pytest.param(256, 16, marks=pytest.mark.slow)])
def test_edsr_with_the_mean_of_div2k_is_basicsrs(signatures, features, blocks):
    name = f"EDSR-{features}-{blocks}"
    state = signatures.checkpoint(signatures.entries[f"{name}|SR"]["tensors"], SALT)
    mean = torch.tensor([0.4488, 0.4371, 0.4040])
    for layer, sign in (("sub_mean", -1), ("add_mean", 1)):
        state[f"{layer}.weight"], state[f"{layer}.bias"] = torch.eye(3).view(3, 3, 1, 1), sign * mean
    ours, twin = model_zoo.load(name, weights=state), edsr(features, blocks).eval()
    given = {key: value for key, value in ours.state_dict().items() if "_mean." not in key}
    assert twin.load_state_dict(given)
    x = signatures.probe_input(*SIZE, SEED)
    with torch.no_grad():
        out, expected = ours(x), twin(x)
    assert (out - expected).abs().max() < 1e-4 * expected.std()
