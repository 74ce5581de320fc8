"""RCAN and its channel-attention variants: all blocks, first half, none, pooled by grid or by window."""

from torch import nn

from model_zoo.networks.attention import AttentionBlock, ChannelAttention, Group
from model_zoo.networks.common import LongSkip, stack

# attention: (share of the groups that have it, what its pooling averages over: None for the whole image)
ATTENTION = {
    "all": (1.0, lambda: None),
    "first_half": (0.5, lambda: None),
    "none": (0.0, lambda: None),
    "grid2x2": (1.0, lambda: nn.AdaptiveAvgPool2d(2)),
    "grid3x3": (1.0, lambda: nn.AdaptiveAvgPool2d(3)),
    "window16": (1.0, lambda: nn.AvgPool2d(16)),
    "window4": (1.0, lambda: nn.AvgPool2d(4)),
}


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
