"""Rules of ops that treat every image position alike, whatever the shape of the tensor."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cem_bench.engine.kernels import in_one_kernel
from cem_bench.engine.layout import PINNED, Layout, broadcast
from cem_bench.engine.moving import joined
from cem_bench.engine.step import argument, axes_of, elements, inputs_of, local
from cem_bench.engine.trace import Ref

if TYPE_CHECKING:
    from cem_bench.engine.layout import Axis
    from cem_bench.engine.step import Layouts, Rule, Run, Step, Values
    from cem_bench.engine.trace import Call
    from cem_bench.inputs.geometry import Rect


def pointwise(call: Call, layouts: Layouts) -> Step | None:
    """Ops of one image and of parameters that belong to other axes: activations, BatchNorm in eval mode."""
    (ref,) = inputs_of(call)[:1]
    if len(inputs_of(call)) > 1 or (argument(call, 5, "training", False) is True and call.name == "batch_norm"):
        return None
    return local(call, layouts(ref), layouts)


def alias(call: Call, layouts: Layouts) -> Step | None:
    """Copies and memory orders: the same values, so nothing is done (no step changes its inputs)."""
    (ref,) = inputs_of(call)[:1]
    return local(call, layouts(ref), layouts, lambda region, values, rows: values[ref], work=0)


def elementwise(call: Call, layouts: Layouts, *, along: int | None = None) -> Step | None:
    """Ops of several operands, aligned at their last axis; constants that hold image positions are cut with them."""
    ndim = len(call.shape)
    operands = [_without(layouts(ref), along) for ref in inputs_of(call)]
    layout = broadcast(operands, ndim)
    if layout is None:
        return None
    missing = {axis: size for axis, size in enumerate(call.shape) if not layout.axes[axis] and size > 1}
    layout = layout.replaced(missing)
    call, constants = _with_constants(call, layout, along)
    return local(call, layout, layouts, constants=constants)


def _without(layout: Layout, along: int | None) -> Layout:
    return layout if along is None else layout.replaced({along: 1})


def _with_constants(call: Call, layout: Layout, along: int | None) -> tuple[Call, dict[Ref, tuple[Tensor, Layout]]]:
    """Turn the constant operands that hold image positions into references, so that they are cut like values."""
    constants: dict[Ref, tuple[Tensor, Layout]] = {}

    def visit(thing: Any) -> Any:
        if isinstance(thing, Tensor) and thing.ndim:
            axes = tuple(
                axis if size > 1 or axis == (("b", 1),) else ()
                for axis, size in zip(layout.axes[-thing.ndim :], thing.shape, strict=True)
            )
            own = Layout(axes)
            if along is not None:
                own = own.replaced({along: thing.shape[along]})
            if along is not None or own.extent != (1, 1):
                ref = Ref(-2 - id(thing))
                constants[ref] = (thing, own)
                return ref
        if type(thing) in (list, tuple):
            return type(thing)(visit(item) for item in thing)
        return thing

    kwargs = {key: visit(item) for key, item in call.kwargs.items()}
    return replace(call, args=visit(call.args), kwargs=kwargs), constants


def along(position: int, name: str = "dim", default: Any = None) -> Rule:
    """Ops over whole axes (softmax, means, norms, flips): alike everywhere when no image position is on those axes."""

    def rule(call: Call, layouts: Layouts) -> Step | None:
        (ref,) = inputs_of(call)[:1]
        layout = layouts(ref)
        axes = axes_of(call, position, name, len(layout.axes), default)
        if len(inputs_of(call)) > 1 or any(layout.holds(axis) for axis in axes):
            return None
        if len(call.shape) < len(layout.axes):
            layout = Layout(tuple(axis for index, axis in enumerate(layout.axes) if index not in axes))
        elif layout.shape(1, layout.everywhere) != list(call.shape):
            layout = layout.replaced({axis: call.shape[axis] for axis in axes})
        return local(call, layout, layouts)

    return rule


def variance(call: Call, layouts: Layouts) -> Step | None:
    """Variance as the mean of squared deviations: torch's own passes over few numbers at a time are slow on a CPU."""
    (ref,) = inputs_of(call)[:1]
    if isinstance(argument(call, 1, "dim"), bool):
        return None  # all axes: the number stands for `unbiased`
    step = along(1)(call, layouts)
    if step is None:
        return None
    sizes = layouts(ref).shape(1, layouts(ref).everywhere)
    axes = axes_of(call, 1, "dim", len(sizes))
    less = call.kwargs.get("correction", int(argument(call, 2, "unbiased", True)))
    count, keepdim = prod(sizes[axis] for axis in axes) - less, argument(call, 3, "keepdim", False)

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        value = values[ref]
        return (value - value.mean(axes, keepdim=True)).square_().sum(axes, keepdim=keepdim).div_(count)

    return replace(step, run=run)


def layer_norm(call: Call, layouts: Layouts) -> Step | None:
    """LayerNorm over trailing axes, per position where those hold none."""
    layout = layouts(inputs_of(call)[0])
    over = len(argument(call, 1, "normalized_shape"))
    return None if any(layout.holds(-axis) for axis in range(1, over + 1)) else local(call, layout, layouts)


def cat(call: Call, layouts: Layouts) -> Step | None:
    """Concatenation, along other axes or along rows or columns of the image."""
    axis = axes_of(call, 1, "dim", len(call.shape), 0)[0]
    if any(layouts(ref).holds(axis) for ref in inputs_of(call)):
        return joined(call, layouts, axis)
    step = elementwise(call, layouts, along=axis)
    return step and replace(step, layout=step.layout.replaced({axis: call.shape[axis]}))


def repeat(call: Call, layouts: Layouts) -> Step | None:
    """Copies along axes without image positions."""
    layout = layouts(inputs_of(call)[0])
    times = call.args[1:] if len(call.args) != 2 else argument(call, 1, "repeats")
    if not isinstance(times, list | tuple) or len(times) != len(layout.axes):
        return None
    grown = [axis for axis, count in enumerate(times) if count != 1]
    if any(layout.holds(axis) for axis in grown):
        return None
    return local(call, layout.replaced({axis: call.shape[axis] for axis in grown}), layouts)


def expand(call: Call, layouts: Layouts) -> Step | None:
    """One position of an axis shown many times."""
    (ref,) = inputs_of(call)
    before = layouts(ref)
    if len(before.axes) != len(call.shape):
        return None
    sizes = before.shape(1, before.everywhere)
    grown = {axis: size for axis, size in enumerate(call.shape) if sizes[axis] != size}
    layout = Layout.image(call.shape) if before.is_image else before.replaced(grown)

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        return values[ref].expand(layout.shape(rows, region))

    return local(call, layout, layouts, run, work=0)


def linear(call: Call, layouts: Layouts) -> Step | None:
    """A product along the last axis, weights the same everywhere."""
    layout = layouts(inputs_of(call)[0])
    if len(inputs_of(call)) > 1 or layout.holds(-1):
        return None
    result = layout.replaced({len(layout.axes) - 1: call.shape[-1]})
    return local(in_one_kernel(call), result, layouts, work=elements(layout) * call.shape[-1])


def matmul(call: Call, layouts: Layouts) -> Step | None:
    """Products of matrices whose summed axis holds no image position."""
    if any(isinstance(item, Tensor) and item.ndim > 2 for item in call.args):
        return None
    known = [layouts(item) if isinstance(item, Ref) else None for item in call.args[:2]]
    left_layout, right_layout = (item or Layout(((),) * arg.ndim) for item, arg in zip(known, call.args, strict=False))
    if min(len(left_layout.axes), len(right_layout.axes)) < 2 or left_layout.holds(-1) or right_layout.holds(-2):
        return None
    ndim = len(call.shape)
    left = Layout((*left_layout.axes[:-1], ()))
    right = Layout((*right_layout.axes[:-2], (), right_layout.axes[-1]))
    layout = broadcast([left, right], ndim)
    if layout is None:
        return None
    missing = {axis: size for axis, size in enumerate(call.shape) if not layout.axes[axis] and size > 1}
    layout = layout.replaced(missing)
    summed = prod(size for _, size in left_layout.axes[-1])
    return local(call, layout, layouts, work=elements(layout) * summed)


def attention(call: Call, layouts: Layouts) -> Step | None:
    """Scaled dot product attention inside windows: queries, keys and values of one window only."""
    given = [layouts(item) for item in call.args[:3] if isinstance(item, Ref)]
    if len(given) < 3 or any(layout.holds(axis) for layout in given for axis in (-1, -2)):
        return None
    layout = broadcast([layout.replaced({-1: 1, -2: 1}) for layout in given], len(call.shape))
    if layout is None:
        return None
    queries, keys, values = given
    layout = Layout((*layout.axes[:-2], queries.axes[-2], values.axes[-1]))
    work = 2 * elements(layout) * prod(size for _, size in keys.axes[-2])
    mask = argument(call, 3, "attn_mask")
    if not isinstance(mask, Tensor) or mask.ndim < len(layout.axes) or len(mask) == 1:
        return local(call, layout, layouts, work=work)
    if layout.axes[0][:1] != (("b", 1),):
        return None
    own = Layout((layout.axes[0][1:], *Layout.constant(mask.shape).axes[1:]))  # the same for every batch row
    ref = Ref(-2 - id(mask))
    call = replace(call, args=call.args[:3], kwargs={**call.kwargs, "attn_mask": ref})
    return local(call, layout, layouts, _row_by_row(call, ref), constants={ref: (mask, own)}, work=work)


def _row_by_row(call: Call, mask: Ref) -> Run:
    """Return a run that makes a call for one batch row after the other, because its mask knows only one."""

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        apart = {ref: value.unflatten(0, (rows, -1)) for ref, value in values.items() if ref != mask}
        return torch.cat(
            [call(lambda ref, row=row: values[mask] if ref == mask else apart[ref][row]) for row in range(rows)]
        )

    return run


def einsum(call: Call, layouts: Layouts) -> Step | None:
    """Sums of products over named axes, where the summed axes hold no image position."""
    equation = call.args[0] if isinstance(call.args[0], str) else ""
    operands = call.args[1] if len(call.args) == 2 and isinstance(call.args[1], list | tuple) else call.args[1:]
    names, arrow, result = equation.replace(" ", "").partition("->")
    axes: dict[str, Axis] = {}
    for letters, operand in zip(names.split(","), operands, strict=True):
        own = layouts(operand).axes if isinstance(operand, Ref) else Layout.constant(operand.shape).axes
        if not arrow or len(set(letters)) != len(letters) or len(letters) != len(own) or "." in letters:
            return None
        for letter, axis in zip(letters, own, strict=True):
            if axes.setdefault(letter, axis) != axis:
                return None
    summed = [axes[letter] for letter in axes if letter not in result]
    if any(name in PINNED for axis in summed for name, _ in axis):
        return None
    layout = Layout(tuple(axes[letter] for letter in result))
    return local(call, layout, layouts, work=elements(layout) * prod(size for axis in summed for _, size in axis))
