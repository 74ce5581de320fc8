"""Which names a piece of code mentions, whether its source can be read, and the library that it comes from."""

from __future__ import annotations

import dis
import importlib.metadata
import linecache
import sys
import sysconfig
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import torch

OWN_PACKAGE = __name__.partition(".")[0]  # its changes are told by the key's method version
LIBRARY_FOLDERS = ("site-packages", "dist-packages")
STANDARD = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))
BINARY = (".so", ".pyd", ".dll", ".dylib")
KNOWN_OPS = ("aten", "prim", "prims", "quantized", "torchvision")


class UnseenError(Exception):
    """A thing's computation cannot be seen; the message says which thing and why."""


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and all that are nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


def names_of(code: types.CodeType) -> set[str]:
    """Return every name that a code object and those nested in it mention: globals, attributes, imported modules."""
    return {name for part in codes_of(code) for name in part.co_names}


def globals_of(code: types.CodeType) -> set[str]:
    """Return the names that are looked up among a function's globals."""
    return {
        instruction.argval
        for part in codes_of(code)
        for instruction in dis.get_instructions(part)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }


def imports_of(function: types.FunctionType) -> set[str]:
    """Return the modules that a function imports when it runs, by their full names."""
    package, modules = function.__globals__.get("__package__") or "", set()
    for part in codes_of(function.__code__):
        before: list[object] = []
        for instruction in dis.get_instructions(part):
            if instruction.opname == "IMPORT_NAME":
                level, names = before[-2:]
                modules |= _imported(str(instruction.argval), level, names, package)
            before.append(instruction.argval)
    return modules


def _imported(name: str, level: object, names: object, package: str) -> set[str]:
    """Return what one import statement imports: the module, and the modules that it takes from it by name."""
    if isinstance(level, int) and level > 0:
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - level + 1])
        name = f"{base}.{name}".strip(".")
    inner = {f"{name}.{part}" for part in names or ()} if isinstance(names, tuple) else set()
    return {name, *(part for part in inner if part in sys.modules)}


def check_source(function: types.FunctionType) -> None:
    """Refuse a function whose source nobody can read.

    Raises:
        UnseenError: for what was typed into a plain prompt, or made by `exec`.
    """
    if not linecache.getlines(function.__code__.co_filename, function.__globals__):
        raise UnseenError(f"{function.__qualname__} has no source file")


def check_ops(function: types.FunctionType) -> None:
    """Refuse a function that calls ops which a compiled extension registered with torch.

    Raises:
        UnseenError: naming the extension.
    """
    names = names_of(function.__code__)
    if "ops" in names and torch in function.__globals__.values():
        for name in sorted(names & set(vars(torch.ops)) - set(KNOWN_OPS)):
            if type(getattr(torch.ops, name)).__name__ == "_OpNamespace":
                raise UnseenError(f"{function.__qualname__} calls torch.ops.{name}, compiled code")


def in_library(file: str) -> bool:
    """Say whether a file belongs to an installed package or to Python itself."""
    if file.startswith("<frozen"):
        return True
    path = Path(file)
    return any(folder in path.parts for folder in LIBRARY_FOLDERS) or any(
        path.is_relative_to(folder) for folder in STANDARD
    )


@cache
def library(module: str) -> tuple[str, str] | None:
    """Return name and version of the library that a module belongs to; None for the user's own code.

    Args:
        module: dotted name, as "torch.nn.functional".

    Raises:
        UnseenError: if it is a compiled module outside of any library.
    """
    top = module.partition(".")[0]
    if top == OWN_PACKAGE:
        return top, ""
    if top == "__main__":
        return None
    if top in sys.stdlib_module_names:
        return "python", python_version()
    file = getattr(sys.modules.get(module) or sys.modules.get(top), "__file__", None) or ""
    if not file or not in_library(file):
        if file.endswith(BINARY):
            raise UnseenError(f"{module} is a compiled extension")
        return None
    version = _version(top)
    return (top, version) if version else None


def python_version() -> str:
    """Return the version up to which instructions and standard library stay the same."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _version(top: str) -> str:
    """Return a library's version; "" where none is told: then it is read like the user's own code."""
    told = getattr(sys.modules.get(top), "__version__", "")
    if isinstance(told, str) and told:
        return told
    try:
        return importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        owners = importlib.metadata.packages_distributions().get(top, [])
        return importlib.metadata.version(owners[0]) if owners else ""
