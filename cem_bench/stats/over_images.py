"""Numbers of maps over images whose tails are heavy: the geometric mean and the median, with the images as the sample.

Of 17 images three held 69 % of a network's summed harm: an arithmetic mean over images speaks of these three.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cem_bench.stats.compare import ClusterMean, cluster_mean, cluster_means
from cem_bench.stats.estimates import RESOLUTION, check_confidence, checked

__all__ = ["cluster_median", "geometric_mean"]

Array = NDArray[np.float64]


def geometric_mean(
    values: ArrayLike,
    clusters: ArrayLike,
    *,
    confidence: float = 0.95,
    resample_seed: int = 0,
    resolution: float = RESOLUTION,
) -> ClusterMean:
    """Return the geometric mean of positive sums over images with its interval.

    Args:
        values: (n,) a positive number per scene, as a sum of positive effects in dB.
        clusters: (n,) image of each scene; ROIs of one image are one cluster.
        confidence: of the interval, in (0, 1).
        resample_seed: names the resamples.
        resolution: values below it count as it, in the unit of the values: sums of nothing are noise about 0 and have
            no logarithm.

    Returns:
        exp of `cluster_mean` of the logarithms, in the unit of the values; low 0 and high inf where the clusters cannot
        tell. Of the differences of two models' logarithms it would be a ratio: pass the quotients.

    Raises:
        ValueError: if a value is not finite, the shapes differ, or the resolution is not positive.

    Estimand: exp of the mean logarithm over images of the kind these were taken from, each image alike.
    Assumes: images are independent; scenes of one image need not be.

    Source: `compare.cluster_mean` on logarithms (cluster bootstrap-t from ten images, Student's below).
    """
    if not resolution > 0:
        raise ValueError(f"resolution: got {resolution}, expected a positive number in the unit of the values")
    logarithms = np.log(np.maximum(checked(values), resolution))
    middle = cluster_mean(logarithms, clusters, confidence=confidence, resample_seed=resample_seed)
    mean, low, high = (float(np.exp(end)) for end in (middle.mean, middle.low, middle.high))
    return ClusterMean(mean, low, high, middle.clusters)


def cluster_median(values: ArrayLike, clusters: ArrayLike, *, confidence: float = 0.95) -> ClusterMean:
    """Return the median over images with an interval that needs no shape of the distribution.

    Args:
        values: (n,) a number per scene, in any unit.
        clusters: (n,) image of each scene; ROIs of one image are one cluster, of which the mean is taken.
        confidence: of the interval, in (0, 1).

    Returns:
        Median of the cluster means (as `mean`), and two of them as ends: those that the bootstrap of a median comes
        close to, chosen by the binomial distribution, so that the interval covers at least at its confidence for any
        number of images. Infinite ends where even the extremes do not (fewer than six images at 95 %).

    Raises:
        ValueError: if a value is not finite, or the shapes differ.

    Estimand: median over images of the kind these were taken from, in the unit of the values.
    Assumes: images are independent.

    Source: order statistics, Thompson 1936, doi 10.1214/aoms/1177732502, by `scipy.stats.quantile_test`.
    """
    check_confidence(confidence)
    means = cluster_means(values, clusters)
    if not len(means):
        return ClusterMean(float("nan"), -np.inf, np.inf, 0)
    ends = stats.quantile_test(means, p=0.5).confidence_interval(confidence)
    low, high = -np.inf if np.isnan(ends.low) else ends.low, np.inf if np.isnan(ends.high) else ends.high
    return ClusterMean(float(np.median(means)), float(low), float(high), len(means))
