"""Mean effect of a block with an interval.

Estimand everywhere: the mean effect (dB, float outcome) over the finite donor pool, for this image, ROI, block,
degradation and, in denoising, noise field. Draws are independent and uniform over the pool, with replacement, or
stratified (`stratified_interval`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["RESOLUTION", "Estimate", "robust_interval", "skew_interval", "stratified_interval", "t_interval"]

# What the instrument declares as equal, dB: one flipped 8-bit pixel of a 32x32 ROI moves PSNR by 2 to 4e-4 dB.
RESOLUTION = 1e-3

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean with its uncertainty; every field has the shape of the batch.

    Attributes:
        mean: dB; NaN without draws.
        error: standard error, dB; NaN where the draws cannot tell (fewer than two, or all equal).
        low: lower end of the interval, dB; -inf where the draws cannot tell.
        high: upper end of the interval, dB; inf where the draws cannot tell.
        df: degrees of freedom of the error.
        n: draws.
    """

    mean: Array
    error: Array
    low: Array
    high: Array
    df: Array
    n: int


def checked(draws: ArrayLike) -> Array:
    """Return draws as float64.

    Raises:
        ValueError: if a draw is NaN or infinite: "not run" is the absence of a draw, never a value.
    """
    values = np.asarray(draws, dtype=np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(
            f"{bad} of {values.size} draws are NaN or infinite; leave draws that were not run out of the array, and "
            "look for the cause of the others in the outcome (a ROI that is constant, an overflow)"
        )
    return values


def check_confidence(confidence: float) -> None:
    """Raise ValueError unless confidence lies strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a share strictly between 0 and 1, as 0.95")


def from_moments(mean: Array, error: Array, df: Array, n: int, confidence: float) -> Estimate:
    """Return the t interval of a mean whose standard error has df degrees of freedom.

    Args:
        mean: dB, any shape.
        error: standard error, dB, same shape; 0 counts as unknown.
        df: degrees of freedom, same shape.
        n: draws.
        confidence: of the two-sided interval, in (0, 1).
    """
    check_confidence(confidence)
    known = (df > 0) & (error > 0)
    half = np.full(np.shape(mean), np.inf)
    half[known] = stats.t.ppf((1 + confidence) / 2, df[known]) * error[known]
    low, high = np.where(known, mean - half, -np.inf), np.where(known, mean + half, np.inf)
    return Estimate(mean, np.where(known, error, np.nan), low, high, df, n)


def t_interval(draws: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the mean over the last axis with Student's interval.

    Args:
        draws: (..., n) effects, dB.
        confidence: of the two-sided interval, in (0, 1).

    Returns:
        Estimates of shape (...); draws that are all equal have an unknown error and an infinite interval, because a
        sample without spread is below the resolution of the draws, not certain.

    Raises:
        ValueError: if a draw is not finite.

    Source: Student 1908, doi 10.1093/biomet/6.1.1. Assumes near-normal means; at n = 50 it holds on float outcomes
        (results/statistics), and fails on rounded ones, see `robust_interval`.
    """
    values = checked(draws)
    n, shape = values.shape[-1], values.shape[:-1]
    df = np.full(shape, float(max(n - 1, 0)))
    if n < 2:
        mean = values[..., 0].copy() if n else np.full(shape, np.nan)
        return from_moments(mean, np.zeros(shape), df, n, confidence)
    error = np.asarray(values.std(-1, ddof=1) / np.sqrt(n))
    # Rounding leaves a spread of some ulp in the deviations of equal values: equality is asked of the values.
    error = np.where(np.ptp(values, axis=-1) == 0, 0.0, error)
    return from_moments(np.asarray(values.mean(-1)), error, df, n, confidence)


def skew_interval(draws: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Return the mean over the last axis with Student's interval corrected for the skewness of the draws.

    Args:
        draws: (..., n) effects, dB.
        confidence: of the two-sided interval, in (0, 1).

    Returns:
        Estimates of shape (...), the interval in general not centred on the mean; mean and error as in `t_interval`.

    Raises:
        ValueError: if a draw is not finite.

    Source: Hall 1992, doi 10.1111/j.2517-6161.1992.tb01876.x (cubic transformation), with Student's quantiles.
    """
    values = checked(draws)
    plain = t_interval(values, confidence)
    n, known = plain.n, plain.error > 0
    if n < 3:
        return plain
    spread = np.where(known, plain.error * np.sqrt(n), 1.0)
    skewness = ((values - plain.mean[..., None]) ** 3).mean(axis=-1) / spread**3
    # Below this the cubic is a straight line to double precision.
    bent = np.abs(skewness) > 1e-6
    skewness = np.where(bent, skewness, 1.0)
    quantile = stats.t.ppf((1 + confidence) / 2, n - 1) / np.sqrt(n)

    def end(standardised: float) -> Array:
        curve = 3 / skewness * (np.cbrt(1 + skewness * (standardised - skewness / (6 * n))) - 1)
        return np.asarray(plain.mean - spread * np.where(bent, curve, standardised))

    low, high = np.where(known, end(quantile), -np.inf), np.where(known, end(-quantile), np.inf)
    return Estimate(plain.mean, plain.error, low, high, plain.df, n)


def robust_interval(draws: ArrayLike, confidence: float = 0.95, resolution: float = RESOLUTION) -> Estimate:
    """Return the mean over the last axis with an interval that survives zero-inflated and rounded draws.

    Two pseudo-draws, at the median plus and minus the largest deviation from it, widen the interval for what was
    not seen yet, as the plus-four interval does for proportions; no interval is narrower than +-resolution.

    Args:
        draws: (..., n) effects, dB.
        confidence: of the two-sided interval, in (0, 1).
        resolution: least half-width, dB.

    Returns:
        Estimates of shape (...), centred on the plain mean. All draws equal: unknown, as in `t_interval`.

    Raises:
        ValueError: if a draw is not finite.

    Source: Agresti and Coull 1998, doi 10.1080/00031305.1998.10480550, carried from proportions to means; its
        coverage on 8-bit outcomes is measured in results/statistics.
    """
    values = checked(draws)
    plain = t_interval(values, confidence)
    if plain.n < 2:
        return plain
    middle = np.median(values, axis=-1, keepdims=True)
    reach = np.abs(values - middle).max(axis=-1, keepdims=True)
    wider = t_interval(np.concatenate([values, middle - reach, middle + reach], axis=-1), confidence)
    far = np.maximum(np.maximum(wider.high - plain.mean, plain.mean - wider.low), resolution)
    return Estimate(plain.mean, plain.error, plain.mean - far, plain.mean + far, plain.df, plain.n)


def stratified_interval(
    draws: ArrayLike, labels: ArrayLike, shares: ArrayLike | None = None, confidence: float = 0.95
) -> Estimate:
    """Return the mean of stratified draws over the last axis with an interval.

    With at least two draws in every stratum: the stratified mean, sum of share times stratum mean, and its error from
    the spread within strata. With fewer (strata of equal size visited in random order, sweep after sweep:
    `strata.strata_of_patches`): the plain mean, and `skew_interval` narrowed by what the sweeps leave out of chance.

    Args:
        draws: (..., n) effects, dB.
        labels: (..., n) stratum of each draw, 0 to S - 1, neighbours alike.
        shares: (S,) share of the pool in each stratum; None for equal shares of the strata 0 to max(labels).
        confidence: of the two-sided interval, in (0, 1).

    Returns:
        Estimates of shape (...), degrees of freedom by Satterthwaite.

    Raises:
        ValueError: if draws and labels differ in shape, shares do not sum to 1 or lack a stratum.

    Source: Cochran 1977, Sampling Techniques, eq. 5.2, 5.13 and 5.16; see `_narrowed`.
    """
    values, strata = checked(draws), np.asarray(labels, dtype=np.int64)
    if values.shape != strata.shape:
        raise ValueError(f"draws and labels must be alike: got shapes {values.shape} and {strata.shape}")
    parts = _shares(strata, shares)
    plain = _narrowed(skew_interval(values, confidence), values, strata, len(parts))
    n, count = values.shape[-1], len(parts)
    if n < 2 * count:
        return plain
    rows = values.reshape(-1, n)
    places = strata.reshape(-1, n) + np.arange(len(rows))[:, None] * count

    def per_stratum(weights: Array) -> Array:
        sums = np.bincount(places.ravel(), weights.ravel(), len(rows) * count)
        return sums.astype(np.float64).reshape(len(rows), count)

    counts = per_stratum(np.ones_like(rows))
    enough = counts.min(axis=1) >= 2
    counts = np.maximum(counts, 2)
    means = per_stratum(rows) / counts
    spread = per_stratum((rows - means.ravel()[places]) ** 2) / (counts - 1)
    pieces = parts**2 * spread / counts
    variance = pieces.sum(axis=1)
    df = variance**2 / np.maximum((pieces**2 / (counts - 1)).sum(axis=1), np.finfo(float).tiny)
    shape = values.shape[:-1]
    mean = np.where(enough, means @ parts, plain.mean.ravel()).reshape(shape)
    error = np.where(enough, np.sqrt(variance), np.nan_to_num(plain.error.ravel())).reshape(shape)
    whole = from_moments(mean, error, np.where(enough, df, n - 1.0).reshape(shape), n, confidence)
    full = enough.reshape(shape)
    low, high = np.where(full, whole.low, plain.low), np.where(full, whole.high, plain.high)
    return Estimate(mean, whole.error, low, high, whole.df, n)


def _narrowed(plain: Estimate, values: Array, strata: NDArray[np.int64], count: int) -> Estimate:
    """Return an interval with the error of a mean over q whole sweeps of the strata and a part of one more.

    Whole sweeps carry no chance between strata, a part of r out of S strata carries it with the finite-population
    factor 1 - r/S. The spread within strata, one draw each, is taken from the differences between neighbouring strata,
    which are larger: the error is conservative.

    Source: Cochran 1977, eq. 2.20 (finite population) and 5A.12 (collapsed strata); successive differences, Wolter
        2007, doi 10.1007/978-0-387-35099-8, 8.2.
    """
    n = values.shape[-1]
    if n < 3 or count < 2:
        return plain
    along = np.take_along_axis(values, strata.argsort(axis=-1, kind="stable"), axis=-1)
    within = (np.diff(along, axis=-1) ** 2).mean(axis=-1) / 2
    rest = n % count
    between = rest * (1 - rest / count) / n
    known = plain.error > 0
    total = np.where(known, plain.error**2 * n, 1.0)
    ratio = np.sqrt(np.minimum(within + between * np.maximum(total - within, 0), total) / total)
    low, high = (np.where(known, plain.mean + (end - plain.mean) * ratio, end) for end in (plain.low, plain.high))
    return Estimate(plain.mean, plain.error * ratio, low, high, plain.df, n)


def _shares(strata: NDArray[np.int64], shares: ArrayLike | None) -> Array:
    """Return the share of every stratum, checked."""
    largest = int(strata.max(initial=0))
    if shares is None:
        return np.full(largest + 1, 1 / (largest + 1))
    parts = np.asarray(shares, dtype=np.float64)
    if abs(parts.sum() - 1) > 1e-9 or (parts <= 0).any() or largest >= len(parts):
        raise ValueError(
            f"shares must be positive, sum to 1 and hold every stratum: got {len(parts)} shares that sum to "
            f"{parts.sum():g}, and label {largest}"
        )
    return parts
