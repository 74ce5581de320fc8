"""MobileSR: attention inside windows that never shift, joined by inverted residuals."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv

SLOPE = 0.2


class SelfAttention(nn.Module):
    """Scaled dot products of all pixels of one window (Vaswani et al. 2017, section 3.2)."""

    def __init__(self, features: int, heads: int) -> None:
        """Args: features: channels, a multiple of heads; heads: how many."""
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(features, 3 * features, bias=False)
        self.proj_out = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """(windows, pixels, C), same shape out."""
        windows, pixels, features = x.shape
        query, key, value = self.qkv(x).view(windows, pixels, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weight = (query @ key.transpose(-1, -2) * (features // self.heads) ** -0.5).softmax(-1)
        return self.proj_out((weight @ value).transpose(1, 2).reshape(x.shape))


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, features: int, ratio: int) -> None:
        """Args: features: channels; ratio: hidden units per channel."""
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(features, features * ratio), nn.GELU(), nn.Linear(features * ratio, features))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C), same shape out."""
        return self.fc(x)


class WindowTransformer(nn.Module):
    """Position by a convolution, then attention and MLP in windows, each with a way around."""

    def __init__(self, features: int, heads: int, window: int, ratio: int) -> None:
        """Args: features: channels; heads: of the attention; window: side in pixels; ratio: of the MLP."""
        super().__init__()
        self.window = window
        self.pos_embed = nn.Conv2d(features, features, 3, padding=1, groups=features)
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attn = SelfAttention(features, heads)
        self.mlp = Mlp(features, ratio)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) with sides that the window divides, same shape out."""
        x = x + self.pos_embed(x)
        batch, features, height, width = x.shape
        side = self.window
        rows = x.view(batch, features, height // side, side, width // side, side).permute(0, 2, 4, 3, 5, 1)
        tokens = rows.reshape(-1, side * side, features)
        tokens = tokens + self.attn(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.view(rows.shape).permute(0, 5, 1, 3, 2, 4).reshape(x.shape)


class InvertedResidual(nn.Module):
    """Widened by a 1x1 convolution, one 3x3 kernel per channel, narrowed again, and a way around.

    Source: Sandler et al. 2018, MobileNetV2, 10.1109/CVPR.2018.00474, section 3.3.
    """

    def __init__(self, features: int, ratio: int) -> None:
        """Args: features: channels in and out; ratio: inner channels per channel."""
        super().__init__()
        inner = features * ratio
        depth = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        between = (nn.LeakyReLU(SLOPE), depth, nn.LeakyReLU(SLOPE))
        self.net = nn.Sequential(conv(features, inner, 1), *between, conv(inner, features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.net(x)


class MobileSR(nn.Module):
    """Lightweight transformer with convolutions between its windows; adds the bilinearly enlarged input.

    Args:
        features: channels.
        heads: of every attention.
        window: side of the windows, in pixels.
        ratios: inner channels per channel, one number per layer.

    Source: Li et al. 2022, NTIRE 2022 Challenge on Efficient Super-Resolution, 10.1109/CVPRW56347.2022.00118.
    """

    scale = 4

    def __init__(
        self, *, features: int = 40, heads: int = 8, window: int = 8, ratios: Sequence[int] = (4, 2, 2, 2, 4)
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.head = conv(3, features)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(WindowTransformer(features, heads, window, ratio), InvertedResidual(features, ratio))
                for ratio in ratios
            )
        )
        self.fuse = conv(2 * features, features)
        self.upsampling = nn.Sequential(
            conv(features, 4 * features, 1), nn.PixelShuffle(2), conv(features, 4 * features, 1), nn.PixelShuffle(2)
        )
        self.tail = conv(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], sides that the window divides, to (B, 3, h * 4, w * 4)."""
        first = self.head(x)
        fused = self.fuse(torch.cat([first, self.layers(first)], 1))
        detail = self.tail(F.leaky_relu(self.upsampling(fused), SLOPE))
        return detail + F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
