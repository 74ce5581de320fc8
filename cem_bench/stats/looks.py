"""Evidence that stays valid when the draws themselves decide when to stop.

A block is looked at after a planned number of draws, again after more, and so on. Each look gets its part of the error
probability, so that stopping at whichever look pleases most cannot raise it (Bonferroni over the looks).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import Estimate, outer_interval, skew_interval
from cem_bench.stats.stratified import Interval, stratified_interval
from cem_bench.stats.verdicts import PValues, p_values

__all__ = [
    "Reached",
    "interval",
    "look_p_values",
    "looks_of",
    "p_values_over_looks",
    "sequential_p_values",
    "strata_count",
]

# Few draws that happen to look calm stop a block early. Until there are so many draws, a claim of no effect needs every
# draw within this part of tol (at 0.01 dB: two draws within a fifth of the resolution, three within it), and no effect
# is claimed before the last of them, but at the last look. How this and the two below were tuned: results/statistics.
CALM = ((3, 0.02), (5, 0.1), (8, 0.5), (9, 1.0))
# A stop before the last look is in doubt unless the claim would stand with every draw within this part of what CALM
# asks, and at this part of the error probability: other draws of that block would then have gone on.
CLEAR_CALM, CLEAR_LEVEL = 0.25, 0.2
# In doubt, draws were chosen for looking calm or alike, and their interval may err only this part as often as one of a
# number fixed beforehand. A block that any draws would have stopped here, or that went to the last look, pays nothing.
DOUBT_SHARE = 0.3

Effects = Mapping[int, NDArray[np.float64]]
Labels = Mapping[int, NDArray[np.int64]]


def looks_of(minimum: int, maximum: int, growth: float = 1.5) -> tuple[int, ...]:
    """Return after how many draws a block is looked at.

    Args:
        minimum: draws at the first look, at least 2.
        maximum: draws at the last look.
        growth: factor from look to look, above 1.

    Returns:
        Increasing numbers of draws, as 2, 3, 5, 8, 12, 18, 21.

    Raises:
        ValueError: if the plan is empty or does not grow.
    """
    if minimum < 2 or maximum < minimum or growth <= 1:
        raise ValueError(
            f"looks from {minimum} to {maximum} growing by {growth}: expected 2 <= minimum <= maximum and growth > 1"
        )
    looks = [minimum]
    while looks[-1] < maximum:
        looks.append(min(max(math.ceil(looks[-1] * growth), looks[-1] + 1), maximum))
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
    many, count = len(effects), strata_count(labels)
    out = PValues(np.ones(many), np.ones(many), np.zeros(many, np.int64))
    for places, draws, strata in by_length(effects, labels):
        part = p_values_over_looks(draws, tol, looks, strata, count)
        for whole, piece in ((out.effect, part.effect), (out.none, part.none), (out.sign, part.sign)):
            whole[places] = piece
    return out


def by_length(
    effects: Effects, labels: Labels | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64] | None]]:
    """Yield the blocks that have one number of draws as one array: a thousand blocks cost a few vector operations.

    Args:
        effects: block to its draws, dB.
        labels: block to the strata of its draws, or None.

    Yields:
        Places (m,) in the order of `effects`, draws (m, n), and their strata (m, n) or None; rising n.
    """
    blocks, lengths = list(effects), np.array([len(draws) for draws in effects.values()], dtype=np.int64)
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        members = [blocks[place] for place in places]
        strata = None if labels is None else np.stack([labels[block] for block in members])
        yield places, np.stack([effects[block] for block in members]), strata


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
        At every look reached the p-value over that look's part (`look_p_values`), and of these the smallest. Draws
        after the last look reached do not count. Level for normal draws, and claims of few draws held back.

    Estimand: none, tests of a block's mean effect against +-tol dB.
    Assumes: independent draws, near-normal means at every look.

    Source: Bonferroni over the looks; parts as in Pocock 1977, doi 10.1093/biomet/64.2.191.
    """
    return Reached.of(draws, looks, labels, count).p_values(tol)


@dataclass(frozen=True, eq=False)
class Reached:
    """What the looks that draws have reached show of a block's mean, to be held against any tol.

    Attributes:
        looks: planned numbers of draws; empty for one look at all draws.
        estimates: of each look reached, over the last axis of the draws.
        largest: largest |effect| of the draws of each look, dB.
        shape: of the batch.
    """

    looks: tuple[int, ...]
    estimates: tuple[Estimate, ...]
    largest: tuple[NDArray[np.float64], ...]
    shape: tuple[int, ...]

    @classmethod
    def of(
        cls,
        draws: NDArray[np.float64],
        looks: tuple[int, ...] = (),
        labels: NDArray[np.int64] | None = None,
        count: int = 1,
    ) -> Reached:
        """Look at draws (..., n), with their strata as `p_values_over_looks`."""
        ends = [look for look in looks if look <= draws.shape[-1]] if looks else [draws.shape[-1]]
        parts = [(draws[..., :end], None if labels is None else labels[..., :end]) for end in ends]
        estimates = tuple(interval(part, strata, count=count) for part, strata in parts)
        largest = tuple(np.abs(part).max(axis=-1, initial=0.0) for part, _ in parts)
        return cls(looks, estimates, largest, draws.shape[:-1])

    def p_values(self, tol: float) -> PValues:
        """Return the smallest p-values of all looks, as `p_values_over_looks`."""
        if not self.looks:
            return p_values(self.estimates[0], tol)
        strongest = PValues(np.ones(self.shape), np.ones(self.shape), np.zeros(self.shape, np.int64))
        for estimate, largest in zip(self.estimates, self.largest, strict=True):
            strongest = stronger(strongest, _over_part(estimate, largest, tol, self.looks))
        return strongest


def look_p_values(
    draws: NDArray[np.float64],
    tol: float,
    looks: tuple[int, ...],
    labels: NDArray[np.int64] | None = None,
    count: int = 1,
    calm: float = 1.0,
) -> PValues:
    """Return the p-values of one of several planned looks, each over its part of the error probability.

    Args:
        draws: (..., n) effects at this look, dB.
        tol: half-width of the region of no effect, dB.
        looks: planned numbers of draws.
        labels: (..., n) strata of the draws, or None.
        count: strata of the pool.
        calm: factor on what CALM asks, in (0, 1].

    Returns:
        p-values; 1 for what CALM holds back. Every look has an equal part; what looks of fewer draws than CALM asks
        cannot use for claims of an effect, the last one has.

    Estimand: none, tests of each block's mean effect against +-tol dB at one look.
    Assumes: as `p_values_over_looks`.

    Source: `verdicts.p_values`; CALM is our own, tuned and measured in results/statistics.
    """
    largest = np.abs(draws).max(axis=-1, initial=0.0)
    return _over_part(interval(draws, labels, count=count), largest, tol, looks, calm)


def _over_part(
    estimate: Estimate, largest: NDArray[np.float64], tol: float, looks: tuple[int, ...], calm: float = 1.0
) -> PValues:
    """Return the p-values of one look of several from its estimate and largest |effect|, see `look_p_values`."""
    now, n = p_values(estimate, tol), estimate.n
    part = next((part for least, part in CALM if n < least), np.inf)
    unable = sum(look < CALM[-1][0] for look in looks[:-1])
    share = 1 + unable if n >= looks[-1] else int(n >= CALM[-1][0])
    effect = np.minimum(now.effect * len(looks) / share, 1.0) if share else np.ones_like(now.effect)
    none = np.where(largest <= calm * part * tol, np.minimum(now.none * len(looks), 1.0), 1.0)
    return PValues(effect, none, now.sign)


def stronger(first: PValues, second: PValues) -> PValues:
    """Return the smaller p-values of two looks; the sign belongs to the look that makes the claim."""
    sign = np.where((second.effect < first.effect) | (first.sign == 0), second.sign, first.sign)
    return PValues(np.minimum(first.effect, second.effect), np.minimum(first.none, second.none), sign)


def interval(
    draws: NDArray[np.float64],
    labels: NDArray[np.int64] | None,
    confidence: float = 0.95,
    *,
    looks: tuple[int, ...] = (),
    tol: float | None = None,
    count: int = 1,
) -> Estimate:
    """Return the estimate over the last axis, with an interval that allows for how the number of draws came about.

    Args:
        draws: (..., n) effects, dB.
        labels: (..., n) strata of the draws, or None.
        confidence: of the two-sided interval, in (0, 1).
        looks: planned looks, if the draws decided their own number: skewness then lengthens the interval and never
            shortens it, and one that stopped in doubt errs less often (DOUBT_SHARE); empty for a number fixed
            beforehand.
        tol: half-width of the region of no effect that the verdicts were about, dB; None for another reason to stop,
            as a half-width, which counts as doubt.
        count: strata of the pool; with labels.

    Returns:
        Estimates of shape (...). Coverage after stopping is no theorem, it is measured in results/statistics.

    Estimand: mean effect (dB) over the finite donor pool, of this image, ROI, block, degradation and noise field.
    Assumes: as the interval it takes; the number of draws may depend on them only through the looks.

    Source: `estimates.skew_interval`, `estimates.outer_interval`, `stratified.stratified_interval`; intervals that
        pay for the looks, Jennison and Turnbull 1990, doi 10.1214/ss/1177012099.
    """
    if not looks:
        return _interval(draws, labels, confidence, count, skew_interval)
    plain = _interval(draws, labels, confidence, count, outer_interval)
    if draws.shape[-1] >= looks[-1]:
        return plain
    wider = _interval(draws, labels, 1 - (1 - confidence) * DOUBT_SHARE, count, outer_interval)
    doubt = np.ones(draws.shape[:-1], bool)
    if tol is not None:
        p = look_p_values(draws, tol, looks, labels, count, CLEAR_CALM)
        doubt = np.minimum(p.effect, p.none) > (1 - confidence) * CLEAR_LEVEL
    low, high = np.where(doubt, wider.low, plain.low), np.where(doubt, wider.high, plain.high)
    return Estimate(plain.mean, plain.error, low, high, plain.df, plain.n)


def _interval(
    draws: NDArray[np.float64], labels: NDArray[np.int64] | None, confidence: float, count: int, base: Interval
) -> Estimate:
    """Return the interval of independent draws, or of draws from strata of equal size."""
    if labels is None:
        return base(draws, confidence)
    return stratified_interval(draws, labels, count, confidence, base)
