"""Record a network as a flat list of calls by running it once on the observation.

Every torch function that touches a tensor derived from the input becomes one `Call`; what depends on weights and sizes
only (position biases, attention masks) becomes a constant. Running for real, at the real size, takes any Python code:
loops, size-dependent branches, recurrences. What the record cannot hold (values that steer Python) is refused.
`torch.fx` symbolic tracing is not used because it stops at exactly such code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
        where: the module that made the call.
    """

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    pick: int | None
    shape: tuple[int, ...]
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


@dataclass
class _Recorder(TorchFunctionMode):
    """Writes down the calls made while it is active."""

    where: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.known = WeakIdKeyDictionary()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        mine = self._referenced((args, kwargs))
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if refs(mine) and name not in _MAKERS and not (name in _CASTS and not isinstance(mine[0][0], Ref)):
            self._note(func, mine[0], mine[1], result)
        return result

    def _referenced(self, thing: Any) -> Any:
        if isinstance(thing, Tensor):
            return self.known.get(thing, thing)
        if type(thing) in (list, tuple):
            return type(thing)(self._referenced(item) for item in thing)
        if isinstance(thing, dict):
            return {key: self._referenced(item) for key, item in thing.items()}
        return thing

    def _note(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        fn, kwargs = _pure(func, kwargs)
        raw = getattr(func, "__name__", type(func).__name__)
        name = getattr(fn, "__name__", raw).strip("_")
        if isinstance(result, Tensor):
            self._add(Call(name, fn, args, kwargs, None, tuple(result.shape), self._place()), result)
        elif isinstance(result, tuple | list) and result and all(isinstance(item, Tensor) for item in result):
            for pick, item in enumerate(result):
                self._add(Call(name, fn, args, kwargs, pick, tuple(item.shape), self._place()), item)
        elif raw not in _ABOUT_SHAPE:
            raise NotTraceable(f"{self._place() or 'network'}: {raw} gives no tensor, so a record cannot follow it")

    def _add(self, call: Call, value: Tensor) -> None:
        self.known[value] = Ref(len(self.calls))
        self.calls.append(call)

    def _place(self) -> str:
        return self.where[-1] if self.where else ""


def trace(restorer: nn.Module, observation: Tensor) -> tuple[list[Call], Ref, Tensor]:
    """Record one forward of a network.

    Args:
        restorer: the network, in eval mode.
        observation: (3, h, w).

    Returns:
        The calls in order, the reference of the output, and the output itself, (1, 3, h * scale, w * scale).

    Raises:
        NotTraceable: when values of the image steer Python, or the output does not come from the input.
    """
    recorder = _Recorder()
    handles = [hook for name, module in restorer.named_modules() for hook in _naming(module, name, recorder.where)]
    value = observation[None].clone()
    recorder.known[value] = Ref(-1)
    try:
        with recorder:
            output = restorer(value)
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(output, Tensor) or output not in recorder.known:
        raise NotTraceable("the output is not a tensor computed from the input by recorded calls")
    return recorder.calls, recorder.known[output], output


def _naming(module: nn.Module, name: str, where: list[str]) -> Sequence[Any]:
    def leave(*_: Any) -> None:
        where.pop()

    return module.register_forward_pre_hook(lambda *_: where.append(name)), module.register_forward_hook(leave)
