"""Mean effect of a block with an interval, from donors drawn by stratum.

Estimand: as in `estimates`, the mean effect (dB) over the finite donor pool. Draws come sweep after sweep, each through
the strata in random order, uniform and with replacement within a stratum.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cem_bench.stats.estimates import Estimate, checked, skew_interval

__all__ = ["stratified_interval"]

# The variance within strata is learned from pairs of draws at most a REACH-th of the path of strata apart, and is never
# taken for less than this part of what neighbours show, since a line through few pairs may cut the axis anywhere. Tuned
# on the FSRCNN gold map; of DnCNN's, coverage was looked at.
REACH, LEAST_NUGGET = 6, 1 / 3

Array = NDArray[np.float64]
Interval = Callable[[Array, float], Estimate]


def stratified_interval(
    draws: ArrayLike,
    labels: ArrayLike,
    count: int,
    confidence: float = 0.95,
    base: Interval = skew_interval,
) -> Estimate:
    """Return the mean of stratified draws over the last axis with an interval.

    With at least two draws in every stratum: the mean of the strata's means, and its error from the spread within
    strata. With fewer: the plain mean, and its error less what the sweeps leave out of chance. The interval is that of
    independent draws (`base`), narrowed side by side to this error, so the draws' skewness bends it alike.

    Args:
        draws: (..., n) effects, dB.
        labels: (..., n) stratum of each draw, 0 to count - 1, neighbours alike.
        count: strata of the pool.
        confidence: of the two-sided interval, in (0, 1).
        base: interval of independent draws, one of `estimates`.

    Returns:
        Estimates of shape (...), degrees of freedom by Satterthwaite. Draws that cannot tell (fewer than two, or all
        equal): unknown, as in `estimates.t_interval`.

    Raises:
        ValueError: if draws and labels differ in shape, a draw is not finite, or a label is none of the strata.

    Estimand: mean effect (dB) over the finite donor pool, of this image, ROI, block, degradation and noise field.
    Assumes: strata of equal size (`strata.strata_of_patches`), draws in sweeps as the module says, strata next to each
        other alike.

    Source: Cochran 1977, Sampling Techniques, eq. 5.2 and 5.13; see `_within_strata` and `_over_sweeps`.
    """
    values, strata = checked(draws), np.asarray(labels, dtype=np.int64)
    if values.shape != strata.shape:
        raise ValueError(f"draws and labels must be alike: got shapes {values.shape} and {strata.shape}")
    if strata.min(initial=0) < 0 or strata.max(initial=0) >= count:
        raise ValueError(f"labels: got {strata.min()} to {strata.max()}, expected 0 to {count - 1}: {count} strata")
    plain = base(values, confidence)
    if plain.n < 3:
        return plain
    independent = np.where(plain.error > 0, plain.error, 1.0)
    parts = (plain.mean, *_over_sweeps(independent, values, strata, count))
    if plain.n >= 2 * count:
        *whole, enough = _within_strata(values, strata, count)
        parts = (np.where(enough, full, part) for full, part in zip(whole, parts, strict=True))
    mean, error, df = parts
    known = (plain.error > 0) & (error > 0)
    narrower = stats.t.ppf((1 + confidence) / 2, df) / stats.t.ppf((1 + confidence) / 2, plain.n - 1)
    scale = np.where(known, error / independent * narrower, 1.0)
    low, high = (mean + (end - plain.mean) * scale for end in (plain.low, plain.high))
    low, high = np.where(known, low, -np.inf), np.where(known, high, np.inf)
    return Estimate(mean, np.where(known, error, np.nan), low, high, np.where(known, df, plain.df), plain.n)


def _within_strata(values: Array, strata: NDArray[np.int64], count: int) -> tuple[Array, Array, Array, Array]:
    """Return the stratified mean, its error, degrees of freedom, and whether every stratum holds two draws.

    Source: Cochran 1977, eq. 5.2 and 5.13; degrees of freedom, Welch 1947, doi 10.1093/biomet/34.1-2.28: the square of
        a variance on f of them is (f + 2) / f too large on average, which the plain formula (Cochran 5.16) leaves in.
    """
    n = values.shape[-1]
    rows = values.reshape(-1, n)
    places = strata.reshape(-1, n) + np.arange(len(rows))[:, None] * count

    def per_stratum(weights: Array) -> Array:
        sums = np.bincount(places.ravel(), weights.ravel(), len(rows) * count)
        return sums.astype(np.float64).reshape(len(rows), count)

    counts = per_stratum(np.ones_like(rows))
    enough = counts.min(axis=1) >= 2
    counts = np.maximum(counts, 2)
    means = per_stratum(rows) / counts
    # Rounding leaves a spread of some ulp in the deviations of equal values: equality is asked of the values.
    flat = np.ptp(rows, axis=1) == 0
    pieces = per_stratum((rows - means.ravel()[places]) ** 2) / (counts - 1) / counts / count**2
    variance = np.where(flat, 0.0, pieces.sum(axis=1))
    squares = np.maximum((pieces**2 / (counts + 1)).sum(axis=1), np.finfo(float).tiny)
    moments = (means.mean(axis=1), np.sqrt(variance), np.clip(variance**2 / squares - 2, 1.0, n - count), enough)
    mean, error, df, full = (part.reshape(values.shape[:-1]) for part in moments)
    return mean, error, df, full


def _over_sweeps(error: Array, values: Array, strata: NDArray[np.int64], count: int) -> tuple[Array, Array]:
    """Return the error of a mean over whole sweeps of the strata and a part of one more, and its degrees of freedom.

    Whole sweeps carry no chance between strata, a part of r out of S strata carries it with the finite-population
    factor 1 - r/S; the spread within strata (`_nugget`) stays. Degrees of freedom: n - 1 of the draws' variance, two
    thirds of that of the spread within, as of successive differences; together never more than n - 1.

    Source: Cochran 1977, eq. 2.20 (finite population) and 5A.12 (one draw a stratum); Satterthwaite 1946, doi
        10.2307/3002019; efficiency of successive differences, von Neumann et al. 1941, doi 10.1214/aoms/1177731746.
    """
    n = values.shape[-1]
    if count < 2:
        return error, np.full(error.shape, n - 1.0)
    rest = n % count
    part, total = rest * (1 - rest / count) / n, error**2 * n
    within = np.minimum(_nugget(values, strata, max(count // REACH, 1)), total)
    between, within = part * total, (1 - part) * within
    df = np.minimum((between + within) ** 2 / (between**2 / (n - 1) + within**2 / (2 / 3 * (n - 1))), n - 1)
    return np.sqrt((between + within) / n), df


def _nugget(values: Array, strata: NDArray[np.int64], reach: int) -> Array:
    """Return the variance within strata of draws of which most strata hold one: the variogram's value at distance 0.

    Half the squared difference of two draws is, on average, the variance within strata and a part that grows with the
    distance of their strata along the path; a straight line through the pairs up to `reach` strata apart says what is
    left at 0. Between LEAST_NUGGET of the mean over neighbouring draws and that mean, which alone is too large (1.8 to
    2.3 times on two gold maps with 13 to 18 of 25 strata). Where the strata's means lie on a smooth curve instead, the
    line cuts too low: a full sweep of such strata is covered at 90 to 93 % (a test shows it).

    Source: Matheron 1963, doi 10.2113/gsecongeo.58.8.1246 (variogram, nugget); successive differences, Wolter 2007,
        doi 10.1007/978-0-387-35099-8, 8.2.
    """
    order = strata.argsort(axis=-1, kind="stable")
    along, place = np.take_along_axis(values, order, axis=-1), np.take_along_axis(strata, order, axis=-1)
    sums = np.zeros((5, *values.shape[:-1]))
    for step in range(1, min(reach, values.shape[-1] - 1) + 1):
        half = (along[..., step:] - along[..., :-step]) ** 2 / 2
        apart = (place[..., step:] - place[..., :-step]).astype(np.float64)
        weight = (apart <= reach) / np.maximum(apart, 1)
        sums += [(weight * part).sum(axis=-1) for part in (1.0, apart, half, apart**2, apart * half)]
    neighbours = (np.diff(along, axis=-1) ** 2).mean(axis=-1) / 2
    pairs, *moments = sums
    apart, half, square, product = (part / np.where(pairs > 0, pairs, 1.0) for part in moments)
    spread = square - apart**2
    slope = np.where(spread > 1e-9, np.maximum(product - apart * half, 0) / np.where(spread > 1e-9, spread, 1.0), 0.0)
    return np.where(pairs > 0, np.clip(half - slope * apart, LEAST_NUGGET * neighbours, neighbours), neighbours)
