"""The model side of a cell: any network as a map from images in 0..1 to images in 0..1."""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from cem_bench.models.identity import UnseenError, computation

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


@dataclass
class Sight:
    """What became known of a model's computation while the process ran.

    Attributes:
        name: stands for the model where its computation cannot be seen; new in every process and for every model.
        stores: of a model that cannot be seen, what was measured, by run key.
        written: parts that the network's own forward writes (caches, counters), as they were before it first did so.
    """

    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    stores: dict[str, Any] = field(default_factory=dict)
    written: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Model:
    """A restorer with the facts that a run needs.

    Attributes:
        name: short name, used in file names and tables.
        restorer: (B, 3, h, w) float32 in 0..1 to (B, 3, h * scale, w * scale), eval mode.
        scale: output pixels per input pixel.
        tasks: tasks it was trained for (SR, DN, DR, LL, CAR); empty where that is not known.
        facts: what the record should say of it (card, file, sha256).
        card: of a network built from a card: what the card says of its computation; empty where the card stands as it
            did when keys began, so that their draws are found. None for any other network: then it is looked at.
        given: the user's name for what the network computes; "" where it is looked at.
        sight: what became known meanwhile.
    """

    name: str
    restorer: nn.Module
    scale: int = 1
    tasks: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] | None = None
    given: str = ""
    sight: Sight = field(default_factory=Sight, repr=False)

    def identity(self) -> dict[str, Any]:
        """Return what goes into the run key: all that decides what the network computes."""
        if self.given:
            return {"given": self.given, "value_range": getattr(self.restorer, "value_range", 1)}
        if self.card is not None:
            of_card = {"card": dict(self.card)} if self.card else {}
            weights = weights_sha256(self.restorer)
            return {"architecture": _structure(self.restorer), "weights_sha256": weights, **of_card}
        try:
            seen = computation(self.restorer, "restorer").replaced(self.sight.written)
        except UnseenError:
            return {"process": self.sight.name}
        return {"computation_sha256": seen.sha256, "libraries": dict(seen.libraries)}

    def altered(self, restorer: nn.Module, how: str) -> Model:
        """Return a model with another network in this one's place, as one with random weights.

        Args:
            restorer: the network; a copy, changed.
            how: what was done to it; another word for another change.
        """
        given = f"{self.given}, {how}" if self.given else ""
        return replace(self, restorer=restorer, name=f"{self.name}, {how}", given=given, sight=Sight())

    def unseen(self) -> str:
        """Return why the model has no identity; "" where it has one."""
        if self.given or self.card is not None:
            return ""
        try:
            computation(self.restorer, "restorer")
        except UnseenError as error:
            return str(error)
        return ""

    @contextmanager
    def forwards(self) -> Iterator[None]:
        """Note which parts the forwards made meanwhile write: a network's own caches change no key."""
        try:
            before = {} if self.given or self.card is not None else computation(self.restorer, "restorer").parts
        except UnseenError:
            before = {}
        if not before:
            yield
            return
        yield
        try:
            after = computation(self.restorer, "restorer").parts
        except UnseenError:  # it keeps something of its forwards that cannot be seen: then it has no identity
            return
        for part in before.keys() | after.keys():
            if before.get(part) != after.get(part):
                self.sight.written.setdefault(part, before.get(part))


def as_model(
    network: Callable[[Tensor], Tensor] | nn.Module,
    *,
    name: str,
    scale: int = 1,
    value_range: float = 1.0,
    tasks: tuple[str, ...] = (),
    facts: Mapping[str, Any] | None = None,
    identity: str = "",
) -> Model:
    """Make a model of any callable or module.

    Args:
        network: (B, 3, h, w) float32 in 0..value_range to (B, 3, h * scale, w * scale).
        name: short name.
        scale: output pixels per input pixel.
        value_range: white of its input and output, 1 or 255.
        tasks: SR, DN, DR, LL, CAR, or empty.
        facts: said in the record.
        identity: your name for what the network computes, as "mine-1", where that cannot be seen (compiled code, code
            without source). Another name for every change of it: draws are found again under the name alone.

    Raises:
        TypeError: if `network` cannot be called.
        ValueError: if the value range is no white, or the identity is no name.
    """
    if not callable(network):
        raise TypeError(f"A model must be callable on (B, 3, h, w) tensors, got {type(network).__name__}.")
    if not (isinstance(value_range, int | float) and 0 < value_range < math.inf):
        raise ValueError(f"value_range of {name}: got {value_range!r}, expected the value of white, as 1 or 255.")
    if not isinstance(identity, str) or identity != identity.strip():
        raise ValueError(f"identity of {name}: got {identity!r}, expected a name, as 'mine-1'.")
    module = network if isinstance(network, nn.Module) else FromCallable(network)
    return Model(name, Restorer(module, value_range).eval(), scale, tasks, dict(facts or {}), given=identity)


def weights_sha256(module: nn.Module) -> str:
    """Return the sha256 over names, types, shapes and values of all tensors a module holds."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _structure(module: nn.Module) -> str:
    """Hash the layers of a card's network with their options, as the first keys did; the card says the rest."""
    text = repr(module) + "".join(f"{_place(type(part))}.{type(part).__qualname__};" for part in module.modules())
    for part in module.modules():
        if isinstance(part, Restorer):
            text += f"value_range={part.value_range};"
    return hashlib.sha256(text.encode()).hexdigest()


def _place(kind: type) -> str:
    """Return a class's module, as the first keys spelled it: moving a file of this package must lose no draw."""
    return FIRST_HOME if kind in (Restorer, FromCallable) else kind.__module__
