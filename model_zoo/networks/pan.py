"""PAN, pixel attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv, stack


class PixelAttention(nn.Module):
    """Weighs every pixel of every channel by a 1x1 convolution of the pixel."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.conv = conv(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x * torch.sigmoid(self.conv(x))


class AttendedConv(nn.Module):
    """Convolution whose output is weighed by the pixel attention of its input, then convolved again."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.k2 = conv(features, features, 1)
        self.k3 = conv(features, features, bias=False)
        self.k4 = conv(features, features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return self.k4(self.k3(x) * torch.sigmoid(self.k2(x)))


class SelfCalibrated(nn.Module):
    """Two halves of the channels, one convolved and one attended, joined around a way past them (figure 2)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels, even."""
        super().__init__()
        half = features // 2
        self.conv1_a = conv(features, half, 1, bias=False)
        self.conv1_b = conv(features, half, 1, bias=False)
        self.k1 = nn.Sequential(conv(half, half, bias=False))
        self.PAConv = AttendedConv(half)
        self.conv3 = conv(features, features, 1, bias=False)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        plain = self.lrelu(self.k1(self.lrelu(self.conv1_a(x))))
        attended = self.lrelu(self.PAConv(self.lrelu(self.conv1_b(x))))
        return x + self.conv3(torch.cat([plain, attended], 1))


class PAN(nn.Module):
    """Pixel attention network.

    Args:
        features: channels of the trunk.
        up_features: channels after upsampling.
        blocks: blocks of the trunk.
        scale: 2, 3 or 4.

    Source: Zhao et al. 2020, 10.1007/978-3-030-67070-2_3.
    """

    def __init__(self, *, features: int = 40, up_features: int = 24, blocks: int = 16, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.scale = scale
        self.steps = {2: (2,), 3: (3,), 4: (2, 2)}[scale]
        self.conv_first = conv(3, features)
        self.SCPA_trunk = stack(blocks, lambda: SelfCalibrated(features))
        self.trunk_conv = conv(features, features)
        for index in range(1, len(self.steps) + 1):
            self.add_module(f"upconv{index}", conv(features if index == 1 else up_features, up_features))
            self.add_module(f"att{index}", PixelAttention(up_features))
            self.add_module(f"HRconv{index}", conv(up_features, up_features))
        self.conv_last = conv(up_features, 3)
        self.lrelu = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        out = self.conv_first(x)
        out = out + self.trunk_conv(self.SCPA_trunk(out))
        for index, step in enumerate(self.steps, 1):
            out = self.get_submodule(f"upconv{index}")(F.interpolate(out, scale_factor=step, mode="nearest"))
            out = self.lrelu(self.get_submodule(f"att{index}")(out))
            out = self.lrelu(self.get_submodule(f"HRconv{index}")(out))
        return self.conv_last(out) + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
