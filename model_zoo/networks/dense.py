"""Networks that join the outputs of many layers: SRDenseNet, MSRN, DDBPN."""

import torch
from torch import Tensor, nn

from model_zoo.networks.common import Normalised, conv, pixel_shuffle_upsampler, stack


class RectifiedConv(nn.Module):
    """3x3 convolution and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Args: inputs, outputs: channels."""
        super().__init__()
        self.conv = conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        return torch.relu(self.conv(x))


class DenseLayer(RectifiedConv):
    """Puts its output beside its input."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, inputs + outputs, h, w)."""
        return torch.cat([x, super().forward(x)], 1)


class DenseBlock(nn.Module):
    """Dense layers.

    Args:
        inputs: channels in.
        growth: channels a layer adds.
        layers: how many.
        fresh: the layers see only what this block makes, and the input is joined at the end.
    """

    def __init__(self, inputs: int, growth: int, layers: int, fresh: bool) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.fresh = fresh
        known = [growth * index for index in range(1, layers)] if fresh else []
        first = [RectifiedConv(inputs, growth)] if fresh else []
        known = known or [inputs + growth * index for index in range(layers)]
        self.block = nn.Sequential(*first, *(DenseLayer(channels, growth) for channels in known))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, inputs + growth * layers, h, w)."""
        return torch.cat([x, self.block(x)], 1) if self.fresh else self.block(x)


class SRDenseNet(nn.Module):
    """Dense blocks, a bottleneck, two transposed convolutions.

    Args:
        fresh: the form in which a block's layers see only what the block makes (SRDenseNet17).
        growth: channels a layer adds.
        layers: layers a block.
        blocks: how many.

    Source: Tong et al. 2017, 10.1109/ICCV.2017.514.
    """

    def __init__(self, *, fresh: bool = False, growth: int = 16, layers: int = 8, blocks: int = 8) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        added = growth * layers
        width = added if fresh else growth
        wide = 256 if fresh else 128
        self.first = RectifiedConv(3, width)
        self.dense = nn.Sequential(
            *(DenseBlock(width + added * index, growth, layers, fresh) for index in range(blocks))
        )
        self.bottleneck = conv(width + added * blocks, wide, 1)
        kernel, extra = (3, 1) if fresh else (4, 0)
        self.up1 = nn.ConvTranspose2d(wide, wide, kernel, stride=2, padding=1, output_padding=extra)
        self.up2 = nn.ConvTranspose2d(wide, wide, kernel, stride=2, padding=1, output_padding=extra)
        self.between = nn.ReLU() if fresh else nn.Identity()
        self.last = conv(wide, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, 4h, 4w)."""
        out = self.between(self.bottleneck(self.dense(self.first(x))))
        return self.last(self.between(self.up2(self.between(self.up1(out)))))


class MultiScaleBlock(nn.Module):
    """Two rounds of 3x3 and 5x5 convolutions side by side, joined after each (Li et al. 2018, figure 2)."""

    def __init__(self, features: int) -> None:
        """Args: features: channels."""
        super().__init__()
        self.conv_3_1 = conv(features, features, 3)
        self.conv_5_1 = conv(features, features, 5)
        self.conv_3_2 = conv(2 * features, 2 * features, 3)
        self.conv_5_2 = conv(2 * features, 2 * features, 5)
        self.confusion = conv(4 * features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape out as in."""
        both = torch.relu(torch.cat([self.conv_3_1(x), self.conv_5_1(x)], 1))
        both = torch.relu(torch.cat([self.conv_3_2(both), self.conv_5_2(both)], 1))
        return x + self.confusion(both)


class MSRN(Normalised):
    """Multi-scale residual network: a chain of blocks whose outputs are all joined.

    Args:
        features: channels.
        blocks: how many.
        scale: output pixels per input pixel.

    Source: Li et al. 2018, 10.1007/978-3-030-01237-3_32.
    """

    def __init__(self, *, features: int = 64, blocks: int = 8, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__("learned", 255.0)
        self.head = nn.Sequential(conv(3, features))
        self.body = stack(blocks, lambda: MultiScaleBlock(features))
        self.tail = nn.Sequential(
            conv(features * (blocks + 1), features, 1),
            conv(features, features),
            pixel_shuffle_upsampler(features, scale),
            conv(features, 3),
        )

    def restore(self, x: Tensor) -> Tensor:
        """Blocks, all their outputs, upsampling."""
        first = out = self.head(x)
        outputs = []
        for block in self.body:
            out = block(out)
            outputs.append(out)
        return self.tail(torch.cat([*outputs, first], 1))


class ActiveConv(nn.Module):
    """Convolution, or transposed convolution, and a PReLU with one slope."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, up: bool = False) -> None:
        """Args: inputs, outputs: channels; kernel, stride: pixels; up: transposed."""
        super().__init__()
        make = nn.ConvTranspose2d if up else nn.Conv2d
        self.conv = make(inputs, outputs, kernel, stride, padding=(kernel - stride + 1) // 2)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Same height and width, or `stride` times more or less."""
        return self.act(self.conv(x))


class Projection(nn.Module):
    """Back-projection: there, back, and the error of that there again (Haris et al. 2018, figure 3).

    Args:
        features: channels.
        joined: how many earlier outputs come in side by side; more than one makes a 1x1 convolution first.
        scale: between small and large.
        up: from small to large.
    """

    def __init__(self, features: int, joined: int, scale: int, *, up: bool) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.conv = ActiveConv(features * joined, features, 1) if joined else nn.Identity()
        self.conv1 = ActiveConv(features, features, scale + 4, scale, up=up)
        self.conv2 = ActiveConv(features, features, scale + 4, scale, up=not up)
        self.conv3 = ActiveConv(features, features, scale + 4, scale, up=up)

    def forward(self, x: Tensor) -> Tensor:
        """(B, features * joined, h, w) to (B, features, h', w') at the other size."""
        x = self.conv(x)
        there = self.conv1(x)
        return there + self.conv3(self.conv2(there) - x)


class DDBPN(nn.Module):
    """Dense deep back-projection network.

    Args:
        features: channels.
        first: channels of the first convolution.
        stages: projections up.
        scale: 2, 4 or 8.

    Source: Haris et al. 2018, 10.1109/CVPR.2018.00179.
    """

    def __init__(self, *, features: int = 64, first: int = 256, stages: int = 7, scale: int = 4) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.stages = stages
        self.feat0 = ActiveConv(3, first, 3)
        self.feat1 = ActiveConv(first, features, 1)
        for stage in range(1, stages + 1):
            # the first projections see one input and have no 1x1 convolution
            self.add_module(f"up{stage}", Projection(features, stage - 1 if stage > 2 else 0, scale, up=True))
            if stage < stages:
                self.add_module(f"down{stage}", Projection(features, stage if stage > 1 else 0, scale, up=False))
        self.output_conv = conv(features * stages, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        small, large = [], []
        latest = self.feat1(self.feat0(x))
        for stage in range(1, self.stages + 1):
            large.insert(0, self.get_submodule(f"up{stage}")(torch.cat(small, 1) if small else latest))
            if stage < self.stages:
                small.insert(0, self.get_submodule(f"down{stage}")(torch.cat(large, 1)))
        return self.output_conv(torch.cat(large, 1))
