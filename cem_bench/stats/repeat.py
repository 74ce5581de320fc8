"""Repeatability of a map: would another run show the same? Never a correlation alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cem_bench.stats.estimates import check_confidence, checked

__all__ = ["Repeatability", "repeatability"]


@dataclass(frozen=True)
class Repeatability:
    """Agreement of two independent halves of a map.

    Attributes:
        flip_rate: share of the blocks coloured in either half whose side of tol differs; NaN if none is coloured.
        coloured: blocks coloured in either half.
        icc: intraclass correlation ICC(1,1) of the half means; NaN without spread.
        correlation: Pearson correlation of the half means.
        low: lower end of its interval.
        high: upper end of its interval.
        blocks: blocks compared.
    """

    flip_rate: float
    coloured: int
    icc: float
    correlation: float
    low: float
    high: float
    blocks: int


def repeatability(pairs: ArrayLike, *, tol: float = 0.01, confidence: float = 0.95) -> Repeatability:
    """Return how far two halves, or two runs, of a map agree.

    Args:
        pairs: (blocks, 2) mean effects of each half or run, dB; blocks with a NaN in either are left out.
        tol: a half colours a block whose |mean| is at least tol, dB.
        confidence: of the correlation's interval, in (0, 1).

    Returns:
        Class-flip rate, ICC and correlation; NaN where fewer than four blocks or no spread make them meaningless.

    Estimand: agreement of two runs of this kind over the blocks of this map; shares and correlations, no unit.
    Assumes: the two columns are independent runs; blocks count as a sample, which neighbours are not quite.

    Source: Shrout and Fleiss 1979, doi 10.1037/0033-2909.86.2.420 (ICC(1,1)); Fisher 1921 (interval by arctanh).
    """
    check_confidence(confidence)
    means = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    means = checked(means[~np.isnan(means).any(axis=1)])
    sides = np.where(np.abs(means) >= tol, np.sign(means), 0)
    coloured = (sides != 0).any(axis=1)
    flips = float((sides[coloured, 0] != sides[coloured, 1]).mean()) if coloured.any() else float("nan")
    count = len(means)
    if count < 4 or (np.ptp(means, axis=0) == 0).any():
        return Repeatability(flips, int(coloured.sum()), np.nan, np.nan, np.nan, np.nan, count)
    between = 2 * means.mean(axis=1).var(ddof=1)
    within = ((means[:, 0] - means[:, 1]) ** 2 / 2).mean()
    r = float(np.clip(np.asarray(np.corrcoef(means.T))[0, 1], -1, 1))
    half = stats.norm.ppf((1 + confidence) / 2) / np.sqrt(count - 3)
    centre = np.arctanh(np.clip(r, -1 + 1e-15, 1 - 1e-15))
    ends = (float(np.tanh(centre - half)), float(np.tanh(centre + half)))
    return Repeatability(flips, int(coloured.sum()), float((between - within) / (between + within)), r, *ends, count)
