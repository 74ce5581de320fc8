"""How objects are looked at: networks, and whatever else has attributes."""

from __future__ import annotations

import copyreg
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from cem_bench.models.identity.libraries import UnseenError
from cem_bench.models.identity.walk import Walk, hashed

# what a module keeps for training, for saving and for speed
PASSED_OVER = {
    "_backward_hooks",
    "_backward_pre_hooks",
    "_compiled_call_impl",
    "_forward_hooks_always_called",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_is_full_backward_hook",
    "_load_state_dict_post_hooks",
    "_load_state_dict_pre_hooks",
    "_non_persistent_buffers_set",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
}
OF_GRAPH = {"_code", "_graph", "_tracer_cls", "meta"}  # a graph module runs the source that was made of its graph
TABLES = ("_parameters", "_buffers", "_modules")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def module(walk: Walk, thing: nn.Module, path: str) -> str:
    """A network: its class, every attribute, tensor and submodule, their order, and the hooks that act in a forward."""
    if thing._compiled_call_impl is not None:
        raise UnseenError(f"{path} is compiled (Module.compile)")
    own: dict[str, Any] = {name: value for name, value in vars(thing).items() if name not in PASSED_OVER}
    if isinstance(thing, torch.fx.GraphModule):
        own = {name: value for name, value in own.items() if name not in OF_GRAPH} | {"__source__": thing.code}
    for table in TABLES:
        own |= own.pop(table, {})
    for hooks in HOOKS:
        own[hooks] = list(own.pop(hooks, {}).values())
    own |= {"__order__": list(thing._modules), "__class__": type(thing)}
    return walk.named(path, "module", own.items())


def anything(walk: Walk, thing: Any, path: str) -> str:
    """Any other object: its class, and its state by attributes and slots, or as a library's object pickles.

    Raises:
        UnseenError: if it keeps its state to itself.
    """
    kind = type(thing)
    try:
        reduced = thing.__reduce_ex__(4)
    except Exception as error:
        raise UnseenError(f"{path} keeps its state to itself ({kind.__name__})") from error
    if isinstance(reduced, str):
        home = getattr(thing, "__module__", None) or kind.__module__
        if not walk.library(home):
            raise UnseenError(f"{path} is compiled code ({home}.{reduced})")
        return hashed("global", home, reduced)
    make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    own = walk.digest(kind, f"{path}.__class__")
    if make is copyreg.__newobj__:  # pyright: ignore[reportAttributeAccessIssue]
        make, arguments = None, (arguments or ())[1:]
    held = [make, arguments, list(items or ()), list(pairs or ())]
    if _pickles_its_own_way(kind) and walk.library(kind.__module__):
        return hashed("object", own, walk.digest([*held, state], f"{path}.state"))
    return hashed("object", own, walk.digest(held, f"{path}.state"), walk.named(path, "", attributes(thing)))


def _pickles_its_own_way(kind: type) -> bool:
    ways = ("__reduce__", "__reduce_ex__", "__getstate__")
    return any(getattr(kind, way, None) is not getattr(object, way, None) for way in ways)


def attributes(thing: Any) -> Iterator[tuple[str, object]]:
    """Yield the attributes of an object, those in slots included."""
    yield from getattr(thing, "__dict__", {}).items()
    for kind in type(thing).__mro__:
        for name, slot in vars(kind).items():
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    yield name, slot.__get__(thing, kind)
                except AttributeError:  # never filled
                    continue


def pointer(walk: Walk, thing: Any, path: str) -> str:
    """A weak reference: what it points to."""
    return hashed("pointer", walk.digest(thing(), f"{path}()"))
