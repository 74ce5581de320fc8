"""Comparisons of models: paired on one scene, clustered over scenes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem_bench.stats.blocks import BlockTable, block_table
from cem_bench.stats.estimates import check_confidence, checked

__all__ = ["ClusterTest", "cluster_test", "difference_table", "sign_flip"]

Array = NDArray[np.float64]
EXACT = 12
RESAMPLES = 5000


@dataclass(frozen=True)
class ClusterTest:
    """A difference of models over images.

    Attributes:
        mean: mean over clusters, in the unit of the values.
        low: lower end of the interval.
        high: upper end of the interval.
        p: two-sided p of "the differences are symmetric about 0", by sign flips.
        clusters: number of images; to be printed beside the claim.
        verdict: "positive", "negative" or "undecided".
    """

    mean: float
    low: float
    high: float
    p: float
    clusters: int
    verdict: str


def difference_table(
    one: Mapping[int, Array], two: Mapping[int, Array], *, tol: float = 0.01, level: float = 0.05
) -> BlockTable:
    """Return estimate, interval and verdict of the difference of two models' effects, block by block.

    Args:
        one: block to effects of the first model, dB; draw k of both has the same donor and noise.
        two: the same of the second model.
        tol: half-width of the region of no difference, dB.
        level: false discovery rate.

    Returns:
        The table of one minus two over the draws and blocks that both have. Swapping the models negates it.
    """
    shared = [block for block in one if block in two]
    lengths = {block: min(len(one[block]), len(two[block])) for block in shared}
    return block_table({b: one[b][: lengths[b]] - two[b][: lengths[b]] for b in shared}, tol=tol, level=level)


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p of "the paired differences are symmetric about 0", by flipping signs.

    Args:
        differences: (n,) paired differences, of draws within a block or of cluster means.
        seed: names the random flips; up to 12 differences, all flips are made.

    Returns:
        p in (0, 1]; 1 without data. With n differences it cannot fall under 2 / 2**n.

    Source: Fisher 1935; Phipson and Smyth 2010, doi 10.2202/1544-6115.1585 (random flips never give 0).
    """
    values = checked(differences)
    if values.size == 0:
        return 1.0
    seen = abs(values.sum()) * (1 - 1e-12)
    if values.size <= EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=values.size)))
        return float((np.abs(signs @ values) >= seen).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (RESAMPLES, values.size))
    return float((1 + (np.abs(signs @ values) >= seen).sum()) / (1 + RESAMPLES))


def cluster_test(
    differences: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> ClusterTest:
    """Return the mean difference of two models, or families, over images.

    Args:
        differences: (n,) one number a scene, model one minus model two (for families: of their means).
        clusters: (n,) image of each scene; ROIs of one image are one cluster.
        confidence: of the interval, in (0, 1).
        seed: names the resamples.

    Returns:
        The cluster bootstrap's percentile interval around the mean of cluster means, and the sign-flip p. With fewer
        than two clusters the interval is infinite and the verdict undecided; positive or negative needs both the
        interval and the p to say so.

    Source: Field and Welsh 2007, doi 10.1111/j.1467-9868.2007.00593.x (bootstrap of clusters).
    """
    check_confidence(confidence)
    values, names = checked(differences), np.asarray(clusters)
    if values.shape != names.shape:
        raise ValueError(f"differences and clusters must be alike: got shapes {values.shape} and {names.shape}")
    means = np.array([values[names == name].mean() for name in np.unique(names)])
    count, mean = len(means), float(means.mean()) if len(means) else float("nan")
    p = sign_flip(means, seed)
    if count < 2 or np.ptp(means) == 0:
        return ClusterTest(mean, -np.inf, np.inf, p, count, "undecided")
    picks = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    low, high = np.quantile(means[picks].mean(1), ((1 - confidence) / 2, (1 + confidence) / 2))
    sure = p <= 1 - confidence
    verdict = "positive" if sure and low > 0 else "negative" if sure and high < 0 else "undecided"
    return ClusterTest(mean, float(low), float(high), p, count, verdict)
