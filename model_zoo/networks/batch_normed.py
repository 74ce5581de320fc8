"""Networks with batch normalisation: ADNet and the SRGAN generator."""

import torch
from torch import Tensor, nn

from model_zoo.networks.common import conv


class ADNet(nn.Module):
    """Denoiser of dilated and plain convolutions whose noise is weighed by an attention on image and noise.

    Args:
        features: channels.
        depth: convolutions with batch normalisation.
        dilated: which of them, from one, have holes.

    Source: Tian et al. 2020, 10.1016/j.neunet.2019.12.024.
    """

    def __init__(self, *, features: int = 64, depth: int = 15, dilated: tuple[int, ...] = (2, 5, 9, 12)) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        layers = []
        for place in range(1, depth + 1):
            holes = 2 if place in dilated else 1
            inputs = 3 if place == 1 else features
            layer = nn.Conv2d(inputs, features, 3, padding=holes, dilation=holes, bias=False)
            layers.append(nn.Sequential(layer, nn.BatchNorm2d(features), nn.ReLU()))
        self.body = nn.Sequential(*layers, conv(features, 3, bias=False))
        self.attention = conv(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        noise = self.body(x)
        return x - noise * self.attention(torch.tanh(torch.cat([x, noise], 1)))


class NormedResidual(nn.Module):
    """Two convolutions with batch normalisation, added to their input (Ledig et al. 2017, figure 4)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.conv1 = conv(features, features)
        self.bn1 = nn.BatchNorm2d(features)
        self.prelu = nn.PReLU()
        self.conv2 = conv(features, features)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))


class SRGANGenerator(nn.Module):
    """SRResNet with batch normalisation; tanh keeps the output in [0, 1].

    Args:
        features: channels.
        blocks: residual blocks.

    Source: Ledig et al. 2017, 10.1109/CVPR.2017.19.
    """

    def __init__(self, *, features: int = 64, blocks: int = 5) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.first = nn.Sequential(conv(3, features, 9), nn.PReLU())
        self.body = nn.Sequential(*(NormedResidual(features) for _ in range(blocks)))
        self.after = nn.Sequential(conv(features, features), nn.PReLU())
        steps = [layer for _ in range(2) for layer in (conv(features, 4 * features), nn.PixelShuffle(2), nn.PReLU())]
        self.up = nn.Sequential(*steps, conv(features, 3, 9))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, 4h, 4w)."""
        first = self.first(x)
        return (torch.tanh(self.up(first + self.after(self.body(first)))) + 1) / 2
