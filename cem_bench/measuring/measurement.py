"""What a cell came to, with a table and a picture of it for those who work in Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cem_bench.inputs.segments import Segments
from cem_bench.measuring.cell import Cell
from cem_bench.sampling.rules import Following
from cem_bench.stats.blocks import BlockTable, block_table
from cem_bench.stats.verdicts import NAMES
from cem_bench.store import maps
from cem_bench.store.draws import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measured cell.

    Attributes:
        cell: what was measured.
        effect_map: average effect, status and number of draws of every block.
        draws: flat block index to the effects that the sampling rule took, in the outcome's unit.
        store: where the draws are.
        observation: (h, w, 3) uint8, the degraded input.
        restored: (H, W, 3) uint8, the untouched observation restored.
        record: everything that is needed to trace a number.
        levels: estimate, interval and verdict of every block by two levels; None where the draws themselves say them.
    """

    cell: Cell
    effect_map: maps.EffectMap
    draws: Mapping[int, np.ndarray]
    store: Store
    observation: np.ndarray
    restored: np.ndarray
    record: dict[str, Any]
    levels: BlockTable | None = None

    def under(self, outcome: str) -> Measurement:
        """Return the same draws seen by another outcome that was measured with them (`also_outcomes`).

        The draws that count are those that count for the first outcome, on which all decisions were made; tol is the
        outcome's own.

        Args:
            outcome: its name.

        Raises:
            ValueError: if it was not measured.
        """
        options, sampling = self.cell.options, self.cell.sampling
        if outcome == options.outcome:
            return self
        if outcome not in options.outcomes:
            raise ValueError(
                f"Outcome {outcome} was not measured, only {', '.join(options.outcomes)}: write "
                f"Options(outcome={options.outcome!r}, also_outcomes=({outcome!r},))."
            )
        others = tuple(name for name in options.outcomes if name != outcome)
        options = dataclasses.replace(options, outcome=outcome, also_outcomes=others, tol=None)
        rule = Following(sampling, self.cell.options.outcome)
        cell = dataclasses.replace(self.cell, options=options, rule=rule)
        stored = self.store.effects(self.draws, outcome)
        counted = {block: len(sampling.estimate(draws)) for block, draws in self.draws.items()}
        # what counts is the end of what was taken: all of it, or the fine draws
        draws = {block: stored[block][len(taken) - counted[block] : len(taken)] for block, taken in self.draws.items()}
        shape, status = self.effect_map.status.shape, self.effect_map.status
        effect_map = maps.build_map(shape, draws, rule, status, tol=options.threshold)
        words = {"outcome": outcome, "unit": options.facts.unit, "tol": options.threshold, "sampling": rule.describe()}
        record = {**self.record, **words, "summary": effect_map.summary()}
        return dataclasses.replace(self, cell=cell, effect_map=effect_map, draws=draws, record=record)

    @property
    def table(self) -> BlockTable:
        """Estimate, interval and verdict of every block that may be drawn."""
        if self.levels is not None:
            return self.levels
        rule, options = self.cell.sampling, self.cell.options
        effects = {block: rule.estimate(draws) for block, draws in self.draws.items()}
        return block_table(effects, tol=options.threshold, looks=rule.looks, correction=options.fdr)  # pyright: ignore[reportArgumentType]

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per block or segment.

        Returns:
            Columns: row, column (of segments: 0, and the index in `cell.scene.grid.labels`); status (measured; roi: not
            drawn; unreachable: proven to have no effect); n (draws in the mean); effect, low, high (95 % interval) in
            the outcome's unit, NaN in the ROI; verdict.
        """
        table = self.table
        rows, columns = np.indices(self.effect_map.status.shape)
        frame = pd.DataFrame({"row": rows.ravel(), "column": columns.ravel()})
        frame["status"] = [maps.STATUS[int(code)] for code in self.effect_map.status.ravel()]
        frame["n"] = self.effect_map.n.ravel()
        frame["effect"] = self.effect_map.effect.ravel()
        for name, values in (("low", table.low), ("high", table.high)):
            frame[name] = np.where(frame["status"] == "unreachable", 0.0, np.nan)
            frame.loc[table.block, name] = values
        frame["verdict"] = np.where(frame["status"] == "unreachable", "none", "")
        frame.loc[table.block, "verdict"] = [NAMES[int(verdict)] for verdict in table.verdict]
        return frame

    def plot(self, palette: str = "paper") -> Figure:
        """Return the figure of the cell: observation, restored image, map with bar and pie.

        Args:
            palette: `paper` (seismic) or `safe` (for colour-blind readers).
        """
        from cem_bench.figures.map import Look, map_figure

        cell, scene = self.cell, self.cell.scene
        look = Look.of(cell.degradation.task, cell.options.outcome, palette)
        restored = f"{cell.model.name}: ROI {self.record['psnr_roi_db']:.2f} dB"
        panels = [("Input", self.observation), (restored, self.restored)]
        grid = scene.grid
        shown = self.effect_map.on(grid.cells) if isinstance(grid, Segments) else self.effect_map
        return map_figure(shown, panels, scene.clean, scene.roi, look)
