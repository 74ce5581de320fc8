"""Networks with attention between all pixels: RNAN, SAN, CSNLN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import Normalised, ResidualBlock, conv, pixel_shuffle_upsampler, stack


class NonLocal(nn.Module):
    """Every pixel adds a weighed sum over all pixels (Wang et al. 2018, embedded Gaussian).

    Args:
        features: channels.
        inner: channels of the embedding.
        pooled: keys and values are max-pooled by two first.
        over_queries: normalise the weights over the queries, as RNAN's authors do, and not over the keys.
    """

    def __init__(self, features: int, inner: int, *, pooled: bool, over_queries: bool) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.axis = 1 if over_queries else 2
        self.pool = nn.MaxPool2d(2) if pooled else nn.Identity()
        self.g = conv(features, inner, 1)
        self.W = conv(inner, features, 1)
        self.theta = conv(features, inner, 1)
        self.phi = conv(features, inner, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        query = self.theta(x).flatten(2).transpose(1, 2)
        key = self.pool(self.phi(x)).flatten(2)
        value = self.pool(self.g(x)).flatten(2).transpose(1, 2)
        found = torch.softmax(query @ key, dim=self.axis) @ value
        return x + self.W(found.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:]))


class MaskedGroup(nn.Module):
    """Residual blocks weighed by a mask that is made at half the size (Zhang et al. 2019, RNAN, figure 2).

    Args:
        features: channels.
        nonlocal_mask: the mask branch begins with a non-local block.
    """

    def __init__(self, features: int, *, nonlocal_mask: bool) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()

        def chain(count: int) -> nn.Sequential:
            return stack(count, lambda: ResidualBlock(features))

        attention = [NonLocal(features, features // 2, pooled=False, over_queries=True)] * nonlocal_mask
        self.first = ResidualBlock(features)
        self.trunk = chain(2)
        self.mask_in = nn.Sequential(*attention, ResidualBlock(features))
        self.mask_down = nn.Conv2d(features, features, 3, stride=2, padding=1)
        self.mask_inner = chain(2)
        self.mask_up = nn.ConvTranspose2d(features, features, 6, stride=2, padding=2)
        self.mask_out = nn.Sequential(ResidualBlock(features), conv(features, features, 1), nn.Sigmoid())
        self.tail = nn.Sequential(*chain(2), conv(features, features))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; height and width are even."""
        x = self.first(x)
        mask = self.mask_in(x)
        mask = self.mask_out(mask + self.mask_up(self.mask_inner(self.mask_down(mask))))
        return self.tail(self.trunk(x) * mask + x)


class RNAN(Normalised):
    """Residual non-local attention network.

    Args:
        features: channels.
        groups: groups with a mask, of which the first and the last are non-local.
        scale: output pixels per input pixel.

    Source: Zhang et al. 2019, arXiv 1903.10082.
    """

    def __init__(self, *, features: int = 64, groups: int = 10, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 255.0)
        self.head = conv(3, features)
        self.low = MaskedGroup(features, nonlocal_mask=True)
        self.body = nn.Sequential(
            *(MaskedGroup(features, nonlocal_mask=False) for _ in range(groups - 2)), conv(features, features)
        )
        self.high = MaskedGroup(features, nonlocal_mask=True)
        self.tail = nn.Sequential(pixel_shuffle_upsampler(features, scale), conv(features, 3))

    def restore(self, x: Tensor) -> Tensor:
        """Groups, the way around them, upsampling."""
        first = self.head(x)
        return self.tail(first + self.high(self.body(self.low(first))))


def covariance_root_mean(x: Tensor, iterations: int = 5) -> Tensor:
    """Row means of the matrix square root of the channels' covariance, by Newton-Schulz iteration.

    Args:
        x: (B, C, h, w).
        iterations: of the iteration, at least two.

    Returns:
        (B, C, 1, 1).

    Source: Dai et al. 2019, 10.1109/CVPR.2019.01132, equations 4 to 9.
    """
    batch, channels = x.shape[:2]
    flat = x.flatten(2)
    centred = flat - flat.mean(2, keepdim=True)
    covariance = centred @ centred.transpose(1, 2) / flat.shape[2]
    triple = 3.0 * torch.eye(channels, dtype=x.dtype, device=x.device)
    trace = covariance.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    root = covariance / trace
    inverse = 0.5 * (triple - root)
    root = root @ inverse
    for _ in range(iterations - 2):
        step = 0.5 * (triple - inverse @ root)
        root, inverse = root @ step, step @ inverse
    root = 0.5 * root @ (triple - inverse @ root)
    return (root * trace.sqrt()).mean(1).reshape(batch, channels, 1, 1)


class SecondOrderAttention(nn.Module):
    """Channel attention on the covariance of the channels (Dai et al. 2019, section 3.4)."""

    def __init__(self, features: int, reduction: int) -> None:
        """Args: features: channels; reduction: channels per hidden unit."""
        super().__init__()
        hidden = features // reduction
        self.conv_du = nn.Sequential(conv(features, hidden, 1), nn.ReLU(), conv(hidden, features, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in; from 1000 pixels a side on, the statistics are of the middle 1000."""
        return x * self.conv_du(covariance_root_mean(_middle(_middle(x, 2), 3)))


def _middle(x: Tensor, axis: int, most: int = 1000) -> Tensor:
    side = x.shape[axis]
    return x if side < most else x.narrow(axis, (side - most) // 2, most)


class LocalSourceGroup(nn.Module):
    """Residual blocks, second-order attention, a convolution, and the way around them."""

    def __init__(self, features: int, blocks: int, reduction: int) -> None:
        """Args: features: channels; blocks: how many; reduction: channels per hidden unit."""
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))  # in every checkpoint, used in no network
        self.rcab = stack(blocks, lambda: ResidualBlock(features))
        self.soca = SecondOrderAttention(features, reduction)
        self.conv_last = conv(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.conv_last(self.soca(self.rcab(x)))


class QuarteredNonLocal(nn.Module):
    """A non-local block on each quarter of the image by itself; its attention is in checkpoints but not used."""

    def __init__(self, features: int, reduction: int = 8) -> None:
        """Args: features: channels; reduction: channels per channel of the embedding."""
        super().__init__()
        self.soca = SecondOrderAttention(features, reduction)
        self.non_local = NonLocal(features, features // reduction, pooled=True, over_queries=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        height, width = x.shape[2] // 2, x.shape[3] // 2
        rows = [
            torch.cat([self.non_local(half[..., :width]), self.non_local(half[..., width:])], 3)
            for half in (x[:, :, :height], x[:, :, height:])
        ]
        return torch.cat(rows, 2)


class SAN(Normalised):
    """Second-order attention network.

    Args:
        features: channels.
        groups: how many.
        blocks: residual blocks a group.
        reduction: channels per hidden unit.
        scale: output pixels per input pixel.

    Source: Dai et al. 2019, 10.1109/CVPR.2019.01132.
    """

    def __init__(
        self, *, features: int = 64, groups: int = 20, blocks: int = 10, reduction: int = 16, scale: int = 4
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 255.0)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.head = conv(3, features)
        self.RG = nn.ModuleList(LocalSourceGroup(features, blocks, reduction) for _ in range(groups))
        self.conv_last = conv(features, features)  # in every checkpoint, used in no network
        self.non_local = QuarteredNonLocal(features)
        self.tail = nn.Sequential(pixel_shuffle_upsampler(features, scale), conv(features, 3))

    def restore(self, x: Tensor) -> Tensor:
        """Groups between two non-local blocks, each group with a share of the source."""
        first = self.head(x)
        source = out = self.non_local(first)
        for group in self.RG:
            out = group(out) + self.gamma * source
        return self.tail(self.non_local(out) + first)


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
        length = small.pow(2).sum((1, 2, 3), keepdim=True).sqrt()
        scores = F.conv2d(query, small / torch.maximum(length, self.escape_NaN), padding=self.patch // 2)
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
        found = []
        for _ in range(self.depth):
            x, large = self.SEM(x)
            found.append(large)
        return self.tail(torch.cat(found, 1))
