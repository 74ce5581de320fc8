"""What a walk over a network sees: everything that changes its numbers, the same in every process, and nothing else."""

from __future__ import annotations

import copy
import functools
import subprocess
import sys
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
from cem_bench.models.identity import UnseenError, computation

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


def test_what_changes_no_number_changes_no_identity():
    net = Net(2)
    before = computation(net).sha256
    again = computation(Net(2)).sha256
    net.conv.weight.requires_grad_(False)
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    net.register_full_backward_hook(lambda module, given, back: None)
    net.register_state_dict_pre_hook(lambda *arguments: None)
    net.conv.to(memory_format=torch.channels_last)
    assert computation(net).sha256 == before == again
    assert computation(copy.deepcopy(Net(2))).sha256 == before
    assert as_model(Net(2), name="a").identity() == as_model(Net(2), name="b", tasks=("DN",)).identity()


def unsourced():
    space = {}
    exec("def function(x):\n    return x * 2", space)
    return space["function"]


class Foreign:
    """Keeps what it does in a thing that cannot be read."""

    def __init__(self):
        self.session = (part for part in [1, 2])

    def __call__(self, x):
        return x


class Meta(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LazyConv2d(3, 3)


UNSEEN = {
    "function made by exec": (lambda: unsourced(), "function has no source file"),
    "lambda made by eval": (lambda: eval("lambda x: x * 2"), "has no source file"),
    "network around it": (lambda: Net(unsourced()), "no source file"),
    "generator": (lambda: Foreign(), "keeps its state to itself"),
    "weights that are not there": (lambda: Meta(), "no values yet"),
    "compiled function": (lambda: torch.compile(Bound(1).restore), "compiled"),
    "compiled module": (lambda: torch.compile(Net()), "compiled"),
}


@pytest.mark.parametrize("kind", UNSEEN)
def test_what_cannot_be_seen_has_no_identity(kind: str):
    make, message = UNSEEN[kind]
    thing = make()
    with pytest.raises(UnseenError, match=message):
        computation(thing)
    model = as_model(thing, name="unseen")
    assert message.split()[-1] in model.unseen()
    assert model.identity() != as_model(thing, name="unseen").identity(), "nothing stored can be known to be its own"
    named = [as_model(thing, name="unseen", identity=name) for name in ("mine-1", "mine-1", "mine-2")]
    assert named[0].identity() == named[1].identity() != named[2].identity()
    assert not named[0].unseen()


def test_scripted_and_traced_modules_cannot_be_seen(recwarn):
    net = Net(2).eval()
    for made in (torch.jit.script(net.conv), torch.jit.trace(net, torch.zeros(1, 3, 8, 8))):
        with pytest.raises(UnseenError, match="is compiled"):
            computation(made)


def test_a_traced_graph_is_seen():
    first, second = (torch.fx.symbolic_trace(Net(option)) for option in (2, 3))
    assert computation(first).sha256 != computation(second).sha256
    assert computation(first).sha256 == computation(torch.fx.symbolic_trace(Net(2))).sha256


SCRIPT = """
import sys
sys.path.insert(0, "tests/models")
import test_computation as kinds
from cem_bench.models.identity import computation
for name, pair in kinds.DIFFERENT.items():
    print(name, *(computation(thing).sha256 for thing in pair))
"""


def test_identities_are_the_same_in_every_process():
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT]
    environment = {"PATH": "", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment | {"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "12345")
    ]
    first, second = (process.communicate()[0] for process in started)
    assert first == second
    assert len(first.splitlines()) == len(DIFFERENT)


def test_an_edited_file_is_another_network_and_an_edited_comment_is_not(tmp_path, monkeypatch):
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "tools_of_mine.py").write_text("GAIN = 2\ndef double(x):\n    return x * GAIN\n")
    text = "import tools_of_mine\nclass Mine:\n    def __call__(self, x):\n        return tools_of_mine.double(x)\n"
    (tmp_path / "nets_of_mine.py").write_text(text)
    tools, nets = (importlib.import_module(name) for name in ("tools_of_mine", "nets_of_mine"))
    before = computation(nets.Mine()).sha256
    tools.GAIN = 3
    assert computation(nets.Mine()).sha256 != before
    for source, same in (
        ("# says twice\nGAIN = 2\n\n\ndef double(x):\n    return x * GAIN  # here\n", True),
        ("GAIN = 2\ndef double(x):\n    return x + GAIN\n", False),
    ):
        exec(compile(source, str(tmp_path / "tools_of_mine.py"), "exec", dont_inherit=True), vars(tools))
        assert (computation(nets.Mine()).sha256 == before) is same


def test_libraries_enter_by_version(monkeypatch):
    assert computation(Net()).libraries["torch"] == torch.__version__
    assert set(computation(Net()).libraries) >= {"python", "torch"}
