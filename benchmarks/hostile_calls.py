"""Networks that mind the batch, earlier calls or chance, cannot be seen, or want or answer something else."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.hostile_paths import CHANNELS, Of


class Rows(nn.Module):
    """A recurrent layer over the rows (or columns) of the features."""

    def __init__(self, layer: type[nn.RNNBase], columns: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = (nn.Conv2d(*sizes, 3, padding=1) for sizes in ((3, CHANNELS), (CHANNELS, 3)))
            self.layer = layer(CHANNELS, CHANNELS, batch_first=True)
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = y.transpose(2, 3) if self.columns else y
        n, c, h, w = y.shape
        y = self.layer(y.permute(0, 2, 3, 1).reshape(-1, w, c))[0].reshape(n, h, w, c).permute(0, 3, 1, 2)
        return x + self.last(y.transpose(2, 3) if self.columns else y)


class Memory(nn.Module):
    """A body with a state that `change` sees at every call."""

    def __init__(self, change: Callable[[Memory, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.change, self.state = Of(lambda y, x: y.relu()), change, None
        self.calls = 0
        self.register_buffer("level", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self, x)


# ---------------------------------------------------------------------------- batches


def per_batch(function: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Of(lambda y, x: function(y))


def alone_only(x: Tensor) -> Tensor:
    return x.view(1, 3, x.shape[-2], x.shape[-1]) * 0.9 + F.avg_pool2d(x, 3, 1, 1) * 0.1


def raises_in_the_middle(x: Tensor) -> Tensor:
    if len(x) == 2 and float(x[1, 0, 9, 9]) > 0.55:
        raise KeyError("a table of two")
    return F.avg_pool2d(x, 3, 1, 1)


def state_of_batch(y: Tensor, x: Tensor) -> Tensor:
    state = torch.zeros(len(x), CHANNELS, *x.shape[-2:])
    for _ in range(3):
        state = torch.tanh(torch.lerp(y, state, 0.5)).roll(1, 2)
    return state


def views_by_batch(y: Tensor, x: Tensor) -> Tensor:
    b, c, h, w = y.shape
    tokens = torch.fft.rfft(y.reshape(b, c * h, w)).real  # an op without a rule, then a view that names the batch
    return y + F.interpolate(tokens.view(b, c, h, -1), size=(h, w))


# ---------------------------------------------------------------------------- state between calls


def warming_up(self: Memory, x: Tensor) -> Tensor:
    self.calls += 1
    return x + (self.body(x) - x) * min(1.0, self.calls / 400)


def running_mean(self: Memory, x: Tensor) -> Tensor:
    self.level.lerp_(x.mean().view(1), 0.3)
    return self.body(x) + 0.3 * self.level


def previous_frame(self: Memory, x: Tensor) -> Tensor:
    before, self.state = self.state, x[:1].clone()
    return self.body(x) if before is None else self.body(x) + 0.1 * (before - x)


def first_frame(self: Memory, x: Tensor) -> Tensor:
    if self.state is None:
        self.state = x[:1].mean().clone()
    return self.body(x) * (1.5 - self.state)


def every_tenth(self: Memory, x: Tensor) -> Tensor:
    self.calls += 1
    return self.body(x) + 0.2 * (self.calls % 10 == 0)


# ---------------------------------------------------------------------------- chance


def python_noise(y: Tensor, x: Tensor) -> Tensor:
    return y * random.uniform(0.8, 1.2)


def numpy_noise(y: Tensor, x: Tensor) -> Tensor:
    return y + torch.from_numpy(np.random.normal(0, 0.1, (1, 1, 1, 1)).astype(np.float32))  # noqa: NPY002


# ---------------------------------------------------------------------------- code that cannot be seen


def hidden_script() -> Callable[[Tensor], Tensor]:
    inner = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()).eval())
    return lambda x: x + 0.1 * inner(x)


def part_scripted() -> nn.Module:
    net = Of(lambda y, x: y.relu())
    net.last = torch.jit.script(net.last)
    return net


def compiled() -> Any:
    return torch.compile(Of(lambda y, x: y.relu() * 0.5), backend="eager")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor) -> Tensor:
        return y * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


# ---------------------------------------------------------------------------- other inputs and answers


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return x * sigma


def sized(multiple: int) -> Callable[[Tensor], Tensor]:
    def network(x: Tensor) -> Tensor:
        assert x.shape[-1] % multiple == 0, "sides must fit"
        return x * 0.9

    return network


def always(error: Exception) -> Callable[[Tensor], Tensor]:
    def network(x: Tensor) -> Tensor:
        raise error

    return network


def grey() -> nn.Module:
    return nn.Conv2d(1, 1, 3, padding=1)
