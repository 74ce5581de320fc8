"""EDSR, any width and depth."""

from model_zoo.networks.common import LongSkip, ResidualBlock, stack


class EDSR(LongSkip):
    """Enhanced deep residual network: residual blocks, one long way around, pixel shuffle.

    Args:
        features: channels.
        blocks: residual blocks.
        scale: 1, 2, 3, 4 or 8.
        shift: how the mean colour is handled, see `Normalised`.
        inner_range: white inside the network, for the shifts that scale.

    Source: Lim et al. 2017, 10.1109/CVPRW.2017.151.
    """

    def __init__(
        self,
        *,
        features: int = 64,
        blocks: int = 16,
        scale: int = 4,
        shift: str = "none",
        inner_range: float = 1.0,
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__(features, stack(blocks, lambda: ResidualBlock(features)), scale, shift, inner_range)
