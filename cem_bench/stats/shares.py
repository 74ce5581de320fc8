"""Sums of a map by sign and by distance, and their shares, between a floor and a ceiling that hold the truth.

The mean of max(effect, 0) over noisy draws has no unbiased estimate: 0 is a kink. But its bias has a side. Signed by
the mean of the same draws, noise counts as effect: never too low on average (Jensen). Signed by the other draws, a
sign that noise turned counts against: never too high on average. The estimate is the middle of the two, the interval
reaches from below the floor to above the ceiling.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cem_bench.stats.estimates import check_confidence, checked
from cem_bench.stats.scale import ANY, SHARE, Scale

__all__ = ["FAR_PX", "Bracketed", "map_shares"]

Array = NDArray[np.float64]
FAR_PX = 16.0  # beyond it lies 0.4 % of the absolute effect of a small local denoiser
# What is summed, as the weight of a draw by the sign of its block and by whether the block is far.
SUMS = {
    "positive_sum_db": lambda sign, far: np.maximum(sign, 0),
    "negative_sum_db": lambda sign, far: np.minimum(sign, 0),
    "size_sum_db": lambda sign, far: sign,
    "far_sum_db": lambda sign, far: sign * far,
}
SHARES = {"harm_share": "negative_sum_db", "far_share": "far_sum_db"}  # of size_sum_db


@dataclass(frozen=True)
class Bracketed:
    """A number of a map whose two estimates err to opposite sides.

    Attributes:
        value: middle of floor and ceiling; NaN where the draws cannot tell.
        low: lower end of the interval of both; -inf (share: 0) where the draws cannot tell.
        high: upper end of the interval of both; inf (share: 1) where the draws cannot tell.
        floor: of a sum: each draw signed by the other draws of its block; on average not above the truth.
        ceiling: of a sum: signed by the mean of all draws; on average not below the truth. Of a share: both as their
            sums have them, so that either may be the larger.
    """

    value: float
    low: float
    high: float
    floor: float
    ceiling: float


@dataclass(frozen=True, eq=False)
class _Group:
    """Blocks of the same number of draws.

    Attributes:
        draws: (m, n) effects, dB.
        far: (m, 1) 1 where the block is far, else 0.
    """

    draws: Array
    far: Array

    def sign(self, floor: bool) -> Array:
        """Sign of every draw, (m, n): of the sum of the block's other draws, or of all of them."""
        total = self.draws.sum(axis=1, keepdims=True)
        return np.sign(total - self.draws if floor else np.broadcast_to(total, self.draws.shape))


def map_shares(
    effects: Mapping[int, Array],
    distance: Mapping[int, float],
    *,
    far_px: float = FAR_PX,
    confidence: float = 0.95,
) -> dict[str, Bracketed]:
    """Return sums by sign and distance, harm share and far share of a map.

    Args:
        effects: block to the draws of its mean, dB; blocks that are proven unable to reach the ROI may be left out.
        distance: block to its distance from the ROI, px, of every block with draws.
        far_px: a block is far beyond this distance, px.
        confidence: of the intervals, in (0, 1).

    Returns:
        positive_sum_db, negative_sum_db (as a positive number), size_sum_db (sum of |effect|), far_sum_db (of it,
        beyond far_px), in dB; harm_share (negative_sum_db / size_sum_db) and far_share (far_sum_db / size_sum_db), in
        0..1. Intervals say how well this map is known, nothing of other images. A block of fewer than two draws leaves
        the map unknown; a map whose size does not exceed its noise has unknown shares: value NaN, ends 0 and 1.

    Raises:
        ValueError: if a draw is not finite, or a block has no distance.

    Estimand: sums (dB) of this map's mean effects over the donor pool, by sign and distance, and their ratios.
    Assumes: draws are independent, within and between blocks.

    Source: sample splitting, Cox 1975, doi 10.1093/biomet/62.2.441, with every draw a part of its own; ratio of sums
        by linearisation, Cochran 1977, 6.4; degrees of freedom, Satterthwaite 1946, doi 10.2307/3002019. On six
        enumerated maps (results/statistics/shares.csv) harm is off by up to 29 % of itself at 4 draws, 14 % at 6 and
        6 % at 10 to 50 (cross-fit halves: 157, 64, 44 %), 14 % by the sequential rule; shares cover at 92 to 100 %.
    """
    check_confidence(confidence)
    missing = [block for block in effects if block not in distance]
    if missing:
        raise ValueError(
            f"block {missing[0]} and {len(missing) - 1} more have draws but no distance from the ROI; give the "
            "distance of every block that was drawn"
        )
    if any(len(draws) < 2 for draws in effects.values()):
        return dict.fromkeys(SUMS, _unknown(ANY)) | dict.fromkeys(SHARES, _unknown(SHARE))
    groups = _grouped(effects, distance, far_px)
    sums = {name: _bracketed(groups, (name, None), confidence) for name in SUMS}
    exceeds_noise = sums["size_sum_db"].low > 0
    return sums | {
        name: _bracketed(groups, (part, "size_sum_db"), confidence) if exceeds_noise else _unknown(SHARE)
        for name, part in SHARES.items()
    }


def _unknown(scale: Scale) -> Bracketed:
    return Bracketed(np.nan, scale.low, scale.high, np.nan, np.nan)


def _grouped(effects: Mapping[int, Array], distance: Mapping[int, float], far_px: float) -> list[_Group]:
    by_count: dict[int, list[int]] = {}
    for block, draws in effects.items():
        by_count.setdefault(len(draws), []).append(block)
    return [
        _Group(
            checked(np.stack([effects[block] for block in blocks])),
            np.array([[float(distance[block] > far_px)] for block in blocks]),
        )
        for blocks in by_count.values()
    ]


def _bracketed(groups: list[_Group], names: tuple[str, str | None], confidence: float) -> Bracketed:
    """Bracket a sum, or a ratio of two: `names` of the part and of the whole, None for the sum itself."""
    floor, ceiling = (_estimate(groups, names, side) for side in (True, False))
    scale = ANY if names[1] is None else SHARE
    ends = [_ends(*estimate, scale, confidence) for estimate in (floor, ceiling)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return Bracketed((floor[0] + ceiling[0]) / 2, low, high, floor[0], ceiling[0])


def _estimate(groups: list[_Group], names: tuple[str, str | None], floor: bool) -> tuple[float, float, float]:
    """Return a sum or ratio with its standard error and degrees of freedom."""
    signs = [group.sign(floor) for group in groups]
    part = [SUMS[names[0]](sign, group.far) for sign, group in zip(signs, groups, strict=True)]
    value, total, weights = _sum(groups, part), 1.0, part
    if names[1] is not None:
        whole = [SUMS[names[1]](sign, group.far) for sign, group in zip(signs, groups, strict=True)]
        total = _sum(groups, whole)
        value = value / total if total else np.nan
        weights = [(own - value * full) / total for own, full in zip(part, whole, strict=True)]
    pieces = [_variance(*block) for block in zip(groups, weights, signs, strict=True)]
    variance = sum(float(piece.sum()) for piece in pieces)
    spread = sum(
        float((piece**2).sum()) / (group.draws.shape[1] - 1) for piece, group in zip(pieces, groups, strict=True)
    )
    return value, variance**0.5, variance**2 / max(spread, np.finfo(float).tiny)


def _variance(group: _Group, weight: Array, sign: Array) -> Array:
    """Return the variance of every block's weighted mean, (m,).

    Where leaving out one draw turns a block's sign, the signs vary too: the block's own square stands for that. On
    pure noise of 4 to 20 draws the two together are the true variance to a tenth, the first alone a third of it.
    """
    weighted = group.draws * weight
    turned = np.ptp(sign, axis=1) > 0
    return weighted.var(axis=1, ddof=1) / weighted.shape[1] + turned * weighted.mean(axis=1) ** 2


def _sum(groups: list[_Group], weights: list[Array]) -> float:
    return float(sum((group.draws * weight).mean(axis=1).sum() for group, weight in zip(groups, weights, strict=True)))


def _ends(value: float, error: float, df: float, scale: Scale, confidence: float) -> tuple[float, float]:
    """Return Student's ends, made on the stretched scale where the value lies inside its range."""
    if not error > 0:
        return scale.low, scale.high
    half = float(stats.t.ppf((1 + confidence) / 2, df)) * error
    if scale.low < value < scale.high:
        half, middle = half * float(scale.slope(value)), float(scale.stretched(value))
        return scale.back(middle - half), scale.back(middle + half)
    return max(value - half, scale.low), min(value + half, scale.high)
