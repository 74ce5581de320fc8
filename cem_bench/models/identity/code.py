"""How code is looked at: functions with their closures, defaults and globals; classes; bound and compiled things."""

from __future__ import annotations

import importlib
import types
from dataclasses import dataclass
from typing import Any

from cem_bench.models.identity import libraries, unnamed
from cem_bench.models.identity.libraries import UnseenError
from cem_bench.models.identity.walk import Walk, hashed

# entries of a class that hold no computation
OF_CLASS = {
    "__abstractmethods__",
    "__annotations__",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__dict__",
    "__doc__",
    "__firstlineno__",
    "__match_args__",
    "__module__",
    "__orig_bases__",
    "__parameters__",
    "__qualname__",
    "__static_attributes__",
    "__weakref__",
    "_abc_impl",
}
SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


@dataclass(frozen=True)
class Code:
    """A code object with the docstring that is to be passed over."""

    code: types.CodeType
    docstring: str | None = None


@dataclass(frozen=True)
class Cells:
    """The closure of a function."""

    names: tuple[str, ...]
    cells: tuple[types.CellType, ...]


def function(walk: Walk, thing: types.FunctionType, path: str) -> str:
    """A function: what it runs, and all that this reads; of a library's function only what it was given."""
    own: dict[str, object] = {}
    if thing.__closure__:
        own["closure"] = Cells(thing.__code__.co_freevars, thing.__closure__)
    if libraries.in_library(thing.__code__.co_filename) or _of_this_package(thing):
        walk.library(thing.__module__)
        named = hashed("library", thing.__code__.co_qualname, str(thing.__module__))
        return hashed(named, walk.named(path, "function", own.items())) if own else named
    libraries.check_source(thing)
    libraries.check_ops(thing)
    own |= dict(unnamed.read_by(thing))
    own |= _globals(walk, thing)
    own |= {"code": Code(thing.__code__, thing.__doc__), "defaults": thing.__defaults__}
    own |= {"keyword defaults": thing.__kwdefaults__, **vars(thing)}
    return walk.named(path, "function", own.items())


def _of_this_package(thing: types.FunctionType) -> bool:
    return str(thing.__globals__.get("__name__")).partition(".")[0] == libraries.OWN_PACKAGE


def _globals(walk: Walk, thing: types.FunctionType) -> dict[str, object]:
    names = libraries.names_of(thing.__code__)
    own: dict[str, object] = {}
    for name in libraries.globals_of(thing.__code__) & set(thing.__globals__):
        own |= _global(walk, name, thing.__globals__[name], names)
    for name in libraries.imports_of(thing):
        try:
            own |= _global(walk, name, importlib.import_module(name), names)
        except ImportError:
            own[f"globals.{name}"] = None
    return own


def _global(walk: Walk, name: str, value: object, names: set[str]) -> dict[str, object]:
    """Return what a global name brings in: of a module of the user's own, what the code names of it."""
    if not isinstance(value, types.ModuleType):
        return {f"globals.{name}": value}
    if walk.library(value.__name__):
        return {f"globals.{name}": value.__name__, **_of_library(name, value, names)}
    if names & unnamed.BY_TEXT:
        return {f"globals.{name}": value}
    own: dict[str, object] = {}
    for inner in names & set(vars(value)):
        part = vars(value)[inner]
        if isinstance(part, types.ModuleType):
            own |= _global(walk, f"{name}.{inner}", part, names - {inner})
        else:
            own[f"globals.{name}.{inner}"] = part
    return own


def _of_library(name: str, module: types.ModuleType, names: set[str]) -> dict[str, object]:
    """Return what the code names of a library's module, and of those below it, and someone patched."""
    own = {f"globals.{name}.{inner}": value for inner, value in unnamed.patched(module, names).items()}
    for inner in names & set(vars(module)):
        part = vars(module)[inner]
        if isinstance(part, types.ModuleType):
            own |= _of_library(f"{name}.{inner}", part, names - {inner})
        elif isinstance(part, type) and unnamed.patched(part):
            own[f"globals.{name}.{inner}"] = part
    return own


def python_module(walk: Walk, thing: types.ModuleType, path: str) -> str:
    """A module held as an object: a library by its name, one of the user's own by all that it holds."""
    if walk.library(thing.__name__):
        return hashed("library", thing.__name__)
    public = {name: value for name, value in vars(thing).items() if not name.startswith("__")}
    return walk.named(path, "python module", public.items())


def code(walk: Walk, thing: Code, path: str) -> str:
    """Instructions, constants and names; neither file nor line."""
    inner = thing.code
    constants = [
        Code(value) if isinstance(value, types.CodeType) else value
        for value in inner.co_consts
        if value is None or value != thing.docstring
    ]
    names = (inner.co_names, inner.co_varnames, inner.co_freevars, inner.co_cellvars)
    counts = (inner.co_argcount, inner.co_posonlyargcount, inner.co_kwonlyargcount, inner.co_flags)
    return hashed("code", walk.digest([inner.co_code, inner.co_exceptiontable, constants, *names, *counts], path))


def cells(walk: Walk, thing: Cells, path: str) -> str:
    """The values of a closure, by name."""
    values = {}
    for name, cell in zip(thing.names, thing.cells, strict=True):
        try:
            values[name] = cell.cell_contents
        except ValueError:  # not filled yet
            values[name] = None
    return walk.named(path, "closure", values.items())


def python_class(walk: Walk, thing: type, path: str) -> str:
    """A class with all it inherits: a library's by name, one of the user's own by what it holds."""
    if walk.library(thing.__module__):
        named = hashed("library", thing.__module__, thing.__qualname__)
        patched = unnamed.patched(thing)
        return hashed(named, walk.named(path, "patched", patched.items())) if patched else named
    generated = {name for name, value in vars(thing).items() if _is_generated(thing, value)}
    own: dict[str, object] = {
        name: value
        for name, value in vars(thing).items()
        if name not in OF_CLASS | generated and not isinstance(value, SLOTS)
    }
    own |= {"__bases__": thing.__bases__, "__metaclass__": type(thing)}
    if "__dataclass_fields__" in vars(thing):
        own["__fields__"] = [(name, part.default, part.default_factory) for name, part in _fields(thing)]
    return walk.named(path, f"class {thing.__name__}", own.items())


def _fields(thing: Any) -> list[tuple[str, Any]]:
    return list(thing.__dataclass_fields__.items())


def _is_generated(thing: type, value: object) -> bool:
    """Whether a method was written by `dataclass` or `namedtuple`: the fields say it all."""
    if not isinstance(value, types.FunctionType):
        return False
    if value.__name__ == "__repr__" and "__dataclass_fields__" in vars(thing):  # wrapped by a library, computes nothing
        return True
    return (
        value.__code__.co_filename.startswith("<")
        and ("__dataclass_fields__" in vars(thing) or "_fields" in vars(thing))
        and value.__name__.startswith("__")
    )


def method(walk: Walk, thing: types.MethodType, path: str) -> str:
    """A bound method: its function and what it is bound to."""
    return hashed(
        "method", walk.digest(thing.__func__, f"{path}.__func__"), walk.digest(thing.__self__, f"{path}.__self__")
    )


def wrapper(walk: Walk, thing: Any, path: str) -> str:
    """A static or class method, or a cached function: what it wraps."""
    return hashed(type(thing).__name__, walk.digest(thing.__wrapped__, f"{path}.__wrapped__"))


def computed_property(walk: Walk, thing: property, path: str) -> str:
    """A property: its functions."""
    return hashed("property", walk.digest([thing.fget, thing.fset], path))


def builtin(walk: Walk, thing: Any, path: str) -> str:
    """A compiled function: of a library by its name, else it cannot be seen."""
    owner = getattr(thing, "__self__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        return hashed("builtin of", thing.__name__, walk.digest(owner, f"{path}.__self__"))
    home = getattr(thing, "__module__", None) or getattr(owner, "__name__", "builtins")
    if not walk.library(home):
        raise UnseenError(f"{path} is compiled code ({home}.{thing.__name__})")
    return hashed("builtin", home, thing.__qualname__)


def descriptor(walk: Walk, thing: Any, path: str) -> str:
    """A method of a compiled class."""
    return hashed("descriptor", thing.__name__, walk.digest(thing.__objclass__, f"{path}.__objclass__"))


def op(walk: Walk, thing: Any, path: str) -> str:
    """An op of torch, by its name."""
    namespace = str(getattr(thing, "_qualified_op_name", None) or thing.name()).partition("::")[0]
    if namespace not in libraries.KNOWN_OPS:
        raise UnseenError(f"{path} is compiled code (torch.ops.{thing})")
    return hashed("op", str(thing))


def refused(walk: Walk, thing: object, path: str) -> str:
    """What torch has compiled: nothing of it can be read."""
    raise UnseenError(f"{path} is compiled ({type(thing).__name__})")
