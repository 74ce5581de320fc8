"""Sign flips of paired differences: all of them up to 20 differences, random ones of more."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem_bench.stats.estimates import checked

__all__ = ["EXACT", "extreme_flips", "sign_flip"]

Array = NDArray[np.float64]
EXACT = 20  # differences of which all 2^n flips are made: a million sums, some milliseconds
RANDOM = 20_000
WHOLE = 12  # signs that one piece of all flips varies: pieces of a few megabytes


def sign_flip(differences: ArrayLike, resample_seed: int = 0) -> float:
    """Return the two-sided p of "the paired differences are symmetric about 0", by flipping signs.

    Args:
        differences: (n,) paired differences, of draws within a block or of cluster means.
        resample_seed: names the random flips; up to 20 differences, all flips are made.

    Returns:
        p in (0, 1]; 1 without data. With n differences it cannot fall under 2 / 2**n.

    Raises:
        ValueError: if a difference is not finite.

    Estimand: none, a test; p has no unit.
    Assumes: under the null the differences are independent and symmetric about 0.

    Source: Fisher 1935; Phipson and Smyth 2010, doi 10.2202/1544-6115.1585 (random flips never give 0).
    """
    values = checked(differences)
    if values.size == 0:
        return 1.0
    return float(extreme_flips(values[:, None], np.array([1.0]), resample_seed)[0])


def extreme_flips(values: Array, scale: Array, resample_seed: int) -> Array:
    """Return for every column the share of flips whose largest scaled |sum| over the columns reaches its own.

    Args:
        values: (n, columns) differences; a flip turns the sign of whole rows.
        scale: (columns,) positive; sums are divided by it, so that columns can be compared.
        resample_seed: names the random flips of more than `EXACT` rows.

    Returns:
        (columns,) p, corrected for the number of columns; of all flips, or of random ones with what was seen among
        them.

    Estimand: none, a test.
    Assumes: under the null rows are independent and symmetric about 0.

    Source: Westfall and Young 1993, 2.5 (largest over the columns).
    """
    seen = np.abs(values.sum(axis=0)) / scale * (1 - 1e-12)
    exceed, count = np.zeros(values.shape[1]), 0
    for sums in _flipped_sums(values, resample_seed):
        largest = (np.abs(sums) / scale).max(axis=1)
        exceed += (largest[:, None] >= seen).sum(axis=0)
        count += len(sums)
    return exceed / count if len(values) <= EXACT else (1 + exceed) / (1 + count)


def _flipped_sums(values: Array, resample_seed: int) -> Iterator[Array]:
    """Yield the column sums under all flips in pieces, (flips, columns); under random ones of more than EXACT rows.

    The first row keeps its sign: turning all rows turns every sum, which leaves its size.
    """
    if len(values) > EXACT:
        yield np.random.Generator(np.random.Philox(resample_seed)).choice((-1.0, 1.0), (RANDOM, len(values))) @ values
        return
    inner, outer = _all_sums(values[1 : 1 + WHOLE]), _all_sums(values[1 + WHOLE :])
    for shift in outer:
        yield values[0] + shift + inner


def _all_sums(rows: Array) -> Array:
    """Return the sums of rows under all their flips, (2**rows, columns)."""
    sums = np.zeros((1, rows.shape[1]))
    for row in rows:
        sums = np.concatenate([sums + row, sums - row])
    return sums
