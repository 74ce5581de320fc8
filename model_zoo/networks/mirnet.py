"""MIRNet-v2: three sizes side by side, fused by selective kernels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv


class SelectiveFusion(nn.Module):
    """Weighs two feature maps, channel by channel, by what both hold together (Zamir et al. 2022, section 3.3)."""

    def __init__(self, features: int, reduction: int = 8) -> None:
        """Args: features: channels; reduction: channels per hidden unit."""
        super().__init__()
        hidden = max(features // reduction, 4)
        self.conv_du = nn.Sequential(conv(features, hidden, 1, bias=False), nn.LeakyReLU(0.2))
        self.fcs = nn.ModuleList(conv(hidden, features, 1, bias=False) for _ in range(2))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps of one shape to one of the same."""
        both = torch.stack([first, second], 1)
        shared = self.conv_du(both.sum(1).mean((2, 3), keepdim=True))
        weight = torch.softmax(torch.stack([layer(shared) for layer in self.fcs], 1), dim=1)
        return (both * weight).sum(1)


class GlobalContext(nn.Module):
    """Adds a summary of the whole image, weighed pixel by pixel, to every pixel (section 3.4)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.conv_mask = conv(features, 1, 1, bias=False)
        layers = (conv(features, features, 1, bias=False), nn.LeakyReLU(0.2), conv(features, features, 1, bias=False))
        self.channel_add_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        weight = torch.softmax(self.conv_mask(x).flatten(2), dim=2).transpose(1, 2)
        return x + self.channel_add_conv((x.flatten(2) @ weight)[..., None])


class ContextBlock(nn.Module):
    """Two grouped convolutions and the global context, added to the input."""

    def __init__(self, features: int, groups: int) -> None:
        """Args: features: channels; groups: of the convolutions."""
        super().__init__()
        layers = [nn.Conv2d(features, features, 3, padding=1, groups=groups, bias=False) for _ in range(2)]
        self.body = nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1])
        self.gcnet = GlobalContext(features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + F.leaky_relu(self.gcnet(self.body(x)), 0.2)


def down(inputs: int, outputs: int) -> nn.Sequential:
    """Half the size by averaging, then a 1x1 convolution."""
    pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(pool, conv(inputs, outputs, 1, bias=False))


def up(inputs: int, outputs: int) -> nn.Sequential:
    """A 1x1 convolution, then bilinearly to twice the size."""
    enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return nn.Sequential(conv(inputs, outputs, 1, bias=False), enlarge)


class MultiScale(nn.Module):
    """Two rounds of context blocks at three sizes, fused upwards after each (figure 2)."""

    def __init__(self, widths: tuple[int, ...], groups: int) -> None:
        """Args: widths: channels at full, half and quarter size; groups: of the convolutions."""
        super().__init__()
        top, middle, bottom = widths
        self.dau = nn.ModuleList(ContextBlock(width, groups) for width in widths)
        self.down2 = down(top, middle)
        self.down4 = nn.Sequential(down(top, middle), down(middle, bottom))
        self.up_top = nn.ModuleList(up(middle, top) for _ in range(2))
        self.up_middle = nn.ModuleList(up(bottom, middle) for _ in range(2))
        self.conv_out = conv(top, top, 1, bias=False)
        self.skff_top = SelectiveFusion(top)
        self.skff_mid = SelectiveFusion(middle)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; height and width are multiples of four."""
        sizes = [x, self.down2(x), self.down4(x)]
        for up_top, up_middle in zip(self.up_top, self.up_middle, strict=True):
            top, middle, bottom = (block(size) for block, size in zip(self.dau, sizes, strict=True))
            middle = self.skff_mid(middle, up_middle(bottom))
            sizes = [self.skff_top(top, up_top(middle)), middle, bottom]
        return x + self.conv_out(sizes[0])


class RecursiveGroup(nn.Module):
    """Multi-scale blocks and a convolution, added to the input."""

    def __init__(self, widths: tuple[int, ...], blocks: int, groups: int) -> None:
        """Args: widths, groups: of the blocks; blocks: how many."""
        super().__init__()
        chain = [MultiScale(widths, groups) for _ in range(blocks)]
        self.body = nn.Sequential(*chain, conv(widths[0], widths[0], bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.body(x)


class MIRNetV2(nn.Module):
    """MIRNet-v2, added to its input.

    Args:
        widths: channels at full, half and quarter size.
        blocks: multi-scale blocks a group.
        groups: groups of the convolutions, one number for each recursive group.

    Source: Zamir et al. 2022, 10.1109/TPAMI.2022.3167175.
    """

    def __init__(
        self,
        *,
        widths: tuple[int, ...] = (80, 120, 180),
        blocks: int = 2,
        groups: tuple[int, ...] = (1, 2, 4, 4),
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.conv_in = conv(3, widths[0], bias=False)
        self.body = nn.Sequential(*(RecursiveGroup(widths, blocks, number) for number in groups))
        self.conv_out = conv(widths[0], 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        return x + self.conv_out(self.body(self.conv_in(x)))
