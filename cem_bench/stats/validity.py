"""Is the map itself valid? The numpy side: arrays from the instrument in, verdict-ready numbers out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cem_bench.stats.estimates import Estimate, checked, t_interval

__all__ = ["DeletionCurve", "Randomisation", "deletion_curve", "noise_share", "orders", "pool_halves", "randomisation"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DeletionCurve:
    """Effect of intervening on the first k blocks of an order together.

    Attributes:
        blocks: (steps,) number of blocks k.
        effect: (steps,) estimate of the joint effect, dB.
        area: estimate of the mean over steps, dB: the larger, the better the order finds what matters.
    """

    blocks: NDArray[np.int64]
    effect: Estimate
    area: Estimate


@dataclass(frozen=True, eq=False)
class Randomisation:
    """Likeness of the map to those of networks whose weights were randomised layer by layer.

    Attributes:
        layers: names, in the order of randomisation.
        spearman: (layers,) rank correlation of absolute effects with the true network's map; NaN without spread.
        half: rank correlation of the true map's two halves: what the same network repeats.
    """

    layers: tuple[str, ...]
    spearman: Array
    half: float


def orders(
    half_means: Mapping[int, float], distance: Mapping[int, float], contrast: Mapping[int, float], seed: int = 0
) -> dict[str, list[int]]:
    """Return the orders in which blocks are deleted: the map's own, and the nulls it has to beat.

    Args:
        half_means: block to its mean effect over half A of the draws, dB.
        distance: block to its distance from the ROI, px.
        contrast: block to its local contrast in the observation, code values.
        seed: names the random order.

    Returns:
        "map" (largest effect first), "random", "nearest", "contrast" (largest first), each a list of all blocks.
    """
    blocks = sorted(half_means)
    shuffled = np.random.default_rng(seed).permutation(blocks)
    return {
        "map": sorted(blocks, key=lambda block: (-half_means[block], block)),
        "random": [int(block) for block in shuffled],
        "nearest": sorted(blocks, key=lambda block: (distance[block], block)),
        "contrast": sorted(blocks, key=lambda block: (-contrast[block], block)),
    }


def deletion_curve(blocks: ArrayLike, joint: ArrayLike, confidence: float = 0.95) -> DeletionCurve:
    """Return the joint deletion curve of one order.

    Args:
        blocks: (steps,) number of blocks intervened on together.
        joint: (steps, n) joint effects, dB, of n draws from half B: draws that did not make the order.
        confidence: of the intervals, in (0, 1).

    Source: Petsiuk et al. 2018, arXiv 1806.07421 (deletion), with donors in place of grey.
    """
    counts, effects = np.asarray(blocks, dtype=np.int64), checked(joint)
    if effects.ndim != 2 or len(counts) != len(effects):
        raise ValueError(f"joint effects must be (steps, draws) with {len(counts)} steps, got {effects.shape}")
    return DeletionCurve(counts, t_interval(effects, confidence), t_interval(effects.mean(axis=0), confidence))


def pool_halves(
    effects: Mapping[int, Array], donors: Mapping[int, NDArray[np.int64]], pool: int, seed: int = 0
) -> Array:
    """Return the mean effect of every block over each random half of the donor pool.

    Args:
        effects: block to effects, dB.
        donors: block to the donor index of each draw.
        pool: donors in the pool.
        seed: names the halves.

    Returns:
        (blocks, 2) dB, for `repeat.repeatability`: does another pool of the same kind give the same map? Blocks
        without a draw in both halves are left out.
    """
    side = np.random.default_rng(seed).permutation(pool) < pool // 2
    rows = []
    for block, draws in effects.items():
        first = side[donors[block]]
        if first.any() and not first.all():
            rows.append((checked(draws)[first].mean(), checked(draws)[~first].mean()))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def randomisation(means: ArrayLike, halves: ArrayLike, randomised: Mapping[str, ArrayLike]) -> Randomisation:
    """Return how far the map depends on the weights.

    Args:
        means: (blocks,) effects of the true network, dB.
        halves: (blocks, 2) its half means, dB.
        randomised: layer up to which weights were randomised to (blocks,) effects, dB, same blocks and draws.

    Returns:
        Rank correlations; a map that stays alike when the weights are random shows the image, not the network.

    Source: Adebayo et al. 2018, arXiv 1810.03292.
    """
    true = np.abs(checked(means))
    found = [_rank_correlation(true, np.abs(checked(one))) for one in randomised.values()]
    pair = np.abs(checked(halves))
    return Randomisation(tuple(randomised), np.array(found), _rank_correlation(pair[:, 0], pair[:, 1]))


def _rank_correlation(one: Array, two: Array) -> float:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return float("nan")
    return float(stats.spearmanr(one, two).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def noise_share(effects: ArrayLike) -> Array:
    """Return the share of the variance of a block's mean that comes from the noise field of the scene.

    Args:
        effects: (blocks, fields, n) effects, dB, of n donors under each of several noise fields.

    Returns:
        (blocks,) variance of the field means, less what the draws explain, over that plus the donors' variance; never
        negative, NaN with fewer than two fields or draws or without spread. Near 0: one field speaks for all.

    Source: one-way random effects, Searle, Casella and McCulloch 1992, eq. 3.4.
    """
    values = checked(effects)
    fields, n = values.shape[1:]
    if fields < 2 or n < 2:
        return np.full(len(values), np.nan)
    within = values.var(axis=2, ddof=1).mean(axis=1)
    between = np.maximum(values.mean(axis=2).var(axis=1, ddof=1) - within / n, 0)
    total = between + within
    return np.where(total > 0, between / np.where(total > 0, total, 1), np.nan)
