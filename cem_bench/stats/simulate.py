"""Sampling rules replayed on a gold map, where the truth is known: coverage, error rates, draws."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cem_bench.stats.estimates import RESOLUTION, Estimate, skew_interval
from cem_bench.stats.looks import interval, look_p_values, stronger
from cem_bench.stats.verdicts import NONE, UNDECIDED, PValues, decide, p_values

__all__ = ["Gold", "Outcome", "load_gold", "replay_fixed", "replay_paper", "replay_sequential", "score"]

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gold:
    """A map enumerated over its whole donor pool.

    Attributes:
        blocks: (m,) flat block index.
        effects: (m, donors) dB, float outcome.
        effects_8bit: (m, donors) dB, 8-bit outcome.
        strata: (donors,) stratum of each donor.
        about: network, scene, engine, hashes.
    """

    blocks: Codes
    effects: Array
    effects_8bit: Array
    strata: Codes
    about: dict

    @property
    def truth(self) -> Array:
        """Mean effect of every block over the whole pool, dB."""
        return self.effects.mean(axis=1)

    @property
    def resolved(self) -> NDArray[np.bool_]:
        """The blocks whose donors differ by more than the resolution: coverage is asked of these."""
        return self.effects.std(axis=1) > RESOLUTION


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a rule came to in every run; arrays are (runs, blocks).

    Attributes:
        draws: draws spent.
        mean: dB.
        covered: whether the interval holds the truth.
        verdict: codes of `verdicts`; for a rule without verdicts, the side on which the mean lies.
    """

    draws: Codes
    mean: Array
    covered: NDArray[np.bool_]
    verdict: Codes


def load_gold(path: Path) -> Gold:
    """Read a gold map that benchmarks/gold_maps.py wrote."""
    with np.load(path, allow_pickle=False) as stored:
        float64 = {name: stored[name].astype(np.float64) for name in ("effects", "effects_8bit")}
        blocks, strata = stored["blocks"].astype(np.int64), stored["strata"].astype(np.int64)
        return Gold(blocks, float64["effects"], float64["effects_8bit"], strata, json.loads(str(stored["about"])))


def draw(
    effects: Array, runs: int, count: int, rng: np.random.Generator, strata: Codes | None = None
) -> tuple[Array, Codes | None]:
    """Draw donors for every block of every run as the instrument does.

    Args:
        effects: (m, donors) dB.
        runs: number of runs.
        count: draws a block.
        rng: source of the draws.
        strata: (donors,) strata, or None for uniform draws.

    Returns:
        (runs, m, count) effects and their strata (None if uniform): each sweep visits every stratum once, in random
        order; within a stratum, donors are uniform with replacement.
    """
    rows = np.arange(len(effects))[None, :, None]
    if strata is None:
        return effects[rows, rng.integers(0, effects.shape[1], (runs, len(effects), count))], None
    sizes = np.bincount(strata)
    members = np.argsort(strata, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    sweeps = -(-count // len(sizes))
    order = rng.random((runs, len(effects), sweeps, len(sizes))).argsort(axis=-1)
    labels = order.reshape(runs, len(effects), -1)[..., :count]
    picks = members[starts[labels] + (rng.random(labels.shape) * sizes[labels]).astype(np.int64)]
    return effects[rows, picks], labels


def side_of(mean: Array, tol: float) -> Codes:
    """Return the side of tol on which a mean lies."""
    return np.where(np.abs(mean) >= tol, np.sign(mean), NONE).astype(np.int64)


def _decide_runs(p: PValues, level: float) -> Codes:
    parts = zip(p.effect, p.none, p.sign, strict=True)
    return np.stack([decide(PValues(*part), level) for part in parts])


def _covers(estimate: Estimate, truth: Array) -> NDArray[np.bool_]:
    return (estimate.low <= truth) & (truth <= estimate.high)


def replay_paper(draws: Array, truth: Array, *, coarse: int = 3, tol: float = 0.01) -> Outcome:
    """Replay the published rule: coarse draws, and where any |effect| >= tol, all further draws as fine ones."""
    first, fine = draws[..., :coarse], draws[..., coarse:]
    refined = (np.abs(first) >= tol).any(axis=-1)
    mean = np.where(refined, fine.mean(-1), first.mean(-1))
    covered = np.where(refined, _covers(skew_interval(fine), truth), _covers(skew_interval(first), truth))
    spent = np.where(refined, draws.shape[-1], coarse)
    return Outcome(spent, mean, covered, side_of(mean, tol))


def replay_fixed(
    draws: Array, truth: Array, labels: Codes | None = None, *, tol: float = 0.01, level: float = 0.05
) -> Outcome:
    """Replay the same number of draws for every block, with verdicts."""
    ends = interval(draws, labels, 1 - level, count=1 if labels is None else 1 + int(labels.max()))
    return replay_estimate(ends, truth, tol=tol, level=level)


def replay_estimate(estimate: Estimate, truth: Array, *, tol: float = 0.01, level: float = 0.05) -> Outcome:
    """Replay verdicts on estimates of (runs, blocks) that were made of the same number of draws."""
    verdict = _decide_runs(p_values(estimate, tol), level)
    return Outcome(np.full(estimate.mean.shape, estimate.n), estimate.mean, _covers(estimate, truth), verdict)


def replay_sequential(
    draws: Array,
    truth: Array,
    looks: tuple[int, ...],
    labels: Codes | None = None,
    *,
    tol: float = 0.01,
    level: float = 0.05,
) -> Outcome:
    """Replay the sequential rule without a budget: what `Sequential` asks for round by round (a test says so).

    But for blocks whose draws are all equal, which the rule gives up and no gold map holds.
    """
    shape, count = draws.shape[:-1], 1 if labels is None else 1 + int(labels.max())
    strongest = PValues(np.ones(shape), np.ones(shape), np.zeros(shape, np.int64))
    spent, mean, covered = np.zeros(shape, np.int64), np.zeros(shape), np.zeros(shape, bool)
    verdict = np.full(shape, UNDECIDED)
    for look in looks:
        active = verdict == UNDECIDED
        now, strata = draws[..., :look], None if labels is None else labels[..., :look]
        ends = interval(now, strata, 1 - level, looks=looks, tol=tol, count=count)
        both = stronger(strongest, look_p_values(now, tol, looks, strata, count))
        parts = ((new, old) for new, old in zip(vars(both).values(), vars(strongest).values(), strict=True))
        strongest = PValues(*(np.where(active, new, old) for new, old in parts))
        spent, mean = np.where(active, look, spent), np.where(active, ends.mean, mean)
        covered = np.where(active, _covers(ends, truth), covered)
        verdict = _decide_runs(strongest, level)
    return Outcome(spent, mean, covered, verdict)


def score(outcome: Outcome, gold: Gold, tol: float = 0.01) -> dict[str, float]:
    """Return what the simulations report of one rule on one gold map.

    Args:
        outcome: of an even number of runs; run 2i and 2i + 1 are compared for contradictions.
        gold: the truth.
        tol: dB.

    Returns:
        draws (mean a run); missed and false (blocks a run on the wrong side of tol, an undecided block counting where
        its mean lies); undecided (blocks a run); fdr (mean share of false among coloured verdicts); miss_rate (share
        of the true blocks called none); contradictory (share of the blocks coloured in either of two runs); coverage
        over all blocks and runs; coverage_worst (least covered resolved block); below_90 (resolved blocks covered in
        less than 90 % of the runs).
    """
    true, verdict = side_of(gold.truth, tol), outcome.verdict
    side = np.where(verdict == UNDECIDED, side_of(outcome.mean, tol), verdict)
    coloured, real = np.abs(verdict) == 1, true != NONE
    wrong = coloured & (verdict != true)
    first, second = verdict[::2], verdict[1::2]
    either = coloured[::2] | coloured[1::2]
    by_block = outcome.covered[:, gold.resolved].mean(axis=0)
    differ = (first != second) & (first != UNDECIDED) & (second != UNDECIDED)
    return {
        "draws": float(outcome.draws.sum(1).mean()),
        "missed": float((real & (side != true)).sum(1).mean()),
        "false": float((~real & (side != true)).sum(1).mean()),
        "undecided": float((verdict == UNDECIDED).sum(1).mean()),
        "fdr": float((wrong.sum(1) / np.maximum(coloured.sum(1), 1)).mean()),
        "miss_rate": float((real & (verdict == NONE)).sum() / max(real.sum() * len(verdict), 1)),
        "contradictory": float(differ.sum() / max(either.sum(), 1)),
        "coverage": float(outcome.covered.mean()),
        "coverage_worst": float(by_block.min(initial=1.0)),
        "below_90": float((by_block < 0.9).sum()),
    }
