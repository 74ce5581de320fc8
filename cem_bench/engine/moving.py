"""Rules of ops that move image positions: views, permutes, crops, cyclic shifts, borders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cem_bench.engine import reads as read
from cem_bench.engine.layout import Layout
from cem_bench.engine.step import Step, argument, axes_of, between, inputs_of, local, recall
from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from torch import Tensor

    from cem_bench.engine.step import Layouts, Values
    from cem_bench.engine.trace import Call, Ref


def reshape(call: Call, layouts: Layouts) -> Step | None:
    """Views: positions stay, windows are split off or merged back."""
    (ref,) = inputs_of(call)[:1]
    before = layouts(ref)
    after = before.reshaped(call.shape)
    if after is None:
        return None
    pair = between(after, before, read.cells)

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        inside = read.need(pair, region)
        top, left = inside.top * after.extent[0] // before.extent[0], inside.left * after.extent[1] // before.extent[1]
        height = inside.height * after.extent[0] // before.extent[0]
        width = inside.width * after.extent[1] // before.extent[1]
        covered = Rect(top, left, height, width)
        value = values[ref].reshape(after.shape(rows, covered))
        if covered == region:
            return value
        return after.crop(after.opened(value, rows, covered), region, covered).reshape(after.shape(rows, region))

    return Step(call, (ref,), (pair,), after, run, work=0)


def permute(call: Call, layouts: Layouts) -> Step | None:
    """Axes change places."""
    (ref,) = inputs_of(call)
    layout = layouts(ref)
    order = list(range(len(layout.axes)))
    if call.name == "permute":
        given = call.args[1:] if len(call.args) > 2 else argument(call, 1, "dims")
        order = [axis % len(order) for axis in given]
    else:
        first, second = (argument(call, 1 + i, f"dim{i}", i) % len(order) for i in range(2))
        order[first], order[second] = order[second], order[first]
    return local(call, layout.permuted(order), layouts, work=0)


def getitem(call: Call, layouts: Layouts) -> Step | None:
    """Indexing with integers, slices, None and Ellipsis; slices of rows or columns are crops."""
    (ref,) = inputs_of(call)[:1]
    before, index = layouts(ref), call.args[1]
    index = index if isinstance(index, tuple) else (index,)
    if not all(item is None or item is Ellipsis or isinstance(item, int | slice) for item in index):
        return None
    index = _full_index(index, len(before.axes))
    axes: list[Any] = []
    picks: list[Any] = []
    sources = [read.same(size) for size in before.extent]
    source = iter(range(len(before.axes)))
    for item in index:
        axis = None if item is None else next(source)
        here = () if axis is None else before.axes[axis]
        size = 1 if axis is None else prod(part for _, part in here)
        pinned = axis is not None and before.holds(axis)
        picks.append(item)
        if isinstance(item, int):
            if pinned:
                return None
        elif item is None or item == slice(None):
            axes.append(here)
        elif not pinned:
            axes.append(Layout(((),)).replaced({0: len(range(*item.indices(size)))}).axes[0])
        elif len(here) == 1 and here[0][0] in ("y", "x"):
            chosen = range(*item.indices(size))
            sources["yx".index(here[0][0])] = read.gather(chosen, size)
            axes.append(((here[0][0], len(chosen)),) if len(chosen) > 1 else ())
            picks[-1] = slice(None)
        else:
            return None
    inner = replace(call, args=(ref, tuple(picks)))
    return _moved(inner, ref, Layout(tuple(axes)), (sources[0], sources[1]), lambda value: inner(lambda _: value))


def _full_index(index: tuple[Any, ...], ndim: int) -> list[Any]:
    used = sum(item is not None and item is not Ellipsis for item in index)
    rest = [slice(None)] * (ndim - used)
    if Ellipsis not in [item for item in index if item is Ellipsis]:
        return [*index, *rest]
    place = next(i for i, item in enumerate(index) if item is Ellipsis)
    return [*index[:place], *rest, *index[place + 1 :]]


def _moved(call: Call, ref: Ref, layout: Layout, pair: read.Pair, then: Callable[[Tensor], Tensor]) -> Step:
    """Return a step that picks rows and columns one by one: crops, rolls, flips, reflections, nearest neighbours."""

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        value = then(values[ref])
        inside = read.need(pair, region)
        for name, source, start, stop, origin in (
            ("y", pair[0], region.top, region.bottom, inside.top),
            ("x", pair[1], region.left, region.right, inside.left),
        ):
            chosen = source.first[start:stop] - origin
            places = [axis for axis, atoms in enumerate(layout.axes) if len(atoms) == 1 and atoms[0][0] == name]
            if places and (len(chosen) != value.shape[places[0]] or (chosen[1:] - chosen[:-1] != 1).any()):
                value = value.index_select(places[0], _index(chosen, value))
        return value

    return Step(call, (ref,), (pair,), layout, run, work=0)


def _index(numbers: Any, like: Tensor) -> Tensor:
    return torch.as_tensor(numbers, device=like.device)


def roll(call: Call, layouts: Layouts) -> Step | None:
    """Cyclic shifts and flips of rows and columns."""
    (ref,) = inputs_of(call)
    layout = layouts(ref)
    turned = call.name == "flip"
    axes = axes_of(call, 1 if turned else 2, "dims", len(layout.axes))
    shifts = [0] * len(axes) if turned else argument(call, 1, "shifts")
    shifts = [shifts] if isinstance(shifts, int) else shifts
    sources = [read.same(size) for size in layout.extent]
    for axis, shift in zip(axes, shifts, strict=True):
        here = layout.axes[axis]
        if len(here) != 1 or here[0][0] not in ("y", "x"):
            return None
        index = np.arange(here[0][1])
        sources["yx".index(here[0][0])] = read.gather(index[::-1] if turned else np.roll(index, shift), len(index))
    return replace(_moved(call, ref, layout, (sources[0], sources[1]), lambda value: value), whole=True)


def joined(call: Call, layouts: Layouts, axis: int) -> Step | None:
    """Concatenation along rows or columns: every input gives the stretch that it fills."""
    inputs = inputs_of(call)
    known = [layouts(ref) for ref in inputs]
    here = [layout.axes[axis] for layout in known]
    others = {(*layout.axes[:axis], *layout.axes[axis + 1 :]) for layout in known}
    whole_rows = all(len(atoms) == 1 and atoms[0][0] in ("y", "x") for atoms in here)
    if len(inputs) != len(argument(call, 0, "tensors")) or len(others) > 1 or not whole_rows:
        return None
    ((name, _),) = here[0]
    after = Layout((*known[0].axes[:axis], ((name, call.shape[axis]),), *known[0].axes[axis + 1 :]))
    pairs, start = [], 0
    for ((_, size),) in here:
        stretch, start = read.stretch(call.shape[axis], size, start), start + size
        rest = read.same(after.extent[0 if name == "x" else 1])
        pairs.append((stretch, rest) if name == "y" else (rest, stretch))
    return Step(call, inputs, tuple(pairs), after, recall(call), work=0)


_BORDERS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    "reflect": lambda index, amounts: np.pad(index, amounts, mode="reflect"),
    "replicate": lambda index, amounts: np.pad(index, amounts, mode="edge"),
    "circular": lambda index, amounts: np.pad(index, amounts, mode="wrap"),
}


def pad(call: Call, layouts: Layouts) -> Step | None:
    """Constant, reflected, repeated and cyclic borders, and crops by negative padding."""
    (ref,) = inputs_of(call)[:1]
    layout = layouts(ref)
    amounts, mode = list(argument(call, 1, "pad")), argument(call, 2, "mode", "constant")
    if not layout.is_image or len(amounts) > 4:
        return None
    amounts += [0] * (4 - len(amounts))
    after = Layout.image(call.shape)
    sources = []
    for size, (low, high) in zip(layout.extent, (amounts[2:], amounts[:2]), strict=True):
        index = np.arange(size)
        if mode == "constant":
            sources.append(read.gather(np.arange(-low, size + high), size))
        else:
            sources.append(read.gather(_BORDERS[mode](index, (low, high)), size))
    step = _moved(call, ref, after, (sources[0], sources[1]), lambda value: value)
    return replace(step, fill=float(argument(call, 3, "value") or 0.0))
