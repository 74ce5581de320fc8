"""Rounds of draws by two levels until the rule is satisfied; without a cheap level, those of the real network alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cem_bench.engine.cost import Cost
from cem_bench.inputs.geometry import Rect, ring_distance
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.cheap_level import CheapLevel, NoLevelError
from cem_bench.measuring.drawing import Drawing
from cem_bench.measuring.prepared import Bench, Progress
from cem_bench.measuring.refusals import MeasureError, first_line
from cem_bench.sampling.judged import Judged
from cem_bench.sampling.level_draws import RINGS, LevelDraws, asked_by_level
from cem_bench.sampling.level_table import carried, facts, level_table
from cem_bench.sampling.multilevel import Multilevel
from cem_bench.sampling.rules import Effects, Request
from cem_bench.stats.blocks import BlockTable
from cem_bench.store import maps
from cem_bench.store.draws import Store

log = logging.getLogger(__name__)


def drawing_of(
    cell: Cell, store: Store, beside: Mapping[Rect, Store], root: Path | None, progress: Progress, bench: Bench | None
) -> Drawing:
    """Return the session that a cell's rule asks for.

    Raises:
        ValueError: if a rule by levels is to serve several outcomes or ROIs.
        MeasureError: as `Bench.of`.
    """
    if not isinstance(cell.sampling, Multilevel):
        return Drawing(cell, store, beside, progress, bench)
    if cell.options.also_outcomes or beside:
        raise ValueError("sampling=levels draws for one outcome and one ROI: write also_outcomes=[].")
    return LevelDrawing(cell, store, root, progress, bench)


class LevelDrawing(Drawing):
    """One session on one cell by two levels.

    Attributes:
        level: the cheap level; None where there is none.
        reason: why there is none.
        judged: what the draws came to; None without a level.
        real: what the draws of the real network cost.
    """

    def __init__(
        self, cell: Cell, store: Store, root: Path | None, progress: Progress, bench: Bench | None = None
    ) -> None:
        super().__init__(cell, store, {}, progress, bench)
        self.level, self.reason, self.judged, self.real = None, "", None, Cost()
        try:
            self.level = CheapLevel.of(self.bench, root)
        except NoLevelError as error:
            self.reason = str(error)

    @property
    def stores(self) -> list[tuple[Bench, Store]]:
        """The store of the cheap level, if any, with its bench: its fingerprint is compared too."""
        return [] if self.level is None else [(self.level.bench, self.level.store)]

    def _rounds(self) -> dict[int, Effects]:
        self.judged = None
        if self.level is None:
            return super()._rounds()
        level, rule, counts = self.level, self.rule, None
        try:
            while True:
                draws = self._stored(level)
                taken, wanted = asked_by_level(rule, draws, counts)
                if not wanted:
                    self.judged = Judged(rule, taken)
                    return carried(self.judged, level_table(self.judged))
                counts = taken.lengths
                if not self._draw_cheap(level, wanted.cheap):
                    return super()._rounds()
                with self.real.counted():
                    self._draw(wanted.real, len(self.store.rows) + sum(request.draws for request in wanted.real))
        finally:
            self.store.flush()
            level.store.flush()

    @property
    def rule(self) -> Multilevel:
        """The cell's rule."""
        rule = self.bench.cell.sampling
        assert isinstance(rule, Multilevel)
        return rule

    def _stored(self, level: CheapLevel) -> LevelDraws:
        """Return all stored draws of both levels."""
        cell = self.bench.cell
        live = np.flatnonzero(self.bench.status().ravel() == maps.MEASURED).tolist()
        distance = ring_distance(cell.scene.grid, cell.scene.roi)[live]
        rng = np.random.Generator(np.random.Philox(cell.options.seed))
        return LevelDraws(
            level.store.effects(live, cell.options.outcome),
            self.store.effects(live, cell.options.outcome),
            {block: level.cost(block) for block in live},
            dict(zip(live, np.digitize(distance, RINGS[:-1], right=True).tolist(), strict=True)),
            [live[at] for at in rng.permutation(len(live))],
            None if cell.pool.strata is None else level.store.strata(live),
        )

    def _draw_cheap(self, level: CheapLevel, requests: list[Request]) -> bool:
        """Make the cheap draws of a round; where that fails, give the level up and say so."""
        for done, request in enumerate(requests, 1):
            try:
                level.draw(request)
            except MeasureError:
                raise
            except Exception as error:  # noqa: BLE001 - a record may fail on anything; the network itself remains
                self.level, self.reason = None, f"given up: {first_line(error)}"
                log.warning("cem_bench: the cheap level of %s was %s.", self.bench.cell.model.name, self.reason)
                return False
            self.progress(done, len(requests), "drawing by the cheap level")
        return True

    @property
    def table(self) -> BlockTable | None:
        """Estimate, interval and verdict of every block; None where the real network's draws alone say them."""
        return None if self.judged is None else level_table(self.judged)

    def facts(self) -> dict[str, Any]:
        """Return what the record says of the levels."""
        if self.judged is None or self.level is None:
            return {"levels": {"reason": self.reason}}
        level = self.level
        spent = {"setup": level.setup, "cheap": level.drawn, "real": self.real}
        told = {
            **facts(self.judged),
            "pools": len(level.levels.pools),
            "run_key": level.store.key,
            **{f"{name}_cpu_seconds": round(cost.cpu_seconds, 3) for name, cost in spent.items()},
        }
        return {"levels": told}
