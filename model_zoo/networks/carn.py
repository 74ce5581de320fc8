"""CARN and CARN-M: cascades of cascades, with one upsampler for each scale."""

import torch
from torch import Tensor, nn

from model_zoo.networks.common import Normalised, Rectified, conv


def grouped(inputs: int, outputs: int, groups: int) -> nn.Conv2d:
    """3x3 convolution in groups of channels that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups)


class Cascade(nn.Module):
    """Each unit's output joins all before it; a 1x1 convolution reduces them for the next (Ahn et al. 2018, figure 3).

    Args:
        features: channels.
        units: what is cascaded; the same module again and again shares its weights.
    """

    def __init__(self, features: int, units: list[nn.Module]) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.units = nn.ModuleList(dict.fromkeys(units))
        self.order = [list(self.units).index(unit) for unit in units]
        self.reduce = nn.ModuleList(
            nn.Sequential(conv(features * (place + 2), features, 1), nn.ReLU()) for place in range(len(units))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        joined = x
        for index, reduce in zip(self.order, self.reduce, strict=True):
            joined = torch.cat([joined, self.units[index](x)], 1)
            x = reduce(joined)
        return x


def upsampler(features: int, scale: int, groups: int) -> nn.Sequential:
    """Grouped convolutions, ReLU and pixel shuffle."""
    layers: list[nn.Module] = []
    for step in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
        layers += [grouped(features, features * step**2, groups), nn.ReLU(), nn.PixelShuffle(step)]
    return nn.Sequential(*layers)


class CARN(Normalised):
    """Cascading residual network.

    Args:
        features: channels.
        groups: groups of the convolutions; more than one makes CARN-M's units of three convolutions, shared
            within a block.
        scale: 2, 3 or 4: which of the upsamplers is used; the checkpoint holds all three.

    Source: Ahn et al. 2018, 10.1007/978-3-030-01249-6_16.
    """

    def __init__(self, *, features: int = 64, groups: int = 1, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 1.0)
        self.scale = scale
        self.entry = conv(3, features)

        def unit() -> Rectified:
            both = (grouped(features, features, groups), nn.ReLU(), grouped(features, features, groups))
            return Rectified(*both, *((nn.ReLU(), conv(features, features, 1)) if groups > 1 else ()))

        def block() -> Cascade:
            return Cascade(features, [unit()] * 3 if groups > 1 else [unit() for _ in range(3)])

        self.body = Cascade(features, [block() for _ in range(3)])
        for size in (2, 3, 4):
            self.add_module(f"up{size}", upsampler(features, size, groups))
        self.exit = conv(features, 3)

    def restore(self, x: Tensor) -> Tensor:
        """Cascades between two convolutions, the upsampler of the scale."""
        return self.exit(self.get_submodule(f"up{self.scale}")(self.body(self.entry(x))))
