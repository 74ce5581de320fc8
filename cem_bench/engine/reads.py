"""One region rule per op, valid in both directions: which inputs each output index reads along one axis.

`Reads.need` (outputs -> inputs they read) and `Reads.reach` (inputs -> outputs that read them) come from the same
numbers, so the two cones of the engine cannot disagree.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from collections.abc import Sequence

Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Reads:
    """Output index o reads input indices first[o] .. last[o] - 1 (may lie outside: padding).

    Attributes:
        first: (outputs,) int.
        last: (outputs,) int.
        size: number of inputs.
    """

    first: np.ndarray
    last: np.ndarray
    size: int

    @cached_property
    def _sorted(self) -> tuple[list[int], list[int]] | None:
        """Both ends as lists, where they only grow (all ops but reflections and cyclic shifts)."""
        grows = (np.diff(self.first) >= 0).all() and (np.diff(self.last) >= 0).all()
        return (self.first.tolist(), self.last.tolist()) if grows else None

    @property
    def grows(self) -> bool:
        """Whether later outputs read later inputs, so that spans map to spans."""
        return self._sorted is not None

    def need(self, span: Span) -> Span:
        """Inputs that the outputs in `span` read, padding included."""
        start, stop = span
        if self._sorted:
            return self._sorted[0][start], self._sorted[1][stop - 1]
        return int(self.first[start:stop].min()), int(self.last[start:stop].max())

    def reach(self, span: Span) -> Span:
        """Outputs that read any input in `span` (their hull); an empty span where none does."""
        start, stop = span
        if self._sorted:
            return bisect_right(self._sorted[1], start), bisect_left(self._sorted[0], stop)
        readers = np.flatnonzero((self.first < stop) & (self.last > start))
        return (int(readers[0]), int(readers[-1]) + 1) if len(readers) else (0, 0)


@cache
def same(size: int) -> Reads:
    """Output o reads input o."""
    index = np.arange(size)
    return Reads(index, index + 1, size)


@cache
def whole(outputs: int, size: int) -> Reads:
    """Every output reads every input."""
    return Reads(np.zeros(outputs, int), np.full(outputs, size), size)


def gather(source: Sequence[int] | np.ndarray, size: int) -> Reads:
    """Output o reads input source[o]."""
    index = np.asarray(source, int)
    return Reads(index, index + 1, size)


def stretch(outputs: int, size: int, start: int) -> Reads:
    """Outputs start .. start + size - 1 read inputs 0 .. size - 1; the others read nothing."""
    index = np.arange(outputs) - start
    return Reads(np.clip(index, 0, size), np.clip(index + 1, 0, size), size)


def stencil(outputs: int, size: int, *, kernel: int, stride: int, dilation: int, padding: int) -> Reads:
    """A sliding window: convolution and pooling."""
    first = np.arange(outputs) * stride - padding
    return Reads(first, first + dilation * (kernel - 1) + 1, size)


def transposed(outputs: int, size: int, *, kernel: int, stride: int, dilation: int, padding: int) -> Reads:
    """A transposed convolution: output o reads i where o = i * stride - padding + dilation * j for some j < kernel."""
    index = np.arange(outputs) + padding
    first = -(-(index - dilation * (kernel - 1)) // stride)
    return Reads(np.clip(first, 0, size - 1), np.clip(index // stride + 1, 1, size), size)


@cache
def cells(outputs: int, size: int) -> Reads:
    """Merging or splitting: `size` inputs and `outputs` outputs cover the same length, one evenly inside the other."""
    if outputs == size:
        return same(size)
    index = np.arange(outputs)
    return Reads(index * size // outputs, -(-((index + 1) * size) // outputs), size)


def matrix(weights: np.ndarray) -> Reads:
    """A linear map along the axis: output o reads the inputs with non-zero weight in row o of (outputs, inputs)."""
    used = weights != 0
    return Reads(used.argmax(1), weights.shape[1] - used[:, ::-1].argmax(1), weights.shape[1])


Pair = tuple[Reads, Reads]


def need(pair: Pair, region: Rect) -> Rect:
    """Input region that an output region reads, padding included."""
    top, bottom = pair[0].need((region.top, region.bottom))
    left, right = pair[1].need((region.left, region.right))
    return Rect(top, left, bottom - top, right - left)


def reach(pair: Pair, region: Rect) -> Rect:
    """Output region that an input region can touch."""
    top, bottom = pair[0].reach((region.top, region.bottom))
    left, right = pair[1].reach((region.left, region.right))
    return Rect(top, left, bottom - top, right - left)
