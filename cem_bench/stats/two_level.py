"""Mean effect of a block from few draws of the real network and many of a cheap one that follows it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cem_bench.stats.estimates import Estimate, checked, skew_interval

__all__ = ["two_level"]


def two_level(exact: ArrayLike, cheap: ArrayLike, confidence: float = 0.95, base: Estimate | None = None) -> Estimate:
    """Return the mean effect E[X] = E[Z] + E[X - Z] with an interval.

    Unbiased whatever the cheap level Z: it only decides how wide the interval is. Where Z does not follow X, the
    interval is wider than that of the exact draws alone.

    Args:
        exact: (..., n) effects of the real network, dB, n at least 2.
        cheap: (..., N) effects of the cheap level, dB, N at least n; draw k of both has the same donor.
        confidence: of the two-sided interval, in (0, 1).
        base: estimate of the cheap draws, where their number depended on them (`looks.interval`).

    Returns:
        Estimates of shape (...), with n the exact draws. The cheap draws' interval (`skew_interval`), widened for their
        covariance with the rest, and Student's interval of the rest, sides added as squares. Unknown where either
        cannot tell.

    Raises:
        ValueError: if a draw is not finite, or there are fewer cheap draws than exact ones, or one exact draw.

    Estimand: mean effect (dB) over the finite donor pool, of this image, ROI, block, degradation and noise field.
    Assumes: independent donors; near-normal means of the rest X - Z, of which few draws are seen.

    Source: two-phase sampling with a difference estimator, Cochran 1977, 12.9; multilevel Monte Carlo, Giles 2008, doi
        10.1287/opre.1070.0496.
    """
    real, level = checked(exact), checked(cheap)
    n, many = real.shape[-1], level.shape[-1]
    if n < 2 or many < n:
        raise ValueError(f"got {n} exact and {many} cheap draws, expected 2 or more, and at least as many cheap ones")
    rest = real - level[..., :n]
    base = skew_interval(level, confidence) if base is None else base
    mean = base.mean + rest.mean(axis=-1)
    spread, apart = level.std(axis=-1, ddof=1), rest.std(axis=-1, ddof=1)
    known = (spread > 0) & np.isfinite(base.low)
    # Var Z + 2 Cov(Z, X - Z), at its largest for the spreads that were seen
    wider = np.where(known, 1 + apart / np.where(known, spread, 1.0), 1.0)
    far = stats.t.ppf((1 + confidence) / 2, n - 1) * apart / np.sqrt(n)
    sides = [np.hypot(wider * (end - base.mean), far) for end in (base.low, base.high)]
    parts = (wider * spread) ** 2 / many, apart**2 / n
    error = np.sqrt(parts[0] + parts[1])
    lowest = parts[0] ** 2 / (many - 1) + parts[1] ** 2 / (n - 1)
    df = np.where(known, (parts[0] + parts[1]) ** 2 / np.where(lowest > 0, lowest, 1.0), n - 1.0)
    low, high = np.where(known, mean - sides[0], -np.inf), np.where(known, mean + sides[1], np.inf)
    return Estimate(mean, np.where(known, error, np.nan), low, high, df, n)
