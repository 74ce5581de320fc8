"""RNAN: residual blocks weighed by masks, the first and the last of them non-local."""

from torch import Tensor, nn

from model_zoo.networks.common import Normalised, ResidualBlock, conv, pixel_shuffle_upsampler, stack
from model_zoo.networks.non_local import NonLocal


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
