"""Measured memory of one forward: the bytes alive at the worst moment."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Callable


class _Live(TorchDispatchMode):
    """Counts the bytes of every storage that an op makes, until it is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def forward_bytes(forward: Callable[[Tensor], Any], batch: Tensor) -> int:
    """Return the most bytes that one forward keeps alive at once, the input included, the weights not.

    Args:
        forward: the network.
        batch: (b, ...) its input.
    """
    live = _Live()
    with torch.no_grad(), live:
        forward(batch)
    return live.peak + batch.untyped_storage().nbytes()
