"""Information distillation: IMDN and RFDN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv, pixel_shuffle_to_colours


class ContrastAttention(nn.Module):
    """Channel attention on the mean plus the standard deviation of each channel (Hui et al. 2019, section 3.3)."""

    def __init__(self, features: int, reduction: int = 16) -> None:
        """Args: features: channels; reduction: channels per hidden unit."""
        super().__init__()
        hidden = features // reduction
        self.conv_du = nn.Sequential(conv(features, hidden, 1), nn.ReLU(), conv(hidden, features, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        mean = x.mean((2, 3), keepdim=True)
        contrast = (x - mean).pow(2).mean((2, 3), keepdim=True).sqrt()
        return x * self.conv_du(contrast + mean)


class MultiDistillation(nn.Module):
    """Four convolutions that each put a quarter of their channels aside (Hui et al. 2019, figure 3)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels, a multiple of four."""
        super().__init__()
        self.aside = features // 4
        rest = features - self.aside
        self.c1 = conv(features, features)
        self.c2 = conv(rest, features)
        self.c3 = conv(rest, features)
        self.c4 = conv(rest, self.aside)
        self.c5 = conv(features, features, 1)
        self.cca = ContrastAttention(features)
        self.act = nn.LeakyReLU(0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        kept, rest = [], x
        for layer in (self.c1, self.c2, self.c3):
            out = self.act(layer(rest))
            kept.append(out[:, : self.aside])
            rest = out[:, self.aside :]
        return x + self.c5(self.cca(torch.cat([*kept, self.c4(rest)], 1)))


class SpatialAttention(nn.Module):
    """Enhanced spatial attention: a coarse map of pooled features weighs every pixel (Liu et al. 2020, ESA)."""

    def __init__(self, features: int, inner: int) -> None:
        """Args: features: channels; inner: channels of the map."""
        super().__init__()
        self.conv1 = conv(features, inner, 1)
        self.conv_f = conv(inner, inner, 1)
        self.conv_max = conv(inner, inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=2)
        self.conv3 = conv(inner, inner)
        self.conv3_ = conv(inner, inner)
        self.conv4 = conv(inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        inner = self.conv1(x)
        coarse = F.max_pool2d(self.conv2(inner), kernel_size=7, stride=3)
        coarse = self.conv3_(torch.relu(self.conv3(torch.relu(self.conv_max(coarse)))))
        fine = F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.conv4(fine + self.conv_f(inner)))


class ResidualDistillation(nn.Module):
    """Residual convolutions with a 1x1 distillation beside each (Liu et al. 2020, figure 2d)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels, even."""
        super().__init__()
        half = features // 2
        for index in (1, 2, 3):
            self.add_module(f"c{index}_d", conv(features, half, 1))
            self.add_module(f"c{index}_r", conv(features, features))
        self.c4 = conv(features, half)
        self.c5 = conv(half * 4, features, 1)
        self.esa = SpatialAttention(features, features // 4)
        self.act = nn.LeakyReLU(0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        kept, rest = [], x
        for index in (1, 2, 3):
            kept.append(self.act(self.get_submodule(f"c{index}_d")(rest)))
            rest = self.act(rest + self.get_submodule(f"c{index}_r")(rest))
        return self.esa(self.c5(torch.cat([*kept, self.act(self.c4(rest))], 1)))


class Distillation(nn.Module):
    """The frame of IMDN and RFDN: a chain of blocks whose outputs are all joined.

    Args:
        block: "multi" (IMDN) or "residual" (RFDN).
        features: channels.
        blocks: how many.
        scale: output pixels per input pixel.
        inner_range: white inside the network; the input is in [0, 1] times it, divided off again at the end.

    Source: Hui et al. 2019, 10.1145/3343031.3351084; Liu et al. 2020, 10.1007/978-3-030-67070-2_2.
    """

    def __init__(
        self, *, block: str, features: int, blocks: int, scale: int = 4, inner_range: float = 1.0
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.inner_range = inner_range
        make = {"multi": MultiDistillation, "residual": ResidualDistillation}[block]
        self.fea_conv = conv(3, features)
        self.names = [f"B{index + 1}" for index in range(blocks)]
        for name in self.names:
            self.add_module(name, make(features))
        self.c = nn.Sequential(conv(features * blocks, features, 1), nn.LeakyReLU(0.05))
        self.LR_conv = conv(features, features)
        self.upsampler = pixel_shuffle_to_colours(features, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) to (B, 3, h * scale, w * scale)."""
        first = out = self.fea_conv(x * self.inner_range)
        outputs = []
        for name in self.names:
            out = self.get_submodule(name)(out)
            outputs.append(out)
        return self.upsampler(first + self.LR_conv(self.c(torch.cat(outputs, 1)))) / self.inner_range
