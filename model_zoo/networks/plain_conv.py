"""Chains of convolutions: FFDNet and IRCNN (DnCNN is the library's)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def chain(inputs: int, features: int, outputs: int, dilations: tuple[int, ...]) -> nn.Sequential:
    """3x3 convolutions with ReLU between them.

    Args:
        inputs: channels in.
        features: channels between.
        outputs: channels out.
        dilations: one for each convolution.
    """
    widths = [inputs] + [features] * (len(dilations) - 1) + [outputs]
    layers: list[nn.Module] = []
    for index, dilation in enumerate(dilations):
        layers += [nn.Conv2d(widths[index], widths[index + 1], 3, padding=dilation, dilation=dilation), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class FFDNet(nn.Module):
    """Denoiser at half resolution, told the noise level by a constant map.

    Args:
        sigma: noise level of the map, of 255.
        features: channels.
        depth: convolutions.

    Source: Zhang et al. 2018, 10.1109/TIP.2018.2839891.
    """

    def __init__(self, *, sigma: float = 50.0, features: int = 96, depth: int = 12) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.sigma = sigma
        self.model = chain(3 * 4 + 1, features, 3 * 4, (1,) * depth)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out; odd sizes are padded by repeating the last row and column."""
        height, width = x.shape[2:]
        halves = F.pixel_unshuffle(F.pad(x, (0, width % 2, 0, height % 2), mode="replicate"), 2)
        level = torch.full_like(halves[:, :1], self.sigma / 255)
        return F.pixel_shuffle(self.model(torch.cat([halves, level], 1)), 2)[:, :, :height, :width]


class IRCNN(nn.Module):
    """Dilated residual denoiser.

    Args:
        features: channels.

    Source: Zhang et al. 2017, 10.1109/CVPR.2017.300.
    """

    def __init__(self, *, features: int = 64) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.model = chain(3, features, 3, (1, 2, 3, 4, 3, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        return x - self.model(x)
