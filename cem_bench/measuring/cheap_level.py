"""The cheap level of a cell: its frozen cones, and what its pools add to first order; its draws have their own store.

Its numbers need not be right: every estimate is held to draws of the real network. They need only be the same again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cem_bench.engine.choose import sample_blocks
from cem_bench.engine.cone import ConeEngine
from cem_bench.engine.cost import Cost
from cem_bench.engine.levels import Levels
from cem_bench.measuring.engines import engine_for
from cem_bench.measuring.opened import store_of
from cem_bench.measuring.outcome import OUTCOMES
from cem_bench.measuring.prepared import Bench
from cem_bench.measuring.refusals import MeasureError, first_line
from cem_bench.sampling.rules import Request
from cem_bench.store.draws import Store

LEVEL_VERSION = 1  # of what the levels compute
# Changes farther than so many input pixels from the block are left out, where whole cones take more than this share of
# a forward: half the work or less, and next to no variance (results/benchmark/levels.csv).
NEAR_PX, LARGE = 10, 0.02
DIFFERENTIABLE = ("psnr", "psnr_y", "mae")


class NoLevelError(Exception):
    """A cell has no cheap level, or none that is cheaper; says why."""


@dataclass(frozen=True, eq=False)
class CheapLevel:
    """The cheap level of one cell.

    Attributes:
        bench: of the cell, on its recorded network.
        levels: the levels of that record.
        store: of its draws.
        setup, drawn: what it cost to set up, and its draws.
    """

    bench: Bench
    levels: Levels
    store: Store
    setup: Cost
    drawn: Cost = field(default_factory=Cost)

    @classmethod
    def of(cls, bench: Bench, root: Path | None) -> CheapLevel:
        """Set up the cheap level of a cell.

        Raises:
            NoLevelError: where there is none: the outcome has no derivative, the network draws random numbers, cannot
                be recorded, or mixes nothing over the whole image, so that its own cones are as cheap.
        """
        options, setup = bench.cell.options, Cost()
        if options.outcome not in DIFFERENTIABLE:
            raise NoLevelError(f"outcome {options.outcome} has no derivative")
        if options.stochastic or options.precision != "fp32":
            raise NoLevelError("levels are of networks that draw no random numbers, in fp32")
        with setup.counted():
            bench, engine = on_record(bench)
            compute = OUTCOMES[options.outcome].compute
            levels = Levels.of(engine, lambda rows: compute(rows, bench.target)[0])
        if levels.frozen is levels.exact:
            raise NoLevelError("nothing mixes the whole image: draws of the network itself are as cheap")
        large = levels.frozen.program.share(sample_blocks(bench.tensor)) > LARGE
        levels = levels.near(NEAR_PX) if large else levels
        name = {"level": "adjoint", "level_version": LEVEL_VERSION, **({"near_px": NEAR_PX} if large else {})}
        return cls(bench, levels, store_of(bench.cell, root, **name), setup)

    def cost(self, block: int) -> float:
        """Return what a draw costs, in forwards of the whole network."""
        return self.levels.work(self.bench.input_rect(block))

    def draw(self, request: Request) -> None:
        """Make the draws of a request and keep them."""
        bench, outcome = self.bench, self.bench.cell.options.outcome
        with self.drawn.counted():
            donors, _ = bench.cell.keys.donors(bench.cell.pool, request.block, request.first, request.last)
            patches = bench.patches(request.block, donors, request.first)
            outputs, added = self.levels.outputs(bench.input_rect(request.block), patches)
            unit = bench.unit(request, outputs)
            unit[outcome] = unit[outcome] + added[1:].sum(dim=1).double().cpu().numpy()
            if not np.isfinite(unit[outcome]).all():
                raise FloatingPointError(f"the cheap level answers NaN or infinity to block {request.block}")
            self.store.append(unit)


def on_record(bench: Bench) -> tuple[Bench, ConeEngine]:
    """Return a cell on the record of its network, whose answer is the ROI alone.

    Raises:
        NoLevelError: where the network cannot be recorded.
    """
    cell, engine = bench.cell, bench.engine
    if not isinstance(engine, ConeEngine) or bench.answered != cell.scene.roi:
        try:
            engine = engine_for(cell, bench.tensor, cell.scene.roi, bench.yardstick, kind="cone")
        except MeasureError as error:
            raise NoLevelError(f"the network cannot be recorded ({first_line(error)})") from error
    if not isinstance(engine, ConeEngine):
        raise NoLevelError(f"the network cannot be recorded (engine {engine.kind})")
    return replace(bench, engine=engine, answered=cell.scene.roi), engine
