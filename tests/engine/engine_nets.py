"""Small random networks for the laws of the engines: every op of the table, drawn by hypothesis."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 4


class Same(nn.Module):
    """A function of features that keeps their number of channels."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class PixelNorm(nn.Module):
    """LayerNorm of each pixel over its channels, by way of a channels-last view."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class WindowAttention(nn.Module):
    """Attention in (shifted) windows of 4 with position bias and mask."""

    def __init__(self, shift: int):
        super().__init__()
        self.shift, self.qkv, self.size = shift, nn.Linear(CHANNELS, 3 * CHANNELS), 4
        self.bias = nn.Parameter(torch.randn(2, 16, 16))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2).view(b, h, w, c)
        if self.shift:
            tokens = torch.roll(tokens, (-self.shift, -self.shift), (1, 2))
        windows = tokens.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(windows).reshape(-1, 16, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) + self.bias
        if self.shift:
            mask = self.mask(h, w)
            scores = scores.view(b, len(mask), 2, 16, 16) + mask[None, :, None]
        weights = scores.view(-1, 2, 16, 16).softmax(-1)
        out = (weights @ v).transpose(1, 2).reshape(-1, 4, 4, c)
        out = out.view(b, h // 4, w // 4, 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        if self.shift:
            out = torch.roll(out, (self.shift, self.shift), (1, 2))
        return x + out.view(b, h * w, c).transpose(1, 2).reshape(b, c, h, w)

    def mask(self, h: int, w: int) -> Tensor:
        zones = torch.zeros(h, w)
        zones[-self.shift :] += 1
        zones[:, -self.shift :] += 2
        cut = zones.view(h // 4, 4, w // 4, 4).permute(0, 2, 1, 3).reshape(-1, 16)
        return (cut[:, None] != cut[:, :, None]).float() * -100


class ChannelAttention(nn.Module):
    """Squeeze and excitation: global."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Conv2d(CHANNELS, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.gate(functional.adaptive_avg_pool2d(x, 1)))


class TransposedAttention(nn.Module):
    """Attention over channels: global."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        flat = functional.normalize(x.view(b, c, h * w), dim=-1)
        return x + ((flat @ flat.transpose(-2, -1)).softmax(-1) @ x.view(b, c, -1)).view(b, c, h, w)


class Recurrent(nn.Module):
    """One convolution applied three times to the input and a state that starts at zero."""

    def __init__(self):
        super().__init__()
        self.step = nn.Conv2d(2 * CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(x.size(0), CHANNELS, x.size(2), x.size(3))
        for _ in range(3):
            state = torch.tanh(self.step(torch.cat((x, state), 1)))
        return x + state


def _by_variance(x: Tensor) -> Tensor:
    """Every pixel by the spread of its channels, asked for in three ways."""
    one = x.var(1, keepdim=True, unbiased=False)
    two = torch.var(x.permute(0, 2, 3, 1), -1, correction=1)[:, None]
    return x / (one + two + x.var(1, True, True) + 0.1).sqrt()


class NamedAttention(nn.Module):
    """Attention in windows of 4 x 4 by named sums, with a product of weights."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(CHANNELS, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        windows = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(b, h // 4, w // 4, 16, c)
        scores = torch.einsum("bhwid,bhwjd->bhwij", windows, torch.einsum("bhwid, de -> bhwie", windows, self.mix))
        out = torch.einsum("bhwij,bhwjd->bhwid", scores.softmax(-1), windows)
        return out.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


def _mirrored(x: Tensor) -> Tensor:
    """Mirrored borders by concatenation, shifted and cropped again."""
    h, w = x.shape[2:]
    x = torch.cat([x, x.flip(2)], 2)[:, :, : h + 3]
    x = torch.cat([x.flip(3)[..., -5:], x], 3)
    return x[:, :, 3:, 2 : w + 2].contiguous()


def _gated(x: Tensor) -> Tensor:
    """Per-image gate shown at every position, and one channel shown on all."""
    gate = functional.adaptive_avg_pool2d(x, 1).sigmoid()
    return x * gate.expand(-1, -1, *x.shape[2:]) + x[:, :1].expand(x.shape)


def _resized(**how):
    return Same(lambda x: functional.interpolate(functional.interpolate(x, **how), size=x.shape[2:], mode="nearest"))


def _padded(mode: str):
    return nn.Sequential(Same(lambda x: functional.pad(x, (2, 1, 1, 2), mode=mode)), nn.Conv2d(CHANNELS, CHANNELS, 4))


LAYERS = {
    "conv3": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
    "conv_dilated": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=2, dilation=2),
    "conv_uneven": lambda: nn.Conv2d(CHANNELS, CHANNELS, (1, 5), padding=(0, 2)),
    "conv_grouped": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
    "conv_same": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding="same"),
    "conv_reflect": lambda: nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, padding_mode="reflect"),
    "conv_replicate": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, padding_mode="replicate"),
    "down_up": lambda: nn.Sequential(
        nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(CHANNELS, CHANNELS, 4, stride=2, padding=1),
    ),
    "up_down": lambda: nn.Sequential(
        nn.ConvTranspose2d(CHANNELS, CHANNELS, 3, 2, 1, output_padding=1, bias=False),
        nn.Conv2d(CHANNELS, CHANNELS, 2, stride=2),
    ),
    "shuffled": lambda: nn.Sequential(
        nn.PixelUnshuffle(2), nn.Conv2d(4 * CHANNELS, 4 * CHANNELS, 3, padding=1), nn.PixelShuffle(2)
    ),
    "relu": lambda: nn.ReLU(inplace=True),
    "prelu": lambda: nn.PReLU(CHANNELS),
    "gelu": nn.GELU,
    "batch_norm": lambda: nn.BatchNorm2d(CHANNELS),
    "pixel_norm": PixelNorm,
    "pixel_variance": lambda: Same(_by_variance),
    "wide_pool": lambda: Same(
        lambda x: functional.interpolate(functional.max_pool2d(x, (5, 3), (2, 1), 1, 2), x.shape[-2:])
    ),
    "max_pool": lambda: nn.MaxPool2d(3, 1, 1),
    "avg_pool": lambda: nn.AvgPool2d(3, 1, 1),
    "pool_up": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")),
    "bicubic": lambda: _resized(scale_factor=1.5, mode="bicubic"),
    "shrunk": lambda: _resized(size=(9, 13), mode="bilinear", align_corners=True),
    "pad_reflect": lambda: _padded("reflect"),
    "pad_constant": lambda: _padded("constant"),
    "pad_circular": lambda: _padded("circular"),
    "repeated": lambda: nn.Sequential(Same(lambda x: x.repeat(1, 2, 1, 1)), nn.Conv2d(2 * CHANNELS, CHANNELS, 1)),
    "halves": lambda: Same(lambda x: torch.cat([t * (i + 1) for i, t in enumerate(x.chunk(2, 1))][::-1], 1)),
    "mirrored": lambda: Same(_mirrored),
    "gated": lambda: Same(_gated),
    "one_for_all": lambda: Same(lambda x: x + x[:, 2:3].expand(-1, x.shape[1], -1, -1)),
    "named_sums": NamedAttention,
    "split": lambda: Same(lambda x: torch.cat([x[:, 1:], x[:, :1] - 0.5], 1) / 2 + x),
    "cropped": lambda: Same(lambda x: functional.pad(x[..., 1:-2, 2:], (2, 0, 1, 2))),
    "rolled": lambda: Same(lambda x: x + torch.roll(x, (2, -1), (2, 3))),
    "flipped": lambda: Same(lambda x: x + x.flip(3)),
    "map": lambda: Same(lambda x: x * torch.linspace(0, 1, x.shape[-1]) + torch.linspace(1, 2, x.shape[-2])[:, None]),
    "windows": lambda: WindowAttention(0),
    "shifted_windows": lambda: WindowAttention(2),
    "recurrent": Recurrent,
    "channel_attention": ChannelAttention,
    "transposed_attention": TransposedAttention,
    "instance_norm": lambda: nn.InstanceNorm2d(CHANNELS),
}
LOCAL = [name for name in LAYERS if name not in ("channel_attention", "transposed_attention", "instance_norm", "gated")]


class Net(nn.Module):
    """Head, drawn layers with a residual around each pair, and a tail that enlarges."""

    def __init__(self, names: list[str], scale: int, seed: int):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.head = nn.Conv2d(3, CHANNELS, 3, padding=1)
            self.layers = nn.ModuleList(LAYERS[name]() for name in names)
            self.tail = nn.Sequential(nn.Conv2d(CHANNELS, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.scale = scale
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x)
        for index, layer in enumerate(self.layers):
            if index % 2:
                kept = features
                features = layer(features.clone())
                features += kept
            else:
                features = layer(features)
        base = functional.interpolate(x, scale_factor=self.scale, mode="nearest")
        return self.tail(features) + base


def networks() -> st.SearchStrategy[Net]:
    """Random graphs of up to four layers."""
    names = st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4)
    return st.builds(Net, names, st.sampled_from([1, 2]), st.integers(0, 99))
