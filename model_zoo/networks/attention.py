"""Channel attention and the blocks built on it: RCAN's, MPRNet's, RIDNet's."""

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv


class ChannelAttention(nn.Module):
    """Weighs each channel by a small network of its pooled mean (Zhang et al. 2018, section 3.3)."""

    def __init__(self, features: int, reduction: int, pool: nn.Module | None = None, *, bias: bool = True) -> None:
        """Args: features: channels; reduction: channels per hidden unit; pool: what is averaged, None for all."""
        super().__init__()
        hidden = features // reduction
        self.attention = nn.Sequential(
            pool or nn.AdaptiveAvgPool2d(1),
            conv(features, hidden, 1, bias=bias),
            nn.ReLU(),
            conv(hidden, features, 1, bias=bias),
            nn.Sigmoid(),
        )
        self.pooled_by_parts = pool is not None

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        weight = self.attention(x)
        if self.pooled_by_parts:
            weight = F.interpolate(weight, size=x.shape[2:], mode="nearest")
        return x * weight


class AttentionBlock(nn.Module):
    """Residual block whose residual passes channel attention, where there is one."""

    def __init__(
        self, features: int, attention: nn.Module | None, activation: nn.Module | None = None, *, bias: bool = True
    ) -> None:
        """Args: features: channels; attention: ends the residual branch; activation: its middle, ReLU if None."""
        super().__init__()
        tail = [] if attention is None else [attention]
        layers = (conv(features, features, bias=bias), activation or nn.ReLU(), conv(features, features, bias=bias))
        self.rcab = nn.Sequential(*layers, *tail)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.rcab(x)


class Group(nn.Module):
    """Residual group: blocks, a convolution, and the way around them."""

    def __init__(self, features: int, blocks: nn.Sequential, *, bias: bool = True) -> None:
        """Args: features: channels; blocks: the chain of blocks."""
        super().__init__()
        self.residual_group = blocks
        self.conv = conv(features, features, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.conv(self.residual_group(x))
