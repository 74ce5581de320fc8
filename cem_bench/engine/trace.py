"""Record a network as a flat list of calls by running it once on the observation.

Every torch function that touches a tensor derived from the input becomes one `Call`; what depends on weights and sizes
only (position biases, attention masks) becomes a constant. Running for real, at the real size, takes any Python code:
loops, size-dependent branches, recurrences. What the record cannot hold is refused: values that steer Python, values
that are written into a tensor which another name or view can show. `agree` compares two records of one network.
`torch.fx` symbolic tracing is not used because it stops at exactly such code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from cem_bench.engine.base import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import nn

_ABOUT_SHAPE = frozenset(
    (
        "size",
        "dim",
        "ndimension",
        "numel",
        "nelement",
        "stride",
        "is_contiguous",
        "is_floating_point",
        "get_device",
        "element_size",
        "is_complex",
        "storage_offset",
        "__len__",
        "__get__",
        "is_inference",
    )
)

# Calls that take only the type, shape or device of a tensor: their results are constants.
_MAKERS = frozenset(
    (
        "zeros_like",
        "ones_like",
        "empty_like",
        "full_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_tensor",
    )
)
_CASTS = frozenset({"type_as", "to"})


class NotTraceable(EngineError):
    """The network does something that a record of calls cannot hold."""


@dataclass(frozen=True)
class Ref:
    """Stands in recorded arguments for the value of call `index`; -1 is the observation."""

    index: int


@dataclass(frozen=True)
class Call:
    """One recorded call.

    Attributes:
        name: plain name of the op, without underscores.
        fn: the function to call again; never one that works in place.
        args: positional arguments with `Ref` for tensors derived from the input.
        kwargs: keyword arguments, likewise.
        pick: which output, for functions that return several.
        shape: shape of the value, for one batch row.
        dtype: of the value.
        where: the module that made the call.
    """

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    pick: int | None
    shape: tuple[int, ...]
    dtype: torch.dtype
    where: str

    def __call__(self, values: Callable[[Ref], Tensor]) -> Tensor:
        """Call again with other values for the references."""
        result = self.fn(*_fill(self.args, values), **_fill(self.kwargs, values))
        return result if self.pick is None else result[self.pick]


def _fill(thing: Any, values: Callable[[Ref], Any]) -> Any:
    if isinstance(thing, Ref):
        return values(thing)
    if isinstance(thing, list | tuple) and type(thing) in (list, tuple):
        return type(thing)(_fill(item, values) for item in thing)
    if isinstance(thing, dict):
        return {key: _fill(item, values) for key, item in thing.items()}
    return thing


def refs(thing: Any) -> list[Ref]:
    """Return the references in recorded arguments, in order."""
    if isinstance(thing, Ref):
        return [thing]
    items = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list | tuple) else ()
    return [ref for item in items for ref in refs(item)]


def _pure(fn: Callable[..., Any], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the counterpart of a function that leaves its arguments alone."""
    name = getattr(fn, "__name__", "")
    kwargs = {**kwargs, "inplace": False} if kwargs.get("inplace") else kwargs
    if name.startswith("__i") and hasattr(Tensor, f"__{name[3:]}"):
        return getattr(Tensor, f"__{name[3:]}"), kwargs
    if name.endswith("_") and not name.endswith("__") and hasattr(Tensor, name[:-1]):
        return getattr(Tensor, name[:-1]), kwargs
    return fn, kwargs


@dataclass(frozen=True, eq=False)
class Record:
    """One forward of a network.

    Attributes:
        calls: in order.
        output: the value that is the network's answer.
        value: the answer itself, (b, 3, h * scale, w * scale).
    """

    calls: list[Call]
    output: Ref
    value: Tensor


def _version(tensor: Tensor) -> int:
    """Return how often a tensor's memory was written, by whatever view of it; -1 where torch does not count."""
    return -1 if tensor.is_inference() else tensor._version


def _tensors(thing: Any) -> list[Tensor]:
    if isinstance(thing, Tensor):
        return [thing]
    items = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list | tuple) else ()
    return [tensor for item in items for tensor in _tensors(item)]


@dataclass
class _Recorder(TorchFunctionMode):
    """Writes down the calls made while it is active.

    Attributes:
        where: modules that are running, by name, the innermost last.
        calls: so far.
    """

    where: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._known = WeakIdKeyDictionary()  # tensor -> its reference, and its version when it was recorded
        self._constants: list[tuple[Tensor, int, str]] = []  # tensors from elsewhere, their version, who read them
        self._written: list[Tensor] = []  # tensors from elsewhere that values of the image were written into
        self._apart = False  # whether `.data` gave views whose writes are not counted

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        before = [_version(tensor) for tensor in given]
        mine, lost = self._referenced((args, kwargs)), any(map(self._is_lost, given))
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", type(func).__name__)
        if name in _ABOUT_SHAPE and not isinstance(result, Tensor):
            return result
        if lost:
            raise self._refusal(name, "reads a tensor that was changed through another view or name of it")
        if not refs(mine) or (name in _CASTS and not isinstance(mine[0][0], Ref)):
            return result
        if name in _MAKERS:
            if refs(mine[0][1:]) or refs(mine[1]):
                raise self._refusal(name, "fills a tensor with a value of the image")
            return result
        written = {id(tensor): tensor for tensor, old in zip(given, before, strict=True) if _version(tensor) != old}
        self._note(func, mine[0], mine[1], result, list(written.values()))
        return result

    def begin(self, image: Tensor) -> None:
        """Take a tensor as the observation."""
        self._known[image] = (Ref(-1), _version(image))

    def reference(self, value: Any) -> Ref | None:
        """Return the reference of a tensor; None where the record has no current value for it."""
        known = self._known.get(value) if isinstance(value, Tensor) else None
        return known[0] if known is not None and known[1] == _version(value) else None

    def check_constants(self) -> None:
        """Refuse tensors from elsewhere that were written again after a call had read them."""
        for tensor, version, place in self._constants:
            if _version(tensor) != version:
                raise NotTraceable(f"{place} reads a tensor that is written again later")

    def _is_lost(self, tensor: Tensor) -> bool:
        known = self._known.get(tensor)
        if known is not None:
            return known[1] != _version(tensor)
        return any(written.untyped_storage()._cdata == tensor.untyped_storage()._cdata for written in self._written)

    def _refusal(self, name: str, reason: str) -> NotTraceable:
        return NotTraceable(f"{self._place() or 'network'}: {name} {reason}, so a record cannot follow it")

    def _referenced(self, thing: Any) -> Any:
        if isinstance(thing, Tensor):
            known = self._known.get(thing)
            return thing if known is None else known[0]
        if type(thing) in (list, tuple):
            return type(thing)(self._referenced(item) for item in thing)
        if isinstance(thing, dict):
            return {key: self._referenced(item) for key, item in thing.items()}
        return thing

    def _note(self, func: Any, args: Any, kwargs: Any, result: Any, written: list[Tensor]) -> None:
        raw = getattr(func, "__name__", type(func).__name__)
        fn, pure = _pure(func, kwargs)
        follows = (fn is not func or pure is not kwargs) and len(written) == 1 and written[0] is result
        if (written and (self._apart or not follows)) or kwargs.get("out") is not None:
            raise self._refusal(raw, "writes into a tensor")
        self._apart |= func == Tensor.data.__get__  # pyright: ignore[reportAttributeAccessIssue]
        if written and not isinstance(args[0], Ref):
            self._written.append(result)
        place, name = self._place(), getattr(fn, "__name__", raw).strip("_")
        self._constants += [
            (item, _version(item), f"{place or 'network'}: {raw}")
            for item in _tensors((args, pure))
            if item is not result
        ]
        if isinstance(result, Tensor):
            self._add(Call(name, fn, args, pure, None, tuple(result.shape), result.dtype, place), result)
        elif isinstance(result, tuple | list) and result and all(isinstance(item, Tensor) for item in result):
            for pick, item in enumerate(result):
                self._add(Call(name, fn, args, pure, pick, tuple(item.shape), item.dtype, place), item)
        else:
            raise self._refusal(raw, "gives no tensor")

    def _add(self, call: Call, value: Tensor) -> None:
        self._known[value] = (Ref(len(self.calls)), _version(value))
        self.calls.append(call)

    def _place(self) -> str:
        return self.where[-1] if self.where else ""


def trace(restorer: nn.Module, images: Tensor) -> Record:
    """Record one forward of a network.

    Args:
        restorer: the network, in eval mode.
        images: (b, 3, h, w).

    Raises:
        NotTraceable: when values of the image steer Python or get lost, or the output does not come from the input.
    """
    hidden = [
        type(part).__name__
        for part in restorer.modules()
        if isinstance(part, torch.jit.ScriptModule)
        or type(part).__module__.startswith("torch._dynamo")
        or part._compiled_call_impl is not None
    ]
    if hidden:
        raise NotTraceable(f"{hidden[0]} is compiled: what it computes cannot be seen")
    recorder = _Recorder()
    handles = [hook for name, module in restorer.named_modules() for hook in _naming(module, name, recorder.where)]
    try:
        # only outside of inference mode does torch count who writes into which memory
        with torch.inference_mode(False), torch.no_grad():
            value = images.clone()
            recorder.begin(value)
            with recorder:
                output = restorer(value)
    finally:
        for handle in handles:
            handle.remove()
    reference = recorder.reference(output)
    if reference is None:
        raise NotTraceable("the output is not a tensor computed from the input by recorded calls")
    if not recorder.calls:
        raise NotTraceable("the network computes nothing")
    recorder.check_constants()
    return Record(recorder.calls, reference, output)


def _naming(module: nn.Module, name: str, where: list[str]) -> Sequence[Any]:
    def leave(*_: Any) -> None:
        where.pop()

    return module.register_forward_pre_hook(lambda *_: where.append(name)), module.register_forward_hook(leave)
