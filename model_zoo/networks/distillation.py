"""Information distillation and what came of it: IMDN, RFDN, BSRN, RLFN."""

from collections.abc import Callable

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
        distilled, rest = [], x
        for layer in (self.c1, self.c2, self.c3):
            out = self.act(layer(rest))
            distilled.append(out[:, : self.aside])
            rest = out[:, self.aside :]
        return x + self.c5(self.cca(torch.cat([*distilled, self.c4(rest)], 1)))


def separable(inputs: int, outputs: int, *, stride: int = 1, padding: int = 1) -> nn.Sequential:
    """A 1x1 convolution, then one 3x3 kernel a channel (Haase and Amthor 2020, blueprint separable)."""
    depth = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=padding, groups=outputs)
    return nn.Sequential(conv(inputs, outputs, 1, bias=False), depth)


def plain(inputs: int, outputs: int, *, stride: int = 1, padding: int = 1) -> nn.Conv2d:
    """A 3x3 convolution."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=padding)


class SpatialAttention(nn.Module):
    """Enhanced spatial attention: a coarse map of pooled features weighs every pixel (Liu et al. 2020, ESA).

    Args:
        features: channels.
        inner: channels of the map.
        make: the kind of convolution, `plain` or `separable`.
        activations: between the convolutions of the coarse map; one convolution more than there are of them.
    """

    def __init__(
        self, features: int, inner: int, make: Callable[..., nn.Module], activations: tuple[nn.Module, ...]
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.conv1 = conv(features, inner, 1)
        self.conv_f = conv(inner, inner, 1)
        self.conv2 = make(inner, inner, stride=2, padding=0)
        layers = [layer for activation in activations for layer in (make(inner, inner), activation)]
        self.coarse = nn.Sequential(*layers, make(inner, inner))
        self.conv4 = conv(inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        inner = self.conv1(x)
        coarse = self.coarse(F.max_pool2d(self.conv2(inner), kernel_size=7, stride=3))
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
            self.add_module(f"c{index}_r", self.make(features, features))
        self.c4 = self.make(features, half)
        self.c5 = conv(half * 4, features, 1)
        self.esa = SpatialAttention(features, features // 4, self.make, self.between)
        self.act = self.activation

    make, between, activation = staticmethod(plain), (nn.ReLU(), nn.ReLU()), nn.LeakyReLU(0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        distilled, rest = [], x
        for index in (1, 2, 3):
            distilled.append(self.act(self.get_submodule(f"c{index}_d")(rest)))
            rest = self.act(rest + self.get_submodule(f"c{index}_r")(rest))
        return self.esa(self.c5(torch.cat([*distilled, self.act(self.c4(rest))], 1)))


class SeparableDistillation(ResidualDistillation):
    """The same of separable convolutions, with contrast attention and a way around (Li et al. 2022, figure 2)."""

    make, between, activation = staticmethod(separable), (nn.GELU(), nn.GELU()), nn.GELU()

    def __init__(self, features: int) -> None:
        """Args: features: channels, even."""
        super().__init__(features)
        self.cca = ContrastAttention(features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.cca(super().forward(x))


class LocalFeatures(nn.Module):
    """Three convolutions, the way around them, spatial attention (Kong et al. 2022, figure 2)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.c1_r = conv(features, features)
        self.c2_r = conv(features, features)
        self.c3_r = conv(features, features)
        self.c5 = conv(features, features, 1)
        self.esa = SpatialAttention(features, 16, plain, ())
        self.act = nn.LeakyReLU(0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        out = self.act(self.c3_r(self.act(self.c2_r(self.act(self.c1_r(x))))))
        return self.esa(self.c5(out + x))


class RLFN(nn.Module):
    """Residual local feature network.

    Args:
        features: channels.
        blocks: how many.
        scale: output pixels per input pixel.

    Source: Kong et al. 2022, 10.1109/CVPRW56347.2022.00092.
    """

    def __init__(self, *, features: int = 52, blocks: int = 6, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.conv_1 = conv(3, features)
        self.blocks = nn.Sequential(*(LocalFeatures(features) for _ in range(blocks)))
        self.conv_2 = conv(features, features)
        self.upsampler = pixel_shuffle_to_colours(features, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) to (B, 3, h * scale, w * scale)."""
        first = self.conv_1(x)
        return self.upsampler(first + self.conv_2(self.blocks(first)))


class Distillation(nn.Module):
    """The frame of IMDN, RFDN and BSRN: a chain of blocks whose outputs are all joined.

    Args:
        block: "multi" (IMDN), "residual" (RFDN) or "separable" (BSRN).
        features: channels.
        blocks: how many.
        scale: output pixels per input pixel.
        inner_range: white inside the network; the input is in [0, 1] times it, divided off again at the end.

    Source: Hui et al. 2019, 10.1145/3343031.3351084; Liu et al. 2020, 10.1007/978-3-030-67070-2_2;
    Li et al. 2022, 10.1109/CVPRW56347.2022.00099.
    """

    def __init__(self, *, block: str, features: int, blocks: int, scale: int = 4, inner_range: float = 1.0) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.inner_range = inner_range
        kinds = {"multi": MultiDistillation, "residual": ResidualDistillation, "separable": SeparableDistillation}
        make, light = kinds[block], block == "separable"
        # BSRN repeats the colours four times before its first separable convolution
        self.repeats = 4 if light else 1
        self.fea_conv = separable(3 * self.repeats, features) if light else conv(3, features)
        self.names = [f"B{index + 1}" for index in range(blocks)]
        for name in self.names:
            self.add_module(name, make(features))
        self.c = nn.Sequential(conv(features * blocks, features, 1), nn.GELU() if light else nn.LeakyReLU(0.05))
        self.LR_conv = separable(features, features) if light else conv(features, features)
        self.upsampler = pixel_shuffle_to_colours(features, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) to (B, 3, h * scale, w * scale)."""
        first = out = self.fea_conv((x * self.inner_range).repeat(1, self.repeats, 1, 1))
        outputs = []
        for name in self.names:
            out = self.get_submodule(name)(out)
            outputs.append(out)
        return self.upsampler(first + self.LR_conv(self.c(torch.cat(outputs, 1)))) / self.inner_range
