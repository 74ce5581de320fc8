"""The word on a claim: how an interval lies to 0 and to the margin, and whether there is evidence enough for a word.

A margin is the smallest value that matters. A claim has a direction ("greater", "less") or none ("equal").
"""

from dataclasses import dataclass, replace
from math import ceil, isfinite, nan
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem_bench.stats.compare import cluster_means
from cem_bench.stats.estimates import checked
from cem_bench.stats.flips import sign_flip

__all__ = [
    "EXCEEDS",
    "NEGLIGIBLE",
    "NOT_JUDGED",
    "OPPOSITE",
    "PRESENT",
    "UNKNOWN",
    "ClaimVerdict",
    "Evidence",
    "claim_p",
    "claim_verdict",
    "holm",
    "restores",
]

Expected = Literal["greater", "less", "equal"]
EXCEEDS, PRESENT, NEGLIGIBLE = "exceeds the margin", "present", "negligible"
OPPOSITE, UNKNOWN, NOT_JUDGED = "opposite", "unknown", "not judged"
FEWEST_TRAININGS = 3  # of each architecture: two cannot tell training noise from the architecture
ADMITTED = 16 / 17  # share of the images on which a network has to beat its input


@dataclass(frozen=True)
class Evidence:
    """What was measured about a claim.

    Attributes:
        low: lower end of the interval, in the quantity's unit; -inf or NaN where it is unknown.
        high: upper end; inf or NaN where it is unknown.
        p: of `claim_p`; NaN beside an equivalence.
        trainings: checkpoints of each side.
        restores: whether every network of the claim beats its input, as `restores` says.
    """

    low: float
    high: float
    p: float = nan
    trainings: int = 1
    restores: bool = True


@dataclass(frozen=True)
class ClaimVerdict:
    """A word and why it is no stronger one.

    Attributes:
        word: EXCEEDS, PRESENT, NEGLIGIBLE, OPPOSITE, UNKNOWN or NOT_JUDGED.
        why: half a sentence; empty where the word needs none.
    """

    word: str
    why: str = ""


def claim_verdict(
    evidence: Evidence, expected: Expected, margin: float, *, about_training: bool = False, level: float = 0.05
) -> ClaimVerdict:
    """Return the word on a claim.

    Args:
        evidence: interval, p, trainings. For a threshold instead of a difference (a radius less than 30 px), the
            interval less the threshold, and margin 0.
        expected: "greater" than the margin, "less" than minus the margin, or "equal" within +-margin.
        margin: smallest value that matters, in the quantity's unit, not negative; positive for "equal".
        about_training: whether the claim is about an architecture or a way of training, not about one checkpoint.
        level: of p, in (0, 1).

    Returns:
        not judged: a network does not beat its input, or a claim about training has fewer than three trainings.
        negligible: the interval lies inside +-margin. exceeds the margin: beyond it, on the expected side (on either,
        for "equal", which this refutes). present: on the expected side of 0 (for "equal": on one), but the size is
        not shown. opposite: on the other side of 0. unknown: all else. Exceeds, present and opposite need p <= level
        where there is a p.

    Raises:
        ValueError: for another expectation, or a margin that cannot be one.

    Estimand: none, a rule on an interval and a test.
    Assumes: the interval covers at its confidence; p is valid.

    Source: equivalence by an interval inside the margin, Schuirmann 1987, doi 10.1007/BF01068419.
    """
    _check(expected, margin)
    if not evidence.restores:
        return ClaimVerdict(NOT_JUDGED, "a network restores worse than its input")
    if about_training and evidence.trainings < FEWEST_TRAININGS:
        named = "one training's number" if evidence.trainings == 1 else f"{evidence.trainings} trainings' number"
        return ClaimVerdict(NOT_JUDGED, f"{named}: a claim about training needs {FEWEST_TRAININGS}")
    if not (isfinite(evidence.low) and isfinite(evidence.high)):
        return ClaimVerdict(UNKNOWN, "too few images")
    if expected == "less":
        evidence = replace(evidence, low=-evidence.high, high=-evidence.low)
    verdict = _word(evidence.low, evidence.high, expected, margin)
    if verdict.word in (EXCEEDS, PRESENT, OPPOSITE) and evidence.p > level:
        return ClaimVerdict(UNKNOWN, "sign flips of the images do not confirm it")
    return verdict


def _check(expected: str, margin: float) -> None:
    if expected not in ("greater", "less", "equal"):
        raise ValueError(f"expected: got {expected!r}, expected one of 'greater', 'less', 'equal'")
    if not (margin >= 0 and isfinite(margin)) or (expected == "equal" and margin == 0):
        raise ValueError(
            f"margin: got {margin}, expected the smallest value that matters, in the quantity's unit: 0 or more, and "
            "more than 0 for 'equal', since nothing lies inside +-0"
        )


def _word(low: float, high: float, expected: str, margin: float) -> ClaimVerdict:
    if -margin < low and high < margin:
        return ClaimVerdict(NEGLIGIBLE)
    beyond = low > margin or (expected == "equal" and high < -margin)
    if beyond:
        return ClaimVerdict(EXCEEDS)
    if low > 0 or (expected == "equal" and high < 0):
        return ClaimVerdict(PRESENT, "differs from 0, size not shown")
    if high < 0:
        return ClaimVerdict(OPPOSITE, "" if high < -margin else "differs from 0, size not shown")
    return ClaimVerdict(UNKNOWN, "the interval holds 0 and reaches past the margin")


def claim_p(values: ArrayLike, clusters: ArrayLike, expected: Expected, resample_seed: int = 0) -> float:
    """Return the p beside a claim with a direction: two-sided, of "symmetric about 0", by sign flips of whole images.

    Args:
        values: (n,) a number per scene: a difference of two models, or a quantity whose null is 0.
        clusters: (n,) image of each scene; ROIs of one image are one cluster.
        expected: as `claim_verdict`.
        resample_seed: names random flips of more than 20 images.

    Returns:
        p in (0, 1]; NaN for "equal": a test of 0 answers another question than an equivalence.

    Raises:
        ValueError: for another expectation, if a value is not finite, or the shapes differ.

    Estimand: none, a test; p has no unit.
    Assumes: as `flips.sign_flip`, images taking the place of draws.

    Source: `flips.sign_flip`.
    """
    _check(expected, 1.0)
    return nan if expected == "equal" else sign_flip(cluster_means(values, clusters), resample_seed)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's adjusted p of a family of tests.

    Args:
        p: (m,) p-values; NaN where there is no test, which does not count to the family.

    Returns:
        (m,) adjusted p in 0..1: rejecting those at or under a level keeps the chance of any false rejection under it;
        NaN where there was no test.

    Raises:
        ValueError: if a p lies outside 0..1.

    Estimand: none, a rule.
    Assumes: valid p-values, dependent in any way.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    values = np.asarray(p, dtype=np.float64)
    tested = ~np.isnan(values)
    if ((values[tested] < 0) | (values[tested] > 1)).any():
        raise ValueError(f"p: got {values[tested].tolist()}, expected values in 0..1, or NaN where there is no test")
    order = np.argsort(values[tested], kind="stable")
    steps = values[tested][order] * np.arange(len(order), 0, -1)
    adjusted, within = np.full(values.shape, np.nan), np.empty(len(order))
    within[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    adjusted[tested] = within
    return adjusted


def restores(gains: ArrayLike, images: ArrayLike) -> bool:
    """Return whether a network beats its input on at least 16 of 17 images (or that share of another number).

    Args:
        gains: (n,) PSNR of the output less that of the input, a scene each, dB.
        images: (n,) image of each scene; the gain of an image is the mean of its scenes'.

    Returns:
        False without an image.

    Raises:
        ValueError: if a gain is not finite, or the shapes differ.

    Estimand: none, a rule of admission.
    Assumes: none.

    Source: none, a rule stated before measuring.
    """
    means = cluster_means(checked(gains), images)
    return len(means) > 0 and int((means > 0).sum()) >= ceil(ADMITTED * len(means) - 1e-9)
