"""RCAN and its channel-attention variants: all blocks, first half, none, pooled by grid or by window."""

import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import LongSkip, conv, stack

# attention: (share of the groups that have it, what its pooling averages over)
ATTENTION = {
    "all": (1.0, lambda: nn.AdaptiveAvgPool2d(1)),
    "first_half": (0.5, lambda: nn.AdaptiveAvgPool2d(1)),
    "none": (0.0, lambda: nn.AdaptiveAvgPool2d(1)),
    "grid2x2": (1.0, lambda: nn.AdaptiveAvgPool2d(2)),
    "grid3x3": (1.0, lambda: nn.AdaptiveAvgPool2d(3)),
    "window16": (1.0, lambda: nn.AvgPool2d(16)),
    "window4": (1.0, lambda: nn.AvgPool2d(4)),
}


class ChannelAttention(nn.Module):
    """Weighs each channel by a small network of its pooled mean (Zhang et al. 2018, section 3.3)."""

    def __init__(self, features: int, reduction: int, pool: nn.Module) -> None:
        """Args: features: channels; reduction: channels per hidden unit; pool: what the mean is taken over."""
        super().__init__()
        hidden = features // reduction
        self.attention = nn.Sequential(
            pool, nn.Conv2d(features, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, features, 1), nn.Sigmoid()
        )
        self.one_weight = isinstance(pool, nn.AdaptiveAvgPool2d) and pool.output_size == 1

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        weight = self.attention(x)
        if not self.one_weight:
            weight = F.interpolate(weight, size=x.shape[2:], mode="nearest")
        return x * weight


class AttentionBlock(nn.Module):
    """Residual block whose residual passes channel attention, where there is one."""

    def __init__(self, features: int, attention: nn.Module | None) -> None:
        """Args: features: channels; attention: the last layer of the residual branch, or None."""
        super().__init__()
        tail = [] if attention is None else [attention]
        self.rcab = nn.Sequential(conv(features, features), nn.ReLU(), conv(features, features), *tail)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.rcab(x)


class Group(nn.Module):
    """Residual group: blocks, a convolution, and the way around them."""

    def __init__(self, features: int, blocks: nn.Sequential) -> None:
        """Args: features: channels; blocks: the chain of blocks."""
        super().__init__()
        self.residual_group = blocks
        self.conv = conv(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.conv(self.residual_group(x))


class RCAN(LongSkip):
    """Residual channel attention network.

    Args:
        features: channels.
        groups: residual groups.
        blocks: blocks a group.
        reduction: channels per hidden unit of the attention.
        scale: 1 (no upsampler), 2, 3, 4 or 8.
        attention: a key of `ATTENTION`.
        shift: how the mean colour is handled, see `Normalised`.
        inner_range: white inside the network, for the shifts that scale.

    Raises:
        ValueError: for an attention or shift that is not known.

    Source: Zhang et al. 2018, Image Super-Resolution Using Very Deep Residual Channel Attention Networks,
    10.1007/978-3-030-01234-2_18.
    """

    def __init__(
        self,
        *,
        features: int = 64,
        groups: int = 10,
        blocks: int = 20,
        reduction: int = 16,
        scale: int = 4,
        attention: str = "all",
        shift: str = "none",
        inner_range: float = 255.0,
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        if attention not in ATTENTION:
            raise ValueError(f"attention: got {attention!r}, expected one of {', '.join(ATTENTION)}")
        share, pool = ATTENTION[attention]

        def block(attends: bool) -> AttentionBlock:
            return AttentionBlock(features, ChannelAttention(features, reduction, pool()) if attends else None)

        def group(index: int) -> Group:
            return Group(features, stack(blocks, lambda: block(index < share * groups)))

        super().__init__(features, nn.Sequential(*map(group, range(groups))), scale, shift, inner_range)
