"""What code reads without naming it: by `getattr`, `globals()`, a text, the environment; and what was patched.

A name in the instructions of a function is followed by `code`. What a function finds by a text that it makes up is not
told by its names: then everything it may find there counts.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

from torch.nn.modules import module as torch_modules

from cem_bench.models.identity import libraries

EVERYTHING = {"globals", "eval", "exec"}  # a function that names one of these may read every global
BY_TEXT = {"getattr", "vars", "__dict__", "attrgetter", "methodcaller"}  # and of these, all that a module holds
IMPORTS = {"import_module", "__import__", "modules"}
ENVIRONMENT = {"environ", "getenv"}
GLOBAL_HOOKS = ("_global_forward_pre_hooks", "_global_forward_hooks")


def read_by(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    """Yield what a function of the user's may read beside what it names: globals, modules, the environment."""
    names, texts = libraries.names_of(function.__code__), set(_texts(function.__code__))
    if names & EVERYTHING:
        for name, value in function.__globals__.items():
            if not name.startswith("__"):
                yield f"globals.{name}", value
    if names & IMPORTS:
        for text in sorted(texts):
            if module := _own_module(text):
                yield f"modules.{text}", module
    if names & ENVIRONMENT:
        for text in sorted(texts):
            if text.isidentifier() and (text.isupper() or text in os.environ):
                yield f"environment.{text}", os.environ.get(text)


def _texts(code: types.CodeType) -> Iterator[str]:
    for part in libraries.codes_of(code):
        yield from (constant for constant in part.co_consts if isinstance(constant, str))


def _own_module(text: str) -> types.ModuleType | None:
    """Return a module of the user's own by its dotted name; None where there is none."""
    if not all(part.isidentifier() for part in text.split(".")):
        return None
    try:
        if text not in sys.modules and importlib.util.find_spec(text) is None:
            return None
        return None if libraries.library(text) else importlib.import_module(text)
    except (ImportError, ValueError):
        return None


def patched(owner: Any, names: set[str] | None = None) -> dict[str, object]:
    """Return the functions of a library's module or class that someone put there: their code lies in no library.

    Args:
        owner: the module or the class; with all that a class inherits.
        names: those to look at; None for all.
    """
    tables = [vars(kind) for kind in reversed(owner.__mro__)] if isinstance(owner, type) else [vars(owner)]
    entries = {name: value for table in tables for name, value in table.items() if names is None or name in names}
    return {name: value for name, value in entries.items() if _is_foreign(value)}


def _is_foreign(thing: object) -> bool:
    function = getattr(thing, "__func__", thing)
    if not isinstance(function, types.FunctionType):
        return False
    file = function.__code__.co_filename  # what a library writes itself lies in "<string>"
    return not file.startswith("<") and not libraries.in_library(file) and not _of_this_package(function)


def _of_this_package(function: types.FunctionType) -> bool:
    return str(function.__globals__.get("__name__")).partition(".")[0] == libraries.OWN_PACKAGE


def global_hooks() -> dict[str, object]:
    """Return the hooks that act in the forward of every module."""
    tables = {name: list(getattr(torch_modules, name).values()) for name in GLOBAL_HOOKS}
    return {name: hooks for name, hooks in tables.items() if hooks}
