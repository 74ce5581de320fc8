"""Kernels of the CPU library that torch itself calls only from compiled code: a product, its bias and GELU in one pass.

The library (oneDNN) gives the same sums in single precision in another order, so results agree to rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from cem_bench.engine.step import argument

if TYPE_CHECKING:
    from torch import Tensor

    from cem_bench.engine.trace import Call


def linear_gelu(value: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return gelu(value weight^T + bias), (..., inputs) to (..., outputs), with the exact (erf) GELU."""
    return functional.gelu(functional.linear(value, weight, bias))


def in_one_kernel(call: Call) -> Call:
    """Return a call of `linear`, `linear_gelu` or a 1x1 convolution that runs as one kernel where this machine has it.

    Args:
        call: its weight is (outputs, inputs) or (outputs, inputs, 1, 1).
    """
    weight, bias = argument(call, 1, "weight"), argument(call, 2, "bias")
    if not _available(weight):
        return call
    after = ("gelu", [], "none") if call.fn is linear_gelu else ("none", [], "")
    table = weight.flatten(1)

    def run(value: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(value, table, bias, *after)

    def run_on_image(image: Tensor) -> Tensor:
        return run(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return replace(call, fn=run_on_image if weight.ndim == 4 else run, args=call.args[:1], kwargs={})


def _available(weight: Any) -> bool:
    """Whether the kernel exists for these weights: single precision on a CPU, a torch built with oneDNN."""
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
