"""SADNet: a U-shape whose decoder samples where deformable convolutions point."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.common import conv


class LeakyResidual(nn.Module):
    """A 1x1 convolution where the width changes, then two 3x3 convolutions around which it runs."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Args: inputs, outputs: channels."""
        super().__init__()
        self.conv0 = nn.Identity() if inputs == outputs else conv(inputs, outputs, 1)
        self.conv1 = conv(outputs, outputs)
        self.conv2 = conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        x = self.conv0(x)
        return x + self.conv2(F.leaky_relu(self.conv1(x), 0.2))


class PointedConv(nn.Module):
    """3x3 convolution that samples at learned places with learned weights (Zhu et al. 2019)."""

    def __init__(self, features: int, pointers: int, groups: int = 8) -> None:
        """Args: features: channels; pointers: channels of the map the places come from; groups: of places."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, features, 3, 3))
        self.bias = nn.Parameter(torch.zeros(features))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.conv_offset_mask = conv(pointers, groups * 3 * 9)

    def forward(self, x: Tensor, pointers: Tensor) -> Tensor:
        """Same shape out as in."""
        from torchvision.ops import deform_conv2d

        first, second, mask = self.conv_offset_mask(pointers).chunk(3, dim=1)
        places = torch.cat([first, second], 1)
        return deform_conv2d(x, places, self.weight, self.bias, padding=(1, 1), mask=torch.sigmoid(mask))


class AdaptiveBlock(nn.Module):
    """A pointed convolution and a plain one, added to the input (Chang et al. 2020, RSAB)."""

    def __init__(self, features: int, pointers: int) -> None:
        """Args: features, pointers: as for `PointedConv`."""
        super().__init__()
        self.dcnpack = PointedConv(features, pointers)
        self.conv1 = conv(features, features)

    def forward(self, x: Tensor, pointers: Tensor) -> Tensor:
        """Same shape out as in."""
        return x + self.conv1(F.leaky_relu(self.dcnpack(x, pointers), 0.2))


class Pointers(nn.Module):
    """The map the places come from, made of the features and of the map of the level below."""

    def __init__(self, features: int, pointers: int, *, below: bool) -> None:
        """Args: features, pointers: channels; below: there is a level below."""
        super().__init__()
        self.offset_conv1 = conv(features, pointers)
        self.offset_conv2 = conv(2 * pointers, pointers) if below else None
        self.offset_conv3 = conv(pointers, pointers)

    def forward(self, x: Tensor, below: Tensor | None) -> Tensor:
        """(B, C, h, w) to (B, pointers, h, w)."""
        offset = F.leaky_relu(self.offset_conv1(x), 0.2)
        if self.offset_conv2 is not None and below is not None:
            larger = F.interpolate(below, scale_factor=2, mode="bilinear", align_corners=False)
            offset = F.leaky_relu(self.offset_conv2(torch.cat([offset, larger * 2], 1)), 0.2)
        return F.leaky_relu(self.offset_conv3(offset), 0.2)


class Context(nn.Module):
    """Four dilated convolutions side by side, added to the input (Chang et al. 2020, figure 4)."""

    def __init__(self, features: int, inner: int) -> None:
        """Args: features: channels; inner: channels of each branch."""
        super().__init__()
        self.conv0 = conv(features, inner, 1)
        for dilation in (1, 2, 3, 4):
            layer = nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation)
            self.add_module(f"conv{dilation}", layer)
        self.fusion = conv(4 * inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        reduced = self.conv0(x)
        dilated = [self.get_submodule(f"conv{dilation}")(reduced) for dilation in (1, 2, 3, 4)]
        return x + self.fusion(F.leaky_relu(torch.cat(dilated, 1), 0.2))


class SADNet(nn.Module):
    """Spatial-adaptive denoising network.

    Args:
        features: channels of the first level.
        pointers: channels of the maps the places come from.

    Source: Chang et al. 2020, 10.1007/978-3-030-58577-8_11.
    """

    def __init__(self, *, features: int = 32, pointers: int = 32) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        widths = [features * 2**level for level in range(4)]
        for level, width in enumerate(widths, 1):
            self.add_module(f"res{level}", LeakyResidual(3 if level == 1 else width, width))
            self.add_module(f"offset{level}", Pointers(width, pointers, below=level < 4))
            self.add_module(f"dres{level}", AdaptiveBlock(width, pointers))
        for level, width in enumerate(widths[:3], 1):
            self.add_module(f"down{level}", nn.Conv2d(width, 2 * width, 2, 2))
            self.add_module(f"up{level}", nn.ConvTranspose2d(2 * width, width, 2, 2))
            self.add_module(f"dconv{level}_1", conv(2 * width, width, 1))
        self.context = Context(widths[3], widths[3] // 4)
        self.out = conv(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out; height and width are multiples of eight."""
        out, levels, pointers = x, [], None
        for level in (1, 2, 3):
            out = self.get_submodule(f"res{level}")(out)
            levels.append(out)
            out = F.leaky_relu(self.get_submodule(f"down{level}")(out), 0.2)
        out = self.context(self.get_submodule("res4")(out))
        for level in (4, 3, 2, 1):
            if level < 4:
                joined = torch.cat([self.get_submodule(f"up{level}")(out), levels[level - 1]], 1)
                out = self.get_submodule(f"dconv{level}_1")(joined)
            pointers = self.get_submodule(f"offset{level}")(out, pointers)
            out = self.get_submodule(f"dres{level}")(out, pointers)
        return x + self.out(out)
