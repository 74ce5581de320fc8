"""Verdicts on the mean effect E[X] of the real network from draws of a cheap level Z and few of the rest X - Z.

Both are tested apart, and the claims joined so that they hold however Z and the rest depend on each other: they share
donors. What holds of the cheap level's mean beyond a bound holds of the real one where the rest's mean lies within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from cem_bench.stats.looks import Labels, Reached, by_length, strata_count
from cem_bench.stats.verdicts import PValues

__all__ = ["BEYOND", "WITHIN", "Evidence", "Joined", "audit_size", "escape", "rest_limit"]

Array = NDArray[np.float64]
Effects = Mapping[int, Array]

# Bounds of the rest's mean that are tried, in tol: a claim of an effect stands beyond tol + bound, one of none within
# tol - bound. A finer grid would claim a little more, never something wrong.
BEYOND = tuple(2.0**power for power in range(-4, 9))
WITHIN = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Error probability of an audited block's own limit, all its looks together.
AUDIT_RISK = 0.2


@dataclass(frozen=True, eq=False)
class Joined:
    """Evidence on the real network's mean, and what it lacks.

    Attributes:
        p: p-values of every block.
        by_rest: whether the rest limits the better of the two claims, and not the cheap level.
    """

    p: PValues
    by_rest: NDArray[np.bool_]


class Evidence:
    """What the draws of both levels show of every block, to be held against any tol and bound.

    Args:
        cheap: block to its effects by the cheap level, dB, draw 0 first.
        real: the same blocks to their effects by the real network, of the same donors, no more than cheap ones.
        looks: planned numbers of cheap draws.
        rest_looks: planned numbers of real draws.
        labels: block to the strata of its cheap draws, or None.

    Estimand: none, tests of each block's mean effect over the donor pool against +-tol dB.
    Assumes: independent draws of a block; near-normal means of Z at its looks, near-normal draws of the rest X - Z.

    Source: intersection-union tests, Berger 1982, doi 10.1080/00401706.1982.10487790; the bound is chosen after the
        draws, which costs a factor of 2: whichever bound is taken, one of two fixed true claims had to be refused.
    """

    def __init__(
        self,
        cheap: Effects,
        real: Effects,
        looks: tuple[int, ...],
        rest_looks: tuple[int, ...],
        labels: Labels | None = None,
    ) -> None:
        count, self.many = strata_count(labels), len(cheap)
        self._reached = [
            (places, Reached.of(draws, looks, strata, count)) for places, draws, strata in by_length(cheap, labels)
        ]
        self._rest = _Rest.of([real[block] - cheap[block][: len(real[block])] for block in cheap], rest_looks)

    def cheap(self, tol: float) -> PValues:
        """Return the p-values of the cheap level's mean."""
        out = PValues(np.ones(self.many), np.ones(self.many), np.zeros(self.many, np.int64))
        for places, reached in self._reached:
            part = reached.p_values(tol)
            for whole, piece in zip(vars(out).values(), vars(part).values(), strict=True):
                whole[places] = piece
        return out

    def rest(self, bound: float) -> Array:
        """Return the p of "|mean of the rest| >= bound", over all its looks reached."""
        return self._rest.p(bound)

    def joined(self, tol: float) -> Joined:
        """Return the p-values of the real network's mean against +-tol dB."""
        effect, none = np.ones(self.many), np.ones(self.many)
        rest_effect, rest_none = np.zeros(self.many, bool), np.zeros(self.many, bool)
        for share in BEYOND:
            beyond, rest = self.cheap(tol * (1 + share)).effect, self.rest(tol * share)
            rest_effect = np.where(np.maximum(beyond, rest) < effect, rest > beyond, rest_effect)
            effect = np.minimum(effect, np.maximum(beyond, rest))
        for share in WITHIN:
            within, rest = self.cheap(tol * (1 - share)).none, self.rest(tol * share)
            rest_none = np.where(np.maximum(within, rest) < none, rest > within, rest_none)
            none = np.minimum(none, np.maximum(within, rest))
        p = PValues(np.minimum(2 * effect, 1.0), np.minimum(2 * none, 1.0), self.cheap(tol).sign)
        return Joined(p, np.where(effect <= none, rest_effect, rest_none))


@dataclass(frozen=True, eq=False)
class _Rest:
    """Mean and error of the rest at every look that a block has reached; NaN where it has not."""

    size: Array
    error: Array
    df: Array
    weight: Array

    @classmethod
    def of(cls, rests: list[Array], looks: tuple[int, ...]) -> _Rest:
        size, error = np.full((2, len(rests), len(looks)), np.nan)
        for at, rest in enumerate(rests):
            for place, look in enumerate(looks):
                if look <= len(rest) and np.ptp(rest[:look]) > 0:
                    size[at, place] = abs(rest[:look].mean())
                    error[at, place] = rest[:look].std(ddof=1) / np.sqrt(look)
        # Each look has half of what the earlier ones left, the last one all of it: two or three draws are the rule.
        weight = 0.5 ** np.minimum(np.arange(1, len(looks) + 1), len(looks) - 1)
        return cls(size, error, np.array(looks, float) - 1, weight)

    def p(self, bound: float) -> Array:
        tail = special.stdtr(self.df, (self.size - bound) / self.error) / self.weight
        return np.fmin.reduce(np.concatenate([tail, np.ones((len(tail), 1))], axis=1), axis=1).clip(0, 1)


def rest_limit(rest: Array, looks: tuple[int, ...]) -> float:
    """Return an upper limit of |mean of X - Z| of an audited block, dB.

    Args:
        rest: (n,) draws of X - Z, dB.
        looks: planned numbers of draws, of which the least limit of those reached is taken.

    Returns:
        The limit; infinite before the first look. Too low in at most `AUDIT_RISK` of the blocks.

    Estimand: the block's mean of X - Z over the donor pool, dB.
    Assumes: near-normal draws of X - Z.

    Source: Student 1908, doi 10.1093/biomet/6.1.1, Bonferroni over the looks.
    """
    limits = [np.inf]
    for look in looks:
        if look <= len(rest):
            quantile = stats.t.ppf(1 - AUDIT_RISK / len(looks), look - 1)
            limits.append(abs(rest[:look].mean()) + quantile * rest[:look].std(ddof=1) / np.sqrt(look))
    return float(min(limits))


def escape(size: int) -> float:
    """Return the largest expected share of blocks beyond the bound that an audit of some blocks lets pass.

    Args:
        size: number of blocks audited, chosen at random, all of which must hold.

    Estimand: none, a rule: the largest over s of s times the chance that no block of a share s is found.
    Assumes: a sample at random; each of its limits is too low with probability `AUDIT_RISK` at most.

    Source: the maximum of s (1 - s q)^m over s, at s q = 1 / (m + 1).
    """
    return float((size / (size + 1)) ** size / ((1 - AUDIT_RISK) * (size + 1)))


def audit_size(share: float) -> int:
    """Return the number of blocks to audit so that at most a share of wrong claims is let pass.

    Args:
        share: of the blocks called none that may lie beyond the bound unseen, above 0.

    Estimand: none, a rule: the least number m with `escape(m)` at most the share.
    Assumes: what `escape` does.

    Source: `escape`, which falls with m.
    """
    size = 1
    while escape(size) > share:
        size += 1
    return size
