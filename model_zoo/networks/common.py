"""The blocks that more than one network is made of."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    """Convolution that keeps the size (stride 1, zero padding of half the kernel)."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def stack(count: int, make: Callable[[], nn.Module]) -> nn.Sequential:
    """`count` fresh copies of one block, one after the other."""
    return nn.Sequential(*(make() for _ in range(count)))


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), without normalisation (Lim et al. 2017, EDSR, figure 2c)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out."""
        super().__init__()
        self.conv1 = conv(features, features)
        self.conv2 = conv(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.conv2(torch.relu(self.conv1(x)))


class Rectified(nn.Module):
    """relu(x + body(x))."""

    def __init__(self, *body: nn.Module) -> None:
        """Args: body: layers that keep the shape."""
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return torch.relu(x + self.body(x))


def pixel_shuffle_upsampler(features: int, scale: int) -> nn.Sequential:
    """Convolution and pixel shuffle, in steps of two or one step of three; empty for scale 1.

    Args:
        features: channels in and out.
        scale: 1, 2, 3, 4 or 8.

    Source: Shi et al. 2016, sub-pixel convolution.
    """
    steps = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}[scale]
    layers = [layer for step in steps for layer in (conv(features, features * step**2), nn.PixelShuffle(step))]
    return nn.Sequential(*layers)


class LearnedShift(nn.Conv2d):
    """A 1x1 convolution of the colours that starts as the mean shift of the EDSR line of networks.

    Official checkpoints hold its weight and bias, so it is loaded as any other layer.
    """

    def __init__(self, sign: int, value_range: float = 1.0) -> None:
        """Args: sign: -1 to take the DIV2K mean off, +1 to put it back; value_range: white of the input."""
        super().__init__(3, 3, kernel_size=1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.bias.copy_(sign * value_range * torch.tensor(DIV2K_MEAN))  # type: ignore[union-attr]


class Normalised(nn.Module):
    """Base of networks that take the mean off their input and put it back on their output.

    A subclass says what lies between, in `restore`. The shift is one of "none" (nothing is done), "constant"
    (fixed DIV2K mean, taken off and then scaled) or "learned" (scaled and then a layer of the checkpoint).
    """

    mean: Tensor

    def __init__(self, shift: str, inner_range: float) -> None:
        """Args: shift: "none", "constant" or "learned"; inner_range: the factor between outside and inside."""
        super().__init__()
        if shift not in ("none", "constant", "learned"):
            raise ValueError(f"shift: got {shift!r}, expected 'none', 'constant' or 'learned'")
        self.shift, self.inner_range = shift, inner_range
        if shift == "constant":
            self.register_buffer("mean", torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1), persistent=False)
        if shift == "learned":
            self.sub_mean = LearnedShift(-1, inner_range)
            self.add_mean = LearnedShift(+1, inner_range)

    def restore(self, x: Tensor) -> Tensor:
        """What the network does between the two shifts."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        if self.shift == "learned":
            return self.add_mean(self.restore(self.sub_mean(x * self.inner_range))) / self.inner_range
        if self.shift == "constant":
            return self.restore((x - self.mean) * self.inner_range) / self.inner_range + self.mean
        return self.restore(x)


class LongSkip(Normalised):
    """First convolution, a body with a way around it, upsampler, last convolution: the frame of EDSR and RCAN."""

    def __init__(self, features: int, body: nn.Sequential, scale: int, shift: str, inner_range: float) -> None:
        """Args: features: channels; body: the chain of blocks; scale: 1, 2, 3, 4 or 8; the rest as `Normalised`."""
        super().__init__(shift, inner_range)
        self.conv_first = conv(3, features)
        self.body = body
        self.conv_after_body = conv(features, features)
        self.upsample = pixel_shuffle_upsampler(features, scale)
        self.conv_last = conv(features, 3)

    def restore(self, x: Tensor) -> Tensor:
        """What the network does between the two shifts."""
        first = self.conv_first(x)
        return self.conv_last(self.upsample(first + self.conv_after_body(self.body(first))))


def pixel_shuffle_to_colours(features: int, scale: int) -> nn.Sequential:
    """One convolution straight to the colours of the large image, and the pixel shuffle."""
    return nn.Sequential(conv(features, 3 * scale**2), nn.PixelShuffle(scale))
