"""RIDNet and DRLN, by the same authors of the same residual blocks."""

import torch
from torch import Tensor, nn

from model_zoo.networks.attention import ChannelAttention
from model_zoo.networks.common import Normalised, Rectified, conv

# the authors' code feeds this block its group's input and not the last reduction
SEES_GROUP_INPUT = (5,)


def dilated(inputs: int, outputs: int, dilation: int) -> nn.Conv2d:
    """3x3 convolution with holes that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)


class MergeAndRun(nn.Module):
    """Two dilated branches, merged by a convolution, around which the input runs (Anwar and Barnes 2019, figure 2)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.body1 = nn.Sequential(conv(features, features), nn.ReLU(), dilated(features, features, 2), nn.ReLU())
        self.body2 = nn.Sequential(dilated(features, features, 3), nn.ReLU(), dilated(features, features, 4), nn.ReLU())
        self.body3 = nn.Sequential(conv(2 * features, features), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.body3(torch.cat([self.body1(x), self.body2(x)], 1))


class EnhancedAttention(nn.Module):
    """The block of RIDNet: merge and run, two residual blocks, channel attention."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.r1 = MergeAndRun(features)
        self.r2 = Rectified(conv(features, features), nn.ReLU(), conv(features, features))
        self.r3 = Rectified(
            conv(features, features), nn.ReLU(), conv(features, features), nn.ReLU(), conv(features, features, 1)
        )
        self.ca = ChannelAttention(features, 16)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        return self.ca(self.r3(self.r2(self.r1(x))))


class RIDNet(Normalised):
    """Denoiser of four blocks with attention, added to its input.

    Args:
        features: channels.
        blocks: how many.

    Source: Anwar and Barnes 2019, 10.1109/ICCV.2019.00325.
    """

    def __init__(self, *, features: int = 64, blocks: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 255.0)
        self.head = nn.Sequential(conv(3, features), nn.ReLU())
        self.body = nn.Sequential(*(EnhancedAttention(features) for _ in range(blocks)))
        self.tail = conv(features, 3)

    def restore(self, x: Tensor) -> Tensor:
        """Blocks between two convolutions."""
        return self.tail(self.body(self.head(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        return x + super().forward(x)


class PyramidAttention(nn.Module):
    """Channel attention with three dilated convolutions side by side (Anwar and Barnes 2022, Laplacian attention)."""

    def __init__(self, features: int, reduction: int = 16) -> None:
        """Args: features: channels; reduction: channels per hidden unit."""
        super().__init__()
        hidden = features // reduction
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.c1 = dilated(features, hidden, 3)
        self.c2 = dilated(features, hidden, 5)
        self.c3 = dilated(features, hidden, 7)
        self.c4 = conv(3 * hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        mean = self.pool(x)
        levels = torch.relu(torch.cat([self.c1(mean), self.c2(mean), self.c3(mean)], 1))
        return x * torch.sigmoid(self.c4(levels))


class DenseResidual(nn.Module):
    """The block of DRLN: residual blocks whose inputs and outputs are joined, reduced, weighed."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        for index, width in ((1, features), (2, 2 * features), (3, 4 * features)):
            self.add_module(f"r{index}", Rectified(conv(width, width), nn.ReLU(), conv(width, width)))
        self.g = nn.Sequential(conv(8 * features, features, 1), nn.ReLU())
        self.ca = PyramidAttention(features)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        for index in (1, 2, 3):
            x = torch.cat([x, self.get_submodule(f"r{index}")(x)], 1)
        return self.ca(self.g(x))


class DRLN(Normalised):
    """Densely residual Laplacian network: groups of three or four blocks, each block's output joined and reduced.

    Args:
        features: channels.
        groups: blocks of each group.
        scale: 2, 4 or 8.

    Source: Anwar and Barnes 2022, 10.1109/TPAMI.2020.3021088.
    """

    def __init__(self, *, features: int = 64, groups: tuple[int, ...] = (3, 3, 3, 3, 4, 4), scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 255.0)
        self.groups = groups
        self.head = conv(3, features)
        places = [place for size in groups for place in range(1, size + 1)]
        for index, place in enumerate(places, 1):
            self.add_module(f"b{index}", DenseResidual(features))
            self.add_module(f"c{index}", nn.Sequential(conv((place + 1) * features, features), nn.ReLU()))
        up: list[nn.Module] = []
        for _ in range(scale.bit_length() - 1):
            up += [conv(features, 4 * features), nn.ReLU(), nn.PixelShuffle(2)]
        self.upsample = nn.Sequential(*up)
        self.tail = conv(features, 3)

    def restore(self, x: Tensor) -> Tensor:
        """Groups one after the other; a block sees the last reduction, the first of a group the group's input."""
        first = latest = into = self.head(x)
        index = 1
        for size in self.groups:
            joined, group_input, seen = latest, into, into
            for _ in range(size):
                seen = group_input if index in SEES_GROUP_INPUT else seen
                joined = torch.cat([joined, self.get_submodule(f"b{index}")(seen)], 1)
                latest = seen = self.get_submodule(f"c{index}")(joined)
                index += 1
            into = into + latest
        return self.tail(self.upsample(first + into))
