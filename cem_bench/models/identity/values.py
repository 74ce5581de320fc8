"""How data is looked at: numbers, strings, containers, arrays, tensors."""

from __future__ import annotations

import hashlib
import threading
import types
from collections import OrderedDict, defaultdict, deque
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from cem_bench.models.identity.libraries import UnseenError
from cem_bench.models.identity.walk import Walk, hashed

PLAIN = (int, bool, float, complex, str, bytes, bytearray, type(None), type(...), type(NotImplemented), range, slice)
# no number hangs on these
SILENT = (torch.device, type(threading.Lock()), type(threading.RLock()), RemovableHandle)
SPELLED = (torch.dtype, torch.layout, torch.memory_format, torch.finfo, torch.iinfo, np.dtype)
SEQUENCES = (list, tuple, deque, torch.Size)
MAPPINGS = (dict, OrderedDict, defaultdict, types.MappingProxyType)
SETS = (set, frozenset)
TENSORS = (Tensor, nn.Parameter, nn.Buffer)


def plain(walk: Walk, thing: object, path: str) -> str:
    """A number or a text: its type and how it is written."""
    return hashed(type(thing).__name__, repr(thing))


def spelled(walk: Walk, thing: object, path: str) -> str:
    """A type of numbers, by name."""
    return hashed(type(thing).__name__, str(thing))


def silent(walk: Walk, thing: object, path: str) -> str:
    """What changes no number: that it is there."""
    return hashed(type(thing).__name__)


def is_sequence(thing: object) -> bool:
    """Say whether a thing is a plain sequence or a named tuple."""
    return type(thing) in SEQUENCES or (isinstance(thing, tuple) and hasattr(thing, "_fields"))


def sequence(walk: Walk, thing: Any, path: str) -> str:
    """The elements in order."""
    items = (walk.digest(value, f"{path}[{place}]") for place, value in enumerate(thing))
    return hashed(type(thing).__name__, str(getattr(thing, "maxlen", "")), *items)


def mapping(walk: Walk, thing: Any, path: str) -> str:
    """The entries in order: a network may loop over them."""
    texts = []
    for place, (key, value) in enumerate(thing.items()):
        name = key if isinstance(key, str) else place
        texts.append(hashed(walk.apart(key), walk.digest(value, f"{path}[{name}]")))
    factory = walk.digest(getattr(thing, "default_factory", None), f"{path}.default_factory")
    return hashed(type(thing).__name__, factory, *texts)


def unordered(walk: Walk, thing: Any, path: str) -> str:
    """The elements of a set in the order of their digests: its own order changes from process to process."""
    return hashed(type(thing).__name__, *sorted(walk.apart(value) for value in thing))


def tensor_digest(tensor: Tensor) -> str:
    """Return the digest of a tensor's type, shape and values, wherever it lies.

    Raises:
        UnseenError: if it has no values.
    """
    if tensor.is_meta or nn.parameter.is_lazy(tensor):
        raise UnseenError("a tensor has no values yet")
    values = tensor.detach()
    if values.is_quantized:
        values = values.dequantize()
    if values.layout is not torch.strided:
        values = values.to_dense()
    flat = values.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    content = flat.view(torch.uint8).numpy().data if flat.numel() else b""
    return hashed(str(tensor.dtype), str(tuple(tensor.shape)), hashlib.sha256(content).hexdigest())


def tensor(walk: Walk, thing: Tensor, path: str) -> str:
    """Type, shape and values, and what was hung on the tensor; neither device nor gradient."""
    try:
        own = tensor_digest(thing)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise UnseenError(f"{path}: the values of a {type(thing).__name__} cannot be read") from error
    kind = "" if type(thing) in TENSORS else walk.digest(type(thing), f"{path}.__class__")
    return hashed("tensor", own, kind, walk.named(path, "", vars(thing).items()) if vars(thing) else "")


def array(walk: Walk, thing: np.ndarray, path: str) -> str:
    """Type, shape and values of a NumPy array."""
    if thing.dtype.hasobject:
        return hashed("array", str(thing.shape), walk.digest(thing.tolist(), path))
    mask = walk.digest(np.asarray(thing.mask), f"{path}.mask") if isinstance(thing, np.ma.MaskedArray) else ""
    content = hashlib.sha256(np.ascontiguousarray(thing).tobytes()).hexdigest()
    return hashed("array", str(thing.dtype.descr), str(thing.shape), content, mask)


def number(walk: Walk, thing: np.generic, path: str) -> str:
    """A NumPy scalar."""
    return hashed("number", thing.dtype.str, repr(thing.item()))


def enum_member(walk: Walk, thing: Enum, path: str) -> str:
    """A member of an enumeration."""
    return hashed("enum", walk.digest(type(thing), f"{path}.__class__"), thing.name)


def generator(walk: Walk, thing: torch.Generator, path: str) -> str:
    """The state of a generator."""
    return hashed("generator", tensor_digest(thing.get_state()))
