"""CSNLN: attention within a scale and across two, applied again and again."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import Normalised, conv


def active(layer: nn.Module) -> nn.Sequential:
    """A layer and a PReLU with one slope."""
    return nn.Sequential(layer, nn.PReLU())


def half_of(features: int) -> nn.Conv2d:
    """Convolution to half the size."""
    return nn.Conv2d(features, features, 6, stride=2, padding=2)


def twice_of(features: int) -> nn.ConvTranspose2d:
    """Transposed convolution to twice the size."""
    return nn.ConvTranspose2d(features, features, 6, stride=2, padding=2)


class InScale(nn.Module):
    """Attention between all pixels of one scale (Mei et al. 2020, section 3.2)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.conv_match1 = active(conv(features, features // 2, 1))
        self.conv_match2 = active(conv(features, features // 2, 1))
        self.conv_assembly = active(conv(features, features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        query = self.conv_match1(x).flatten(2).transpose(1, 2)
        weight = torch.softmax(query @ self.conv_match2(x).flatten(2), dim=2)
        return (weight @ self.conv_assembly(x).flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)


class CrossScale(nn.Module):
    """Each small patch is replaced by the large patches whose reduced form resembles it (Mei et al. 2020, 3.3)."""

    def __init__(self, features: int, patch: int = 3, scale: int = 2, sharpness: float = 10.0) -> None:
        """Args: features: channels; patch: side in pixels; scale: between the two; sharpness: of the softmax."""
        super().__init__()
        self.patch, self.scale, self.sharpness = patch, scale, sharpness
        self.escape_NaN: Tensor
        self.register_buffer("escape_NaN", torch.full((1,), 1e-4))
        self.conv_match_1 = active(conv(features, features // 2, 1))
        self.conv_match_2 = active(conv(features, features // 2, 1))
        self.conv_assembly = active(conv(features, features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, h * scale, w * scale); h and w are multiples of the scale."""
        reduced = F.interpolate(x, scale_factor=1 / self.scale, mode="bilinear", align_corners=False)
        side = self.patch * self.scale
        large = self._patches(self.conv_assembly(x), side, self.scale)
        small = self._patches(self.conv_match_2(reduced), self.patch, 1)
        queries = self.conv_match_1(x).split(1)
        return torch.cat([self._replace(*parts) for parts in zip(queries, small, large, strict=True)])

    def _replace(self, query: Tensor, small: Tensor, large: Tensor) -> Tensor:
        """One image: patches as filters, weights as the input of a transposed convolution with the large patches."""
        # sums and padding one after the other, in the authors' order: the cell is applied twelve times and its softmax
        # is sharp, so that another order of the same sums ends in another image
        length = small.pow(2).sum(3, keepdim=True).sum(2, keepdim=True).sum(1, keepdim=True).sqrt()
        padded = F.pad(query, (self.patch // 2,) * 4)
        scores = F.conv2d(padded, small / torch.maximum(length, self.escape_NaN))
        weight = torch.softmax(scores * self.sharpness, dim=1)
        return F.conv_transpose2d(weight, large, stride=self.scale, padding=self.scale) / 6

    @staticmethod
    def _patches(x: Tensor, side: int, step: int) -> Tensor:
        """(B, C, h, w) to (B, patches, C, side, side)."""
        parts = F.unfold(x, side, stride=step, padding=(side - step) // 2)
        return parts.reshape(x.shape[0], x.shape[1], side, side, -1).permute(0, 4, 1, 2, 3)


class MultiSource(nn.Module):
    """Joins in-scale and cross-scale attention by projection, at twice the size (Mei et al. 2020, section 3.4)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.up_attention = CrossScale(features)
        self.down_attention = InScale(features)
        self.upsample = active(twice_of(features))
        self.encoder = nn.Sequential(active(conv(features, features)), conv(features, features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, 2h, 2w)."""
        inside = self.upsample(self.down_attention(x))
        error = self.up_attention(x) - inside
        return inside + (error + self.encoder(error))


class SelfExemplar(nn.Module):
    """One cell of CSNLN for scale 4: up in two steps, each corrected by what it misses of its input."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.multi_source_projection = MultiSource(features)
        self.down_sample_1 = active(half_of(features))
        self.error_encode = active(twice_of(features))
        self.post_conv = active(conv(features, features))
        self.multi_source_projection_2 = MultiSource(features)
        self.down_sample_3 = active(nn.Conv2d(features, features, 8, stride=4, padding=2))
        self.down_sample_4 = active(nn.Conv2d(features, features, 8, stride=4, padding=2))
        self.error_encode_2 = active(nn.ConvTranspose2d(features, features, 8, stride=4, padding=2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) to the next cell's input of the same shape, and (B, C, 4h, 4w)."""
        large = self.multi_source_projection(x)
        large = large + self.error_encode(x - self.down_sample_1(large))
        large = self.multi_source_projection_2(large)
        large = large + self.error_encode_2(x - self.down_sample_3(large))
        return self.post_conv(self.down_sample_4(large)), large


class CSNLN(Normalised):
    """Cross-scale non-local network, scale 4: one cell applied again and again.

    Args:
        features: channels.
        depth: how often.

    Source: Mei et al. 2020, 10.1109/CVPR42600.2020.00573.
    """

    def __init__(self, *, features: int = 128, depth: int = 12) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 1.0)
        self.depth = depth
        self.head = nn.Sequential(active(conv(3, features)), active(conv(features, features)))
        self.SEM = SelfExemplar(features)
        self.tail = nn.Sequential(conv(features * depth, 3))

    def restore(self, x: Tensor) -> Tensor:
        """The cell again and again, all its large outputs joined."""
        x = self.head(x)
        parts = []
        for _ in range(self.depth):
            x, large = self.SEM(x)
            parts.append(large)
        return self.tail(torch.cat(parts, 1))
