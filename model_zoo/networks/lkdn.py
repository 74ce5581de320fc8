"""LKDN: distillation blocks whose attention is a large decomposed kernel."""

import torch
from torch import Tensor, nn

from model_zoo.networks.common import conv, pixel_shuffle_to_colours
from model_zoo.networks.distillation import separable


class LargeKernelAttention(nn.Module):
    """Weighs every pixel by a kernel of 17 x 17, decomposed (Guo et al. 2023, Visual Attention Network).

    A 1x1 convolution, one 5x5 kernel per channel, and one 5x5 kernel per channel whose taps lie 3 apart.
    """

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.pointwise = conv(features, features, 1)
        self.depthwise = nn.Conv2d(features, features, 5, padding=2, groups=features)
        self.depthwise_dilated = nn.Conv2d(features, features, 5, padding=6, dilation=3, groups=features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x * self.depthwise_dilated(self.depthwise(self.pointwise(x)))


class PixelNorm(nn.LayerNorm):
    """Normalises the channels of every pixel by themselves."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w), same shape out."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LargeKernelDistillation(nn.Module):
    """Three separable convolutions with a distillation beside each, then attention (Xie et al. 2023, figure 3).

    The ways around the separable convolutions are inside their weights (re-parameterisation, section 3.3).
    """

    def __init__(self, features: int) -> None:
        """Args: features: channels, even."""
        super().__init__()
        half = features // 2
        for index in (1, 2, 3):
            self.add_module(f"c{index}_d", conv(features, half, 1))
            self.add_module(f"c{index}_r", separable(features, features))
        self.c4 = separable(features, half)
        self.c5 = conv(half * 4, features, 1)
        self.atten = LargeKernelAttention(features)
        self.c6 = conv(features, features, 1)
        self.pixel_norm = PixelNorm(features)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        aside, rest = [], x
        for index in (1, 2, 3):
            aside.append(self.act(self.get_submodule(f"c{index}_d")(rest)))
            rest = self.act(self.get_submodule(f"c{index}_r")(rest))
        joined = self.c5(torch.cat([*aside, self.act(self.c4(rest))], 1))
        return x + self.pixel_norm(self.c6(self.atten(joined)))


class LKDN(nn.Module):
    """Large kernel distillation network.

    Args:
        features: channels.
        blocks: how many.
        scale: output pixels per input pixel.

    Source: Xie et al. 2023, Large Kernel Distillation Network for Efficient Single Image Super-Resolution,
    10.1109/CVPRW59228.2023.00120.
    """

    def __init__(self, *, features: int = 56, blocks: int = 8, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.fea_conv = separable(12, features)
        self.blocks = nn.ModuleList(LargeKernelDistillation(features) for _ in range(blocks))
        self.c1 = conv(features * blocks, features, 1)
        self.c2 = separable(features, features)
        self.act = nn.GELU()
        self.upsampler = pixel_shuffle_to_colours(features, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        first = out = self.fea_conv(x.repeat(1, 4, 1, 1))
        outputs = []
        for block in self.blocks:
            out = block(out)
            outputs.append(out)
        return self.upsampler(first + self.c2(self.act(self.c1(torch.cat(outputs, 1)))))
