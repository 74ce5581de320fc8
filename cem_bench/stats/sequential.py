"""Evidence that stays valid when the draws themselves decide when to stop.

A block is looked at after a planned number of draws, again after more, and so on. Each look gets an equal part of the
error probability, so that stopping at whichever look pleases most cannot raise it (Bonferroni over the looks).
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import Estimate, skew_interval
from cem_bench.stats.stratified import stratified_interval
from cem_bench.stats.verdicts import PValues, p_values

__all__ = ["interval", "look_p_values", "looks_of", "p_values_over_looks", "sequential_p_values", "strata_count"]

# At look k of K an interval reported after stopping may err k/K as often as one of a number fixed beforehand, but not
# less than this part: the rest pays for the choice to stop early, and for a skewness that few draws do not show.
LEAST_SHARE = 0.45
# Few draws that happen to look calm stop a block early. Until there are so many draws, a claim of no effect needs every
# draw within this part of tol (with three draws at 0.01 dB: below the resolution); before the last of them no effect is
# claimed. Tuned on the FSRCNN gold map; of DnCNN's, coverage and draws were looked at.
CALM = ((5, 0.1), (8, 0.5), (9, 0.75))

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

    Estimand: none, tests of each block's mean effect against +-tol dB.
    Assumes: as `p_values_over_looks`.

    Source: `p_values_over_looks`.
    """
    blocks, count = list(effects), strata_count(labels)
    out = PValues(np.ones(len(blocks)), np.ones(len(blocks)), np.zeros(len(blocks), np.int64))
    lengths = np.array([len(effects[block]) for block in blocks], dtype=np.int64)
    for length in np.unique(lengths):
        # Blocks of one length are one array: a map of a thousand blocks costs a few vector operations.
        places = np.flatnonzero(lengths == length)
        draws = np.stack([effects[blocks[place]] for place in places])
        strata = None if labels is None else np.stack([labels[blocks[place]] for place in places])
        part = p_values_over_looks(draws, tol, looks, strata, count)
        for whole, piece in ((out.effect, part.effect), (out.none, part.none), (out.sign, part.sign)):
            whole[places] = piece
    return out


def strata_count(labels: Labels | None) -> int:
    """Return the number of strata of the pool, as far as the draws of all blocks show it."""
    return 1 + max((int(part.max()) for part in (labels or {}).values() if len(part)), default=0)


def p_values_over_looks(
    draws: NDArray[np.float64],
    tol: float,
    looks: tuple[int, ...] = (),
    labels: NDArray[np.int64] | None = None,
    count: int = 1,
) -> PValues:
    """Return p-values over all looks that the draws have reached.

    Args:
        draws: (..., n) effects, dB.
        tol: half-width of the region of no effect, dB.
        looks: planned numbers of draws; empty for one look at all draws.
        labels: (..., n) strata of the draws, or None.
        count: strata of the pool.

    Returns:
        At every look reached the p-value times the number of planned looks, and of these the smallest. Draws after the
        last look reached do not count. Level for normal draws, and claims of few draws held back (`look_p_values`).

    Estimand: none, tests of a block's mean effect against +-tol dB.
    Assumes: independent draws, near-normal means at every look.

    Source: Bonferroni over the looks; equal parts as in Pocock 1977, doi 10.1093/biomet/64.2.191.
    """
    if not looks:
        return p_values(interval(draws, labels, count=count), tol)
    shape = draws.shape[:-1]
    found = PValues(np.ones(shape), np.ones(shape), np.zeros(shape, np.int64))
    for look in [look for look in looks if look <= draws.shape[-1]]:
        strata = None if labels is None else labels[..., :look]
        found = stronger(found, look_p_values(draws[..., :look], tol, len(looks), strata, count))
    return found


def look_p_values(
    draws: NDArray[np.float64], tol: float, looks: int, labels: NDArray[np.int64] | None = None, count: int = 1
) -> PValues:
    """Return the p-values of one of several planned looks, each with its part of the error probability.

    Args:
        draws: (..., n) effects at this look, dB.
        tol: half-width of the region of no effect, dB.
        looks: number of planned looks.
        labels: (..., n) strata of the draws, or None.
        count: strata of the pool.

    Returns:
        p-values; 1 for what CALM holds back.

    Estimand: none, tests of a block's mean effect against +-tol dB at one look.
    Assumes: as `p_values_over_looks`.

    Source: `verdicts.p_values`; CALM is our own, tuned and measured in results/statistics.
    """
    one = p_values(interval(draws, labels, count=count), tol)
    n, largest = draws.shape[-1], np.abs(draws).max(axis=-1, initial=0.0)
    part = next((part for least, part in CALM if n < least), np.inf)
    effect = np.ones_like(one.effect) if n < CALM[-1][0] else np.minimum(one.effect * looks, 1.0)
    return PValues(effect, np.where(largest <= part * tol, np.minimum(one.none * looks, 1.0), 1.0), one.sign)


def stronger(one: PValues, two: PValues) -> PValues:
    """Return the smaller p-values of two looks; the sign belongs to the look that makes the claim."""
    sign = np.where((two.effect < one.effect) | (one.sign == 0), two.sign, one.sign)
    return PValues(np.minimum(one.effect, two.effect), np.minimum(one.none, two.none), sign)


def interval(
    draws: NDArray[np.float64],
    labels: NDArray[np.int64] | None,
    confidence: float = 0.95,
    *,
    looks: tuple[int, ...] = (),
    count: int = 1,
) -> Estimate:
    """Return the estimate over the last axis, with an interval that allows for how the number of draws came about.

    Args:
        draws: (..., n) effects, dB.
        labels: (..., n) strata of the draws, or None.
        confidence: of the two-sided interval, in (0, 1).
        looks: planned looks, if the draws decided their own number: the interval then errs less often the earlier it
            stopped (LEAST_SHARE); empty for a number fixed beforehand.
        count: strata of the pool; with labels.

    Returns:
        Estimates of shape (...). Coverage after stopping is no theorem, it is measured in results/statistics.

    Estimand: mean effect (dB) over the finite donor pool, of this image, ROI, block, degradation and noise field.
    Assumes: as the interval it takes; the number of draws may depend on them only through the looks.

    Source: `estimates.skew_interval`, `stratified.stratified_interval`; error spent in proportion to the looks, Lan and
        DeMets 1983, doi 10.1093/biomet/70.3.659.
    """
    reached = sum(look <= draws.shape[-1] for look in looks)
    share = max(reached / len(looks), LEAST_SHARE) if looks else 1.0
    level = 1 - (1 - confidence) * share
    if labels is None:
        return skew_interval(draws, level)
    return stratified_interval(draws, labels, np.full(count, 1 / count), level)
