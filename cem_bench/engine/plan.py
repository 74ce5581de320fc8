"""A plan: everything about running a cone that does not depend on the draws, worked out once.

For every op that changes: which window of each input it reads, and how that window is put together from the changed
region (fresh values), the clean values around it and the padding outside the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from cem_bench.engine import reads as read
from cem_bench.inputs.geometry import hull

if TYPE_CHECKING:
    from torch import Tensor

    from cem_bench.engine.layout import Layout
    from cem_bench.engine.program import Cone, Program
    from cem_bench.engine.reductions import Reduction
    from cem_bench.engine.step import Step, Values
    from cem_bench.engine.trace import Ref
    from cem_bench.inputs.geometry import Rect

Cut = Callable[["Values"], "Tensor"]


@dataclass(frozen=True, eq=False)
class Move:
    """One op of a plan.

    Attributes:
        ref: the value it makes.
        run: fresh values -> that value.
        spent: values that nothing reads afterwards.
    """

    ref: Ref
    run: Cut
    spent: tuple[Ref, ...]


@dataclass(frozen=True, eq=False)
class Tap:
    """A held value whose shift is weighed instead of being passed on.

    Attributes:
        reduction: the value as a function of sums over positions.
        slope: derivative of the outcome to the value, flat.
    """

    reduction: Reduction
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Material:
    """What windows are made of: clean values (opened, one batch row, the wanted region) and where they live.

    Attributes:
        clean: by reference; constants among them.
        dtype: of the observation.
        device: of all values.
        taps: held values whose shift is to be weighed.
    """

    clean: Values
    dtype: torch.dtype
    device: torch.device
    taps: dict[Ref, Tap] = field(default_factory=dict)

    def empty(self, layout: Layout, rows: int, region: Rect, dtype: torch.dtype) -> Tensor:
        """Return an opened tensor for a region; images channels last on a CPU, where convolutions like it best."""
        last = self.device.type == "cpu" and layout.is_image and layout.opens
        return torch.empty(
            layout.opened_shape(rows, region),
            dtype=dtype,
            device=self.device,
            memory_format=torch.channels_last if last else torch.contiguous_format,
        )


def plan(program: Program, cone: Cone, rows: int, material: Material, keep: frozenset[Ref]) -> list[Move]:
    """Work out how to run a cone for that many batch rows.

    Args:
        program: the recorded network.
        cone: the regions to recompute.
        rows: batch rows.
        material: clean values.
        keep: values to leave in place after their last use.

    Returns:
        The moves in order. In the place of a held value with a tap stands what its shift does to the outcome, (rows,).
    """
    moves = []
    for ref, step in program.steps.items():
        region, sources = cone.regions.get(ref), program.read_by(ref)
        changes = any(source in cone.regions for source in sources)
        given = region is not None and ref in program.held
        if given or (region is None and not (changes and ref in material.taps)):
            continue
        spent = tuple(
            source
            for source in sources
            if program.last_use.get(source) == ref and source not in keep and source in cone.regions
        )
        if region is None:
            moves.append(Move(ref, _shift(program, ref, cone, rows, material), spent))
            continue
        if step.whole and _covers(program, cone, step, ref):
            moves.append(Move(ref, _as_recorded(step), spent))
            continue
        cuts = {
            source: cut(program, step, source, read.need(pair, region), cone, rows, material)
            for source, pair in zip(step.inputs, step.reads, strict=True)
        }
        moves.append(Move(ref, _on_windows(step, cuts, region, rows), spent))
    return moves


def run(moves: list[Move], values: Values) -> Values:
    """Run a plan; `values` holds the fresh observation and takes the results."""
    for move in moves:
        values[move.ref] = move.run(values)
        for ref in move.spent:
            values.pop(ref, None)
    return values


def _covers(program: Program, cone: Cone, step: Step, ref: Ref) -> bool:
    """Whether all of the op changes, from inputs that are all changed everywhere: then call it as recorded."""
    layouts = program.layouts
    return cone.regions[ref] == layouts[ref].everywhere and all(
        source in cone.regions and cone.regions[source] == layouts[source].everywhere for source in step.inputs
    )


def _shift(program: Program, ref: Ref, cone: Cone, rows: int, material: Material) -> Cut:
    """Return how to weigh the shift of a held value by the outcome's slope, (rows,) float64."""
    tap, step, window = material.taps[ref], program.steps[ref], None
    reduction, layouts = tap.reduction, [program.layouts[source] for source in tap.reduction.sources]
    for source in reduction.sources:
        if source in cone.regions:
            window = hull(window, cone.regions[source])
    assert window is not None  # a tap is planned only where a source changes

    def clean_sums(part: Rect) -> list[Tensor]:
        parts = [
            layout.crop(material.clean[source], part, layout.everywhere).reshape(layout.shape(1, part))
            for source, layout in zip(reduction.sources, layouts, strict=True)
        ]
        return [total.double() for total in reduction.sums(parts)]

    cuts = [cut(program, step, source, window, cone, rows, material) for source in reduction.sources]
    total, inside = clean_sums(layouts[0].everywhere), clean_sums(window)
    value = reduction.finish(tuple(total))

    def shift(values: Values) -> Tensor:
        fresh = reduction.sums([take(values) for take in cuts])
        moved = tuple(whole + (new.double() - old) for whole, new, old in zip(total, fresh, inside, strict=True))
        return ((reduction.finish(moved) - value).reshape(rows, -1) * tap.slope).sum(dim=1)

    return shift


def _as_recorded(step: Step) -> Cut:
    return lambda values: step.call(values.__getitem__)


def _on_windows(step: Step, cuts: dict[Ref, Cut], region: Rect, rows: int) -> Cut:
    return lambda values: step.run(region, {source: take(values) for source, take in cuts.items()}, rows)


def cut(program: Program, step: Step, ref: Ref, window: Rect, cone: Cone, rows: int, material: Material) -> Cut:
    """Return how to cut the window that an op reads from one of its inputs."""
    constant = step.constants.get(ref)
    layout = constant[1] if constant else program.layouts[ref]
    changed, shape = cone.regions.get(ref), layout.shape(rows, window)
    dtype = constant[0].dtype if constant else program.dtypes[ref]
    if not window.area:
        nothing = material.empty(layout, rows, window, dtype).reshape(shape)
        return lambda values: nothing
    if changed == window:
        return lambda values: values[ref]
    if changed is not None and changed.intersect(window) == window:
        return lambda values: layout.crop(layout.opened(values[ref], rows, changed), window, changed).reshape(shape)
    inside = window.intersect(layout.everywhere)
    start = layout.everywhere if constant else program.wanted[ref]
    clean = layout.crop(material.clean[ref], inside, start) if ref in material.clean else None
    common = inside if changed is None else changed.intersect(inside)
    if clean is None:
        assert changed is not None and common == inside, f"{step.title} reads clean values that were not kept"
    elif changed is None and inside == window:
        still = clean.expand(layout.opened_shape(rows, window))
        return lambda values: still.reshape(shape)

    def assemble(values: Values) -> Tensor:
        buffer = material.empty(layout, rows, window, dtype)
        if inside != window:
            buffer.fill_(step.fill)
        if clean is not None and (changed is None or common != inside):
            layout.crop(buffer, inside, window).copy_(clean)
        if changed is not None and common.area:
            fresh = layout.crop(layout.opened(values[ref], rows, changed), common, changed)
            layout.crop(buffer, common, window).copy_(fresh)
        return buffer.reshape(shape)

    return assemble
