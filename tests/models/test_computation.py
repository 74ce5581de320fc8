"""What a walk over a network sees: everything that changes its numbers, the same in every process, and nothing else."""

from __future__ import annotations

import functools
import types
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from cem_bench import as_model
from cem_bench.models.identity import computation

ROOT = Path(__file__).resolve().parents[2]
LEVEL = 0.5
TABLE = {"low": (0.1, 0.2), "high": (0.3, 0.4)}
Pair = namedtuple("Pair", "a b")


class Mode(Enum):
    SOFT = 1
    HARD = 2


@dataclass
class Settings:
    gain: float = 1.0
    order: list[int] = field(default_factory=lambda: [0, 1, 2])


@dataclass(frozen=True)
class Callable:
    """No module, no function: an object that can be called."""

    settings: Settings

    def __call__(self, x):
        return x * self.settings.gain


class Slotted:
    __slots__ = ("gain",)

    def __init__(self, gain):
        self.gain = gain

    def __call__(self, x):
        return x * self.gain


class Hides:
    """Says nothing of its option when pickled."""

    def __init__(self, gain):
        self.gain = gain

    def __getstate__(self):
        return {}

    def __reduce__(self):
        return (Hides, (0,))

    def __call__(self, x):
        return x * self.gain


class Listed(list):
    def __call__(self, x):
        return x * self[0]


class Net(nn.Module):
    gain = 1.0

    def __init__(self, option=None, **more):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.option = nn.Conv2d(3, 3, 3, padding=1), option
        vars(self).update(more)

    def forward(self, x):
        return self.conv(x) * (self.option or 1)


class Louder(Net):
    gain = 2.0


class Base(nn.Module):
    def shift(self, x):
        return x + 0.1


class OtherBase(nn.Module):
    def shift(self, x):
        return x + 0.2


def with_base(base):
    class Child(base):
        def forward(self, x):
            return self.shift(x)

    return Child()


def buffered(value, persistent):
    net = Net()
    net.register_buffer("k", torch.tensor(value), persistent=persistent)
    return net


def hooked(value, before):
    net = Net()
    if before:
        net.register_forward_pre_hook(lambda module, inputs: (inputs[0] * value,))
    else:
        net.register_forward_hook(lambda module, inputs, output: output * value)
    return net


def ordered(*names):
    torch.manual_seed(0)
    parts = {name: nn.Conv2d(3, 3, 1) for name in sorted(names)}
    return nn.Sequential(OrderedDict((name, parts[name]) for name in names))


class Scaled(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, weight):
        return weight * self.by


def parametrized(by):
    net = Net()
    parametrize.register_parametrization(net.conv, "weight", Scaled(by))
    return net


def replaced(gain):
    """Another forward hung on the object."""
    net = Net()
    net.forward = types.MethodType(lambda self, x: self.conv(x) * gain, net)
    return net


def closure(value):
    inner = [value]

    def outer(x):
        def deep(y):
            return y * inner[0]

        return deep(x)

    return outer


def of_global(level):
    def reads(x):
        return x * LEVEL_OF_TEST  # noqa: F821

    return types.FunctionType(reads.__code__, {**globals(), "LEVEL_OF_TEST": level}, "reads")


def of_helper(level):
    helper = types.FunctionType((lambda x: x * LEVEL_OF_TEST).__code__, {"LEVEL_OF_TEST": level}, "helper")  # noqa: F821
    return types.FunctionType((lambda x: HELPER(x)).__code__, {**globals(), "HELPER": helper}, "calls")  # noqa: F821


def defaults(value):
    def function(x, gain=value, *, shift=0):
        return x * gain + shift

    return function


def keyword_defaults(value):
    def function(x, *, gain=value):
        return x * gain

    return function


def cached(value):
    @functools.lru_cache
    def factor():
        return value

    return lambda x: x * factor()


def decorated(value):
    def times(function):
        @functools.wraps(function)
        def wrapped(x):
            return function(x) * value

        return wrapped

    @times
    def plain(x):
        return x

    return plain


def wrapped_by_torch(value):
    @torch.no_grad()
    def plain(x):
        return x * value

    return plain


class Bound:
    def __init__(self, value):
        self.value = value

    def restore(self, x):
        return x * self.value

    @staticmethod
    def half(x):
        return x / 2

    @staticmethod
    def third(x):
        return x / 3


class Function(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x * 2


class OtherFunction(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x * 3


def applied(function):
    return lambda x: function.apply(x)


TWO = [lambda x: x * 0.25, lambda x: x * 0.75]  # one line, two functions
SPARSE = torch.eye(3).to_sparse()

# pairs that differ in one thing that changes a number
DIFFERENT = {
    "number": (Net(0.1), Net(1.0)),
    "number's type": (Net(1), Net(1.0)),
    "string": (Net("soft"), Net("hard")),
    "none": (Net(None), Net(0)),
    "list": (Net([1, 2]), Net([2, 1])),
    "tuple of tuples": (Net(((1, 2), 3)), Net((1, (2, 3)))),
    "dict": (Net({"a": 1}), Net({"a": 2})),
    "dict's order": (Net({"a": 1, "b": 2}), Net({"b": 2, "a": 1})),
    "set": (Net({1, 2}), Net({1, 3})),
    "enum": (Net(Mode.SOFT), Net(Mode.HARD)),
    "named tuple": (Net(Pair(1, 2)), Net(Pair(2, 1))),
    "tensor as attribute": (Net(torch.ones(2)), Net(torch.zeros(2))),
    "tensors in a list": (Net([torch.ones(2)]), Net([torch.ones(3)])),
    "sparse tensor": (Net(SPARSE), Net(2 * SPARSE)),
    "array": (Net(np.ones(2)), Net(np.ones(2, np.float32))),
    "dtype": (Net(torch.float16), Net(torch.bfloat16)),
    "half weights": (Net(), Net().half()),
    "buffer saved": (buffered(0.1, True), buffered(0.2, True)),
    "buffer not saved": (buffered(0.1, False), buffered(0.2, False)),
    "attribute beside": (Net(), Net(extra=1)),
    "module in a list": (Net([Net(1)]), Net([Net(2)])),
    "module in a dict": (Net({"a": Net(1)}), Net({"a": Net(2)})),
    "order of a sequence": (ordered("a", "b"), ordered("b", "a")),
    "training": (Net().eval(), Net().train()),
    "class": (Net(), Louder()),
    "base class": (with_base(Base), with_base(OtherBase)),
    "forward hook": (hooked(1, False), hooked(2, False)),
    "pre-hook": (hooked(1, True), hooked(2, True)),
    "parametrization": (parametrized(1), parametrized(2)),
    "forward on the object": (replaced(1), replaced(2)),
    "option of a library's layer": (nn.LeakyReLU(0.1), nn.LeakyReLU(0.2)),
    "closure": (closure(1), closure(2)),
    "network in a closure": (closure(Net(1)), closure(Net(2))),
    "global": (of_global(1), of_global(2)),
    "global of a helper": (of_helper(1), of_helper(2)),
    "default": (defaults(1), defaults(2)),
    "keyword default": (keyword_defaults(1), keyword_defaults(2)),
    "partial": (functools.partial(torch.mul, other=1), functools.partial(torch.mul, other=2)),
    "cached": (cached(1), cached(2)),
    "decorator": (decorated(1), decorated(2)),
    "decorator of torch": (wrapped_by_torch(1), wrapped_by_torch(2)),
    "bound method": (Bound(1).restore, Bound(2).restore),
    "static method": (Bound.half, Bound.third),
    "callable object": (Callable(Settings(1)), Callable(Settings(2))),
    "field of a field": (Callable(Settings(1)), Callable(Settings(1, [2, 1, 0]))),
    "slots": (Slotted(1), Slotted(2)),
    "hidden from pickle": (Hides(1), Hides(2)),
    "list that is called": (Listed([1]), Listed([2])),
    "autograd function": (applied(Function), applied(OtherFunction)),
    "two lambdas of one line": tuple(TWO),
    "function of torch": (torch.relu, torch.tanh),
    "op": (torch.ops.aten.relu, torch.ops.aten.tanh),
    "method of a tensor": (torch.Tensor.relu, torch.Tensor.tanh),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_two_networks_have_two_identities(kind: str):
    first, second = DIFFERENT[kind]
    assert computation(first).sha256 != computation(second).sha256
    assert computation(first).sha256 == computation(first).sha256


@pytest.mark.parametrize("kind", ["number", "closure", "tensor as attribute", "callable object", "hidden from pickle"])
def test_models_of_two_networks_have_two_identities(kind: str):
    first, second = (as_model(network, name="same").identity() for network in DIFFERENT[kind])
    assert first != second
