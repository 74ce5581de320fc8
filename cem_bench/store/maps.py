"""Maps: the average effect of every block, with a status, from stored draws. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cem_bench.sampling.rules import Rule

MEASURED, ROI, UNREACHABLE, NOT_RUN = 0, 1, 2, 3
STATUS = {MEASURED: "measured", ROI: "roi", UNREACHABLE: "unreachable", NOT_RUN: "not run"}


@dataclass(frozen=True, eq=False)
class EffectMap:
    """One Causal Effect Map.

    Attributes:
        effect: (rows, columns) float64, in the outcome's unit, average over draws; 0 where a block provably cannot
            reach the ROI, NaN where nothing was measured and in the ROI.
        status: (rows, columns) int8, see `STATUS`.
        n: (rows, columns) draws that entered the average.
        tol: an |effect| under tol counts as none.
    """

    effect: np.ndarray
    status: np.ndarray
    n: np.ndarray
    tol: float

    @property
    def counted(self) -> np.ndarray:
        """The blocks that enter shares: all but those of the ROI and those not run."""
        return np.isin(self.status, (MEASURED, UNREACHABLE))

    @property
    def signs(self) -> np.ndarray:
        """-1, 0, 1 for every block, |effect| < tol and NaN counting as 0."""
        known = np.nan_to_num(self.effect)
        return np.where(np.abs(known) >= self.tol, np.sign(known), 0.0).astype(int)

    def shares(self, *, roi_counts_as_positive: bool = False) -> dict[str, float]:
        """Return the share of positive, negative and none among the counted blocks (0 to 1).

        Args:
            roi_counts_as_positive: count the ROI's blocks as positive, as the reference code does.
        """
        signs, counted = self.signs, self.counted
        if roi_counts_as_positive:
            roi = self.status == ROI
            signs, counted = np.where(roi, 1, signs), counted | roi
        total = max(int(counted.sum()), 1)
        names = (("positive", 1), ("negative", -1), ("none", 0))
        return {name: float((signs[counted] == sign).sum()) / total for name, sign in names}

    def on(self, cells: np.ndarray) -> EffectMap:
        """Return the map of segments as pictures show it: every cell has the effect of its segment.

        Args:
            cells: (rows, columns) int, index of every cell's segment.
        """
        return EffectMap(self.effect.ravel()[cells], self.status.ravel()[cells], self.n.ravel()[cells], self.tol)

    def summary(self) -> dict[str, float]:
        """Return range (dB), shares, and counts of blocks by status."""
        known = self.effect[self.counted]
        extremes = {"min_db": float(known.min()), "max_db": float(known.max())} if known.size else {}
        counts = {f"blocks_{name.replace(' ', '_')}": int((self.status == code).sum()) for code, name in STATUS.items()}
        return {**extremes, **self.shares(), **counts, "draws": int(self.n.sum())}


def build_map(
    shape: tuple[int, int], effects: Mapping[int, np.ndarray], rule: Rule, status: np.ndarray, *, tol: float
) -> EffectMap:
    """Average stored effects into a map.

    Args:
        shape: rows and columns of blocks.
        effects: flat block index to effects of draws 0, 1, 2, ...
        rule: says which draws enter a block's average.
        status: (rows, columns) with ROI and UNREACHABLE marked, MEASURED elsewhere.
        tol: in the unit of the effects.
    """
    effect, n = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)
    status = status.copy()
    effect[status == UNREACHABLE] = 0.0
    for block in np.flatnonzero(status.ravel() == MEASURED):
        used = rule.estimate(effects.get(int(block), np.empty(0)))
        place = divmod(int(block), shape[1])
        n[place] = len(used)
        if len(used):
            effect[place] = float(np.mean(used))
        else:
            status[place] = NOT_RUN
    return EffectMap(effect, status, n, tol)
