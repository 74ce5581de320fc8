"""SCET: self-calibrated blocks with pixel attention, then attention between channels over the whole image."""

from torch import Tensor, nn

from model_zoo.networks.common import conv, stack
from model_zoo.networks.pan import SelfCalibrated
from model_zoo.networks.restormer import TransformerBlock


class SCET(nn.Module):
    """Self-calibrated efficient transformer.

    Args:
        features: channels, a multiple of scale squared.
        blocks: self-calibrated blocks.
        heads: groups of channels that attend to one another.
        expansion: hidden channels per channel of the transformer's feed-forward.
        scale: output pixels per input pixel.

    Source: Zou et al. 2022, arXiv 2204.08913, section 3.
    """

    def __init__(
        self, *, features: int = 64, blocks: int = 16, heads: int = 8, expansion: float = 2.66, scale: int = 4
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.first = conv(3, features)
        self.calibrated = stack(blocks, lambda: SelfCalibrated(features))
        self.transformer = TransformerBlock(features, heads, expansion=expansion, bias=True, windows=False)
        self.large = conv(features, features)
        self.shuffle = nn.PixelShuffle(scale)
        self.deep_colours = conv(features // scale**2, 3)
        self.shallow_colours = conv(features // scale**2, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        first = self.first(x)
        deep = self.large(self.transformer(self.calibrated(first)))
        return self.deep_colours(self.shuffle(deep)) + self.shallow_colours(self.shuffle(first))
