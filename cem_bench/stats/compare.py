"""Comparisons of models: paired on one scene, clustered over scenes.

Draws of one image are no independent evidence about a model, nor are several ROIs of one image: every claim about
models takes the images as its sample, and says how many there were.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cem_bench.stats.blocks import BlockTable, block_table
from cem_bench.stats.estimates import check_confidence, checked, from_moments
from cem_bench.stats.flips import sign_flip
from cem_bench.stats.scale import ANY, Scale

__all__ = [
    "ClusterMean",
    "ClusterTest",
    "cluster_mean",
    "cluster_test",
    "crossed_mean",
    "difference_table",
    "sign_flip",
]

Array = NDArray[np.float64]
RESAMPLES = 5000
FEWEST = 4  # clusters with an interval: Student's quantile of 3 is 4.3, and their spread is hardly known
RESAMPLED = 10  # clusters to resample: of 5, one in 30 resamples holds four alike, and its error may be anything
# The largest error, in distances to the end of its range, of a mean over FEWEST or more values inside the range.
VARIED = 4 / 3


@dataclass(frozen=True)
class ClusterMean:
    """A mean over images with its interval.

    Attributes:
        mean: mean over clusters of the means within, in the unit of the values; NaN without data.
        low: lower end of the interval; -inf where the clusters cannot tell.
        high: upper end of the interval; inf where the clusters cannot tell.
        clusters: number of images; to be printed beside the claim.
    """

    mean: float
    low: float
    high: float
    clusters: int


@dataclass(frozen=True)
class ClusterTest:
    """A difference of models over images.

    Attributes:
        mean: as in `ClusterMean`.
        low: as in `ClusterMean`.
        high: as in `ClusterMean`.
        clusters: as in `ClusterMean`.
        p: two-sided p of "the differences are symmetric about 0", by sign flips of whole clusters.
        verdict: "positive", "negative" or "undecided".
    """

    mean: float
    low: float
    high: float
    clusters: int
    p: float
    verdict: str


def difference_table(
    first: Mapping[int, Array], second: Mapping[int, Array], *, tol: float = 0.01, level: float = 0.05
) -> BlockTable:
    """Return estimate, interval and verdict of the difference of two models' effects, block by block.

    Args:
        first: block to effects of the first model, dB; draw k of both has the same donor and noise.
        second: the same of the second model.
        tol: half-width of the region of no difference, dB.
        level: false discovery rate.

    Returns:
        The table of one minus two over the draws and blocks that both have. Swapping the models negates it.

    Estimand: mean over the donor pool of one model's effect minus the other's, dB, of this scene and block.
    Assumes: draw k of both models has the same donor and noise, and no number of draws depended on them; as
        `estimates.skew_interval` on the differences.

    Source: paired differences, Student 1908, doi 10.1093/biomet/6.1.1.
    """
    shared = [block for block in first if block in second]
    lengths = {block: min(len(first[block]), len(second[block])) for block in shared}
    return block_table({b: first[b][: lengths[b]] - second[b][: lengths[b]] for b in shared}, tol=tol, level=level)


def cluster_mean(
    values: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95, resample_seed: int = 0, scale: Scale = ANY
) -> ClusterMean:
    """Return the mean over images with an interval for images of the same kind.

    Args:
        values: (n,) one number a scene, in any unit.
        clusters: (n,) image of each scene; ROIs of one image are one cluster.
        confidence: of the interval, in (0, 1).
        resample_seed: names the resamples.
        scale: range of the quantity; the interval stays inside.

    Returns:
        The mean of the cluster means, every image alike, and the studentised bootstrap interval over clusters; with
        fewer than ten clusters Student's, since resamples of few are alike now and then and throw the ends anywhere.
        Both on the stretched scale, unless values outside the range (cross-fit sums of nothing) vary more than values
        inside can. Where a few images hold most of the sum, resamples without them throw the stretched ends anywhere
        too: these stay within the plain scale's, or Student's where that lies farther. With fewer than four clusters,
        or clusters that are all equal, the ends are infinite.

    Raises:
        ValueError: if a value is not finite, or the shapes differ.

    Estimand: mean over images of the kind these were taken from, each image alike, in the unit of the values.
    Assumes: images are independent; scenes of one image need not be.

    Source: cluster bootstrap-t, Cameron, Gelbach and Miller 2008, doi 10.1162/rest.90.3.414; `scale.Scale`. Masses of
        maps are skewed: for lognormal values it covers 87 to 91 % at nominal 95 from 5 to 17 clusters (Student's on
        the plain scale 80 to 86 %), for differences of two of them 90 to 97 %; for a heavier tail (logarithms that
        spread by 1.5) 82 % from 10 and 86 % from 17, as much as with ends that are thrown a hundred times as far (the
        tests repeat part of it).
    """
    check_confidence(confidence)
    means = cluster_means(values, clusters)
    count, mean = len(means), float(means.mean()) if len(means) else float("nan")
    if count < FEWEST or np.ptp(means) == 0:
        return ClusterMean(mean, -np.inf, np.inf, count)
    error = float(means.std(ddof=1)) / count**0.5
    if not scale.low < mean < scale.high or error * scale.slope(mean) > VARIED:
        scale = ANY
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    low, high = student = _ends(mean, error, scale, stats.t.ppf(tails, count - 1))
    if count >= RESAMPLED:
        own, plain = (
            _ends(mean, error, choice, np.quantile(studentised(means, resample_seed, choice), tails, method="nearest"))
            for choice in (scale, ANY)
        )
        low, high = max(own[0], min(plain[0], student[0])), min(own[1], max(plain[1], student[1]))
    return ClusterMean(mean, low, high, count)


def _ends(mean: float, error: float, scale: Scale, far: Array) -> tuple[float, float]:
    """Return the ends of an interval from the least and the largest studentised distance, made on a scale."""
    least, most = (float(scale.stretched(mean) - quantile * error * scale.slope(mean)) for quantile in far)
    return scale.back(most), scale.back(least)


def studentised(means: Array, resample_seed: int, scale: Scale = ANY) -> Array:
    """Return how far resampled means lie from the mean, in their own standard errors.

    Args:
        means: (clusters, ...) of which no column is without spread.
        resample_seed: names the resamples.
        scale: on which distances and errors are taken.

    Returns:
        (resamples, ...); infinite where a resample is one cluster over and over, and so has no error to measure by.
    """
    count = len(means)
    again = means[np.random.Generator(np.random.Philox(resample_seed)).integers(0, count, (RESAMPLES, count))]
    middle, flat = again.mean(axis=1), np.ptp(again, axis=1) == 0
    apart = scale.stretched(middle) - scale.stretched(means.mean(axis=0))
    inside = (middle > scale.low) & (middle < scale.high)
    error = again.std(axis=1, ddof=1) / count**0.5 * scale.slope(np.where(inside, middle, means.mean(axis=0)))
    return np.where(flat, np.copysign(np.inf, apart), apart / np.where(flat, 1.0, error))


def cluster_means(values: ArrayLike, clusters: ArrayLike) -> Array:
    """Return the mean of every cluster, in the order of their names.

    Raises:
        ValueError: if a value is not finite, or the shapes differ.
    """
    numbers, names = checked(values), np.asarray(clusters)
    if numbers.shape != names.shape:
        raise ValueError(f"values and clusters must be alike: got shapes {numbers.shape} and {names.shape}")
    return np.array([numbers[names == name].mean() for name in np.unique(names)])


def cluster_test(
    differences: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95, resample_seed: int = 0
) -> ClusterTest:
    """Return the mean difference of two models, or families, over images.

    Args:
        differences: (n,) one number a scene, model one minus model two (for families: of their means).
        clusters: (n,) image of each scene; ROIs of one image are one cluster.
        confidence: of the interval, in (0, 1).
        resample_seed: names the resamples.

    Returns:
        `cluster_mean` with the sign-flip p; positive or negative needs both the interval and the p to say so, which
        takes six clusters at 95 %.

    Raises:
        ValueError: as `cluster_mean`.

    Estimand: mean difference of two models over images of this kind, in the unit of the differences.
    Assumes: as `cluster_mean` and `sign_flip`, images taking the place of draws.

    Source: `cluster_mean`, `sign_flip`.
    """
    mean = cluster_mean(differences, clusters, confidence=confidence, resample_seed=resample_seed)
    p = sign_flip(cluster_means(differences, clusters), resample_seed)
    sure = p <= 1 - confidence
    verdict = "positive" if sure and mean.low > 0 else "negative" if sure and mean.high < 0 else "undecided"
    return ClusterTest(mean.mean, mean.low, mean.high, mean.clusters, p, verdict)


def crossed_mean(table: ArrayLike, *, confidence: float = 0.95, resample_seed: int = 0) -> ClusterMean:
    """Return the mean over trainings and images, both of them sampled, neither fixed.

    Args:
        table: (trainings, images) one number a training and image, in any unit; every training on every image.
        confidence: of the interval, in (0, 1).
        resample_seed: names the resamples.

    Returns:
        One training: `cluster_mean` over images. Several: the variance is the sum of that of the image means and that
        of the training means, each over its count (conservative: what is neither's counts twice), degrees of freedom
        by Satterthwaite, since two or three trainings are too few to resample. Fewer than four images: infinite ends.

    Raises:
        ValueError: if a value is not finite, the table is not two-dimensional, or it holds no training.

    Estimand: mean over trainings and images of the kinds these were taken from, in the unit of the values.
    Assumes: trainings and images are independent samples, their effects add.

    Source: two-way random effects, Owen 2007, doi 10.1214/07-AOAS122; Satterthwaite 1946, doi 10.2307/3002019.
    """
    values = checked(table)
    if values.ndim != 2 or not len(values):
        raise ValueError(f"expected (trainings, images) with at least one training, got shape {values.shape}")
    trainings, images = values.shape
    if trainings == 1 or images < FEWEST:
        return cluster_mean(values.mean(axis=0), np.arange(images), confidence=confidence, resample_seed=resample_seed)
    pieces = [(float(values.mean(axis=axis).var(ddof=1)) / n, n - 1) for axis, n in ((0, images), (1, trainings))]
    variance = sum(piece for piece, _ in pieces)
    df = variance**2 / max(sum(piece**2 / free for piece, free in pieces), np.finfo(float).tiny)
    ends = from_moments(np.array(values.mean()), np.array(variance**0.5), np.array(df), values.size, confidence)
    return ClusterMean(float(ends.mean), float(ends.low), float(ends.high), images)
