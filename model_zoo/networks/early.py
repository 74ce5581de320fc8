"""The first SR networks: SRCNN, FSRCNN, ESPCN, DRRN, LapSRN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv, pixel_shuffle_to_colours, stack


def enlarge(x: Tensor, scale: int) -> Tensor:
    """Bicubic enlargement with the corners of input and output on one another."""
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=True)


class SRCNN(nn.Module):
    """Three convolutions on the enlarged input.

    Args:
        scale: output pixels per input pixel.

    Source: Dong et al. 2016, 10.1109/TPAMI.2015.2439281.
    """

    def __init__(self, *, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.scale = scale
        self.conv1 = conv(3, 64, 9)
        self.conv2 = conv(64, 32, 5)
        self.conv3 = conv(32, 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        return self.conv3(torch.relu(self.conv2(torch.relu(self.conv1(enlarge(x, self.scale))))))


class FSRCNN(nn.Module):
    """Shrink, map, expand, and one transposed convolution at the end.

    Args:
        features: channels outside the mapping (d in the paper).
        inner: channels of the mapping (s).
        depth: 3x3 convolutions of the mapping (m).
        scale: output pixels per input pixel.
        colours: channels of the image.

    Source: Dong et al. 2016, 10.1007/978-3-319-46475-6_25.
    """

    def __init__(
        self, *, features: int = 56, inner: int = 12, depth: int = 4, scale: int = 4, colours: int = 3
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.first_part = nn.Sequential(conv(colours, features, 5), nn.PReLU(features))
        middle = [conv(features, inner, 1), nn.PReLU(inner)]
        for _ in range(depth):
            middle += [conv(inner, inner), nn.PReLU(inner)]
        self.mid_part = nn.Sequential(*middle, conv(inner, features, 1), nn.PReLU(features))
        self.last_part = nn.ConvTranspose2d(features, colours, 9, stride=scale, padding=4, output_padding=scale - 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, colours, h, w) in [0, 1] to (B, colours, h * scale, w * scale)."""
        return self.last_part(self.mid_part(self.first_part(x)))


class ESPCN(nn.Module):
    """Three convolutions and the first pixel shuffle.

    Args:
        scale: output pixels per input pixel.

    Source: Shi et al. 2016, 10.1109/CVPR.2016.207, in RGB.
    """

    def __init__(self, *, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.first_part = nn.Sequential(conv(3, 64, 5), nn.Tanh(), conv(64, 32), nn.Tanh())
        self.last_part = pixel_shuffle_to_colours(32, scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        return self.last_part(self.first_part(x))


class DRRN(nn.Module):
    """Two convolutions applied again and again to the enlarged input.

    Args:
        features: channels.
        recursions: how often.
        scale: output pixels per input pixel.

    Source: Tai et al. 2017, 10.1109/CVPR.2017.298.
    """

    def __init__(self, *, features: int = 128, recursions: int = 25, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.recursions, self.scale = recursions, scale
        self.input = conv(3, features, bias=False)
        self.conv1 = conv(features, features, bias=False)
        self.conv2 = conv(features, features, bias=False)
        self.output = conv(features, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        large = enlarge(x, self.scale)
        # activations of the authors' code work in place: the image and the features added later are rectified too
        large = torch.relu(large)
        first = out = torch.relu(self.input(large))
        for _ in range(self.recursions):
            out = first + self.conv2(torch.relu(self.conv1(torch.relu(out))))
        return large + self.output(torch.relu(out))


class Doubling(nn.Module):
    """Ten convolutions and a transposed one, each with a leaky ReLU: twice the size."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(10):
            layers += [conv(features, features, bias=False), nn.LeakyReLU(0.2)]
        layers += [doubling(features, features), nn.LeakyReLU(0.2)]
        self.cov_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C, 2h, 2w)."""
        return self.cov_block(x)


def doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """The 4x4 transposed convolution to twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)


class LapSRN(nn.Module):
    """Laplacian pyramid: each level doubles the features and the image and adds a residual.

    Args:
        features: channels.
        colours: channels of the image.

    Source: Lai et al. 2017, 10.1109/CVPR.2017.618.
    """

    def __init__(self, *, features: int = 64, colours: int = 3) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.conv_input = conv(colours, features, bias=False)
        self.relu = nn.LeakyReLU(0.2)
        for level in (1, 2):
            self.add_module(f"convt_I{level}", doubling(colours, colours))
            self.add_module(f"convt_R{level}", conv(features, colours, bias=False))
            self.add_module(f"convt_F{level}", stack(1, lambda: Doubling(features)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, colours, h, w) in [0, 1] to (B, colours, 4h, 4w)."""
        features, image = self.relu(self.conv_input(x)), x
        for level in (1, 2):
            features = self.get_submodule(f"convt_F{level}")(features)
            image = self.get_submodule(f"convt_I{level}")(image) + self.get_submodule(f"convt_R{level}")(features)
        return image
