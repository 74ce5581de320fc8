"""Donor strata: groups of equal size and like colour and contrast, so that a few draws represent the pool."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.optimize import linear_sum_assignment

__all__ = ["donor_features", "strata_of_patches"]

# Balanced assignment costs the cube of the number of patches: larger pools are dealt with in shuffled parts.
PART = 1000
ROUNDS = 4


def donor_features(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return what the strata are made of: mean red, green, blue and the contrast of each patch.

    Args:
        patches: (N, b, b, 3) uint8 RGB.

    Returns:
        (N, 4) in code values 0..255; contrast is the standard deviation of the grey value.
    """
    values = patches.astype(np.float64)
    return np.concatenate([values.mean((1, 2)), values.mean(3).std((1, 2))[:, None]], axis=1)


def strata_of_patches(patches: NDArray[np.uint8], count: int = 25, *, pool_seed: int = 0) -> NDArray[np.int64]:
    """Divide a donor pool into strata of equal size by k-means on mean colour and contrast.

    Equal sizes (to within one donor) make the plain mean over whole sweeps of the strata unbiased, and keep that of a
    part of a sweep in random order unbiased too; plain k-means, whose clusters differ tenfold in size, does neither.

    Args:
        patches: (N, b, b, 3) uint8 RGB.
        count: number of strata.
        pool_seed: names the k-means start.

    Returns:
        (N,) stratum of each patch, 0 to count - 1, along a short path from the darkest: neighbours are alike, which
        `stratified.stratified_interval` uses.

    Raises:
        ValueError: if the pool has fewer than two donors a stratum.

    Source: stratified sampling, Cochran 1977, ch. 5; balanced k-means, Malinen and Fraenti 2014,
        doi 10.1007/978-3-662-44415-3_4.
    """
    if count < 1 or len(patches) < 2 * count:
        raise ValueError(
            f"{len(patches)} donors cannot fill {count} strata with two each: use at most {len(patches) // 2} strata"
        )
    features = donor_features(patches)
    rng = np.random.default_rng(pool_seed)
    centres = kmeans2(features, count, iter=50, minit="++", rng=rng)[0]
    order = rng.permutation(len(patches))
    labels = np.empty(len(patches), np.int64)
    for _ in range(ROUNDS):
        labels = _balanced(features, centres, order)
        centres = np.stack([features[labels == stratum].mean(0) for stratum in range(count)])
    return short_path(centres).argsort()[labels].astype(np.int64)


def short_path(centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the strata in the order of a short path from the darkest through all of them.

    Args:
        centres: (strata, features), mean red, green and blue first.

    Source: nearest neighbour and 2-opt, Croes 1958, doi 10.1287/opre.6.6.791.
    """
    apart = np.sqrt(((centres[:, None] - centres[None]) ** 2).sum(-1))
    path = [int(centres[:, :3].mean(1).argmin())]
    while len(path) < len(centres):
        path.append(min(set(range(len(centres))) - set(path), key=lambda near: (apart[path[-1], near], near)))
    shorter = True
    while shorter:
        shorter = False
        for first in range(1, len(path) - 1):
            for last in range(first + 1, len(path)):
                # a path from `first` to `last` turned round: two links change, or one at the open end
                gain = apart[path[first - 1], path[first]] - apart[path[first - 1], path[last]]
                if last + 1 < len(path):
                    gain += apart[path[last], path[last + 1]] - apart[path[first], path[last + 1]]
                if gain > 1e-9:
                    path[first : last + 1] = path[first : last + 1][::-1]
                    shorter = True
    return np.array(path, dtype=np.int64)


def _balanced(
    features: NDArray[np.float64], centres: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Assign each donor to a centre so that every centre gets its share and squared distances are least."""
    labels = np.empty(len(features), np.int64)
    slots = np.arange(len(features)) % len(centres)
    for first in range(0, len(order), PART):
        members, places = order[first : first + PART], slots[first : first + PART]
        distances = ((features[members, None] - centres[None, places]) ** 2).sum(-1)
        rows, columns = linear_sum_assignment(distances)
        labels[members[rows]] = places[columns]
    return labels
