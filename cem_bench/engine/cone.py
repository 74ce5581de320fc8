"""The cone engine: at every op, only what the block can reach and the ROI wants, from cached clean activations.

Forward, the block's influence grows with every kernel; backward, so does what the ROI needs. A draw is recomputed only
where both meet. Everything else keeps its clean value, so the result is that of the full forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import torch

from cem_bench.engine import reads as read
from cem_bench.engine.base import PRECISIONS, EngineError, check_draws, exact_arithmetic, in_batches
from cem_bench.engine.layout import Layout
from cem_bench.engine.rules import RULES, step_for
from cem_bench.engine.trace import Ref, trace
from cem_bench.geometry import Rect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from cem_bench.engine.step import Step, Values

IMAGE = Ref(-1)
# Largest difference to the full forward, relative to the output's scale, that a correct engine can show.
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}
# On a CPU, values that stay in the cache are faster than large batches (measured: 4 MiB a value, at least 4 rows).
CACHE_BYTES, FEWEST_ROWS = 4 * 2**20, 4
REGIONS_KEPT = 200_000  # rectangles remembered between the coarse and the fine draws of a block


@dataclass(frozen=True)
class Cone:
    """The regions to recompute for one block.

    Attributes:
        regions: changed region of every value (the observation included) that changes.
        work: multiply-adds a batch row.
    """

    regions: dict[Ref, Rect]
    work: float


class Program:
    """A recorded network with its rules, for one ROI."""

    def __init__(self, restorer: nn.Module, observation: Tensor, roi: Rect) -> None:
        calls, self.output, self.expected = trace(restorer, observation)
        self.layouts: dict[Ref, Layout] = {IMAGE: Layout.image((1, *observation.shape))}
        self.steps: dict[Ref, Step] = {}
        for index, call in enumerate(calls):
            step = step_for(call, self.layouts.__getitem__)
            self.steps[Ref(index)] = step
            self.layouts[Ref(index)] = step.layout
        if not self.layouts[self.output].is_image:
            raise EngineError("the output is not an image by the record: some op before it has no rule")
        self.roi = roi
        self.total_work = sum(step.work * step.layout.everywhere.area for step in self.steps.values())
        self.wanted = self._wanted()
        self.steps = {ref: step for ref, step in self.steps.items() if ref in self.wanted}
        self.last_use = {ref: user for user, step in self.steps.items() for ref in step.inputs}

    def _wanted(self) -> dict[Ref, Rect]:
        """Return, for every value, the region that the ROI depends on."""
        wanted: dict[Ref, Rect] = {self.output: self.roi}
        for ref, step in reversed(self.steps.items()):
            if ref not in wanted:
                continue
            for source, pair in zip(step.inputs, step.reads, strict=True):
                if source in step.constants:
                    continue
                everywhere = self.layouts[source].everywhere
                part = read.need(pair, wanted[ref]).intersect(everywhere)
                grown = read.hull(wanted.get(source), part)
                if grown is not None:
                    wanted[source] = grown
        return wanted

    def cone(self, block: Rect) -> Cone:
        """Return what a block changes of what the ROI wants."""
        regions = {IMAGE: block.intersect(self.wanted.get(IMAGE, Rect(0, 0, 0, 0)))}
        work = 0.0
        for ref, step in self.steps.items():
            changed: Rect | None = None
            for source, pair in zip(step.inputs, step.reads, strict=True):
                region = regions.get(source)
                if region is not None and region.area:
                    changed = read.hull(changed, read.reach(pair, region))
            if changed is None:
                continue
            changed = changed.intersect(self.wanted[ref])
            if changed.area:
                regions[ref] = changed
                work += step.work * changed.area
        return Cone(regions, work)

    def share(self, blocks: Iterable[Rect]) -> float:
        """Mean share of a full forward's work that the blocks' cones leave, 0 to 1."""
        works = [self.cone(block).work for block in blocks]
        return sum(works) / len(works) / self.total_work

    @property
    def mixing(self) -> list[str]:
        """Ops after which everything is changed, by name and module, in order."""
        def mixes(step: Step) -> bool:
            extents = {self.layouts[ref].extent for ref in step.inputs if ref in self.layouts} - {(1, 1)}
            return bool(extents) and (not step.local or step.layout.extent == (1, 1))

        return [step.title for step in self.steps.values() if mixes(step)]

    @property
    def without_rule(self) -> list[str]:
        """Names of the ops that the table of rules does not know."""
        return sorted({step.call.name for step in self.steps.values() if step.call.name not in RULES})


class ConeEngine:
    """Both cones of a recorded network on one scene."""

    kind = "cone"

    def __init__(self, restorer: nn.Module, observation: Tensor, roi: Rect, *, precision: str, memory_gb: float,
                 reason: str) -> None:
        self.reason = reason
        self.roi = roi
        self.observation = observation
        self._memory = memory_gb * 2**30
        self._dtype = PRECISIONS[precision]
        self._restorer = restorer.to(self._dtype)
        self._cap = 2**30  # batch rows, lowered for good when memory runs out
        with exact_arithmetic():
            self.program = Program(self._restorer, observation.to(self._dtype), roi)
            self._clean: Values = {}
            self._remember()
        remembered = max(16, REGIONS_KEPT // len(self.program.steps))
        self.cone = lru_cache(maxsize=remembered)(self.program.cone)

    # -------------------------------------------------------------------------------------------- preparation

    def _remember(self) -> None:
        """Run the record once on the clean observation and keep what windows are cut from."""
        program = self.program
        for step in program.steps.values():
            for ref, (tensor, layout) in step.constants.items():
                self._clean[ref] = layout.opened(tensor, 1, layout.everywhere)
        whole = Cone(dict(program.wanted), 0.0)
        values = {IMAGE: self._part(program.wanted[IMAGE])} if IMAGE in program.wanted else {}
        keep = {program.output, *(ref for step in program.steps.values() if not step.identity for ref in step.inputs)}
        values = self._run(whole, values, 1, keep=keep)
        for ref in keep:
            if ref in values and ref in program.wanted:
                layout, region = program.layouts[ref], program.wanted[ref]
                self._clean[ref] = layout.opened(values[ref], 1, region).clone()
        got, expected = self._clean[program.output], program.expected[(..., *self.roi.slices)]
        if not torch.equal(got, expected):
            scale = float(expected.abs().max()) + 1e-12
            difference = float((got - expected).abs().max()) / scale
            if not difference <= TOLERANCE["fp32" if self._dtype == torch.float32 else "bf16"]:
                raise EngineError(f"the record differs from the network by {difference:.1e} of the output's scale")
        program.expected = program.expected[:0]

    def _part(self, region: Rect) -> Tensor:
        return self.observation[(slice(None), *region.slices)][None].to(self._dtype)

    # -------------------------------------------------------------------------------------------- the executor

    def _run(self, cone: Cone, values: Values, rows: int, keep: set[Ref]) -> Values:
        """Compute the changed region of every value, for `rows` batch rows."""
        program = self.program
        for ref, step in program.steps.items():
            region = cone.regions.get(ref)
            if region is None:
                continue
            if step.whole and self._covers(cone, step, ref):
                values[ref] = step.call(values.__getitem__)
            else:
                windows = {source: self._window(step, source, read.need(pair, region), cone, values, rows)
                           for source, pair in zip(step.inputs, step.reads, strict=True)}
                values[ref] = step.run(region, windows, rows)
            for source in step.inputs:
                if program.last_use.get(source) == ref and source not in keep:
                    values.pop(source, None)
        return values

    def _covers(self, cone: Cone, step: Step, ref: Ref) -> bool:
        """Whether all of the op changes, from inputs that are all changed everywhere: then call it as recorded."""
        layouts = self.program.layouts
        return cone.regions[ref] == layouts[ref].everywhere and all(
            source in cone.regions and cone.regions[source] == layouts[source].everywhere for source in step.inputs)

    def _window(self, step: Step, ref: Ref, window: Rect, cone: Cone, values: Values, rows: int) -> Tensor:
        """Cut the window that an op reads: the changed region pasted into clean values, padding outside the image."""
        layout, start = self._source(step, ref)
        changed = cone.regions.get(ref)
        if changed is not None and changed.intersect(window) == window:
            part = layout.crop(layout.opened(values[ref], rows, changed), window, changed)
            return part.reshape(layout.shape(rows, window))
        inside = window.intersect(layout.everywhere)
        clean = layout.crop(self._clean[ref], inside, start) if ref in self._clean else None
        like = values[ref] if clean is None else clean
        if clean is not None and changed is None and inside == window:
            return clean.expand(layout.opened_shape(rows, window)).reshape(layout.shape(rows, window))
        buffer = like.new_empty(layout.opened_shape(rows, window))
        if inside != window:
            buffer.fill_(step.fill)
        common = inside if changed is None else changed.intersect(inside)
        if clean is not None and (changed is None or common != inside):
            layout.crop(buffer, inside, window).copy_(clean)
        if changed is not None and common.area:
            fresh = layout.crop(layout.opened(values[ref], rows, changed), common, changed)
            layout.crop(buffer, common, window).copy_(fresh)
        return buffer.reshape(layout.shape(rows, window))

    def _source(self, step: Step, ref: Ref) -> tuple[Layout, Rect]:
        if ref in step.constants:
            layout = step.constants[ref][1]
            return layout, layout.everywhere
        return self.program.layouts[ref], self.program.wanted[ref]

    # -------------------------------------------------------------------------------------------- the interface

    def reaches(self, block: Rect) -> bool:
        """Say whether the block's cone meets the ROI."""
        return self.program.output in self.cone(block).regions

    def outputs(self, block: Rect, patches: Tensor) -> Tensor:
        """Return the ROI untouched (row 0) and under each patch, (n + 1, 3, roi.height, roi.width) float32."""
        check_draws(self.observation, block, patches)
        with exact_arithmetic():
            cone = self.cone(block)
            clean = self.observation[(slice(None), *block.slices)][None]
            rows = torch.cat([clean, patches.to(clean)])
            if self.program.output not in cone.regions:
                return self._clean[self.program.output].float().expand(len(rows), -1, -1, -1)
            asked = min(self._cap, self._limit(cone))
            result, fitted = in_batches(lambda batch: self._outputs(cone, block, batch), rows, asked)
        if fitted < asked:
            self._cap = fitted
        return result

    def _outputs(self, cone: Cone, block: Rect, rows: Tensor) -> Tensor:
        output, changed = self.program.output, cone.regions[IMAGE]
        inside = Rect(changed.top - block.top, changed.left - block.left, changed.height, changed.width)
        values = {IMAGE: rows[(..., *inside.slices)].to(self._dtype)}
        value = self._run(cone, values, len(rows), keep={output})[output].float()
        region = cone.regions[output]
        if region == self.roi:
            return value
        result = self._clean[output].float().repeat(len(rows), 1, 1, 1)
        place = Rect(region.top - self.roi.top, region.left - self.roi.left, region.height, region.width)
        result[(..., *place.slices)] = value
        return result

    def _limit(self, cone: Cone) -> int:
        """Batch rows whose activations fit into the memory granted, by the largest value of the cone."""
        size = self._dtype.itemsize
        layouts = self.program.layouts
        largest = max(prod(layouts[ref].shape(1, region)) for ref, region in cone.regions.items())
        rows = max(1, int(self._memory / (6 * size * largest)))
        if self.observation.device.type == "cpu":
            rows = min(rows, max(FEWEST_ROWS, CACHE_BYTES // (size * largest)))
        return rows

    def first_difference(self, block: Rect, patches: Tensor) -> str:
        """Name the first op whose value differs from a run of all ops on everything the ROI wants."""
        check_draws(self.observation, block, patches)
        program, rows = self.program, len(patches) + 1
        with exact_arithmetic():
            wanted, cone = program.wanted[IMAGE], self.cone(block)
            image = self._part(wanted).repeat(rows, 1, 1, 1)
            part = cone.regions[IMAGE]
            inside = Rect(part.top - block.top, part.left - block.left, part.height, part.width)
            clean = self._part(block)
            batch = torch.cat([clean, patches.to(clean)])[(..., *inside.slices)]
            program.layouts[IMAGE].crop(image, part, wanted).copy_(batch)
            keep = set(program.steps)
            every = self._run(Cone(dict(program.wanted), 0.0), {IMAGE: image}, rows, keep)
            few = self._run(cone, {IMAGE: batch}, rows, keep)
        for ref, step in program.steps.items():
            if ref in few and self._differ(ref, every[ref], few[ref], cone.regions[ref], rows):
                return step.title
        return "none inside the record of the network: it differs from the network itself"

    def _differ(self, ref: Ref, every: Tensor, few: Tensor, region: Rect, rows: int) -> bool:
        layout, wanted = self.program.layouts[ref], self.program.wanted[ref]
        part = layout.crop(layout.opened(every, rows, wanted), region, wanted)
        scale = float(every.float().abs().max()) + 1e-12
        difference = float((part - layout.opened(few, rows, region)).float().abs().max())
        return not difference <= scale * TOLERANCE["fp32" if self._dtype == torch.float32 else "bf16"]
