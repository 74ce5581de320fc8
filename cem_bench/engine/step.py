"""A step: one recorded call together with its region rule, and what the rules share to build one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cem_bench.engine import reads as read
from cem_bench.engine.layout import Layout
from cem_bench.engine.trace import Call, Ref, refs

if TYPE_CHECKING:
    from cem_bench.inputs.geometry import Rect

Values = dict[Ref, Tensor]
Run = Callable[["Rect", Values, int], Tensor]


@dataclass(frozen=True)
class Step:
    """One call with its region rule.

    Attributes:
        call: what to call.
        inputs: the references it reads, each once.
        reads: rows and columns that each input must give for a region of the output.
        layout: layout of the output.
        run: (region, windows of the inputs, batch rows) -> value of the region.
        fill: what stands outside the image in the windows.
        work: multiply-adds (or plain operations) an output position and batch row.
        whole: whether the recorded call itself, on whole inputs, gives the whole output for any batch.
        local: False for a global step.
        constants: tensors that the windows need but the input does not change.
    """

    call: Call
    inputs: tuple[Ref, ...]
    reads: tuple[read.Pair, ...]
    layout: Layout
    run: Run
    fill: float = 0.0
    work: float = 1.0
    whole: bool = False
    local: bool = True
    constants: dict[Ref, tuple[Tensor, Layout]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name of the op and the module it belongs to."""
        return f"{self.call.where or 'network'}: {self.call.name}"


Layouts = Callable[[Ref], Layout]
Rule = Callable[[Call, Layouts], Step | None]


def inputs_of(call: Call) -> tuple[Ref, ...]:
    """Return the references a call reads, each once, in order."""
    return tuple(dict.fromkeys(refs((call.args, call.kwargs))))


def recall(call: Call) -> Run:
    """Return a run that makes the recorded call on the windows."""
    return lambda region, values, rows: call(values.__getitem__)


def between(out: Layout, into: Layout, rule: Callable[[int, int], read.Reads]) -> read.Pair:
    """Return the reads of rows and columns from the extents of output and input."""
    return rule(out.extent[0], into.extent[0]), rule(out.extent[1], into.extent[1])


def aligned(outputs: int, size: int) -> read.Reads:
    """Same position, or the single one that is broadcast."""
    return read.same(size) if outputs == size else read.whole(outputs, size)


def elements(layout: Layout) -> float:
    """Return how many numbers stand at one image position of one batch row."""
    return prod(size for name, size in layout.atoms if name not in ("b", "y", "x"))


def argument(call: Call, position: int, name: str, default: Any = None) -> Any:
    """Return an argument of a call by position or name."""
    return call.args[position] if len(call.args) > position else call.kwargs.get(name, default)


def axes_of(call: Call, position: int, name: str, ndim: int, default: Any = None) -> list[int]:
    """Return the axes a call names, counted from the front; all of them where it names none."""
    given = argument(call, position, name, default)
    given = list(range(ndim)) if given is None else [given] if isinstance(given, int) else list(given)
    return [axis % ndim for axis in given]


def local(call: Call, layout: Layout, layouts: Layouts, run: Run | None = None, **more: Any) -> Step:
    """Return a step whose output positions read the same positions of every input."""
    inputs = inputs_of(call)
    known = more.get("constants", {})
    pairs = tuple(between(layout, known[ref][1] if ref in known else layouts(ref), aligned) for ref in inputs)
    return Step(call, inputs, pairs, layout, run or recall(call), **{"work": elements(layout), **more})
