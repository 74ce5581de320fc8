"""A recorded network with its region rules, for one ROI: what every op wants, and what a block changes of it.

Forward, the block's influence grows with every kernel; backward, so does what the ROI needs. A draw is recomputed only
where both meet.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cem_bench.engine import reads as read
from cem_bench.engine.agree import CONSTANT, NUMBER, recorded_again, recorded_on_part
from cem_bench.engine.base import EngineError
from cem_bench.engine.cost import Cost
from cem_bench.engine.fuse import fused
from cem_bench.engine.layout import Layout
from cem_bench.engine.op_rules import RULES, step_for
from cem_bench.engine.trace import NotTraceable, Ref, trace
from cem_bench.inputs.geometry import Rect, hull

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from cem_bench.engine.step import Step
    from cem_bench.engine.trace import Call, Record

IMAGE = Ref(-1)


def _on_rows(record: Record, restorer: nn.Module, observation: Tensor, one_row: bool) -> tuple[dict[Ref, str], str]:
    """Record again, with two rows where the network takes them; return what depends on rows, and why one row if so."""
    record, observation = recorded_on_part(record, restorer, observation)
    if not one_row:
        try:
            return recorded_again(record, restorer, observation, 2), ""
        except NotTraceable as error:
            reason = f"with two rows, {error}"
        except Exception as error:  # noqa: BLE001 - a network may raise anything
            reason = f"two images at once raise {type(error).__name__}"
    else:
        reason = "asked for"
    return recorded_again(record, restorer, observation, 1), reason


@dataclass(frozen=True, eq=False)
class Cone:
    """The regions to recompute for one block.

    Attributes:
        regions: changed region of every value (the observation included) that changes.
        work: multiply-adds a batch row.
    """

    regions: dict[Ref, Rect]
    work: float


# Calls whose rule works out the shape itself, whatever was recorded.
_SHAPED_BY_RULE = frozenset({"view", "reshape", "flatten", "unflatten", "expand"})


class Program:
    """A recorded network with its rules, for one ROI.

    Attributes:
        one_row: why the record holds for one batch row at a time only; "" where it holds for any number.
        held: values that keep what they are on the untouched image, whatever changes before them.
        taps: held values to what they are sums of, which is wanted everywhere, so that its change can be seen.
        near: changes farther than so many input pixels from the block are left out; None for all changes.
    """

    near: int | None = None
    held: frozenset[Ref] = frozenset()
    taps: Mapping[Ref, tuple[Ref, ...]] = MappingProxyType({})

    def __init__(
        self, restorer: nn.Module, observation: Tensor, roi: Rect, checks: Cost, *, one_row: bool = False
    ) -> None:
        record = trace(restorer, observation[None])
        with checks.counted():
            depends, self.one_row = _on_rows(record, restorer, observation, one_row)
        calls, self.output, self.expected = record.calls, record.output, record.value
        self.layouts: dict[Ref, Layout] = {IMAGE: Layout.image((1, *observation.shape))}
        self.steps: dict[Ref, Step] = {}
        self.calls = fused(calls, self.output)
        self.dtypes = {IMAGE: observation.dtype, **{ref: call.dtype for ref, call in self.calls.items()}}
        for ref, call in self.calls.items():
            self.steps[ref] = step_for(call, self.layouts.__getitem__)
            self.layouts[ref] = self.steps[ref].layout
        if not self.layouts[self.output].is_image:
            raise EngineError("the output is not an image by the record: some op before it has no rule")
        self.one_row = self.one_row or self._bound_to_one_row(depends, calls)
        self.roi = roi
        self.total_work = sum(step.work * step.layout.everywhere.area for step in self.steps.values())
        self.wanted = self._wanted()
        self._leave_out_unwanted()

    def _leave_out_unwanted(self) -> None:
        self.steps = {ref: step for ref, step in self.steps.items() if ref in self.wanted}
        self.last_use = {ref: user for user in self.steps for ref in self.read_by(user)}

    def read_by(self, ref: Ref) -> tuple[Ref, ...]:
        """Return the values whose change an op sees."""
        return self.taps.get(ref, ()) if ref in self.held else self.steps[ref].inputs

    def holding(
        self,
        held: frozenset[Ref],
        taps: Mapping[Ref, tuple[Ref, ...]] = MappingProxyType({}),
        near: int | None = None,
    ) -> Program:
        """Return the program in which some values keep what they are on the untouched image.

        Args:
            held: these values; what reads them sees them unchanged.
            taps: some of them, to what they are sums of, which is wanted as well.
            near: leave out changes farther than so many input pixels from the block.

        Returns:
            A program of the same calls and rules; this one itself where nothing is held.
        """
        if not held:
            return self
        program = copy.copy(self)
        for name in ("everything", "clean_values"):
            program.__dict__.pop(name, None)
        program.held, program.taps, program.near = held, taps, near
        program.wanted = program._wanted()
        program._leave_out_unwanted()
        return program

    def _bound_to_one_row(self, depends: dict[Ref, str], calls: list[Call]) -> str:
        """Name the first call that was recorded for one row and that no rule makes hold for more."""
        for ref, kind in depends.items():
            call, step = calls[ref.index], self.steps.get(ref)
            shaped = kind == NUMBER and call.name in _SHAPED_BY_RULE and (step is None or step.local)
            cut = kind == CONSTANT and step is not None and step.local
            if not shaped and not cut:
                return f"{call.where or 'network'}: {call.name} is bound to the number of images"
        return ""

    def _wanted(self) -> dict[Ref, Rect]:
        """Return, for every value, the region that the ROI depends on."""
        wanted: dict[Ref, Rect] = {self.output: self.roi}
        for ref, step in reversed(self.steps.items()):
            if ref not in wanted:
                continue
            if ref in self.held:
                wanted |= {source: self.layouts[source].everywhere for source in self.taps.get(ref, ())}
                continue
            for source, pair in zip(step.inputs, step.reads, strict=True):
                if source in step.constants:
                    continue
                everywhere = self.layouts[source].everywhere
                part = read.need(pair, wanted[ref]).intersect(everywhere)
                grown = hull(wanted.get(source), part)
                if grown is not None:
                    wanted[source] = grown
        return wanted

    @cached_property
    def everything(self) -> Cone:
        """All that the ROI wants, whatever the block."""
        if self.held:
            return self.cone(self.layouts[IMAGE].everywhere)
        return Cone(dict(self.wanted), sum(step.work * self.wanted[ref].area for ref, step in self.steps.items()))

    @cached_property
    def clean_values(self) -> frozenset[Ref]:
        """Values whose clean version some window is completed from; the output among them.

        An op that reads just the same positions of inputs that change in the same region (queries, keys and scores of
        one window attention) needs no clean values. `origin` tells such inputs: the value and the chain of reads since,
        which decide together where a value changes.
        """
        origin: dict[Ref, Any] = {IMAGE: IMAGE}
        clean_values = {self.output}
        for ref, step in self.steps.items():
            sources = [(s, pair) for s, pair in zip(step.inputs, step.reads, strict=True) if s in self.wanted]
            if ref in self.held:
                origin[ref] = ref
                clean_values.update(self.taps.get(ref, ()))
                continue
            origins = {origin[source] for source, _ in sources}
            aligned = all(axis is read.same(axis.size) for _, pair in sources for axis in pair)
            if aligned and step.local and len(origins) == 1:
                origin[ref] = origins.pop()
                continue
            clean_values.update(source for source, _ in sources)
            follows = len(sources) == 1 and all(axis.grows for axis in sources[0][1])
            origin[ref] = (sources[0][1], origins.pop()) if follows else ref
        return frozenset(clean_values)

    def cone(self, block: Rect) -> Cone:
        """Return what a block changes of what the ROI wants, up to `near`."""
        return self._cone({IMAGE: block.intersect(self.wanted.get(IMAGE, Rect(0, 0, 0, 0)))}, block)

    def _near(self, block: Rect, ref: Ref) -> Rect:
        """Return the part of a value that lies near a block."""
        assert self.near is not None
        whole, image = self.layouts[ref].everywhere, self.layouts[IMAGE].everywhere
        ends = []
        for first, size, own, side in (
            (block.top, block.height, whole.height, image.height),
            (block.left, block.width, whole.width, image.width),
        ):
            ends += [(first - self.near) * own // side, -(-(first + size + self.near) * own // side)]
        top, bottom, left, right = ends
        return Rect(top, left, bottom - top, right - left).intersect(whole)

    def cone_of(self, moved: Iterable[Ref]) -> Cone:
        """Return what other values of `held` change of what the ROI wants, the image left as it is."""
        return self._cone({ref: self.layouts[ref].everywhere for ref in moved})

    def _cone(self, regions: dict[Ref, Rect], block: Rect | None = None) -> Cone:
        work = 0.0
        for ref, step in self.steps.items():
            if ref in self.held:
                continue
            changed: Rect | None = None
            for source, pair in zip(step.inputs, step.reads, strict=True):
                region = regions.get(source)
                if region is not None and region.area:
                    changed = hull(changed, read.reach(pair, region))
            if changed is None:
                continue
            changed = changed.intersect(self.wanted[ref])
            if block is not None and self.near is not None:
                changed = changed.intersect(self._near(block, ref))
            if changed.area:
                regions[ref] = changed
                work += step.work * changed.area
        return Cone(regions, work)

    def share(self, blocks: Iterable[Rect]) -> float:
        """Mean share of a full forward's work that the blocks' cones leave, 0 to 1."""
        works = [self.cone(block).work for block in blocks]
        return sum(works) / len(works) / self.total_work

    @property
    def mixed(self) -> dict[Ref, Step]:
        """Ops after which everything is changed, in order: what they make depends on the whole image."""

        def mixes(step: Step) -> bool:
            extents = {self.layouts[ref].extent for ref in step.inputs if ref in self.layouts} - {(1, 1)}
            return bool(extents) and (not step.local or step.layout.extent == (1, 1))

        return {ref: step for ref, step in self.steps.items() if mixes(step)}

    @property
    def mixing(self) -> list[str]:
        """Name and module of these ops, in order."""
        return [step.title for step in self.mixed.values()]

    @property
    def without_rule(self) -> list[str]:
        """Names of the ops that the table of rules does not know."""
        return sorted({step.call.name for step in self.steps.values() if step.call.name not in RULES})
