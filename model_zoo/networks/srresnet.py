"""SRResNet without batch normalisation, with or without an upsampler."""

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import ResidualBlock, conv, stack


class SRResNet(nn.Module):
    """Residual network with activations around its upsampler and the interpolated input added at the end.

    Args:
        features: channels.
        blocks: residual blocks.
        scale: 1 (no upsampler, the input itself is added), 2, 3 or 4.

    Source: Ledig et al. 2017, 10.1109/CVPR.2017.19, in the form without batch normalisation of BasicSR.
    """

    def __init__(self, *, features: int = 64, blocks: int = 16, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.scale = scale
        self.conv_first = conv(3, features)
        self.body = stack(blocks, lambda: ResidualBlock(features))
        steps = {1: (), 2: (2,), 3: (3,), 4: (2, 2)}[scale]
        self.upsteps = [f"upconv{index + 1}" for index in range(len(steps))]
        for name, step in zip(self.upsteps, steps, strict=True):
            self.add_module(name, conv(features, features * step**2))
        self.pixel_shuffle = nn.PixelShuffle(steps[0] if steps else 1)
        self.conv_hr = conv(features, features)
        self.conv_last = conv(features, 3)
        self.lrelu = nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        out = self.body(self.lrelu(self.conv_first(x)))
        for name in self.upsteps:
            out = self.lrelu(self.pixel_shuffle(self.get_submodule(name)(out)))
        out = self.conv_last(self.lrelu(self.conv_hr(out)))
        if self.scale == 1:
            return out + x
        return out + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
