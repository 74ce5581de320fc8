"""How the size of an effect falls with the block's distance from the ROI, and two models compared in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem_bench.stats.compare import FEWEST, cluster_means, studentised
from cem_bench.stats.estimates import check_confidence, checked
from cem_bench.stats.flips import extreme_flips

__all__ = ["DecayComparison", "compare_decay", "decay"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DecayComparison:
    """The decay curve of one model minus that of another, over images.

    Attributes:
        gap: (rings,) mean difference of the size of an effect, dB.
        low: (rings,) lower edge of a band that holds the whole curve, dB; -inf where the clusters cannot tell.
        high: (rings,) its upper edge.
        p_ring: (rings,) p of "no difference at this distance", corrected for the number of rings.
        p: of "no difference at any distance"; the smallest of `p_ring`.
        clusters: number of images; to be printed beside the claim.
    """

    gap: Array
    low: Array
    high: Array
    p_ring: Array
    p: float
    clusters: int


def decay(sizes: ArrayLike, distance: ArrayLike) -> tuple[Array, Array]:
    """Return the mean size of an effect by ring of distance.

    Args:
        sizes: (m,) cross-fit absolute effects of all blocks, dB, 0 where a block is proven unable to reach the ROI.
        distance: (m,) of each block's ring, px.

    Returns:
        The rings that hold a block (px, rising), and the mean size of their blocks (dB); NaN where a size is unknown.

    Estimand: mean |effect| of a block (dB) at each distance (px), of this scene.
    Assumes: none beyond those of the sizes, which are cross-fit (`halves.Halves.size`).

    Source: none, a definition (means of groups).
    """
    rings, index = np.unique(np.asarray(distance, dtype=np.float64), return_inverse=True)
    return rings, np.bincount(index, np.asarray(sizes, dtype=np.float64)) / np.bincount(index)


def compare_decay(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95, resample_seed: int = 0
) -> DecayComparison:
    """Return the difference of two models' decay curves over the scenes that both have.

    Args:
        first: (scenes, rings) curves of the first model by scene (`decay`), dB, the same rings in every scene.
        second: the same of the second model; shared donors and noise make the pairs.
        clusters: (scenes,) image of each scene; ROIs of one image are one cluster.
        confidence: with which the band holds the whole true curve, in (0, 1).
        resample_seed: names resamples and flips.

    Returns:
        Difference, simultaneous band and p. Swapping the models negates the curve and the band and keeps the p. Fewer
        than four clusters: an infinite band. Rings where all clusters are equal (as beyond both reaches, where all is
        0) take no part: infinite band, p 1.

    Raises:
        ValueError: if a value is not finite, the shapes differ, or there is no scene.

    Estimand: difference of the mean decay curves over images of this kind, dB at each ring.
    Assumes: images are independent.

    Source: bootstrap-t over clusters as `compare.cluster_mean`, with the largest over the rings (Efron and Tibshirani
        1993, ch. 12); sign flips with the largest over the rings, Westfall and Young 1993, 2.5 (family-wise error).
    """
    check_confidence(confidence)
    gaps = checked(first) - checked(second)
    if gaps.ndim != 2 or len(gaps) != len(np.asarray(clusters)) or not len(gaps):
        scenes = len(np.asarray(clusters))
        raise ValueError(f"expected (scenes, rings) for {scenes} scenes, 1 or more, got {gaps.shape}")
    means = np.stack([cluster_means(ring, clusters) for ring in gaps.T], axis=1)
    count, rings = means.shape
    gap, tested = means.mean(axis=0), np.ptp(means, axis=0) > 0
    low, high, p_ring = np.full(rings, -np.inf), np.full(rings, np.inf), np.ones(rings)
    if count >= 2 and tested.any():
        p_ring[tested] = extreme_flips(means[:, tested], np.sqrt((means[:, tested] ** 2).sum(axis=0)), resample_seed)
    if count >= FEWEST and tested.any():
        low[tested], high[tested] = _band(means[:, tested], confidence, resample_seed)
    return DecayComparison(gap, low, high, p_ring, float(p_ring.min(initial=1.0)), count)


def _band(means: Array, confidence: float, resample_seed: int) -> tuple[Array, Array]:
    """Return the edges of the band at every ring: one pair of studentised quantiles for all."""
    far, error = studentised(means, resample_seed), means.std(axis=0, ddof=1) / len(means) ** 0.5
    most = np.quantile(far.max(axis=1), (1 + confidence) / 2, method="nearest")
    least = np.quantile(far.min(axis=1), (1 - confidence) / 2, method="nearest")
    return means.mean(axis=0) - most * error, means.mean(axis=0) - least * error
