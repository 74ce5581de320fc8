"""SMFANet: self-modulation features from coarse peaks, the variance over the whole image, and local detail."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv, pixel_shuffle_to_colours, stack

COARSE = 8  # side of the cells whose peaks are kept, in pixels


def depthwise(features: int, outputs: int) -> nn.Conv2d:
    """A 3x3 convolution of each channel by itself, with outputs / features results of each."""
    return nn.Conv2d(features, outputs, 3, padding=1, groups=features)


class LocalDetail(nn.Module):
    """The branch that sees a neighbourhood only: twice the channels, 3x3 each by itself, and back.

    Source: Zheng et al. 2024, the local detail estimation of section 3.
    """

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out."""
        super().__init__()
        self.conv_0 = nn.Sequential(depthwise(features, 2 * features), conv(2 * features, 2 * features, 1))
        self.conv_1 = conv(2 * features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return self.conv_1(F.gelu(self.conv_0(x)))


class SelfModulation(nn.Module):
    """Half of the channels weighed by what the whole image says of them, half refined where they are.

    Source: Zheng et al. 2024, self-modulation feature aggregation (section 3).
    """

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out."""
        super().__init__()
        self.linear_0 = conv(features, 2 * features, 1)
        self.linear_1 = conv(features, features, 1)
        self.linear_2 = conv(features, features, 1)
        self.lde = LocalDetail(features)
        self.dw_conv = depthwise(features, features)
        self.alpha = nn.Parameter(torch.ones(1, features, 1, 1))
        self.belt = nn.Parameter(torch.zeros(1, features, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; height and width at least 8."""
        local, spread = self.linear_0(x).chunk(2, dim=1)
        height, width = x.shape[2:]
        peaks = self.dw_conv(F.adaptive_max_pool2d(spread, (height // COARSE, width // COARSE)))
        variance = spread.var(dim=(2, 3), keepdim=True)
        weight = F.gelu(self.linear_1(self.alpha * peaks + self.belt * variance))
        weight = F.interpolate(weight, size=(height, width), mode="nearest")
        return self.linear_2(spread * weight + self.lde(local))


class PartialConvolution(nn.Module):
    """Feed-forward part whose 3x3 convolution sees a quarter of the channels.

    Source: Zheng et al. 2024, partial convolution-based feed-forward network (section 3).
    """

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out."""
        super().__init__()
        self.seen = features // 2
        self.conv_0 = conv(features, 2 * features, 1)
        self.conv_1 = conv(self.seen, self.seen)
        self.conv_2 = conv(2 * features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        wide = F.gelu(self.conv_0(x))
        seen = F.gelu(self.conv_1(wide[:, : self.seen]))
        return self.conv_2(torch.cat([seen, wide[:, self.seen :]], 1))


class Modulated(nn.Module):
    """Both parts, each on channels of unit length at every pixel and each with a way around it."""

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out."""
        super().__init__()
        self.smfa = SelfModulation(features)
        self.pcfn = PartialConvolution(features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        x = x + self.smfa(F.normalize(x))
        return x + self.pcfn(F.normalize(x))


class SMFANet(nn.Module):
    """Super-resolution by self-modulated features.

    Args:
        features: channels.
        blocks: how many blocks.
        scale: output pixels per input pixel.

    Source: Zheng et al. 2024, SMFANet, ECCV.
    """

    def __init__(self, *, features: int = 36, blocks: int = 8, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.to_feat = conv(3, features)
        self.feats = stack(blocks, lambda: Modulated(features))
        self.to_img = pixel_shuffle_to_colours(features, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale); h and w at least 8."""
        first = self.to_feat(x)
        return self.to_img(first + self.feats(first))
