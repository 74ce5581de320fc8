"""Which kind of thing is looked at how, and the walk from end to end."""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cem_bench.models.identity import code, libraries, objects, unnamed, values
from cem_bench.models.identity.libraries import UnseenError
from cem_bench.models.identity.walk import Look, Walk, hashed

COMPILED = (torch.jit.ScriptModule, torch.jit.ScriptFunction)
COMPILER = "torch._dynamo"  # whose import takes seconds: its things are told by name
WRAPPERS = (staticmethod, classmethod, functools._lru_cache_wrapper)
BUILTINS = (types.BuiltinFunctionType, types.MethodWrapperType)
DESCRIPTORS = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
OPS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)


def _exactly(*kinds: type) -> Callable[[Any], bool]:
    return lambda thing: type(thing) in kinds


def _of(*kinds: Any) -> Callable[[Any], bool]:
    return lambda thing: isinstance(thing, kinds)


def _is_compiled(thing: Any) -> bool:
    of_compiler = type(thing).__module__.startswith(COMPILER) or "_torchdynamo_orig_callable" in getattr(
        thing, "__dict__", ()
    )
    return of_compiler or isinstance(thing, COMPILED)


# the first that fits counts
LOOKS: tuple[tuple[Callable[[Any], bool], Look], ...] = (
    (_exactly(*values.PLAIN), values.plain),
    (_of(*values.SPELLED), values.spelled),
    (_of(*values.SILENT), values.silent),
    (_is_compiled, code.refused),
    (_of(nn.Module), objects.module),
    (_of(Tensor), values.tensor),
    (_of(np.ndarray), values.array),
    (_of(np.generic), values.number),
    (_of(Enum), values.enum_member),
    (values.is_sequence, values.sequence),
    (_exactly(*values.MAPPINGS), values.mapping),
    (_exactly(*values.SETS), values.unordered),
    (_of(torch.Generator), values.generator),
    (_of(types.FunctionType), code.function),
    (_of(types.MethodType), code.method),
    (_of(*OPS), code.op),
    (_of(*BUILTINS), code.builtin),
    (_of(*DESCRIPTORS), code.descriptor),
    (_of(*WRAPPERS), code.wrapper),
    (_of(property), code.computed_property),
    (_exactly(code.Code), code.code),
    (_exactly(code.Cells), code.cells),
    (_of(types.ModuleType), code.python_module),
    (lambda thing: type(thing).__module__ == "typing", values.spelled),
    (_of(types.GenericAlias, types.UnionType), values.spelled),
    (_of(type), code.python_class),
    (_of(weakref.ReferenceType), objects.pointer),
    (lambda thing: True, objects.anything),
)


@dataclass(frozen=True)
class Computation:
    """What a walk saw.

    Attributes:
        parts: part, as "network.body.0.weight", to its digest.
        libraries: name to version of every library that takes part.
    """

    parts: Mapping[str, str]
    libraries: Mapping[str, str]

    def replaced(self, others: Mapping[str, str | None]) -> Computation:
        """Return the same with other digests for some parts; None takes a part away."""
        parts = {name: digest for name, digest in {**self.parts, **others}.items() if digest is not None}
        return Computation(parts, self.libraries)

    @property
    def sha256(self) -> str:
        """One digest of all parts."""
        return hashed(*(text for part in sorted(self.parts.items()) for text in part))


def computation(thing: object, name: str = "network") -> Computation:
    """Walk over all that decides what a callable computes.

    Args:
        thing: a module, a function, or any other callable.
        name: what the names of the parts start with.

    Raises:
        UnseenError: if something in it cannot be seen: compiled code, code without source, an object that keeps its
            state to itself; the message says which.
    """
    walk = Walk(LOOKS)
    try:
        walk.parts[name] = walk.digest(thing, name)
        walk.named(name, "hooks of every module", unnamed.global_hooks().items())
    except RecursionError as error:
        raise UnseenError(f"{name} is nested too deep to be walked over") from error
    return Computation(walk.parts, {"python": libraries.python_version(), **walk.libraries})
