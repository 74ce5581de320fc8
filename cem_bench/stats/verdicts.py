"""Verdicts: is the effect of a block positive, negative or none, with the share of false claims under control."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from cem_bench.stats.corrections import CORRECTIONS
from cem_bench.stats.estimates import Estimate

__all__ = ["NAMES", "NEGATIVE", "NONE", "POSITIVE", "UNDECIDED", "PValues", "decide", "false_discovery", "p_values"]

POSITIVE, NONE, NEGATIVE, UNDECIDED = 1, 0, -1, 2
NAMES = {POSITIVE: "positive", NEGATIVE: "negative", NONE: "none", UNDECIDED: "undecided"}


@dataclass(frozen=True, eq=False)
class PValues:
    """Evidence about each block against the region of no effect [-tol, tol].

    Attributes:
        effect: p of "|effect| <= tol": small where the block has an effect of the sign of its mean.
        none: p of "|effect| >= tol": small where the block has none (equivalence).
        sign: -1 or 1, the sign of the mean; 0 where it is unknown.
    """

    effect: NDArray[np.float64]
    none: NDArray[np.float64]
    sign: NDArray[np.int64]


def p_values(estimate: Estimate, tol: float) -> PValues:
    """Return both p-values of one look at the draws.

    Args:
        estimate: of a `*_interval` function.
        tol: half-width of the region of no effect, dB, positive.

    Returns:
        p-values; 1 where the draws cannot tell. Exact for normal means: `effect` at its least favourable point |mean
        effect| = tol (both tails counted), `none` as two one-sided tests.

    Raises:
        ValueError: if tol is not positive.

    Estimand: none, tests of the mean effect against +-tol dB.
    Assumes: near-normal means.

    Source: Schuirmann 1987, doi 10.1007/BF01068419 (two one-sided tests).
    """
    if not tol > 0:
        raise ValueError(
            f"tol: got {tol}, expected a positive number of dB, as 0.01; no effect is a region, not a point"
        )
    size = np.abs(estimate.mean)
    known = np.isfinite(estimate.error) & (estimate.error > 0)
    error, df = np.where(known, estimate.error, 1.0), np.maximum(estimate.df, 1.0)
    inner, outer = (size - tol) / error, (size + tol) / error
    effect = np.minimum(special.stdtr(df, -inner) + special.stdtr(df, -outer), 1.0)
    none = special.stdtr(df, inner)
    sign = np.where(np.isnan(estimate.mean), 0, np.sign(np.nan_to_num(estimate.mean))).astype(np.int64)
    return PValues(np.where(known, effect, 1.0), np.where(known, none, 1.0), sign)


def false_discovery(p: ArrayLike, level: float = 0.05, correction: Literal["bh", "by"] = "bh") -> NDArray[np.bool_]:
    """Return which hypotheses are rejected at a false discovery rate of at most level.

    Args:
        p: (m,) p-values of the family: the tested blocks, without those proven dead.
        level: in (0, 1).
        correction: "bh" (independent or positively dependent blocks) or "by" (any dependence).

    Returns:
        (m,) bool.

    Raises:
        ValueError: for another correction, or p outside [0, 1].

    Estimand: none, a rule; the rate is the expected share of false among the rejected.
    Assumes: bh: independent or positively dependent p-values; by: any.

    Source: Benjamini and Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x; Benjamini and Yekutieli 2001,
        doi 10.1214/aos/1013699998.
    """
    if correction not in CORRECTIONS:
        known = ", ".join(f"{key} ({what})" for key, what in CORRECTIONS.items())
        raise ValueError(f"correction: got {correction!r}, expected one of {known}")
    values = np.asarray(p, dtype=np.float64)
    if values.size == 0:
        return np.zeros(0, dtype=bool)
    return stats.false_discovery_control(values, method=correction) <= level


def decide(p: PValues, level: float = 0.05, correction: Literal["bh", "by"] = "bh") -> NDArray[np.int64]:
    """Return the verdict on every block of one family.

    The claims "has an effect" and the claims "has none" are two families, each with a false discovery rate of at most
    level. A wrong sign counts as a false discovery.

    Args:
        p: p-values of the tested blocks, (m,) each.
        level: share of false claims allowed, in (0, 1).
        correction: "bh" or "by".

    Returns:
        (m,) of POSITIVE, NEGATIVE, NONE, UNDECIDED.

    Estimand: none, a rule on tests against +-tol dB.
    Assumes: as `false_discovery`, and p-values that are valid one by one.

    Source: `false_discovery`.
    """
    has, lacks = (false_discovery(values, level, correction) for values in (p.effect, p.none))
    # Both at once would need p-values that add to less than 1: possible only after several looks. The stronger wins.
    has, lacks = has & (p.effect <= p.none), lacks & (p.none < p.effect)
    return np.where(has, p.sign, np.where(lacks, NONE, UNDECIDED)).astype(np.int64)
