"""SAN: channel attention on second-order statistics between two non-local blocks."""

import torch
from torch import Tensor, nn

from model_zoo.networks.common import Normalised, ResidualBlock, conv, pixel_shuffle_upsampler, stack
from model_zoo.networks.non_local import NonLocal


def covariance_root_mean(x: Tensor, iterations: int = 5) -> Tensor:
    """Row means of the matrix square root of the channels' covariance, by Newton-Schulz iteration.

    Args:
        x: (B, C, h, w).
        iterations: of the iteration, at least two.

    Returns:
        (B, C, 1, 1).

    Source: Dai et al. 2019, 10.1109/CVPR.2019.01132, equations 4 to 9.
    """
    batch, channels = x.shape[:2]
    flat = x.flatten(2)
    centred = flat - flat.mean(2, keepdim=True)
    covariance = centred @ centred.transpose(1, 2) / flat.shape[2]
    triple = 3.0 * torch.eye(channels, dtype=x.dtype, device=x.device)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    root = covariance / trace
    inverse = 0.5 * (triple - root)
    root = root @ inverse
    for _ in range(iterations - 2):
        step = 0.5 * (triple - inverse @ root)
        root, inverse = root @ step, step @ inverse
    root = 0.5 * root @ (triple - inverse @ root)
    return (root * trace.sqrt()).mean(1).reshape(batch, channels, 1, 1)


class SecondOrderAttention(nn.Module):
    """Channel attention on the covariance of the channels (Dai et al. 2019, section 3.4)."""

    def __init__(self, features: int, reduction: int) -> None:
        """Args: features: channels; reduction: channels per hidden unit."""
        super().__init__()
        hidden = features // reduction
        self.conv_du = nn.Sequential(conv(features, hidden, 1), nn.ReLU(), conv(hidden, features, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; from 1000 pixels a side on, the statistics are of the middle 1000."""
        return x * self.conv_du(covariance_root_mean(_middle(_middle(x, 2), 3)))


def _middle(x: Tensor, axis: int, most: int = 1000) -> Tensor:
    side = x.shape[axis]
    return x if side < most else x.narrow(axis, (side - most) // 2, most)


class LocalSourceGroup(nn.Module):
    """Residual blocks, second-order attention, a convolution, and the way around them."""

    def __init__(self, features: int, blocks: int, reduction: int) -> None:
        """Args: features: channels; blocks: how many; reduction: channels per hidden unit."""
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))  # in every checkpoint, used in no network
        self.rcab = stack(blocks, lambda: ResidualBlock(features))
        self.soca = SecondOrderAttention(features, reduction)
        self.conv_last = conv(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.conv_last(self.soca(self.rcab(x)))


class QuarteredNonLocal(nn.Module):
    """A non-local block on each quarter of the image by itself; its attention is in checkpoints but not used."""

    def __init__(self, features: int, reduction: int = 8) -> None:
        """Args: features: channels; reduction: channels per channel of the embedding."""
        super().__init__()
        self.soca = SecondOrderAttention(features, reduction)
        self.non_local = NonLocal(features, features // reduction, pooled=True, over_queries=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        height, width = x.shape[2] // 2, x.shape[3] // 2
        rows = [
            torch.cat([self.non_local(half[..., :width]), self.non_local(half[..., width:])], 3)
            for half in (x[:, :, :height], x[:, :, height:])
        ]
        return torch.cat(rows, 2)


class SAN(Normalised):
    """Second-order attention network.

    Args:
        features: channels.
        groups: how many.
        blocks: residual blocks a group.
        reduction: channels per hidden unit.
        scale: output pixels per input pixel.

    Source: Dai et al. 2019, 10.1109/CVPR.2019.01132.
    """

    def __init__(
        self, *, features: int = 64, groups: int = 20, blocks: int = 10, reduction: int = 16, scale: int = 4
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 255.0)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.head = conv(3, features)
        self.RG = nn.ModuleList(LocalSourceGroup(features, blocks, reduction) for _ in range(groups))
        self.conv_last = conv(features, features)  # in every checkpoint, used in no network
        self.non_local = QuarteredNonLocal(features)
        self.tail = nn.Sequential(pixel_shuffle_upsampler(features, scale), conv(features, 3))

    def restore(self, x: Tensor) -> Tensor:
        """Groups between two non-local blocks, each group with a share of the source."""
        first = self.head(x)
        source = out = self.non_local(first)
        for group in self.RG:
            out = group(out) + self.gamma * source
        return self.tail(self.non_local(out) + first)
