"""The derivative of an outcome to values without position, all that follows included: one backward pass.

What an op that mixes the whole image makes of a small change is a small shift of a few numbers, and the outcome is
nearly linear in those. The derivative to one of them counts the later ones too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cem_bench.engine.program import IMAGE
from cem_bench.engine.step import inputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cem_bench.engine.program import Program
    from cem_bench.engine.trace import Ref


def slopes_of(
    program: Program, observation: Tensor, outcome: Callable[[Tensor], Tensor], refs: Collection[Ref]
) -> dict[Ref, Tensor]:
    """Return the derivative of an outcome to some values of a record, at the observation.

    Args:
        program: the recorded network, nothing held.
        observation: (3, h, w).
        outcome: (1, 3, roi.height, roi.width) float32 to one number, differentiable.
        refs: the values.

    Returns:
        By value, flat, float64; without those that the outcome does not depend on, or not smoothly (a deviation of 0).

    Raises:
        RuntimeError: where an op between them and the output has no derivative, or memory runs out.
    """
    with torch.inference_mode(False), torch.enable_grad():
        number, zeros = _forward(program, observation.clone(), outcome, refs)
        if not number.requires_grad:
            return {}
        slopes = torch.autograd.grad(number, list(zeros.values()), allow_unused=True)
    known = {ref: slope.flatten().double() for ref, slope in zip(zeros, slopes, strict=True) if slope is not None}
    return {ref: slope for ref, slope in known.items() if bool(slope.isfinite().all())}


def _forward(
    program: Program, observation: Tensor, outcome: Callable[[Tensor], Tensor], refs: Collection[Ref]
) -> tuple[Tensor, dict[Ref, Tensor]]:
    """Make all calls on the whole observation, and add a zero to each of the values."""
    last = {ref: user for user, call in program.calls.items() for ref in inputs_of(call)}
    values, zeros = {IMAGE: observation[None]}, {}
    for user, call in program.calls.items():
        still = replace(call, args=_detached(call.args), kwargs=_detached(call.kwargs))
        values[user] = still(values.__getitem__)
        if user in refs:
            zeros[user] = torch.zeros_like(values[user], requires_grad=True)
            values[user] = values[user] + zeros[user]
        for ref in inputs_of(call):
            if last[ref] == user:
                del values[ref]
    return outcome(values[program.output][(..., *program.roi.slices)].float()), zeros


def _detached(thing: Any) -> Any:
    """Return arguments with weights that ask for no derivative."""
    if isinstance(thing, Tensor):
        return thing.clone() if thing.is_inference() else thing.detach()
    if type(thing) in (list, tuple):
        return type(thing)(_detached(item) for item in thing)
    return {key: _detached(item) for key, item in thing.items()} if isinstance(thing, dict) else thing
