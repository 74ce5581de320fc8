"""Summaries of a whole map that noise does not push up, each with an interval.

Sums of absolute values, counts and shares of a noisy map grow with the noise. Masses here are cross-fitted: one half of
a block's draws says which side of tol the block is on, the other half how large it is, and both ways are averaged; the
error of one half does not know the error of the other, so pure noise adds up to zero. Shapes (Gini, radius, decay) are
taken of the cross-fitted sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import checked

__all__ = ["Summary", "cross_fit", "gini", "map_summary", "radius", "rings"]

Array = NDArray[np.float64]
RESAMPLES = 400


@dataclass(frozen=True)
class Summary:
    """A number of a map with its interval.

    Attributes:
        value: cross-fitted value.
        low: lower end of the interval.
        high: upper end of the interval.
        unit: "dB", "px", "1" or "%".
    """

    value: float
    low: float
    high: float
    unit: str


def cross_fit(draws: Array, tol: float) -> tuple[float, float]:
    """Return the cross-fitted positive and negative part of one block's effect.

    Args:
        draws: (n,) effects, dB; even and odd draws are the two halves.
        tol: a half decides for a side where its mean reaches tol, dB.

    Returns:
        Positive and negative part, dB: the mean of one half where the other reaches tol on that side, averaged
        over both ways. NaN with fewer than two draws.

    Source: sample splitting, Cox 1975, doi 10.1093/biomet/62.2.441.
    """
    if len(draws) < 2:
        return np.nan, np.nan
    one, two = float(draws[::2].mean()), float(draws[1::2].mean())
    positive = ((one >= tol) * two + (two >= tol) * one) / 2
    negative = ((one <= -tol) * two + (two <= -tol) * one) / 2
    return positive, negative


def gini(sizes: Array) -> float:
    """Return the Gini coefficient of non-negative sizes, 0 (all alike) to 1; NaN where they sum to 0.

    Source: diffusion index DI = (1 - Gini) * 100, Gu and Dong 2021, doi 10.1109/CVPR46437.2021.00908.
    """
    ordered = np.sort(np.maximum(sizes, 0.0))
    total, n = ordered.sum(), len(ordered)
    if n == 0 or total <= 0:
        return float("nan")
    return float(2 * (np.arange(1, n + 1) @ ordered) / (n * total) - (n + 1) / n)


def radius(sizes: Array, distance: Array, share: float) -> float:
    """Return the distance within which a share of the summed sizes lies; NaN where they sum to 0.

    Args:
        sizes: (m,) cross-fitted absolute effects, dB; may be negative by noise.
        distance: (m,) distance of each block from the ROI, px.
        share: in (0, 1].
    """
    order = np.argsort(distance, kind="stable")
    running = np.cumsum(sizes[order])
    if len(running) == 0 or running[-1] <= 0:
        return float("nan")
    return float(distance[order][np.argmax(running >= share * running[-1])])


def rings(sizes: Array, distance: Array, width: float) -> tuple[Array, Array]:
    """Return the mean size by ring of distance.

    Args:
        sizes: (m,) cross-fitted absolute effects, dB.
        distance: (m,) px.
        width: of a ring, px.

    Returns:
        Inner edge of each ring that holds a block (px), and its mean size (dB).
    """
    index = np.floor(distance / width).astype(np.int64)
    kept = np.unique(index)
    return np.asarray(kept * width, dtype=np.float64), np.array([float(sizes[index == ring].mean()) for ring in kept])


def map_summary(
    effects: Mapping[int, Array],
    distance: Mapping[int, float],
    *,
    tol: float = 0.01,
    reach: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Summary]:
    """Return the summaries of a map, unbiased by noise, with bootstrap intervals.

    Args:
        effects: block to the draws of its mean, dB. Their number must not have depended on them: hand in the fine draws
            of the paper rule, or as many draws as every block has under a sequential one.
        distance: block to its distance from the ROI, px.
        tol: dB.
        reach: theoretical reach of the network, px, or None if global.
        confidence: of the percentile intervals over resampled draws, in (0, 1).
        seed: names the resamples.

    Returns:
        positive, negative, net mass and peak (dB), gini and di, r50 and r90 (px), outside_reach (share of the summed
        absolute effect; 0 for a sound instrument). NaN where draws are missing.

    Raises:
        ValueError: if a draw is not finite, or a block has no distance.

    Source: Efron and Tibshirani 1993, ch. 13 (percentile interval).
    """
    missing = [block for block in effects if block not in distance]
    if missing:
        raise ValueError(f"block {missing[0]} and {len(missing) - 1} more have draws but no distance from the ROI")
    rows = [checked(draws) for draws in effects.values()]
    far = np.array([distance[block] for block in effects], dtype=np.float64)
    values = _summarise(rows, far, tol, reach)
    rng = np.random.default_rng(seed)
    again = [_summarise([_resample(draws, rng) for draws in rows], far, tol, reach) for _ in range(RESAMPLES)]
    out = {}
    for name, value in values.items():
        sample = np.array([one[name] for one in again])
        sample = sample[np.isfinite(sample)]
        tails = ((1 - confidence) / 2, (1 + confidence) / 2)
        low, high = np.quantile(sample, tails) if sample.size and np.isfinite(value) else (np.nan, np.nan)
        out[name] = Summary(value, float(low), float(high), UNITS[name])
    return out


UNITS = {
    **dict.fromkeys(("positive_mass", "negative_mass", "net_mass", "peak"), "dB"),
    **dict.fromkeys(("gini", "outside_reach"), "1"),
    "di": "%",
    **dict.fromkeys(("r50", "r90"), "px"),
}


def _resample(draws: Array, rng: np.random.Generator) -> Array:
    """Return the draws resampled within each half, so that the halves stay independent."""
    out = draws.copy()
    for half in (slice(0, None, 2), slice(1, None, 2)):
        part = draws[half]
        if len(part):
            out[half] = part[rng.integers(0, len(part), len(part))]
    return out


def _summarise(rows: list[Array], far: Array, tol: float, reach: float | None) -> dict[str, float]:
    parts = np.array([cross_fit(draws, tol) for draws in rows]).reshape(len(rows), 2)
    sizes = parts[:, 0] - parts[:, 1]
    total = float(sizes.sum())
    spread = gini(sizes)
    outside = 0.0 if reach is None else float(sizes[far > reach].sum())
    return {
        "positive_mass": float(parts[:, 0].sum()),
        "negative_mass": float(parts[:, 1].sum()),
        "net_mass": float(sum(draws.mean() if len(draws) else np.nan for draws in rows)),
        "peak": float(sizes.max(initial=0.0)),
        "gini": spread,
        "di": (1 - spread) * 100,
        "r50": radius(sizes, far, 0.5),
        "r90": radius(sizes, far, 0.9),
        "outside_reach": outside / total if total > 0 else float("nan"),
    }
