"""IAT: a low-light image is multiplied and shifted pixel by pixel, then recoloured and gamma-corrected as a whole."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv

DARKEST = 1e-8  # least value that is raised to a power


def per_channel(features: int, kernel: int) -> nn.Conv2d:
    """One kernel per channel, size kept."""
    return nn.Conv2d(features, features, kernel, padding=kernel // 2, groups=features)


class LightNorm(nn.Module):
    """Learned scale and offset per channel, then a learned mixture of the channels (section 3.2, light norm)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, 1, features))
        self.beta = nn.Parameter(torch.zeros(1, 1, features))
        self.color = nn.Parameter(torch.eye(features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w), same shape out."""
        mixed = (x.permute(0, 2, 3, 1) * self.alpha + self.beta) @ self.color
        return mixed.permute(0, 3, 1, 2)


class ConvMlp(nn.Module):
    """Two 1x1 convolutions with GELU between."""

    def __init__(self, features: int, ratio: int = 4) -> None:
        """Args: features: channels; ratio: hidden channels per channel."""
        super().__init__()
        self.fc1 = conv(features, features * ratio, 1)
        self.fc2 = conv(features * ratio, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return self.fc2(F.gelu(self.fc1(x)))


class PixelEnhancement(nn.Module):
    """Transformer block with a 5x5 kernel per channel in the place of attention (section 3.2, figure 2c)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.pos_embed = per_channel(features, 3)
        self.norm1, self.norm2 = LightNorm(features), LightNorm(features)
        self.conv1, self.conv2 = conv(features, features, 1), conv(features, features, 1)
        self.attn = per_channel(features, 5)
        self.mlp = ConvMlp(features)
        self.gamma_1 = nn.Parameter(torch.full((1, features, 1, 1), 1e-4))
        self.gamma_2 = nn.Parameter(torch.full((1, features, 1, 1), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        x = x + self.pos_embed(x)
        x = x + self.gamma_1 * self.conv2(self.attn(self.conv1(self.norm1(x))))
        return x + self.gamma_2 * self.mlp(self.norm2(x))


class LocalBranch(nn.Module):
    """A factor and a summand for every pixel and colour (section 3.2)."""

    def __init__(self, features: int, blocks: int) -> None:
        """Args: features: channels; blocks: in each of the two paths."""
        super().__init__()
        self.conv1 = conv(3, features)
        self.mul_blocks = nn.Sequential(*(PixelEnhancement(features) for _ in range(blocks)))
        self.add_blocks = nn.Sequential(*(PixelEnhancement(features) for _ in range(blocks)))
        self.mul_end = nn.Sequential(conv(features, 3), nn.ReLU())
        self.add_end = nn.Sequential(conv(features, 3), nn.Tanh())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) to factor and summand of the same shape."""
        first = F.leaky_relu(self.conv1(x), 0.2)
        return self.mul_end(first + self.mul_blocks(first)), self.add_end(first + self.add_blocks(first))


class QueryAttention(nn.Module):
    """Ten learned queries look at every pixel of the coarse image (section 3.3)."""

    def __init__(self, features: int, queries: int, heads: int) -> None:
        """Args: features: channels; queries: how many; heads: of the attention."""
        super().__init__()
        self.heads = heads
        self.q = nn.Parameter(torch.rand(1, queries, features))
        self.k = nn.Linear(features, features, bias=False)
        self.v = nn.Linear(features, features, bias=False)
        self.proj = nn.Linear(features, features)

    def _split(self, x: Tensor) -> Tensor:
        """(B, n, C) to (B, heads, n, C / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, pixels, C) to (B, queries, C)."""
        query, key, value = self._split(self.q), self._split(self.k(x)), self._split(self.v(x))
        weight = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        return self.proj((weight @ value).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, features: int, ratio: int = 4) -> None:
        """Args: features: channels; ratio: hidden units per channel."""
        super().__init__()
        self.fc1 = nn.Linear(features, features * ratio)
        self.fc2 = nn.Linear(features * ratio, features)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C), same shape out."""
        return self.fc2(F.gelu(self.fc1(x)))


class Generator(nn.Module):
    """From coarse features to one token for each number of the global correction (section 3.3, figure 2d)."""

    def __init__(self, features: int, heads: int) -> None:
        """Args: features: channels; heads: of the attention."""
        super().__init__()
        self.pos_embed = per_channel(features, 3)
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.attn = QueryAttention(features, 10, heads)
        self.mlp = Mlp(features)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 10, C)."""
        tokens = (x + self.pos_embed(x)).flatten(2).transpose(1, 2)
        tokens = self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Coarse(nn.Module):
    """Two convolutions of stride 2 with batch normalisation: a quarter of the size."""

    def __init__(self, features: int) -> None:
        """Args: features: channels out, even."""
        super().__init__()
        half = features // 2
        self.proj = nn.Sequential(
            nn.Conv2d(3, half, 3, stride=2, padding=1),
            nn.BatchNorm2d(half),
            nn.GELU(),
            nn.Conv2d(half, features, 3, stride=2, padding=1),
            nn.BatchNorm2d(features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) to (B, C, h / 4, w / 4), sizes rounded up."""
        return self.proj(x)


class GlobalBranch(nn.Module):
    """One exponent and one 3x3 colour matrix for the whole image (section 3.3)."""

    def __init__(self, features: int, heads: int) -> None:
        """Args: features: channels; heads: of the attention."""
        super().__init__()
        self.conv_large = Coarse(features)
        self.generator = Generator(features, heads)
        self.gamma_base = nn.Parameter(torch.ones(1))
        self.color_base = nn.Parameter(torch.eye(3))
        self.gamma_linear = nn.Linear(features, 1)
        self.color_linear = nn.Linear(features, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) to the exponent (B, 1, 1, 1) and the matrix (B, 3, 3), colours out by colours in."""
        tokens = self.generator(self.conv_large(x))
        exponent = self.gamma_linear(tokens[:, :1]) + self.gamma_base
        matrix = self.color_linear(tokens[:, 1:]).view(-1, 3, 3) + self.color_base
        return exponent[..., None], matrix


class IAT(nn.Module):
    """Illumination adaptive transformer; answers the image, without the factor and the summand.

    Args:
        features: channels of the local branch.
        blocks: in each of its two paths.
        global_features: channels of the global branch.
        heads: of its attention.

    Source: Cui et al. 2022, You Only Need 90K Parameters to Adapt Light, arXiv 2205.14871.
    """

    def __init__(self, *, features: int = 16, blocks: int = 3, global_features: int = 64, heads: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.local_net = LocalBranch(features, blocks)
        self.global_net = GlobalBranch(global_features, heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        factor, summand = self.local_net(x)
        exponent, matrix = self.global_net(x)
        coloured = torch.einsum("boc,bchw->bohw", matrix, x * factor + summand)
        return coloured.clamp(DARKEST, 1.0) ** exponent
