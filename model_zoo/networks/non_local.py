"""The non-local block, which RNAN and SAN share."""

import torch
from torch import Tensor, nn

from model_zoo.networks.common import conv


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
        gathered = torch.softmax(query @ key, dim=self.axis) @ value
        return x + self.W(gathered.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:]))
