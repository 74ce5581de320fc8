"""Networks of one channel, given the colours one after the other: DnCNN in grey."""

import torch
from torch import Tensor, nn


class GreyDnCNN(nn.Module):
    """DnCNN for one channel; red, green and blue pass it by themselves.

    Of a picture whose three channels are equal it gives the grey picture that the one-channel network gives.

    Args:
        depth: convolutions; 17 for one noise level (DnCNN-S), 20 for any (DnCNN-B) and for three tasks (DnCNN-3).

    Source: Zhang et al. 2017, 10.1109/TIP.2017.2662206.
    """

    def __init__(self, *, depth: int = 20) -> None:
        """Builds the layers; see the class for the arguments."""
        from spandrel.architectures.DnCNN import DnCNN

        super().__init__()
        self.one_channel = DnCNN(in_nc=1, out_nc=1, nc=64, nb=depth, act_mode="R", mode="DnCNN")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) in [0, 1], same shape out."""
        return torch.cat([self.one_channel(x[:, place : place + 1]) for place in range(x.shape[1])], 1)
