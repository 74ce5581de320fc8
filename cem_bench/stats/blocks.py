"""The table of a map: every block with estimate, interval and verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import RESOLUTION, Estimate, robust_interval
from cem_bench.stats.looks import by_length, interval, sequential_p_values, strata_count
from cem_bench.stats.verdicts import NEGATIVE, NONE, POSITIVE, UNDECIDED, decide

__all__ = ["BlockTable", "block_table"]

Array = NDArray[np.float64]
ESTIMATED = ("mean", "error", "low", "high", "robust_low", "robust_high")


@dataclass(frozen=True, eq=False)
class BlockTable:
    """One row a tested block, in the order of the effects given.

    Attributes:
        block: flat block index.
        n: draws that enter the mean.
        mean: dB, float outcome.
        error: standard error, dB; NaN where the draws cannot tell.
        low: lower end of the interval, dB.
        high: upper end of the interval, dB.
        robust_low: lower end of the interval for zero-inflated or rounded draws, dB.
        robust_high: its upper end, dB.
        verdict: POSITIVE, NEGATIVE, NONE or UNDECIDED (see `verdicts`).
        below_resolution: every draw lies within +-RESOLUTION, or all draws are equal.
        tol: half-width of the region of no effect, dB.
        level: false discovery rate of the verdicts.
        correction: "bh" or "by".
    """

    block: NDArray[np.int64]
    n: NDArray[np.int64]
    mean: Array
    error: Array
    low: Array
    high: Array
    robust_low: Array
    robust_high: Array
    verdict: NDArray[np.int64]
    below_resolution: NDArray[np.bool_]
    tol: float
    level: float
    correction: str

    def counts(self) -> dict[str, int]:
        """Number of blocks of each verdict."""
        codes = {"positive": POSITIVE, "negative": NEGATIVE, "none": NONE, "undecided": UNDECIDED}
        return {name: int((self.verdict == code).sum()) for name, code in codes.items()}


def block_table(
    effects: Mapping[int, Array],
    *,
    tol: float = 0.01,
    looks: tuple[int, ...] = (),
    labels: Mapping[int, NDArray[np.int64]] | None = None,
    level: float = 0.05,
    correction: Literal["bh", "by"] = "bh",
) -> BlockTable:
    """Return estimate, interval and verdict of every tested block.

    Args:
        effects: flat block index to the draws that enter its mean (a rule's `estimate`), dB, float outcome. Blocks
            proven unable to reach the ROI are left out: they are no hypotheses.
        tol: half-width of the region of no effect, dB.
        looks: the rule's planned looks; empty where the number of draws did not depend on them.
        labels: flat block index to the strata of those draws, or None.
        level: false discovery rate, and the error probability of each interval.
        correction: "bh" or "by".

    Returns:
        The table. A block with no draw, one draw, or draws that are all equal is undecided.

    Raises:
        ValueError: naming the block whose draws are not finite.

    Estimand: that of each block as in `estimates`; verdicts ask whether it lies beyond +-tol dB.
    Assumes: draws of different blocks are independent (each block has its own donors); otherwise as the interval
        used.

    Source: `sequential.interval`, `verdicts.p_values`, `verdicts.decide`.
    """
    for block, draws in effects.items():
        bad = int((~np.isfinite(draws)).sum())
        if bad:
            raise ValueError(
                f"block {block}: {bad} of {len(draws)} draws are not finite; leave out draws that were not run"
            )
    rows = {name: np.full(len(effects), np.nan) for name in ESTIMATED}
    for places, draws, strata in by_length(effects, labels):
        plain = interval(draws, strata, 1 - level, looks=looks, tol=tol, count=strata_count(labels))
        for name, values in zip(ESTIMATED, _columns(draws, plain, 1 - level), strict=True):
            rows[name][places] = values
    p = sequential_p_values(effects, tol, looks, labels)
    return BlockTable(
        np.array(list(effects), dtype=np.int64),
        np.array([len(draws) for draws in effects.values()], dtype=np.int64),
        **rows,
        verdict=decide(p, level, correction),
        below_resolution=np.array([_below(draws) for draws in effects.values()], dtype=bool),
        tol=tol,
        level=level,
        correction=correction,
    )


def _columns(draws: Array, plain: Estimate, confidence: float) -> tuple[Array, ...]:
    """Return what ESTIMATED names of blocks that have one number of draws, (m,) each."""
    robust = robust_interval(draws, confidence)
    return plain.mean, plain.error, plain.low, plain.high, robust.low, robust.high


def _below(draws: Array) -> bool:
    """Return whether every draw lies within +-RESOLUTION, or all of several are equal."""
    return len(draws) > 0 and bool(np.abs(draws).max() < RESOLUTION or (len(draws) > 1 and np.ptp(draws) == 0))
