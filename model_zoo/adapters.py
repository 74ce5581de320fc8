"""What stands between an RGB image and a network that takes something else beside it, or less of it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ITU-R BT.601, studio swing, as fractions of white: (offset, weights of R, G, B)
LUMA = (16 / 255, (65.481 / 255, 128.553 / 255, 24.966 / 255))
BLUE = (128 / 255, (-37.797 / 255, -74.203 / 255, 112.0 / 255))
RED = (128 / 255, (112.0 / 255, -93.786 / 255, -18.214 / 255))


class LumaOnly(nn.Module):
    """Restores Y with a one-channel network and enlarges Cb and Cr bicubically."""

    to_luma: Tensor
    to_luma_offset: Tensor
    to_rgb: Tensor
    to_rgb_offset: Tensor

    def __init__(self, network: nn.Module, scale: int) -> None:
        """Args: network: (B, 1, h, w) to (B, 1, h * scale, w * scale); scale: output pixels per input pixel."""
        super().__init__()
        self.network, self.scale = network, scale
        matrix = torch.tensor([LUMA[1], BLUE[1], RED[1]], dtype=torch.float64)
        offset = torch.tensor([LUMA[0], BLUE[0], RED[0]], dtype=torch.float64)
        back = torch.linalg.inv(matrix)
        self.register_buffer("to_luma", matrix.float().view(3, 3, 1, 1), persistent=False)
        self.register_buffer("to_luma_offset", offset.float(), persistent=False)
        self.register_buffer("to_rgb", back.float().view(3, 3, 1, 1), persistent=False)
        self.register_buffer("to_rgb_offset", (-back @ offset).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        ycc = F.conv2d(x, self.to_luma, self.to_luma_offset)
        colours = F.interpolate(ycc[:, 1:], scale_factor=self.scale, mode="bicubic", align_corners=False)
        return F.conv2d(torch.cat([self.network(ycc[:, :1]), colours], 1), self.to_rgb, self.to_rgb_offset)


class NoiseMap(nn.Module):
    """Puts a constant map of the noise level beside the image."""

    def __init__(self, network: nn.Module, sigma: float) -> None:
        """Args: network: (B, 4, h, w) to (B, 3, h, w); sigma: noise level, of 255."""
        super().__init__()
        self.network, self.sigma = network, sigma

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        return self.network(torch.cat([x, torch.full_like(x[:, :1], self.sigma / 255)], 1))


class Padded(nn.Module):
    """Pads the bottom and the right to a multiple, and takes the padding off again."""

    def __init__(self, network: nn.Module, multiple: int, mode: str, scale: int) -> None:
        """Args: network: what needs the multiple; mode: of torch's pad; scale: output pixels per input pixel."""
        super().__init__()
        self.network, self.multiple, self.mode, self.scale = network, multiple, mode, scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale)."""
        height, width = x.shape[2:]
        padded = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode=self.mode)
        return self.network(padded)[:, :, : height * self.scale, : width * self.scale]
