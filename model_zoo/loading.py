"""Building a card's network and loading its checkpoint."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_zoo import weights as files
from model_zoo.cards import Card, architecture, card, configured
from model_zoo.checkpoint import fill, read, unwrap
from model_zoo.errors import ZooError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SizeCheck:
    """Refuses an input a network cannot take; a forward pre-hook that graph tracing passes by.

    Attributes:
        name: the model.
        multiple: height and width must be multiples of it.
        minimum: and at least this.
    """

    name: str
    multiple: int = 1
    minimum: int = 1

    def __call__(self, _module: "nn.Module", arguments: tuple[Any, ...]) -> None:
        """Checks the first argument, (B, 3, h, w), if it is a tensor."""
        import torch

        if not arguments or not isinstance(arguments[0], torch.Tensor):
            return
        shape = tuple(arguments[0].shape)
        if len(shape) != 4 or shape[1] != 3:
            raise ZooError(f"{self.name}: got an input of shape {shape}, expected (batch, 3, height, width)")
        valid = tuple(self.next_valid(int(side)) for side in shape[2:])
        if valid != shape[2:]:
            raise ZooError(
                f"{self.name}: got {shape[2]} x {shape[3]} pixels, expected multiples of {self.multiple} "
                f"and at least {self.minimum}; the next valid size is {valid[0]} x {valid[1]}"
            )

    def next_valid(self, side: int) -> int:
        """The smallest side that is allowed and not smaller than this one, in pixels."""
        return -(-max(side, self.minimum) // self.multiple) * self.multiple


def build(name: str) -> "nn.Module":
    """Builds a model with fresh weights, for training or for its structure.

    Args:
        name: a card's name or alias.

    Returns:
        The network, on the CPU.

    Raises:
        ZooError: for an unknown name.
    """
    return build_card(card(name))


def build_card(entry: Card) -> "nn.Module":
    """Builds the network a card describes, with fresh weights and the check of its input size.

    Args:
        entry: the card.

    Returns:
        The network, on the CPU, for RGB in 0..card.value_range.
    """
    return _fitted(_bare(entry), entry)


def _bare(entry: Card) -> "nn.Module":
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid")
        return architecture(entry)(**entry.options)


def _fitted(network: "nn.Module", entry: Card) -> "nn.Module":
    """The network with the adapters its card asks for, with the check of the input size in front."""
    from model_zoo.adapters import LumaOnly, NoiseMap, Padded

    if entry.noise_map is not None:
        network = NoiseMap(network, entry.noise_map)
    if entry.pads:
        network = Padded(network, *entry.pads, entry.scale)
    if entry.luma_only:
        network = LumaOnly(network, entry.scale)
    network.register_forward_pre_hook(SizeCheck(entry.name, entry.size_multiple, entry.size_minimum))
    return network


def load(
    name: str, weights: str | Path | Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
) -> "nn.Module":
    """Loads a model, ready to restore.

    Args:
        name: a card's name or alias.
        weights: a file, or a state dict; None to find the card's own file (in the package, in the folders of
            CEM_WEIGHTS, in the cache, at the card's address) and to check its sha256.
        options: in place of the card's own, e.g. {"sigma": 25}.

    Returns:
        The network in eval mode, on the CPU: (B, 3, h, w) to (B, 3, h * scale, w * scale), both in
        0..card.value_range and not clipped. No scaling is inside: the network equals the official one on any input,
        and whoever restores images scales by the card's value_range.

    Raises:
        ZooError: for an unknown name or option, or a checkpoint that is missing, damaged, not harmless or of another
            network.
    """
    entry = configured(card(name), options or {})
    if isinstance(weights, Mapping):
        source, tensors = "the given state dict", unwrap(weights)
    elif weights is None:
        path = files.obtain(entry)
        source, tensors = str(path), read(path, entry.sha256)
    else:
        source, tensors = str(weights), read(Path(weights))
    import torch

    with torch.random.fork_rng(devices=[]):
        network = _bare(entry)
    fill(network, tensors, entry, source)
    return _fitted(network, entry).eval()
