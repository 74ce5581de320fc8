"""The model side of a cell: any network as a map from images in 0..1 to images in 0..1."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

# where the wrappers below stood when the first draws were stored: the name is hashed into their keys
FIRST_HOME = "cem_bench.restore"


class Restorer(nn.Module):
    """Scales 0..1 to the network's value range and back; no clipping, no padding."""

    def __init__(self, network: nn.Module, value_range: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.value_range = value_range

    def forward(self, observation: Tensor) -> Tensor:
        """Restore (B, 3, h, w) float in 0..1 to (B, 3, h * scale, w * scale)."""
        if self.value_range == 1:
            return self.network(observation)
        return self.network(observation * self.value_range) / self.value_range


class FromCallable(nn.Module):
    """Wraps a plain function as a network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, observation: Tensor) -> Tensor:
        """Call the function."""
        return self.function(observation)


@dataclass(frozen=True, eq=False)
class Model:
    """A restorer with the facts that a run needs.

    Attributes:
        name: short name, used in file names and tables.
        restorer: (B, 3, h, w) float32 in 0..1 to (B, 3, h * scale, w * scale), eval mode.
        scale: output pixels per input pixel.
        tasks: tasks it was trained for (SR, DN, DR); empty where that is not known.
        facts: what the record should say of it (card, file, sha256).
    """

    name: str
    restorer: nn.Module
    scale: int = 1
    tasks: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Return what goes into the run key: the structure and every number of the network."""
        return {"architecture": _structure(self.restorer), "weights_sha256": weights_sha256(self.restorer)}


def as_model(
    network: Callable[[Tensor], Tensor] | nn.Module,
    *,
    name: str,
    scale: int = 1,
    value_range: float = 1.0,
    tasks: tuple[str, ...] = (),
    facts: Mapping[str, Any] | None = None,
) -> Model:
    """Make a model of any callable or module.

    Args:
        network: (B, 3, h, w) float32 in 0..value_range to (B, 3, h * scale, w * scale).
        name: short name.
        scale: output pixels per input pixel.
        value_range: white of its input and output, 1 or 255.
        tasks: SR, DN, DR, or empty.
        facts: said in the record.

    Raises:
        TypeError: if `network` cannot be called.
    """
    if not callable(network):
        raise TypeError(f"A model must be callable on (B, 3, h, w) tensors, got {type(network).__name__}.")
    module = network if isinstance(network, nn.Module) else FromCallable(network)
    return Model(name, Restorer(module, value_range).eval(), scale, tasks, dict(facts or {}))


def weights_sha256(module: nn.Module) -> str:
    """Return the sha256 over names, types, shapes and values of all tensors a module holds."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _structure(module: nn.Module) -> str:
    """Hash what a module does beside its numbers: its layers with their options, and the source of a plain function."""
    text = repr(module) + "".join(f"{_place(type(part))}.{type(part).__qualname__};" for part in module.modules())
    for part in module.modules():
        if isinstance(part, FromCallable):
            text += _source(part.function)
        if isinstance(part, Restorer):
            text += f"value_range={part.value_range};"
    return hashlib.sha256(text.encode()).hexdigest()


def _place(kind: type) -> str:
    """Return a class's module, as the first keys spelled it: moving a file of this package must lose no draw."""
    return FIRST_HOME if kind in (Restorer, FromCallable) else kind.__module__


def _source(function: Callable[..., Any]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', repr(type(function)))}"
