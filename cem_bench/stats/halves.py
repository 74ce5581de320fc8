"""The two halves of a block's draws: what noise cannot push up is made of one half signed or ranked by the other.

Sums of absolute values grow with the noise. Here one half of a block's draws gives the sign and the other the size,
both ways are averaged, and since the error of one half does not know the error of the other, pure noise adds up to
zero. Even draws are one half, odd ones the other: both meet the same donors' strata and the same rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import checked

__all__ = ["Halves", "halves"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Halves:
    """Mean effects over the even and over the odd draws; all fields have one shape.

    Attributes:
        first: mean over draws 0, 2, 4, ..., dB; NaN where there is none.
        second: mean over draws 1, 3, 5, ..., dB; NaN where there is none.
        n: draws of both together.
    """

    first: Array
    second: Array
    n: Array

    @property
    def mean(self) -> Array:
        """Mean over all draws, dB."""
        in_first = np.ceil(self.n / 2)
        rest = np.where(self.n > 1, (self.n - in_first) * self.second, 0.0)
        return (in_first * self.first + rest) / np.maximum(self.n, 1)

    @property
    def positive(self) -> Array:
        """Positive part of the effect, cross-fit, dB; may be negative by noise."""
        return 0.5 * (self.second * _where(self.first, 1) + self.first * _where(self.second, 1))

    @property
    def negative(self) -> Array:
        """Negative part of the effect as a positive number, cross-fit, dB; may be negative by noise."""
        return -0.5 * (self.second * _where(self.first, -1) + self.first * _where(self.second, -1))

    @property
    def size(self) -> Array:
        """Absolute effect, cross-fit, dB: each half times the sign of the other; may be negative by noise.

        Source: sample splitting, Cox 1975, doi 10.1093/biomet/62.2.441.
        """
        return self.positive + self.negative


def _where(half: Array, sign: int) -> Array:
    """Return 1 where the half has the sign, 0 elsewhere, NaN where it is unknown."""
    return np.where(np.isnan(half), np.nan, np.sign(half) == sign)


def halves(effects: Mapping[int, Array], rng: np.random.Generator | None = None) -> Halves:
    """Return the half means of every block.

    Args:
        effects: block to its draws, dB.
        rng: if given, of a resample within each half, so that the halves stay independent: of one draw fewer than the
            half holds, since as many would vary too little by (n - 1) / n; a half that is one draw takes one of both.

    Returns:
        (blocks,) each, in the order of `effects`.

    Raises:
        ValueError: if a draw is not finite.

    Estimand: half means, dB, whose products and signs `Halves` combines.
    Assumes: draws of a block are independent, so the halves are.

    Source: rescaled bootstrap of small samples, Rao and Wu 1988, doi 10.1080/01621459.1988.10478591.
    """
    rows = list(effects.values())
    counts = np.array([len(draws) for draws in rows], dtype=np.int64)
    means = np.full((2, len(counts)), np.nan)
    for count in np.unique(counts[counts > 0]):
        # Blocks of one length are one array: a map of a thousand blocks costs a few vector operations.
        members = np.flatnonzero(counts == count)
        draws = checked(np.stack([rows[block] for block in members]))
        for side, part in enumerate((draws[:, 0::2], draws[:, 1::2])):
            taken = part if rng is None else _resampled(part, draws, rng)
            if taken.shape[1]:
                means[side, members] = taken.mean(axis=1)
    return Halves(means[0], means[1], counts.astype(np.float64))


def _resampled(part: Array, whole: Array, rng: np.random.Generator) -> Array:
    """Return of every row one draw fewer than the part holds, with replacement; one of the whole if it holds one."""
    source, wanted = (part, part.shape[1] - 1) if part.shape[1] > 1 else (whole, part.shape[1])
    return np.take_along_axis(source, rng.integers(source.shape[1], size=(len(source), wanted)), axis=1)
