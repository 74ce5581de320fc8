"""Networks of several stages that hand features on: MPRNet and HINet."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.networks.attention import AttentionBlock, ChannelAttention, Group
from model_zoo.networks.common import conv, stack


class SupervisedAttention(nn.Module):
    """Makes an image of the features and weighs the features by it (Zamir et al. 2021, section 3.3)."""

    def __init__(self, features: int, kernel: int, *, bias: bool) -> None:
        """Args: features: channels; kernel: side of the convolutions."""
        super().__init__()
        self.conv1 = conv(features, features, kernel, bias=bias)
        self.conv2 = conv(features, 3, kernel, bias=bias)
        self.conv3 = conv(3, features, kernel, bias=bias)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """(B, C, h, w) and the stage's input image to (B, C, h, w)."""
        return x + self.conv1(x) * torch.sigmoid(self.conv3(self.conv2(x) + image))


class Resize(nn.Module):
    """Bilinear resampling, then a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        """Args: inputs, outputs: channels; factor: of the size."""
        super().__init__()
        self.factor = factor
        self.conv = conv(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h * factor, w * factor)."""
        return self.conv(F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False))


class Blocks:
    """Makes the attention blocks of one MPRNet, which share a single PReLU as the authors' do."""

    def __init__(self, reduction: int) -> None:
        """Args: reduction: channels per hidden unit of the attention."""
        self.reduction, self.activation = reduction, nn.PReLU()

    def block(self, features: int) -> AttentionBlock:
        """One block."""
        attention = ChannelAttention(features, self.reduction, bias=False)
        return AttentionBlock(features, attention, self.activation, bias=False)

    def chain(self, features: int, count: int) -> nn.Sequential:
        """`count` blocks."""
        return stack(count, lambda: self.block(features))


class Encoder(nn.Module):
    """Three levels, each half the size of the one above; adds what an earlier stage found at the same level."""

    def __init__(self, widths: tuple[int, ...], blocks: Blocks, *, fused: bool) -> None:
        """Args: widths: channels a level; blocks: their maker; fused: take an earlier stage's features."""
        super().__init__()
        self.levels = nn.ModuleList(blocks.chain(width, 2) for width in widths)
        self.downs = nn.ModuleList(Resize(a, b, 0.5) for a, b in pairwise(widths))
        self.from_encoder = nn.ModuleList(conv(width, width, 1, bias=False) for width in widths if fused)
        self.from_decoder = nn.ModuleList(conv(width, width, 1, bias=False) for width in widths if fused)

    def forward(self, x: Tensor, earlier: tuple[list[Tensor], list[Tensor]] | None = None) -> list[Tensor]:
        """Features of each level, fine to coarse."""
        encoded = []
        for number, level in enumerate(self.levels):
            x = level(self.downs[number - 1](x) if number else x)
            if earlier is not None:
                x = x + self.from_encoder[number](earlier[0][number]) + self.from_decoder[number](earlier[1][number])
            encoded.append(x)
        return encoded


class Decoder(nn.Module):
    """Three levels up again; the encoder's features come in through an attention block."""

    def __init__(self, widths: tuple[int, ...], blocks: Blocks) -> None:
        """Args: widths: channels a level; blocks: their maker."""
        super().__init__()
        self.levels = nn.ModuleList(blocks.chain(width, 2) for width in widths)
        self.skips = nn.ModuleList(blocks.block(width) for width in widths[:-1])
        self.ups = nn.ModuleList(Resize(b, a, 2) for a, b in pairwise(widths))

    def forward(self, encoded: list[Tensor]) -> list[Tensor]:
        """Features of each level, fine to coarse."""
        decoded = [self.levels[-1](encoded[-1])]
        for number in reversed(range(len(encoded) - 1)):
            x = self.ups[number](decoded[0]) + self.skips[number](encoded[number])
            decoded.insert(0, self.levels[number](x))
        return decoded


class FullSize(nn.Module):
    """The last stage: groups at full size, each adding one level of the stage before."""

    def __init__(self, widths: tuple[int, ...], wide: int, blocks: Blocks, count: int) -> None:
        """Args: widths: channels a level; wide: channels here; blocks: their maker; count: blocks a group."""
        super().__init__()
        self.groups = nn.ModuleList(Group(wide, blocks.chain(wide, count), bias=False) for _ in widths)

        def ups(number: int) -> nn.Sequential:
            return nn.Sequential(*(Resize(widths[n], widths[n - 1], 2) for n in range(number, 0, -1)))

        self.up_encoder = nn.ModuleList(ups(number) for number in range(len(widths)))
        self.up_decoder = nn.ModuleList(ups(number) for number in range(len(widths)))
        self.from_encoder = nn.ModuleList(conv(widths[0], wide, 1, bias=False) for _ in widths)
        self.from_decoder = nn.ModuleList(conv(widths[0], wide, 1, bias=False) for _ in widths)

    def forward(self, x: Tensor, encoded: list[Tensor], decoded: list[Tensor]) -> Tensor:
        """(B, wide, h, w), same shape out."""
        for number, group in enumerate(self.groups):
            x = group(x) + self.from_encoder[number](self.up_encoder[number](encoded[number]))
            x = x + self.from_decoder[number](self.up_decoder[number](decoded[number]))
        return x


class MPRNet(nn.Module):
    """Three stages: on quarters of the image, on halves, on the whole at full size.

    Args:
        features: channels of the first level.
        growth: channels each further level adds.
        wide: channels the last stage adds.
        blocks: blocks a group of the last stage.
        clamp: cut the output to [0, 1], as the authors' deraining code does.

    Source: Zamir et al. 2021, 10.1109/CVPR46437.2021.01458.
    """

    shallow_feat1: nn.Sequential
    shallow_feat2: nn.Sequential
    shallow_feat3: nn.Sequential

    def __init__(
        self, *, features: int = 80, growth: int = 48, wide: int = 32, blocks: int = 8, clamp: bool = False
    ) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.clamp = clamp
        make = Blocks(reduction=4)
        widths = (features, features + growth, features + 2 * growth)
        for stage in (1, 2, 3):
            shallow = nn.Sequential(conv(3, features, bias=False), make.block(features))
            self.add_module(f"shallow_feat{stage}", shallow)
        self.stage1_encoder = Encoder(widths, make, fused=False)
        self.stage1_decoder = Decoder(widths, make)
        self.stage2_encoder = Encoder(widths, make, fused=True)
        self.stage2_decoder = Decoder(widths, make)
        self.stage3_orsnet = FullSize(widths, features + wide, make, blocks)
        self.sam12 = SupervisedAttention(features, 1, bias=False)
        self.sam23 = SupervisedAttention(features, 1, bias=False)
        self.concat12 = conv(2 * features, features, bias=False)
        self.concat23 = conv(2 * features, features + wide, bias=False)
        self.tail = conv(features + wide, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        height = x.shape[2]
        halves = [self._half(part) for part in (x[:, :, : height // 2], x[:, :, height // 2 :])]
        encoded = [torch.cat(level, 2) for level in zip(*halves, strict=True)]
        decoded = self.stage2_decoder(encoded)
        handed = self.sam23(decoded[0], x)
        joined = self.concat23(torch.cat([self.shallow_feat3(x), handed], 1))
        out = self.tail(self.stage3_orsnet(joined, encoded, decoded)) + x
        return torch.clamp(out, 0, 1) if self.clamp else out

    def _half(self, x: Tensor) -> list[Tensor]:
        """The first stage on both quarters of this half, and the second stage's encoder on the half."""
        width = x.shape[3]
        quarters = [
            self.stage1_encoder(self.shallow_feat1(part)) for part in (x[..., : width // 2], x[..., width // 2 :])
        ]
        encoded = [torch.cat(level, 3) for level in zip(*quarters, strict=True)]
        decoded = self.stage1_decoder(encoded)
        joined = torch.cat([self.shallow_feat2(x), self.sam12(decoded[0], x)], 1)
        return self.stage2_encoder(self.concat12(joined), (encoded, decoded))


class HalfNormBlock(nn.Module):
    """Two convolutions and a 1x1 way around; instance normalisation of the first half of the channels.

    Args:
        inputs: channels in.
        outputs: channels out.
        normalised: normalise half of the channels.
        fused: add what an earlier stage's encoder and decoder found.
    """

    def __init__(self, inputs: int, outputs: int, *, normalised: bool, fused: bool = False) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.identity = conv(inputs, outputs, 1)
        self.conv_1 = conv(inputs, outputs)
        self.conv_2 = conv(outputs, outputs)
        self.norm = nn.InstanceNorm2d(outputs // 2, affine=True) if normalised else None
        self.csff = nn.ModuleList(conv(outputs, outputs) for _ in range(2 * fused))
        self.relu = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor, *earlier: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        out = self.conv_1(x)
        if self.norm is not None:
            first, second = out.chunk(2, dim=1)
            out = torch.cat([self.norm(first), second], 1)
        out = self.relu(self.conv_2(self.relu(out))) + self.identity(x)
        for layer, features in zip(self.csff, earlier, strict=True):
            out = out + layer(features)
        return out


class HalfNormStage(nn.Module):
    """One U-net of HINet."""

    def __init__(self, features: int, depth: int, *, fused: bool) -> None:
        """Args: features: channels of the first level; depth: levels; fused: take an earlier stage's features."""
        super().__init__()
        widths = [features * 2**level for level in range(depth)]
        inputs = [features, *widths[:-1]]
        self.conv_0 = conv(3, features)
        self.down = nn.ModuleList(
            HalfNormBlock(a, b, normalised=True, fused=fused and b != widths[-1])
            for a, b in zip(inputs, widths, strict=True)
        )
        self.halve = nn.ModuleList(nn.Conv2d(width, width, 4, 2, 1, bias=False) for width in widths[:-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, 2) for width in widths[-2::-1])
        self.up = nn.ModuleList(HalfNormBlock(2 * width, width, normalised=False) for width in widths[-2::-1])
        self.skip = nn.ModuleList(conv(width, width) for width in widths[-2::-1])

    def forward(
        self, x: Tensor, earlier: tuple[list[Tensor], list[Tensor]] | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """(B, C, h, w) to the features of the encoder, fine to coarse, and of the decoder, coarse to fine."""
        encoded, decoded = [], []
        for level, halve in enumerate(self.halve):
            fused = () if earlier is None else (earlier[0][level], earlier[1][-1 - level])
            encoded.append(self.down[level](x, *fused))
            x = halve(encoded[-1])
        x = self.down[-1](x)
        for level, (grow, up) in enumerate(zip(self.grow, self.up, strict=True)):
            x = up(torch.cat([grow(x), self.skip[level](encoded[-1 - level])], 1))
            decoded.append(x)
        return encoded, decoded


class HINet(nn.Module):
    """Two U-nets with half instance normalisation; the second sees what the first found.

    Args:
        features: channels of the first level.
        depth: levels.

    Source: Chen et al. 2021, 10.1109/CVPRW53098.2021.00027.
    """

    def __init__(self, *, features: int = 64, depth: int = 5) -> None:
        """Builds the layers; see the class for the arguments."""
        super().__init__()
        self.stage1 = HalfNormStage(features, depth, fused=False)
        self.stage2 = HalfNormStage(features, depth, fused=True)
        self.sam12 = SupervisedAttention(features, 3, bias=True)
        self.cat12 = conv(2 * features, features, 1)
        self.last = conv(features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        first = self.stage1(self.stage1.conv_0(x))
        handed = self.sam12(first[1][-1], x)
        second = self.cat12(torch.cat([self.stage2.conv_0(x), handed], 1))
        return x + self.last(self.stage2(second, first)[1][-1])
