"""Rules of windows that slide over the image: convolution, pooling, shuffles, interpolation."""

from __future__ import annotations

from functools import reduce
from math import prod
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from cem_bench.engine import reads as read
from cem_bench.engine.kernels import in_one_kernel
from cem_bench.engine.layout import Layout
from cem_bench.engine.step import Step, argument, between, elements, inputs_of, recall
from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from torch import Tensor

    from cem_bench.engine.step import Layouts, Values
    from cem_bench.engine.trace import Call, Ref


def _pair(value: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _image_input(call: Call, layouts: Layouts) -> tuple[Ref, Layout] | None:
    """Return the only input, when it is an image."""
    inputs = inputs_of(call)
    return (inputs[0], layouts(inputs[0])) if len(inputs) == 1 and layouts(inputs[0]).is_image else None


def convolution(call: Call, layouts: Layouts) -> Step | None:
    """Convolution of any kernel, stride, dilation, groups, with zero padding ("same" included)."""
    known = _image_input(call, layouts)
    if known is None:
        return None
    (ref, before), after = known, Layout.image(call.shape)
    weight, bias = argument(call, 1, "weight"), argument(call, 2, "bias")
    stride, dilation = (_pair(argument(call, place, name, 1)) for place, name in ((3, "stride"), (5, "dilation")))
    groups, given = argument(call, 6, "groups", 1), argument(call, 4, "padding", 0)
    kernel = tuple(weight.shape[2:])
    if isinstance(given, str):
        given = tuple(d * (k - 1) // 2 if given == "same" else 0 for d, k in zip(dilation, kernel, strict=True))
    padding = _pair(given)
    pair = _stencils(before, after, kernel, stride, dilation, padding)
    if (*kernel, *stride, *padding, groups) == (1, 1, 1, 1, 0, 0, 1):
        call = in_one_kernel(call)
        return Step(call, (ref,), (pair,), after, recall(call), work=float(weight.numel()), whole=True)

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        return functional.conv2d(values[ref], weight, bias, stride, 0, dilation, groups)

    return Step(call, (ref,), (pair,), after, run, work=float(weight.numel()), whole=True)


def _stencils(
    before: Layout,
    after: Layout,
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int],
) -> read.Pair:
    rows, columns = (
        read.stencil(
            after.extent[axis],
            before.extent[axis],
            kernel=kernel[axis],
            stride=stride[axis],
            dilation=dilation[axis],
            padding=padding[axis],
        )
        for axis in (0, 1)
    )
    return rows, columns


def transposed_convolution(call: Call, layouts: Layouts) -> Step | None:
    """Transposed convolution: run without padding on the inputs that reach the region, then cropped."""
    known = _image_input(call, layouts)
    if known is None:
        return None
    (ref, before), after = known, Layout.image(call.shape)
    weight, bias, groups = argument(call, 1, "weight"), argument(call, 2, "bias"), argument(call, 6, "groups", 1)
    stride, padding, dilation = (
        _pair(argument(call, place, name, default))
        for place, name, default in ((3, "stride", 1), (4, "padding", 0), (7, "dilation", 1))
    )
    rows, columns = (
        read.transposed(
            after.extent[axis],
            before.extent[axis],
            kernel=weight.shape[2 + axis],
            stride=stride[axis],
            dilation=dilation[axis],
            padding=padding[axis],
        )
        for axis in (0, 1)
    )
    pair = (rows, columns)

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        inside = read.need(pair, region)
        value = functional.conv_transpose2d(values[ref], weight, None, stride, 0, 0, groups, dilation)
        top = region.top + padding[0] - inside.top * stride[0]
        left = region.left + padding[1] - inside.left * stride[1]
        below, beyond = top + region.height - value.shape[2], left + region.width - value.shape[3]
        above, short = max(-top, 0), max(-left, 0)  # gaps between kernels, and output padding: no input reaches them
        value = functional.pad(value, (short, max(beyond, 0), above, max(below, 0)))
        top, left = max(top, 0), max(left, 0)
        value = value[:, :, top : top + region.height, left : left + region.width]
        return value if bias is None else value + bias.view(1, -1, 1, 1)

    return Step(call, (ref,), (pair,), after, run, work=float(weight.numel()) / prod(stride), whole=True)


def pooling(call: Call, layouts: Layouts) -> Step | None:
    """Max and average pooling with fixed windows."""
    known = _image_input(call, layouts)
    if known is None or call.pick is not None:
        return None
    (ref, before), after = known, Layout.image(call.shape)
    if call.name == "adaptive_max_pool2d":
        return _largest_of_cells(call, ref, before, after)
    largest = call.name == "max_pool2d"
    kernel = _pair(argument(call, 1, "kernel_size"))
    stride = _pair(argument(call, 2, "stride") or kernel)
    padding = _pair(argument(call, 3, "padding", 0))
    dilation = _pair(argument(call, 4, "dilation", 1)) if largest else (1, 1)
    ceil = argument(call, 5 if largest else 4, "ceil_mode", False)
    counts_padding = largest or padding == (0, 0) or argument(call, 5, "count_include_pad", True)
    if not largest and (ceil or not counts_padding or argument(call, 6, "divisor_override")):
        return None
    pair = _stencils(before, after, kernel, stride, dilation, padding)

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        if largest:
            rows_done = _largest(values[ref], 2, kernel[0], stride[0], dilation[0])
            return _largest(rows_done, 3, kernel[1], stride[1], dilation[1])
        return functional.avg_pool2d(values[ref], kernel, stride)

    return Step(
        call,
        (ref,),
        (pair,),
        after,
        run,
        fill=-float("inf") if largest else 0.0,
        work=elements(after) * prod(kernel),
        whole=not largest,
    )


def _largest_of_cells(call: Call, ref: Ref, before: Layout, after: Layout) -> Step | None:
    """Return the step of an adaptive maximum whose cells divide the image evenly."""
    if any(size % cells for size, cells in zip(before.extent, after.extent, strict=True)):
        return None
    high, wide = (size // cells for size, cells in zip(before.extent, after.extent, strict=True))

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        return _largest(_largest(values[ref], 2, high, high, 1), 3, wide, wide, 1)

    pair = between(after, before, read.cells)
    return Step(call, (ref,), (pair,), after, run, work=elements(after) * high * wide)


def _largest(value: Tensor, axis: int, kernel: int, stride: int, dilation: int) -> Tensor:
    """Return the maximum of a sliding window along one axis: a maximum over a rectangle is one over rows of them."""
    count = (value.shape[axis] - dilation * (kernel - 1) - 1) // stride + 1
    outside = (slice(None),) * axis
    shifted = [
        value[(*outside, slice(start, start + (count - 1) * stride + 1, stride))]
        for start in range(0, dilation * kernel, dilation)
    ]
    return reduce(torch.maximum, shifted)


def shuffle(call: Call, layouts: Layouts) -> Step | None:
    """Pixel shuffle and unshuffle."""
    known = _image_input(call, layouts)
    if known is None:
        return None
    (ref, before), after = known, Layout.image(call.shape)
    factor = argument(call, 1, "upscale_factor" if call.name == "pixel_shuffle" else "downscale_factor")
    pair = between(after, before, read.cells)

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        if call.name == "pixel_unshuffle":
            return functional.pixel_unshuffle(values[ref], factor)
        inside, value = read.need(pair, region), functional.pixel_shuffle(values[ref], factor)
        top, left = region.top - inside.top * factor, region.left - inside.left * factor
        return value[:, :, top : top + region.height, left : left + region.width]

    return Step(call, (ref,), (pair,), after, run, work=elements(after), whole=True)


def separable(call: Call, layouts: Layouts) -> Step | None:
    """Interpolation of every mode and adaptive average pooling: linear, and separable into rows and columns.

    The weights along each axis are read off the op itself by feeding it unit vectors, so no formula is repeated here.
    """
    known = _image_input(call, layouts)
    if known is None:
        return None
    (ref, before), after = known, Layout.image(call.shape)
    along_rows, along_columns = (_weights(call, before.extent, after.extent, axis) for axis in (0, 1))
    pair = (read.matrix(along_rows.numpy()), read.matrix(along_columns.numpy()))
    picks = all(bool(((w == 0) | (w == 1)).all() and (w.sum(1) == 1).all()) for w in (along_rows, along_columns))

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        value, inside = values[ref], read.need(pair, region)
        if picks:
            down = torch.as_tensor(pair[0].first[region.top : region.bottom] - inside.top, device=value.device)
            across = torch.as_tensor(pair[1].first[region.left : region.right] - inside.left, device=value.device)
            return value.index_select(2, down).index_select(3, across)
        down = along_rows[region.top : region.bottom, inside.top : inside.bottom].to(value)
        across = along_columns[region.left : region.right, inside.left : inside.right].to(value)
        return down @ value @ across.T

    return Step(call, (ref,), (pair,), after, run, work=elements(after) * 4, whole=True)


def _weights(call: Call, before: tuple[int, int], after: tuple[int, int], axis: int) -> Tensor:
    """Weights (outputs, inputs) along one axis, from the op's answer to unit vectors."""
    size, kwargs, args = before[axis], dict(call.kwargs), list(call.args[1:])
    across = 64  # wide enough to survive any down-scaling by a factor; its first line is as good as any
    target = (after[0], 1) if axis == 0 else (1, after[1])
    if call.name == "adaptive_avg_pool2d":
        args, kwargs, across = [target], {}, 1
    elif kwargs.get("size") is not None:
        kwargs, across = {**kwargs, "size": target}, 1
    probe = torch.eye(size).view((1, size, size, 1) if axis == 0 else (1, size, 1, size))
    probe = probe.expand(1, size, *((size, across) if axis == 0 else (across, size)))
    return call.fn(probe, *args, **kwargs).select(3 - axis, 0)[0].T.contiguous()
