"""The table of ops: for each, the rule that says what it reads and how it runs on a region.

A rule looks at one recorded call and the layouts of its inputs. It returns a local step, or None where the call mixes
image positions in a way it does not describe. A call without a rule, or whose rule returns None, becomes a global step:
everything it reads is wanted, everything it makes is changed. Nothing is guessed.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from cem_bench.engine import reads as read
from cem_bench.engine.base import EngineError
from cem_bench.engine.layout import Layout
from cem_bench.engine.moving import getitem, pad, permute, reshape, roll
from cem_bench.engine.pointwise import (
    alias,
    along,
    attention,
    cat,
    einsum,
    elementwise,
    expand,
    layer_norm,
    linear,
    matmul,
    pointwise,
    repeat,
    variance,
)
from cem_bench.engine.sliding import convolution, pooling, separable, shuffle, transposed_convolution
from cem_bench.engine.step import Step, between, elements, inputs_of

if TYPE_CHECKING:
    from torch import Tensor

    from cem_bench.engine.step import Layouts, Rule, Values
    from cem_bench.engine.trace import Call
    from cem_bench.inputs.geometry import Rect

_POINTWISE = (
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "sigmoid",
    "tanh",
    "softplus",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "logsigmoid",
    "softsign",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "abs",
    "neg",
    "square",
    "reciprocal",
    "sin",
    "cos",
    "erf",
    "sign",
    "floor",
    "ceil",
    "round",
    "clamp",
    "clip",
    "clamp_min",
    "clamp_max",
    "batch_norm",
    "dropout",
    "dropout2d",
    "alpha_dropout",
    "to",
    "float",
    "type_as",
    "type",
)
_ELEMENTWISE = (
    "add",
    "sub",
    "mul",
    "div",
    "truediv",
    "pow",
    "rsub",
    "radd",
    "rmul",
    "rtruediv",
    "rpow",
    "floor_divide",
    "maximum",
    "minimum",
    "where",
    "lerp",
    "addcmul",
    "addcdiv",
    "atan2",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "expand_as",
)

RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE, pointwise),
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(("contiguous", "clone", "detach", "requires_grad", "alias"), alias),
    **dict.fromkeys(("softmax", "log_softmax", "mean", "sum", "amax", "amin", "std", "cumsum"), along(1)),
    **dict.fromkeys(("chunk", "split", "tensor_split"), along(2, default=0)),
    "var": variance,
    "unbind": along(1, default=0),
    "select": along(1),
    "narrow": along(1),
    "normalize": along(2, default=1),
    "channel_shuffle": along(99, default=1),
    "layer_norm": layer_norm,
    "cat": cat,
    "concat": cat,
    "repeat": repeat,
    "expand": expand,
    "linear": linear,
    "matmul": matmul,
    "bmm": matmul,
    "einsum": einsum,
    "scaled_dot_product_attention": attention,
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"), reshape),
    **dict.fromkeys(("permute", "transpose", "swapaxes"), permute),
    "getitem": getitem,
    "roll": roll,
    "flip": roll,
    "pad": pad,
    "conv2d": convolution,
    "conv_transpose2d": transposed_convolution,
    "max_pool2d": pooling,
    "avg_pool2d": pooling,
    "adaptive_max_pool2d": pooling,
    "pixel_shuffle": shuffle,
    "pixel_unshuffle": shuffle,
    "interpolate": separable,
    "upsample": separable,
    "adaptive_avg_pool2d": separable,
}


def step_for(call: Call, layouts: Layouts) -> Step:
    """Return the step of a recorded call: by its rule, or global where there is none."""
    rule = RULES.get(call.name)
    step = rule(call, layouts) if rule else None
    if step is None or tuple(step.layout.shape(1, step.layout.everywhere)) != call.shape:
        return _global(call, layouts)
    return step


def _global(call: Call, layouts: Layouts) -> Step:
    inputs = inputs_of(call)
    same = [layouts(ref) for ref in inputs if prod(layouts(ref).shape(1, layouts(ref).everywhere)) == prod(call.shape)]
    first = layouts(inputs[0])
    if same and tuple(same[0].shape(1, same[0].everywhere)) == call.shape:
        layout = same[0]
    elif len(call.shape) == 4 and (call.name not in RULES or first.is_image):
        layout = Layout.image(call.shape)
    else:
        layout = Layout.plain(call.shape)
    if prod(layout.shape(1, layout.everywhere)) != prod(call.shape):
        raise EngineError(f"{call.where or 'network'}: {call.name} has no rule, and no axis of its value is the batch")
    pairs = tuple(between(layout, layouts(ref), read.whole) for ref in inputs)
    # Views, and whatever an unknown op may hold, expect the memory order that they were recorded with.
    recorded_order = call.name == "view" or call.name not in RULES

    def run(region: Rect, values: Values, rows: int) -> Tensor:
        given = {ref: value.contiguous() for ref, value in values.items()} if recorded_order else values
        value = layout.opened(call(given.__getitem__), rows, layout.everywhere)
        return layout.crop(value, region, layout.everywhere).reshape(layout.shape(rows, region))

    return Step(call, inputs, pairs, layout, run, whole=not recorded_order, local=False, work=elements(layout))
