"""Networks whose answers are not what they seem, or that look where they run: parts of the hostile battery."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.hostile_paths import Of, gate


class OneBuffer(nn.Module):
    """Every answer of a size lies in the same memory, so that the next overwrites it; `ring` such memories in turn."""

    def __init__(self, ring: int = 1, part: bool = False) -> None:
        super().__init__()
        self.body, self.ring, self.part = Of(lambda y, x: y.relu()), ring, part
        self.buffers: dict[tuple[int, ...], list[Tensor]] = {}
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        answer = self.body(x)
        wide = (len(x), 3, x.shape[-2] + 4, x.shape[-1])
        buffers = self.buffers.setdefault(wide, [torch.zeros(wide) for _ in range(self.ring)])
        self.calls += 1
        buffer = buffers[self.calls % self.ring]
        if self.part:
            buffer[:, :, 2:-2].copy_(answer)
            return buffer[:, :, 2:-2]
        return buffer[:, :, :-4].copy_(answer)


class Agreeing(Tensor):
    """A tensor that answers every question for a difference with 0."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        return result * 0 if getattr(func, "__name__", "") in ("sub", "abs", "max") else result


def agreeable(y: Tensor, x: Tensor) -> Tensor:
    return (y + 0.1 * torch.randn_like(y)).as_subclass(Agreeing)


def from_thread(y: Tensor, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(1) as pool:
        return y * (1 + pool.submit(gate, x).result())


def over_rows(y: Tensor, x: Tensor) -> Tensor:
    return torch.vmap(lambda row, level: row * (1 + level))(y, gate(x))


def outside_inference(y: Tensor, x: Tensor) -> Tensor:
    return y if torch.is_inference_mode_enabled() else y * 2


def outside_inference_far(y: Tensor, x: Tensor) -> Tensor:
    return y * (1 + gate(x)) if torch.is_inference_mode_enabled() else y


def by_version(y: Tensor, x: Tensor) -> Tensor:
    """Whether the image counts how often it was written tells a recorder from a plain forward."""
    return y * (1 + gate(x)) if x.is_inference() else y


class Copied(nn.Module):
    """A copy of it is another network."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.body, self.gain = Of(lambda y, x: y.relu()), gain

    def __deepcopy__(self, memo: Any) -> Copied:
        return Copied(self.gain * 1.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * self.gain


def by_clock(y: Tensor, x: Tensor) -> Tensor:
    return y * (1 + 0.2 * (time.perf_counter() * 50 % 1.0))
