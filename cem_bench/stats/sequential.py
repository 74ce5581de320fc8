"""Evidence that stays valid when the draws themselves decide when to stop.

A block is looked at after a planned number of draws, again after more, and so on. Each look gets an equal part of the
error probability, so that stopping at whichever look pleases most cannot raise it (Bonferroni over the looks).
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import Estimate, skew_interval, stratified_interval
from cem_bench.stats.verdicts import PValues, p_values

__all__ = ["STOPPED_ERROR", "interval", "looks_of", "p_values_over_looks", "sequential_p_values"]

# Share of the error probability that an interval reported after stopping may use; the rest pays for the choice of when
# to stop. Measured: coverage 93 to 97 % at nominal 95 % over each gold map (results/statistics).
STOPPED_ERROR = 0.7

Effects = Mapping[int, NDArray[np.float64]]
Labels = Mapping[int, NDArray[np.int64]]


def looks_of(minimum: int, maximum: int, growth: float = 1.6) -> tuple[int, ...]:
    """Return after how many draws a block is looked at.

    Args:
        minimum: draws at the first look, at least 2.
        maximum: draws at the last look.
        growth: factor from look to look, above 1.

    Returns:
        Increasing numbers of draws, as 3, 5, 8, 13, 21, 32.

    Raises:
        ValueError: if the plan is empty or does not grow.
    """
    if minimum < 2 or maximum < minimum or growth <= 1:
        raise ValueError(
            f"looks from {minimum} to {maximum} growing by {growth}: expected 2 <= minimum <= maximum and growth > 1"
        )
    looks = [minimum]
    while looks[-1] < maximum:
        looks.append(min(max(math.ceil(looks[-1] * growth - 0.5), looks[-1] + 1), maximum))
    return tuple(looks)


def sequential_p_values(
    effects: Effects, tol: float, looks: tuple[int, ...] = (), labels: Labels | None = None
) -> PValues:
    """Return p-values of every block, valid whenever its draws were stopped.

    Args:
        effects: block to its draws 0, 1, 2, ..., dB.
        tol: half-width of the region of no effect, dB.
        looks: planned numbers of draws; empty for a number fixed beforehand: one look at all draws.
        labels: block to the strata of its draws, or None.

    Returns:
        p-values in the order of `effects`, see `p_values_over_looks`.
    """
    blocks = list(effects)
    out = PValues(np.ones(len(blocks)), np.ones(len(blocks)), np.zeros(len(blocks), np.int64))
    lengths = np.array([len(effects[block]) for block in blocks], dtype=np.int64)
    for length in np.unique(lengths):
        # Blocks of one length are one array: a map of a thousand blocks costs a few vector operations.
        places = np.flatnonzero(lengths == length)
        draws = np.stack([effects[blocks[place]] for place in places])
        strata = None if labels is None else np.stack([labels[blocks[place]] for place in places])
        part = p_values_over_looks(draws, tol, looks, strata)
        for whole, piece in ((out.effect, part.effect), (out.none, part.none), (out.sign, part.sign)):
            whole[places] = piece
    return out


def p_values_over_looks(
    draws: NDArray[np.float64], tol: float, looks: tuple[int, ...] = (), labels: NDArray[np.int64] | None = None
) -> PValues:
    """Return p-values over all looks that the draws have reached.

    Args:
        draws: (..., n) effects, dB.
        tol: half-width of the region of no effect, dB.
        looks: planned numbers of draws; empty for one look at all draws.
        labels: (..., n) strata of the draws, or None.

    Returns:
        At every look reached the p-value times the number of planned looks, and of these the smallest. Draws after the
        last look reached do not count. Exact level for normal draws.

    Source: Bonferroni over the looks; equal parts as in Pocock 1977, doi 10.1093/biomet/64.2.191.
    """
    shape, parts = draws.shape[:-1], max(len(looks), 1)
    effect, none, sign = np.ones(shape), np.ones(shape), np.zeros(shape, np.int64)
    for look in [look for look in looks if look <= draws.shape[-1]] if looks else [draws.shape[-1]]:
        strata = None if labels is None else labels[..., :look]
        one = p_values(interval(draws[..., :look], strata), tol)
        # The sign belongs to the look that makes the claim.
        sign = np.where((one.effect * parts < effect) | (sign == 0), one.sign, sign)
        effect, none = np.minimum(effect, one.effect * parts), np.minimum(none, one.none * parts)
    return PValues(effect, none, sign)


def interval(
    draws: NDArray[np.float64], labels: NDArray[np.int64] | None, confidence: float = 0.95, *, stopped: bool = False
) -> Estimate:
    """Return the estimate over the last axis, with an interval that allows for how the number of draws came about.

    Args:
        draws: (..., n) effects, dB.
        labels: (..., n) strata of the draws, or None.
        confidence: of the two-sided interval, in (0, 1).
        stopped: whether the draws decided their own number: the interval then may err STOPPED_ERROR times as often.

    Returns:
        Estimates of shape (...).
    """
    level = 1 - (1 - confidence) * (STOPPED_ERROR if stopped else 1.0)
    return skew_interval(draws, level) if labels is None else stratified_interval(draws, labels, None, level)
