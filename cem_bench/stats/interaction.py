"""The joint effect of a set of blocks beside the sum of their single effects: what the blocks do to each other."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import Estimate, check_confidence, checked, from_moments, t_interval

__all__ = ["Joint", "interaction", "sum_of_singles"]

Array = NDArray[np.float64]
ZERO = np.array(0.0)
EXACT = Estimate(ZERO, ZERO, ZERO, ZERO, np.array(np.inf), 0)  # of blocks that cannot reach the ROI


@dataclass(frozen=True)
class Joint:
    """A joint effect and what it is held against, each with the interval of its own; -inf, inf where unknown.

    Attributes:
        effect: mean joint effect, in the unit of the draws; NaN without draws.
        effect_low: lower end of its interval.
        effect_high: upper end.
        sum_of_singles: sum of the mean single effects of the same blocks.
        sum_of_singles_low: lower end of its interval.
        sum_of_singles_high: upper end.
        interaction: effect minus sum_of_singles.
        interaction_low: lower end of its interval.
        interaction_high: upper end.
    """

    effect: float
    effect_low: float
    effect_high: float
    sum_of_singles: float
    sum_of_singles_low: float
    sum_of_singles_high: float
    interaction: float
    interaction_low: float
    interaction_high: float

    def named(self) -> dict[str, float]:
        """Return the numbers by name."""
        return dict(vars(self))


def sum_of_singles(effects: Mapping[int, Array], confidence: float = 0.95) -> Estimate:
    """Return the sum of the blocks' mean effects with its interval.

    Args:
        effects: block to the draws of its mean, dB; blocks that cannot reach the ROI are left out.
        confidence: of the interval, in (0, 1).

    Returns:
        A scalar estimate; exactly 0 without a block. With a block of fewer than two draws the ends are infinite, and
        with one of none the sum is NaN. Draws of a block that are all equal add no variance.

    Raises:
        ValueError: if a draw is not finite.

    Estimand: sum over blocks of the mean effect over the donor pool, dB, of this image, ROI and degradation.
    Assumes: draws are independent within and between blocks; where their number depended on them (a sequential rule)
        the sum is off by at most 3 % on gold maps, see `summaries.map_summary`.

    Source: degrees of freedom of a sum of variances, Satterthwaite 1946, doi 10.2307/3002019.
    """
    check_confidence(confidence)
    if not effects:
        return EXACT
    draws = [checked(values) for values in effects.values()]
    fewest = min(map(len, draws))
    total = np.array(sum(float(values.mean()) if len(values) else np.nan for values in draws))
    if fewest < 2:
        return from_moments(total, np.array(0.0), np.array(0.0), fewest, confidence)
    parts = np.array([values.var(ddof=1) / len(values) for values in draws])
    spread = sum(part**2 / (len(values) - 1) for part, values in zip(parts, draws, strict=True))
    df = np.array(parts.sum() ** 2 / max(spread, np.finfo(float).tiny))
    return from_moments(total, np.array(parts.sum() ** 0.5), df, fewest, confidence)


def interaction(joint: Array | None, singles: Mapping[int, Array], confidence: float = 0.95) -> Joint:
    """Return the joint effect of a set of blocks, the sum of their single effects, and the difference.

    Args:
        joint: (n,) joint draws of the set, dB; None where no block of it can reach the ROI: then it is exactly 0.
        singles: block of the set to the draws of its mean, dB; blocks that cannot reach the ROI are left out.
        confidence: of each interval, in (0, 1).

    Returns:
        Both with Student's interval. That of the interaction subtracts the far ends of the two, each at half the error,
        so that it holds however the draws of both depend on each other: they share donors.

    Raises:
        ValueError: if a draw is not finite.

    Estimand: mean joint effect over the donors of all blocks of the set, dB; the sum as `sum_of_singles`; both of this
        image, ROI, degradation, noise field and outcome.
    Assumes: independent draws, near-normal means; the set was not chosen by these draws.

    Source: Student 1908, doi 10.1093/biomet/6.1.1; Bonferroni 1936.
    """
    wide = (1 + confidence) / 2

    def both(level: float) -> tuple[Estimate, Estimate]:
        return (EXACT if joint is None else t_interval(joint, level)), sum_of_singles(singles, level)

    (whole, many), (whole_wide, many_wide) = both(confidence), both(wide)
    parts = {"effect": whole, "sum_of_singles": many}
    numbers = {
        f"{name}{end}": float(value)
        for name, part in parts.items()
        for end, value in (("", part.mean), ("_low", part.low), ("_high", part.high))
    }
    return Joint(
        **numbers,
        interaction=float(whole.mean - many.mean),
        interaction_low=float(whole_wide.low - many_wide.high),
        interaction_high=float(whole_wide.high - many_wide.low),
    )
