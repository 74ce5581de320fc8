"""The cone engine: at every op, only what the block can reach and the ROI wants, from cached clean activations.

Everything else keeps its clean value, so the result is that of the full forward. Where a block changes nearly all that
the ROI wants, the draws go through all of it instead, because then the untouched row is the same for every block.
"""

from __future__ import annotations

import copy
from functools import cached_property, lru_cache
from math import prod
from typing import TYPE_CHECKING

import torch

from cem_bench.engine.base import (
    PRECISIONS,
    EngineError,
    Untouched,
    check_draws,
    exact_arithmetic,
    in_batches,
    intervened,
)
from cem_bench.engine.compiled import Start, whole
from cem_bench.engine.cost import Cost
from cem_bench.engine.plan import Material, Move, Tap, plan, run
from cem_bench.engine.program import IMAGE, Cone, Program
from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from cem_bench.engine.step import Values
    from cem_bench.engine.trace import Ref

# Largest difference to the full forward, relative to the output's scale, that a correct engine can show.
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}
# On a CPU, values that stay in the cache are faster than large batches (measured: 4 MiB a value, at least 4 rows).
CACHE_BYTES, FEWEST_ROWS = 4 * 2**20, 4
MAPPED_BYTES = 18 * 2**20  # the C library asks the system for larger values anew every time (measured: 15 % slower)
REGIONS_KEPT = 200_000  # rectangles remembered between the coarse and the fine draws of a block
PLANS_KEPT = 8  # for the batches of a few blocks
COMPILED = 0.7  # compiled work beside plain work (results/benchmark: 0.72 for CRAFT's map, compiling included)


class ConeEngine:
    """Both cones of a recorded network on one scene.

    Attributes:
        whole: (1, 3, H, W) float32, what the network answered to the observation when it was recorded.
        elsewhere: how far the record is from the network on the strongest image, of the answer's scale; inf: not asked.
    """

    kind = "cone"
    whole: Tensor | None = None
    elsewhere = float("inf")

    def __init__(
        self,
        restorer: nn.Module,
        observation: Tensor,
        roi: Rect,
        *,
        precision: str,
        memory_gb: float,
        reason: str,
        compiled: bool = False,
        one_row: bool = False,
    ) -> None:
        self.reason, self.checks = reason, Cost()
        self.roi = roi
        self.observation = observation
        self._memory = memory_gb * 2**30
        self._dtype, self._tolerance = PRECISIONS[precision], TOLERANCE[precision]
        self._cap = 2**30  # batch rows, lowered for good when memory runs out
        self._material = Material({}, self._dtype, observation.device)
        with exact_arithmetic():
            network, image = restorer.to(self._dtype), observation.to(self._dtype)
            self.program = Program(network, image, roi, self.checks, one_row=one_row)
            self._remember()
        if self.program.one_row:
            self._cap = 1
        self._forget()
        self.compiled_when(compiled)

    def _forget(self) -> None:
        """Start anew with what is remembered of the program's cones."""
        self.cone = lru_cache(maxsize=max(16, REGIONS_KEPT // len(self.program.steps)))(self.program.cone)
        self._plan = lru_cache(maxsize=PLANS_KEPT)(self._planned)

    def holding(self, held: frozenset[Ref], taps: dict[Ref, Tap] | None = None, near: int | None = None) -> ConeEngine:
        """Return the engine of the network in which some values keep what they are on the untouched image.

        Args:
            held: these values, as `program.mixed`.
            taps: some of them whose shift is to be weighed (`values`).
            near: leave out changes farther than so many input pixels from the block.

        Returns:
            An engine on the same record; this one itself where nothing is held.
        """
        taps = taps or {}
        program = self.program.holding(held, {ref: tap.reduction.sources for ref, tap in taps.items()}, near)
        if program is self.program:
            return self
        engine = copy.copy(self)
        engine.program, engine.reason = program, f"{self.reason}; {len(held)} values held"
        engine.elsewhere = float("inf")
        for name in ("compiles", "_start"):
            engine.__dict__.pop(name, None)
        with exact_arithmetic():
            clean = self._clean(program.clean_values, program.wanted)
        engine._material = Material(clean, self._dtype, self.observation.device, taps)
        engine._forget()
        engine.compiled_when(False)
        return engine

    def _clean(self, refs: frozenset[Ref], wanted: dict[Ref, Rect]) -> dict[Ref, Tensor]:
        """Run all that the ROI wants once on the clean observation; return constants and parts of some values."""
        program, clean = self.program, self._material.clean
        for step in program.steps.values():
            for ref, (tensor, layout) in step.constants.items():
                clean[ref] = layout.opened(tensor, 1, layout.everywhere)
        constants = {ref: value for ref, value in clean.items() if ref not in program.layouts}
        moves = plan(program, program.everything, 1, self._material, refs)
        values = run(moves, {IMAGE: self._fresh(self.observation[None], program.wanted[IMAGE])})
        for ref in refs:
            layout, region = program.layouts[ref], program.wanted[ref]
            constants[ref] = layout.crop(layout.opened(values.pop(ref), 1, region), wanted[ref], region).clone()
        return constants

    def _remember(self) -> None:
        """Keep what windows are completed from, having held the record against the network."""
        program, clean = self.program, self._material.clean
        clean |= self._clean(program.clean_values, program.wanted)
        expected = program.expected[(..., *self.roi.slices)]
        difference = float((clean[program.output] - expected).abs().max() / (expected.abs().max() + 1e-12))
        if not difference <= self._tolerance:
            raise EngineError(f"the record differs from the network by {difference:.1e} of the output's scale")
        self.whole, program.expected = program.expected.float(), program.expected[:0]

    def _fresh(self, rows: Tensor, part: Rect) -> Tensor:
        """Return a part of images as the record takes them."""
        fresh = self._material.empty(self.program.layouts[IMAGE], len(rows), part, self._dtype)
        return fresh.copy_(rows[(..., *part.slices)])

    def _planned(self, cone: Cone, rows: int) -> list[Move]:
        return plan(self.program, cone, rows, self._material, frozenset({self.program.output}))

    # -------------------------------------------------------------------------------------------- the interface

    def untouched(self) -> Tensor:
        """Return the ROI of the untouched output, (1, 3, roi.height, roi.width) float32."""
        return self._material.clean[self.program.output].float()

    def reaches(self, block: Rect, part: Rect | None = None) -> bool:
        """Say whether the block's cone meets the ROI, or a part of it."""
        changed = self.cone(block).regions.get(self.program.output)
        return changed is not None and (part is None or changed.intersect(part).area > 0)

    def work(self, block: Rect) -> float:
        """Return what a draw on a block costs, in forwards of the whole network."""
        return self.cone(block).work / self.program.total_work

    def outputs(self, block: Rect, patches: Tensor) -> Tensor:
        """Return the ROI untouched (row 0) and under each patch, (n + 1, 3, roi.height, roi.width) float32."""
        check_draws(self.observation, block, patches)
        cone, everything = self.cone(block), self.program.everything
        if self.program.output not in cone.regions:
            return self._material.clean[self.program.output].float().expand(len(patches) + 1, -1, -1, -1)
        through_all = self.goes_through_all(cone, len(patches))
        limit = 1 if through_all and self.compiled else self.rows_for(everything if through_all else cone)
        asked = min(self._cap, limit)
        with exact_arithmetic():
            if through_all:
                rows = intervened(self.observation, block, patches)
                result, fitted = self._untouched.before(rows, asked)
            else:
                own = self.observation[(slice(None), *block.slices)][None]
                rows = torch.cat([own, patches.to(own)])
                result, fitted = in_batches(lambda batch: self._through_cone(cone, block, batch), rows, asked)
        if fitted < asked:
            self._cap = fitted
        return result

    def goes_through_all(self, cone: Cone, patches: int) -> bool:
        """Say whether that many patches are faster through all that the ROI wants than through a block's cone."""
        pace = COMPILED if self.compiled else 1.0
        return patches * self.program.everything.work * pace <= (patches + 1) * cone.work

    def roi_of(self, image: Tensor) -> Tensor:
        """Return the ROI of any image of the observation's size (3, h, w) by the record, (1, 3, h, w) float32."""
        with exact_arithmetic():
            return self._through_everything(image[None])

    @cached_property
    def compiles(self) -> bool:
        """Whether most of what the ROI wants is wanted whole, so that compiling it can pay."""
        program = self.program
        work = sum(program.steps[ref].work * program.wanted[ref].area for ref in whole(program))
        return 2 * work >= program.everything.work

    def compiled_when(self, asked: bool) -> Callable[[Rect, Tensor], Tensor]:
        """Return `outputs` that from then on run what goes through everything compiled, or not.

        Row 0 is made anew: compiled code gives other last bits.
        """
        self.compiled = asked and self.compiles
        self._untouched = Untouched(self._through_everything, self.observation)
        return self.outputs

    @cached_property
    def _start(self) -> Start:
        return Start(self.program, self.observation[None].to(self._dtype))

    def _through_everything(self, images: Tensor) -> Tensor:
        program = self.program
        moves = self._plan(program.everything, len(images))
        values = {IMAGE: self._fresh(images, program.wanted[IMAGE])}
        if self.compiled:
            values |= self._start.values(images.to(self._dtype))
            moves = [move for move in moves if move.ref not in self._start.refs]
        return run(moves, values)[program.output].float()

    def values(self, cone: Cone, block: Rect, patches: Tensor, keep: frozenset[Ref] = frozenset()) -> Values:
        """Run a cone on patches (n, 3, h, w); return the output's region, the weighed shifts of taps, and `keep`."""
        changed = cone.regions[IMAGE]
        inside = Rect(changed.top - block.top, changed.left - block.left, changed.height, changed.width)
        rows, start = len(patches), {IMAGE: self._fresh(patches, inside)}
        if keep:
            return run(plan(self.program, cone, rows, self._material, keep | {self.program.output}), start)
        return run(self._plan(cone, rows), start)

    def under(self, held: Values, rows: int) -> Tensor:
        """Return the ROI of the untouched image under other values of what is held, (rows, 3, h, w) float32."""
        cone = self.program.cone_of(held)
        moves = plan(self.program, cone, rows, self._material, frozenset({self.program.output}))
        return self.placed(cone, run(moves, dict(held)), rows)

    def _through_cone(self, cone: Cone, block: Rect, patches: Tensor) -> Tensor:
        return self.placed(cone, self.values(cone, block, patches), len(patches))

    def placed(self, cone: Cone, values: Values, rows: int) -> Tensor:
        """Return the whole ROI, (rows, 3, h, w) float32, of the values of a cone."""
        output, region = self.program.output, cone.regions.get(self.program.output)
        if region == self.roi:
            return values[output].float()
        result = self._material.clean[output].float().repeat(rows, 1, 1, 1)
        if region is None:
            return result
        place = Rect(region.top - self.roi.top, region.left - self.roi.left, region.height, region.width)
        result[(..., *place.slices)] = values[output].float()
        return result

    def rows_for(self, cone: Cone) -> int:
        """Batch rows that the record takes and whose activations fit into the memory granted, by the largest value."""
        size = self._dtype.itemsize
        layouts = self.program.layouts
        largest = max(prod(layouts[ref].shape(1, region)) for ref, region in cone.regions.items())
        rows = max(1, int(self._memory / (6 * size * largest)))
        if self.observation.device.type == "cpu":
            few = max(1, min(FEWEST_ROWS, MAPPED_BYTES // (size * largest)))
            rows = min(rows, max(few, CACHE_BYTES // (size * largest)))
        return min(self._cap, rows)

    def first_difference(self, block: Rect, patches: Tensor) -> str:
        """Name the first op whose value differs from a run of all ops on everything the ROI wants."""
        check_draws(self.observation, block, patches)
        program, cone, rows = self.program, self.cone(block), len(patches)
        if program.one_row and rows > 1:
            return self.first_difference(block, patches[:1])
        keep = frozenset(program.steps)
        with exact_arithmetic():
            images = intervened(self.observation, block, patches)
            every, few = (
                run(plan(program, each, rows, self._material, keep), {IMAGE: self._fresh(images, each.regions[IMAGE])})
                for each in (program.everything, cone)
            )
        for ref, step in program.steps.items():
            if ref in few and self._differ(ref, every[ref], few[ref], cone.regions[ref], rows):
                return step.title
        return "none inside the record of the network: it differs from the network" + " as compiled" * self.compiled

    def _differ(self, ref: Ref, every: Tensor, few: Tensor, region: Rect, rows: int) -> bool:
        layout, wanted = self.program.layouts[ref], self.program.wanted[ref]
        part = layout.crop(layout.opened(every, rows, wanted), region, wanted)
        scale = float(every.float().abs().max()) + 1e-12
        difference = float((part.float() - layout.opened(few, rows, region).float()).abs().max())
        return not difference <= scale * self._tolerance
