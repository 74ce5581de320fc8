"""HAESR: large kernels, attention in windows and over a grid whose weights later blocks share, and between channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv, pixel_shuffle_to_colours
from model_zoo.networks.distillation import SpatialAttention, plain
from model_zoo.networks.restormer import GatedFeedForward, PixelNorm
from model_zoo.networks.windows import to_map, to_windows

SIDE = 8  # of a window and of the grid, in pixels
LARGE = 31  # pixels along the large kernels
EXTRA = {1: (7, 7), 2: (8, 7), 3: (7, 8)}  # points half-way between those of the grid, by stage


def interleaved(x: Tensor, rows: int, columns: int) -> Tensor:
    """A map (B, C, h, w) with pixels that lie h / rows and w / columns apart put side by side, the same shape out."""
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, rows, height // rows, columns, width // columns)
    return parts.permute(0, 1, 3, 2, 5, 4).reshape(x.shape)


def by_pixel(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer on the channels of each pixel of (B, C, h, w)."""
    return layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def seen_pixels(stage: int) -> Tensor:
    """Which of the 16 x 16 pixels around a window it looks at: itself, and a figure of stage 1, 2 or 3 around it.

    Returns:
        Places in row-major order: with a star of eight rays (1), a cross of two pixels' width (2), four corners (3).
    """
    row, column = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    inside = (row >= 4) & (row < 12) & (column >= 4) & (column < 12)
    outer_row, outer_column = (row < 4) | (row >= 12), (column < 4) | (column >= 12)
    star = (row == column) | (row + column == 15) | (row == 8) | (column == 8)
    cross = ((row == 7) | (row == 8)) & outer_column | ((column == 7) | (column == 8)) & outer_row
    corners = ((row < 3) | (row > 12)) & ((column < 3) | (column > 12))
    figure = {1: star & (outer_row | outer_column), 2: cross, 3: corners}[stage]
    return torch.nonzero((inside | figure).flatten()).flatten()


class PartialLargeKernel(nn.Module):
    """A quarter of the channels, weighed by their means over the image, passes two long kernels; then all are mixed."""

    def __init__(self, features: int) -> None:
        """Args: features: channels, a multiple of 4."""
        super().__init__()
        self.part = part = features // 4
        self.DWConv_Kx1 = nn.Conv2d(part, part, (LARGE, 1), padding=(LARGE // 2, 0), groups=part)
        self.DWConv_1xK = nn.Conv2d(part, part, (1, LARGE), padding=(0, LARGE // 2), groups=part)
        self.conv1 = conv(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        mixed = x.unflatten(1, (self.part, 4)).transpose(1, 2).flatten(1, 2)
        few, rest = mixed[:, : self.part], mixed[:, self.part :]
        few = few * torch.sigmoid(few.mean((2, 3), keepdim=True))
        return F.gelu(self.conv1(torch.cat([self.DWConv_Kx1(self.DWConv_1xK(few)), rest], 1)))


class LocalBlock(nn.Module):
    """A small and a large kernel side by side, and a 1x1 convolution of both."""

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out."""
        super().__init__()
        self.DWConv3 = nn.Conv2d(features, features, 3, padding=1, groups=features)
        self.PLKB = PartialLargeKernel(features)
        self.conv1 = conv(2 * features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return F.gelu(self.conv1(torch.cat([self.DWConv3(x), self.PLKB(x)], 1)))


class SharedAttention(nn.Module):
    """Attention of one head that finds its weights, or takes those of the block before (Park et al. 2025, ASID).

    A subclass says which pixels attend, to which, and with what bias.
    """

    def __init__(self, features: int, *, finds: bool) -> None:
        """Args: features: channels; finds: whether the weights are found here."""
        super().__init__()
        if finds:
            self.to_q = nn.Linear(features, features, bias=False)
            self.to_kv = nn.Linear(features, 2 * features, bias=False)
        else:
            self.to_v = nn.Linear(features, features, bias=False)
        self.to_out = nn.Linear(features, features, bias=False)

    def cut(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to groups of pixels that attend, (groups, 64, C)."""
        raise NotImplementedError

    def joined(self, parts: Tensor, height: int, width: int) -> Tensor:
        """The map (B, C, height, width) that `cut` took apart."""
        raise NotImplementedError

    def seen(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to what each group attends to, (groups, pixels, C)."""
        raise NotImplementedError

    def bias(self) -> Tensor:
        """The bias of each pair, (64, pixels) or (1, 64, pixels)."""
        raise NotImplementedError

    def forward(self, x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, C, h, w), and weights or None where they are found here; gives the same shape, and the weights used."""
        if weight is not None:
            value = by_pixel(self.to_v, x)
            return by_pixel(self.to_out, self.joined(weight @ self.seen(value), *x.shape[2:])), weight
        key, value = by_pixel(self.to_kv, x).chunk(2, dim=1)
        query = self.cut(by_pixel(self.to_q, x)) * x.shape[1] ** -0.5
        weights = (query @ self.seen(key).transpose(1, 2) + self.bias()).softmax(-1)
        return by_pixel(self.to_out, self.joined(weights @ self.seen(value), *x.shape[2:])), weights


class AroundWindow(SharedAttention):
    """Each window of 8 px attends to itself and to a figure of pixels around it; beyond the image they are zero."""

    places: Tensor

    def __init__(self, features: int, stage: int, *, finds: bool) -> None:
        """Args: stage: which figure, see `seen_pixels`; the rest as `SharedAttention`."""
        super().__init__(features, finds=finds)
        self.register_buffer("places", seen_pixels(stage), persistent=False)
        if finds:
            self.rel_pos_bias = nn.Parameter(torch.zeros(1, SIDE**2, len(self.places)))

    def cut(self, x: Tensor) -> Tensor:
        """Windows, row by row."""
        return to_windows(x, SIDE)

    def joined(self, parts: Tensor, height: int, width: int) -> Tensor:
        """The map of the windows."""
        return to_map(parts, SIDE, height, width)

    def seen(self, x: Tensor) -> Tensor:
        """The pixels of the figure around each window."""
        around = F.unfold(x, 2 * SIDE, stride=SIDE, padding=SIDE // 2).unflatten(1, (x.shape[1], -1))
        return around[:, :, self.places].permute(0, 3, 2, 1).flatten(0, 1)

    def bias(self) -> Tensor:
        """Learned for each pair."""
        return self.rel_pos_bias


class OverGrid(SharedAttention):
    """Each grid of 8 x 8 pixels, an eighth of the image apart, attends to itself and to points half-way between."""

    steps: Tensor

    def __init__(self, features: int, stage: int, *, finds: bool) -> None:
        """Args: stage: which points half-way, see EXTRA; the rest as `SharedAttention`."""
        super().__init__(features, finds=finds)
        self.extra = EXTRA[stage]
        row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        down, across = (place.flatten()[:, None] - place.flatten() + SIDE - 1 for place in (row, column))
        self.register_buffer("steps", down * (2 * SIDE - 1) + across, persistent=False)
        if finds:
            self.rel_pos_bias = nn.Parameter(torch.zeros((2 * SIDE - 1) ** 2, 1))
            self.extra_pos_bias = nn.Parameter(torch.zeros(1, SIDE**2, self.extra[0] * self.extra[1]))

    def cut(self, x: Tensor) -> Tensor:
        """Grids, row by row."""
        return to_windows(interleaved(x, SIDE, SIDE), SIDE)

    def joined(self, parts: Tensor, height: int, width: int) -> Tensor:
        """The map of the grids."""
        return interleaved(to_map(parts, SIDE, height, width), height // SIDE, width // SIDE)

    def seen(self, x: Tensor) -> Tensor:
        """The pixels of the grid, then those half a step away along the rows, the columns or both."""
        rows, columns = self.extra
        half = [side // SIDE // 2 if few < SIDE else 0 for few, side in zip(self.extra, x.shape[2:], strict=True)]
        between = self.cut(torch.roll(x, (-half[0], -half[1]), (2, 3))).unflatten(1, (SIDE, SIDE))
        return torch.cat([self.cut(x), between[:, :rows, :columns].flatten(1, 2)], 1)

    def bias(self) -> Tensor:
        """By relative position on the grid; learned for each pair with the points half-way."""
        return torch.cat([self.rel_pos_bias[self.steps][None, :, :, 0], self.extra_pos_bias], 2)


class Attended(nn.Module):
    """Shared attention and gated feed-forward, each normalised before it and added to its input."""

    def __init__(self, kind: type[AroundWindow] | type[OverGrid], features: int, stage: int, *, finds: bool) -> None:
        """Args: kind: of the attention; the rest as there."""
        super().__init__()
        self.cnorm = PixelNorm(features, bias=True)
        self.attn = kind(features, stage, finds=finds)
        self.cnorm2 = PixelNorm(features, bias=True)
        self.gfn = GatedFeedForward(features, 1.0)

    def forward(self, x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
        """Same shape out as in, and the weights of the attention."""
        change, used = self.attn(self.cnorm(x), weight)
        x = x + change
        return x + self.gfn(self.cnorm2(x)), used


class BetweenChannels(nn.Module):
    """Attention between channels over the pixels of a window, or over all that lie multiples of 8 px apart."""

    def __init__(self, features: int, *, grid: bool) -> None:
        """Args: features: channels; grid: over the pixels 8 px apart, not a window."""
        super().__init__()
        # of (B, C, rows, 8, columns, 8): what tells the groups apart, then channels, then the pixels of a group
        self.order = (0, 3, 5, 1, 2, 4) if grid else (0, 2, 4, 1, 3, 5)
        self.temperature = nn.Parameter(torch.ones(1, 1, 1))
        self.qkv = conv(features, 3 * features, 1, bias=False)
        self.qkv_dwconv = nn.Conv2d(3 * features, 3 * features, 3, padding=1, groups=3 * features, bias=False)
        self.project_out = conv(features, features, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        mixed = self.qkv_dwconv(self.qkv(x)).unflatten(3, (-1, SIDE)).unflatten(2, (-1, SIDE)).permute(self.order)
        query, key, value = mixed.flatten(4).chunk(3, dim=3)
        weight = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).transpose(3, 4) * self.temperature
        out = (weight.softmax(-1) @ value).unflatten(4, mixed.shape[4:])
        back = [self.order.index(axis) for axis in range(6)]
        return self.project_out(out.permute(back).flatten(4).flatten(2, 3))


class ChannelBlock(nn.Module):
    """Attention between channels in windows, then over pixels 8 px apart, with a feed-forward after each."""

    def __init__(self, features: int) -> None:
        """Args: features: channels in and out."""
        super().__init__()
        for index, grid in enumerate((False, True), 1):
            self.add_module(f"canorm{index}", PixelNorm(features, bias=True))
            self.add_module(f"cttn{index}", BetweenChannels(features, grid=grid))
            self.add_module(f"cnorm{index}", PixelNorm(features, bias=True))
            self.add_module(f"gfn{index}", GatedFeedForward(features, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        for index in (1, 2):
            for norm, part in ((f"canorm{index}", f"cttn{index}"), (f"cnorm{index}", f"gfn{index}")):
                x = x + self.get_submodule(part)(self.get_submodule(norm)(x))
        return x


class HybridBlock(nn.Module):
    """Three stages, each on fewer channels: local block, attention on all but a quarter's width, distillation."""

    def __init__(self, features: int, *, finds: bool) -> None:
        """Args: features: channels, a multiple of 16; finds: whether weights of attention are found or taken."""
        super().__init__()
        self.part = features // 4
        for stage in (1, 2, 3):
            wide, few = features - (stage - 1) * self.part, features - stage * self.part
            self.add_module(f"LB{stage}", LocalBlock(wide))
            self.add_module(f"SLA{stage}", Attended(AroundWindow, few, stage, finds=finds))
            self.add_module(f"SGA{stage}", Attended(OverGrid, few, stage, finds=finds))
            self.add_module(f"pw{stage}", conv(features if stage == 3 else wide, features if stage == 3 else wide, 1))
        self.BlockC = ChannelBlock(features)
        self.res_end = conv(features, features, 1)
        self.esa = SpatialAttention(features, 16, plain, ())

    def forward(self, x: Tensor, weights: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Same shape out as in, and the six weights of attention; None where they are to be found."""
        distilled, used, out = [], [], x
        for stage in (1, 2, 3):
            out = self.get_submodule(f"LB{stage}")(out)
            plain_part, attended = out[:, : self.part], out[:, self.part :]
            for kind in ("SLA", "SGA"):
                given = weights[len(used)] if weights else None
                attended, weight = self.get_submodule(f"{kind}{stage}")(attended, given)
                used.append(weight)
            out = torch.cat([attended, plain_part], 1)
            if stage < 3:
                out = self.get_submodule(f"pw{stage}")(out)
                distilled.append(out[:, : self.part])
                out = out[:, self.part :]
        out = self.BlockC(self.get_submodule("pw3")(torch.cat([*distilled, out], 1)))
        return self.esa(self.res_end(out) + x), used


class HAESR(nn.Module):
    """Hybrid-attention super-resolution; the first block finds the weights of attention, the others take them.

    Args:
        features: channels.
        blocks: how many.
        scale: output pixels per input pixel.

    Source: NTIRE 2026 efficient super-resolution, arXiv 2604.03198, team 06; Park et al. 2025, arXiv 2501.15774.
    """

    def __init__(self, *, features: int = 48, blocks: int = 3, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.input = conv(3, features)
        self.blocks = nn.ModuleList(HybridBlock(features, finds=index == 0) for index in range(blocks))
        self.output = conv(features, features)
        self.up = pixel_shuffle_to_colours(features, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale); h and w multiples of 8."""
        first, weights = self.input(x), None
        out = first
        for block in self.blocks:
            out, weights = block(out, weights)
        return self.up(first + self.output(out))
