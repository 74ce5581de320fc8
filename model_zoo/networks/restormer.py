"""Restormer and X-Restormer: one U-shape of transformer blocks, whose attention runs over channels or also windows."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv, stack


class PixelNorm(nn.Module):
    """Layer normalisation of each pixel over its channels, with or without mean and bias."""

    def __init__(self, features: int, *, bias: bool) -> None:
        """Args: features: channels; bias: take the mean off and add a bias."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        scale = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)
        if self.bias is None:
            return x / scale * self.weight[:, None, None]
        return (x - x.mean(1, keepdim=True)) / scale * self.weight[:, None, None] + self.bias[:, None, None]


class GatedFeedForward(nn.Module):
    """Depthwise convolution of which one half gates the other (Zamir et al. 2022, section 3.2)."""

    def __init__(self, features: int, expansion: float) -> None:
        """Args: features: channels; expansion: hidden channels per channel."""
        super().__init__()
        hidden = int(features * expansion)
        self.project_in = conv(features, 2 * hidden, 1, bias=False)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=False)
        self.project_out = conv(hidden, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * value)


class TransposedAttention(nn.Module):
    """Attention between channels, over all pixels (Zamir et al. 2022, section 3.1)."""

    def __init__(self, features: int, heads: int) -> None:
        """Args: features: channels; heads: groups of channels that attend to one another."""
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = conv(features, 3 * features, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * features, 3 * features, 3, padding=1, groups=3 * features, bias=False)
        self.project_out = conv(features, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        batch, features, height, width = x.shape
        shape = (batch, self.heads, features // self.heads, height * width)
        query, key, value = (part.reshape(shape) for part in self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1))
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        weight = (query @ key.transpose(-2, -1) * self.temperature).softmax(-1)
        return self.project_out((weight @ value).reshape(batch, features, height, width))


class WindowAttention(nn.Module):
    """Each window attends to a larger one around it, with relative positions (Chen et al. 2024, section 3.3)."""

    def __init__(self, features: int, heads: int, *, window: int = 8, head_features: int = 16) -> None:
        """Args: features: channels; heads: how many; window: side in pixels; head_features: channels of a head."""
        super().__init__()
        self.heads, self.window, self.around, self.head_features = heads, window, window * 3 // 2, head_features
        inner = heads * head_features
        self.qkv = conv(features, 3 * inner, 1, bias=False)
        self.project_out = conv(inner, features, 1, bias=False)
        self.rel_height = nn.Parameter(torch.randn(2 * self.around - 1, head_features) * head_features**-0.5)
        self.rel_width = nn.Parameter(torch.randn(2 * self.around - 1, head_features) * head_features**-0.5)
        steps = torch.arange(self.around)[None] - torch.arange(window)[:, None] + self.around - 1
        self.steps: Tensor
        self.register_buffer("steps", steps, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; height and width are multiples of the window."""
        batch, _, height, width = x.shape
        rows, columns = height // self.window, width // self.window
        query, key, value = self.qkv(x).chunk(3, dim=1)
        query = self._windows(query, self.window) * self.head_features**-0.5
        key, value = self._windows(key, self.around), self._windows(value, self.around)
        weight = (query @ key.transpose(-2, -1) + self._positions(query)).softmax(-1)
        out = (weight @ value).reshape(batch, rows, columns, self.heads, self.window, self.window, self.head_features)
        out = out.permute(0, 3, 6, 1, 4, 2, 5).reshape(batch, self.heads * self.head_features, height, width)
        return self.project_out(out)

    def _windows(self, x: Tensor, side: int) -> Tensor:
        """(B, heads * C, h, w) to (B, windows, heads, side * side, C)."""
        parts = F.unfold(x, side, stride=self.window, padding=(side - self.window) // 2)
        parts = parts.reshape(x.shape[0], self.heads, self.head_features, side * side, -1)
        return parts.permute(0, 4, 1, 3, 2)

    def _positions(self, query: Tensor) -> Tensor:
        shape = query.shape
        square = query.reshape(-1, self.window, self.window, self.head_features)
        across = torch.einsum("nyxc,xjc->nyxj", square, self.rel_width[self.steps])[:, :, :, None, :]
        down = torch.einsum("nyxc,yic->nyxi", square, self.rel_height[self.steps])[:, :, :, :, None]
        return (across + down).reshape(*shape[:-1], self.around**2)


class TransformerBlock(nn.Module):
    """Pairs of normalised attention and feed-forward, each added to its input."""

    def __init__(self, features: int, heads: int, *, expansion: float, bias: bool, windows: bool) -> None:
        """Args: features: channels; heads, expansion: of the parts; bias: of the norms; windows: attend in them too."""
        super().__init__()
        kinds = [TransposedAttention] + [WindowAttention] * windows
        parts = [part for kind in kinds for part in (kind(features, heads), GatedFeedForward(features, expansion))]
        self.norms = nn.ModuleList(PixelNorm(features, bias=bias) for _ in parts)
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        for norm, part in zip(self.norms, self.parts, strict=True):
            x = x + part(norm(x))
        return x


class Restormer(nn.Module):
    """Four levels of transformer blocks, each half the size of the one above, and the way up again.

    Args:
        features: channels of the first level.
        blocks: blocks a level.
        refinement: blocks after the last level.
        heads: heads a level.
        expansion: hidden channels per channel of the feed-forward.
        bias: layer normalisation with mean and bias.
        windows: attend in windows as well as between channels (X-Restormer).
        scale: the input is first enlarged so often, bilinearly.

    Source: Zamir et al. 2022, 10.1109/CVPR52688.2022.00564; Chen et al. 2024, 10.1007/978-3-031-73661-2_17.
    """

    def __init__(
        self,
        *,
        features: int = 48,
        blocks: tuple[int, ...] = (4, 6, 6, 8),
        refinement: int = 4,
        heads: tuple[int, ...] = (1, 2, 4, 8),
        expansion: float = 2.66,
        bias: bool = True,
        windows: bool = False,
        scale: int = 1,
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.scale = scale

        def level(number: int, width: int, count: int) -> nn.Sequential:
            def block() -> nn.Module:
                return TransformerBlock(width, heads[number], expansion=expansion, bias=bias, windows=windows)

            return stack(count, block)

        wide = [features * 2**number for number in range(4)]
        self.patch_embed = conv(3, features, bias=False)
        self.down = nn.ModuleList(_resize(width, width // 2, nn.PixelUnshuffle) for width in wide[:3])
        self.up = nn.ModuleList(_resize(width, width * 2, nn.PixelShuffle) for width in wide[1:])
        self.encoder = nn.ModuleList(level(number, wide[number], blocks[number]) for number in range(4))
        self.reduce = nn.ModuleList([nn.Identity(), *(conv(2 * width, width, 1, bias=False) for width in wide[1:3])])
        self.decoder = nn.ModuleList(level(number, wide[max(number, 1)], blocks[number]) for number in range(3))
        self.refinement = level(0, wide[1], refinement)
        self.output = conv(wide[1], 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        if self.scale > 1:
            x = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        out = self.encoder[0](self.patch_embed(x))
        levels = [out]
        for down, encoder in zip(self.down, list(self.encoder)[1:], strict=True):
            out = encoder(down(out))
            levels.append(out)
        for number in (2, 1, 0):
            joined = torch.cat([self.up[number](out), levels[number]], 1)
            out = self.decoder[number](self.reduce[number](joined))
        return self.output(self.refinement(out)) + x


def _resize(inputs: int, outputs: int, shuffle: Callable[[int], nn.Module]) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, bias=False), shuffle(2))
