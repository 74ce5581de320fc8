"""What a network reads without naming it, and what was patched: a change of it is another network."""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module as torch_modules

from cem_bench.models.identity import computation

SOURCE = """
import importlib, operator, os, sys
import torch
from torch import nn
from torch.nn import functional as F
import settings_of_test as settings

GAIN = 1.0

def by_globals(x): return x * globals()["GAIN"]
def by_made_up_global(x): return x * globals()["ga".upper() + "IN"]
def by_eval(x): return x * eval("GAIN")
def by_getattr(x): return x * getattr(settings, "GAIN")
def by_vars(x): return x * vars(settings)["GAIN"]
def by_dict(x): return x * settings.__dict__["GA" + "IN"]
def by_attrgetter(x): return x * operator.attrgetter("GAIN")(settings)
def by_import_module(x): return x * importlib.import_module("settings_of_test").GAIN
def by_dunder_import(x): return x * __import__("settings_of_test").GAIN
def by_modules(x): return x * sys.modules["settings_of_test"].GAIN
def by_import_inside(x):
    from .settings import GAIN
    return x * GAIN
def by_relative_module(x):
    from . import settings as beside
    return x * beside.GAIN
def by_environ(x): return x * float(os.environ.get("CEM_TEST_GAIN", "1"))
def by_getenv(x): return x * float(os.getenv("CEM_TEST_GAIN") or 1)
def of_torch(x): return F.relu(x)
def of_torch_by_path(x): return torch.nn.functional.relu(x)
def of_a_layer(x): return nn.Conv2d(3, 3, 1)(x)

class Layered(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.ReLU()
    def forward(self, x): return self.layer(x)

class Base:
    gain = 1.0
class Child(Base):
    pass
def of_a_class(x): return x * Child.gain
class Called:
    gain = 1.0
    def __call__(self, x): return x * self.gain
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A package of the user's own with a module of settings in it, and another beside it."""
    folder = tmp_path / "package_of_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "networks.py").write_text(SOURCE)
    for path in (folder / "settings.py", tmp_path / "settings_of_test.py"):
        path.write_text("GAIN = 1.0\nOTHER = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("package_of_test.settings")
    yield importlib.import_module("package_of_test.networks")
    for name in [name for name in sys.modules if name.endswith("_of_test") or name.startswith("package_of_test")]:
        del sys.modules[name]


Change = Callable[[types.ModuleType, pytest.MonkeyPatch], None]


def setting(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys.modules["settings_of_test"], "GAIN", 2.0)


def setting_beside(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sys.modules["package_of_test.settings"], "GAIN", 2.0)


def global_value(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(home, "GAIN", 2.0)


def environment(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("CEM_TEST_GAIN", "2")


def relu(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(F, "relu", lambda x, inplace=False: x * 2)


def conv(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(nn.Conv2d, "forward", lambda self, x: x * 2)


def layer(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(nn.ReLU, "forward", lambda self, x: x * 2)


def call_of_every_module(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(nn.Module, "__call__", lambda self, x: self.forward(x) * 2)


def hook_of_every_module(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    hooks = torch_modules._global_forward_hooks
    patch.setitem(hooks, 10**6, lambda module, given, answer: answer * 2)


def base(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(home.Base, "gain", 2.0)


def called(home: types.ModuleType, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(home.Called, "__call__", lambda self, x: x * 3)


def moved(name: str) -> Callable[[types.ModuleType], object]:
    return lambda home: getattr(home, name)


CASES: dict[str, tuple[Callable[[types.ModuleType], object], Change]] = {
    **{name: (moved(name), global_value) for name in ("by_globals", "by_made_up_global", "by_eval")},
    **{name: (moved(name), setting) for name in ("by_getattr", "by_vars", "by_dict", "by_attrgetter")},
    **{name: (moved(name), setting) for name in ("by_import_module", "by_dunder_import", "by_modules")},
    **{name: (moved(name), setting_beside) for name in ("by_import_inside", "by_relative_module")},
    **{name: (moved(name), environment) for name in ("by_environ", "by_getenv")},
    **{name: (moved(name), relu) for name in ("of_torch", "of_torch_by_path")},
    "of_a_layer": (moved("of_a_layer"), conv),
    "a layer held": (lambda home: home.Layered(), layer),
    "every module's call": (lambda home: home.Layered(), call_of_every_module),
    "every module's hook": (lambda home: home.Layered(), hook_of_every_module),
    "of_a_class": (moved("of_a_class"), base),
    "an object's call": (lambda home: home.Called(), called),
}


@pytest.mark.parametrize("name", CASES)
def test_a_change_that_no_name_tells_is_another_network(name: str, home, monkeypatch):
    make, change = CASES[name]
    network = make(home)
    before = computation(network).sha256
    assert computation(network).sha256 == before
    with monkeypatch.context() as patch:
        change(home, patch)
        assert computation(network).sha256 != before
    assert computation(network).sha256 == before


def test_what_is_not_read_changes_nothing(home, monkeypatch):
    """A global, a setting, a variable of the environment, a patched function that the code does not name."""
    before = {name: computation(getattr(home, name)).sha256 for name in ("by_environ", "of_torch", "of_a_class")}
    for change in (setting, setting_beside, global_value, conv):
        change(home, monkeypatch)
    monkeypatch.setattr(F, "gelu", lambda x: x)
    monkeypatch.setenv("CEM_TEST_OTHER", "3")
    assert {name: computation(getattr(home, name)).sha256 for name in before} == before
    assert "CEM_TEST_GAIN" not in os.environ


def test_a_module_that_is_not_there_is_no_error(home):
    home.by_import_module.__code__ = (lambda x: importlib.import_module("no_such_module_of_test")).__code__
    assert computation(home.by_import_module).sha256
