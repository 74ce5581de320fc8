"""HiT-SRF: windows that grow from block to block, correlated in space and between channels without a softmax."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import DIV2K_MEAN, conv, pixel_shuffle_to_colours, stack
from model_zoo.networks.windows import to_map, to_windows


class PixelLayerNorm(nn.LayerNorm):
    """Layer normalisation of each pixel over its channels."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w), same shape out."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PositionBias(nn.Module):
    """A small network that turns a relative position into one bias per head (Wang et al. 2022, CrossFormer)."""

    def __init__(self, hidden: int, heads: int) -> None:
        """Args: hidden: features between; heads: biases per position."""
        super().__init__()
        self.pos_proj = nn.Linear(2, hidden)
        for index, outputs in enumerate((hidden, hidden, heads), 1):
            layers = nn.Sequential(nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, outputs))
            self.add_module(f"pos{index}", layers)

    def forward(self, window: int, cell: int) -> Tensor:
        """Bias of each pixel of a window towards each cell of it, the mean of that towards the cell's pixels.

        Args:
            window: side in pixels.
            cell: side of a cell in pixels, 1 for the pixels themselves.

        Returns:
            (heads, window * window, cells).
        """
        weight = self.pos_proj.weight
        steps = torch.arange(1 - window, window, dtype=weight.dtype, device=weight.device)
        x = self.pos_proj(torch.cartesian_prod(steps, steps))
        for index in (1, 2, 3):
            x = self.get_submodule(f"pos{index}")(x)
        table = x.T.reshape(1, -1, len(steps), len(steps))
        means = F.avg_pool2d(table, cell, stride=1)[0]
        pixels, cells = torch.arange(window, device=weight.device), torch.arange(0, window, cell, device=weight.device)
        places = pixels[:, None] - cells[None] + window - cell
        biases = means[:, places[:, None, :, None], places[None, :, None, :]]
        return biases.reshape(len(means), window**2, -1)


class DualFeatures(nn.Module):
    """A pointwise branch weighed by a convolved one (Zhang et al. 2024, dual feature extraction)."""

    def __init__(self, features: int, reduction: int = 5) -> None:
        """Args: features: channels in and out; reduction: channels per channel of the convolved branch's middle."""
        super().__init__()
        narrow = features // reduction
        layers = [conv(features, narrow, 1), conv(narrow, narrow), conv(narrow, features, 1)]
        self.conv = nn.Sequential(layers[0], nn.LeakyReLU(0.2), layers[1], nn.LeakyReLU(0.2), layers[2])
        self.linear = conv(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return self.conv(x) * self.linear(x)


class Correlation(nn.Module):
    """Half of the channels correlated with the other half, in space and between channels.

    In space a window of more than `base` pixels is looked up in base x base cells, each a learned sum of its pixels.

    Source: Zhang et al. 2024, spatial-channel correlation (section 3.3).
    """

    def __init__(self, features: int, heads: int, window: int, base: int) -> None:
        """Args: features: channels; heads: of the correlation in space; window: side in pixels; base: cells a side."""
        super().__init__()
        self.heads, self.window, self.cell = heads, window, max(window // base, 1)
        self.qv = DualFeatures(features)
        self.proj = nn.Linear(features, features)
        self.spatial_linear = nn.Linear(self.cell**2, 1)
        self.pos = PositionBias(features // 16, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w), same shape out; h and w multiples of the window."""
        query, value = to_windows(self.qv(x), self.window).chunk(2, dim=2)
        between = query.transpose(1, 2) @ value / query.shape[1]
        parts = torch.cat([self._in_space(query, value), value @ between.transpose(1, 2)], 2)
        return to_map(self.proj(parts), self.window, *x.shape[2:])

    def _in_space(self, query: Tensor, value: Tensor) -> Tensor:
        cells = self._by_heads(self._cells(value))
        query = self._by_heads(query)
        weight = query @ cells.transpose(2, 3) / query.shape[3] + self.pos(self.window, self.cell)
        return (weight @ cells).transpose(1, 2).flatten(2)

    def _by_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def _cells(self, value: Tensor) -> Tensor:
        """(windows, pixels, C) to (windows, cells, C)."""
        across = self.window // self.cell
        cells = value.reshape(len(value), across, self.cell, across, self.cell, -1).permute(0, 1, 3, 5, 2, 4)
        return self.spatial_linear(cells.flatten(4)).reshape(len(value), across**2, -1)


class ConvolvedFeedForward(nn.Module):
    """Two linear layers around a convolution of each channel with a way past it (Zhou et al. 2023, SRFormer)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out; twice as many between."""
        super().__init__()
        hidden = 2 * features
        self.fc1 = nn.Linear(features, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 5, padding=2, groups=hidden)
        self.fc2 = nn.Linear(hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w), same shape out."""
        wide = F.gelu(self.fc1(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        wide = wide + F.gelu(self.depthwise(wide))
        return self.fc2(wide.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GrownBlock(nn.Module):
    """Correlation in windows and feed-forward, each normalised after it and added to its input."""

    def __init__(self, features: int, heads: int, window: int, base: int) -> None:
        """Args: as `Correlation`."""
        super().__init__()
        self.window = window
        self.correlation = Correlation(features, heads, window, base)
        self.norm1 = PixelLayerNorm(features)
        self.mlp = ConvolvedFeedForward(features)
        self.norm2 = PixelLayerNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; a map that no windows fill is continued by reflection at the bottom and right."""
        height, width = x.shape[2:]
        whole = F.pad(x, (0, -width % self.window, 0, -height % self.window), mode="reflect")
        x = x + self.norm1(self.correlation(whole)[:, :, :height, :width])
        return x + self.norm2(self.mlp(x))


class GrowingGroup(nn.Module):
    """Blocks with windows of one side after another, a convolution, and the way around them."""

    def __init__(self, features: int, heads: int, windows: tuple[int, ...], base: int) -> None:
        """Args: windows: one side for each block, in pixels; the rest as `Correlation`."""
        super().__init__()
        self.blocks = nn.Sequential(*(GrownBlock(features, heads, window, base) for window in windows))
        self.conv = conv(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.conv(self.blocks(x))


class HiTSRF(nn.Module):
    """Hierarchical transformer in the manner of SRFormer.

    Args:
        features: channels.
        groups: how many groups of blocks.
        windows: sides of the windows of a group's blocks, in pixels.
        heads: of the correlation in space.
        base: cells along a side of a window, at most.
        scale: output pixels per input pixel.

    Source: Zhang et al. 2024, arXiv 2407.05878, section 3.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        features: int = 60,
        groups: int = 4,
        windows: tuple[int, ...] = (4, 8, 16, 32, 48, 64),
        heads: int = 6,
        base: int = 8,
        scale: int = 4,
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1), persistent=False)
        self.conv_first = conv(3, features)
        self.norm_first = PixelLayerNorm(features)
        self.layers = stack(groups, lambda: GrowingGroup(features, heads, windows, base))
        self.norm = PixelLayerNorm(features)
        self.conv_after_body = conv(features, features)
        self.upsample = pixel_shuffle_to_colours(features, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        first = self.conv_first(x - self.mean)
        deep = self.norm(self.layers(self.norm_first(first)))
        return self.upsample(first + self.conv_after_body(deep)) + self.mean
