"""Is the map itself valid? The numpy side: arrays from the instrument in, verdict-ready numbers out."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cem_bench.stats.compare import sign_flip
from cem_bench.stats.estimates import Estimate, check_confidence, checked, t_interval
from cem_bench.stats.repeat import repeatability

__all__ = [
    "DeletionCurve",
    "DeletionGap",
    "NoiseShare",
    "Randomisation",
    "deletion_curve",
    "deletion_gap",
    "noise_share",
    "orders",
    "pool_halves",
    "randomisation",
]
RESAMPLES = 1000

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


@dataclass(frozen=True)
class DeletionGap:
    """How much better the map's order finds what matters than another order.

    Attributes:
        mean: mean over steps and draws of the joint effect of the map's order minus that of the other, dB.
        low: lower end of its interval.
        high: upper end of its interval.
        p: two-sided p of "no difference", by sign flips of the draws.
        draws: number of draws; with n of them p cannot fall under 2 / 2**n.
        verdict: "better" or "worse" where interval and p both say so, "too few draws" where no p could, else
            "undecided".
    """

    mean: float
    low: float
    high: float
    p: float
    draws: int
    verdict: str


@dataclass(frozen=True, eq=False)
class Randomisation:
    """Likeness of the map to those of networks whose weights were randomised layer by layer.

    Attributes:
        stages: names, in the order of randomisation, and last the true map's two halves: what one network repeats.
        spearman: (stages,) rank correlation of effects with the true network's map; NaN without spread.
        low: (stages,) lower end of its interval; blocks count as independent, which neighbours are not quite.
        high: (stages,) upper end.
        agreement: (stages,) share of the blocks coloured in either map that have the same side of tol in both.
    """

    stages: tuple[str, ...]
    spearman: Array
    low: Array
    high: Array
    agreement: Array


@dataclass(frozen=True, eq=False)
class NoiseShare:
    """How much of the variance of one draw's effect comes from the noise field of the scene.

    Attributes:
        by_block: (blocks,) share, 0 to 1; NaN without spread.
        whole: share of the variances summed over the blocks.
        low: lower end of its interval over resampled blocks.
        high: upper end.
    """

    by_block: Array
    whole: float
    low: float
    high: float


def orders(
    half_means: Mapping[int, float],
    distance: Mapping[int, float],
    contrast: Mapping[int, float],
    resample_seed: int = 0,
) -> dict[str, list[int]]:
    """Return the orders in which blocks are deleted: the map's own, and the nulls it has to beat.

    Args:
        half_means: block to its mean effect over half A of the draws, dB.
        distance: block to its distance from the ROI, px.
        contrast: block to its local contrast in the observation, code values.
        resample_seed: names the random order.

    Returns:
        "map" (largest effect first), "random", "nearest", "contrast" (largest first), each a list of all blocks.
    """
    blocks = sorted(half_means)
    shuffled = np.random.default_rng(resample_seed).permutation(blocks)
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

    Estimand: mean joint effect (dB) of the first k blocks over the donor pool.
    Assumes: draws are independent and made no part of the order.

    Source: Petsiuk et al. 2018, arXiv 1806.07421 (deletion), with donors in place of grey.
    """
    counts, effects = np.asarray(blocks, dtype=np.int64), checked(joint)
    if effects.ndim != 2 or len(counts) != len(effects):
        raise ValueError(f"joint effects must be (steps, draws) with {len(counts)} steps, got {effects.shape}")
    return DeletionCurve(counts, t_interval(effects, confidence), t_interval(effects.mean(axis=0), confidence))


def deletion_gap(first_order: ArrayLike, second_order: ArrayLike, confidence: float = 0.95) -> DeletionGap:
    """Return the paired difference of two orders' joint deletion curves.

    Args:
        first_order: (steps, n) joint effects of the map's order, dB.
        second_order: (steps, n) of another order with the same numbers of blocks, and the same donors in draw k.
        confidence: of the interval, in (0, 1).

    Returns:
        Student's interval over the draws of the mean over steps, the sign-flip p, and a verdict that needs both: of
        few draws an interval leans on normality, and the p alone says how little they can show.

    Raises:
        ValueError: if the shapes differ or a value is not finite.

    Estimand: mean over steps of the joint effect of one order minus that of another, dB, over the donor pool.
    Assumes: draws are independent; draw k of both orders has the same donors.

    Source: Student's interval as `estimates.t_interval`; sign flips as `compare.sign_flip`. Draws are independent.
    """
    first, second = checked(first_order), checked(second_order)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"expected two arrays (steps, draws) alike, got {first.shape} and {second.shape}")
    gaps = (first - second).mean(axis=0)
    gap = t_interval(gaps, confidence)
    p, level = sign_flip(gaps), 1 - confidence
    side = "better" if gap.low > 0 else "worse" if gap.high < 0 else "undecided"
    verdict = "too few draws" if 2 / 2**gaps.size > level else side if p <= level else "undecided"
    return DeletionGap(float(gap.mean), float(gap.low), float(gap.high), p, int(gaps.size), verdict)


def pool_halves(
    effects: Mapping[int, Array], donors: Mapping[int, NDArray[np.int64]], pool: int, resample_seed: int = 0
) -> Array:
    """Return the mean effect of every block over each random half of the donor pool.

    Args:
        effects: block to effects, dB.
        donors: block to the donor index of each draw.
        pool: donors in the pool.
        resample_seed: names the halves.

    Returns:
        (blocks, 2) dB, for `repeat.repeatability`: does another pool of the same kind give the same map? Blocks
        without a draw in both halves are left out.

    Estimand: mean effect (dB) over each half of the donor pool.
    Assumes: donors are drawn alike within both halves.

    Source: split-half, Brown 1910 and Spearman 1910.
    """
    side = np.random.default_rng(resample_seed).permutation(pool) < pool // 2
    rows = []
    for block, draws in effects.items():
        first = side[donors[block]]
        if first.any() and not first.all():
            rows.append((checked(draws)[first].mean(), checked(draws)[~first].mean()))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def randomisation(
    means: ArrayLike,
    halves: ArrayLike,
    randomised: Mapping[str, ArrayLike],
    *,
    tol: float = 0.01,
    confidence: float = 0.95,
) -> Randomisation:
    """Return how far the map depends on the weights.

    Args:
        means: (blocks,) effects of the true network, dB.
        halves: (blocks, 2) its half means, dB.
        randomised: name of each stage, as "12 of 40 layers", to (blocks,) effects under randomised weights, dB.
        tol: a map colours a block whose |mean| is at least tol, dB.
        confidence: of the intervals, in (0, 1).

    Returns:
        Rank correlations and class agreement; a map that stays alike when the weights are random shows the image, not
        the network.

    Estimand: likeness of this map to maps of networks with shuffled weights; correlations and shares, no unit.
    Assumes: blocks count as independent, which neighbours are not quite.

    Source: Adebayo et al. 2018, arXiv 1810.03292; interval of Spearman's rho, Fieller, Hartley and Pearson 1957,
        doi 10.1093/biomet/44.3-4.470.
    """
    check_confidence(confidence)
    true, pair = checked(means), checked(halves)
    compared = [(true, checked(effects)) for effects in randomised.values()] + [(pair[:, 0], pair[:, 1])]
    rho = np.array([_rank_correlation(*two) for two in compared])
    reach = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(1.06 / max(len(true) - 3, 1))
    centre = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12))
    agreement = [1 - repeatability(np.stack(two, axis=1), tol=tol).flip_rate for two in compared]
    stages = (*randomised, "halves of the true map")
    return Randomisation(stages, rho, np.tanh(centre - reach), np.tanh(centre + reach), np.array(agreement))


def _rank_correlation(first: Array, second: Array) -> float:
    if len(first) < 4 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def noise_share(effects: ArrayLike, *, confidence: float = 0.95, resample_seed: int = 0) -> NoiseShare:
    """Return the share of the variance of one draw's effect that comes from the noise field of the scene.

    Args:
        effects: (blocks, fields, n) effects, dB, of n donors under each of several noise fields.
        confidence: of the interval, in (0, 1).
        resample_seed: names the resamples.

    Returns:
        Variance of the field means, less what the draws explain, over that plus the donors' variance; never negative,
        NaN with fewer than two fields or draws or without spread. Near 0: one field speaks for all.

    Estimand: share of one draw's variance that the noise field makes, no unit, over fields and donors.
    Assumes: fields and donors are independent samples, their effects add.

    Source: one-way random effects, Searle, Casella and McCulloch 1992, eq. 3.4.
    """
    check_confidence(confidence)
    values = checked(effects)
    fields, n = values.shape[1:]
    if fields < 2 or n < 2 or not len(values):
        return NoiseShare(np.full(len(values), np.nan), np.nan, np.nan, np.nan)
    within = values.var(axis=2, ddof=1).mean(axis=1)
    between = values.mean(axis=2).var(axis=1, ddof=1) - within / n
    rng = np.random.Generator(np.random.Philox(resample_seed))
    picks = rng.integers(0, len(values), (RESAMPLES, len(values)))
    again = _share(between[picks].sum(axis=1), within[picks].sum(axis=1))
    low, high = (
        np.nanquantile(again, ((1 - confidence) / 2, (1 + confidence) / 2))
        if np.isfinite(again).any()
        else (np.nan, np.nan)
    )
    whole = float(_share(between.sum(), within.sum()))
    return NoiseShare(_share(between, within), whole, float(low), float(high))


def _share(between: ArrayLike, within: ArrayLike) -> Array:
    """Return between over the total, a negative estimate counting as none; NaN where the total is 0."""
    part = np.maximum(np.asarray(between, dtype=np.float64), 0)
    total = part + np.asarray(within, dtype=np.float64)
    return np.where(total > 0, part / np.where(total > 0, total, 1), np.nan)
