"""Draws of a map by two levels: the real network's, and those of a cheap level on the same donors. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from cem_bench.sampling.rules import Effects, Labels, Request, labels_of, up_to

__all__ = ["RINGS", "LevelDraws", "LevelRule", "Ring", "Wanted", "asked_by_level", "measured_rings", "pilot"]

# Rings of distance to the ROI, up to so many clean pixels.
RINGS = (8.0, 16.0, 32.0, 64.0, float("inf"))
# Blocks of every ring, and draws of both levels of each, that say how much of the variance the cheap level leaves.
PILOT_BLOCKS, PILOT_DRAWS = 2, 3
# A level serves a ring where its best mix of draws costs at most this share of draws of the real network alone.
WORTH = 0.7
# And where the mean that it leaves is at most this part of tol and the block's effect together: claims need the room.
MEAN_PART = 0.25


Counts = tuple[dict[int, int], dict[int, int]]  # draws of every block, of the cheap level and of the real network


@dataclass(frozen=True, eq=False)
class LevelDraws:
    """What is drawn of every block that may be drawn.

    Attributes:
        cheap: flat block index to its effects by the cheap level, draw 0 first, in the outcome's unit.
        real: the same blocks to their effects by the real network; draw k of both has the same donor.
        cost: block to what a cheap draw costs, in forwards of the whole network.
        ring: block to its ring of distance to the ROI.
        order: the blocks in a random order that the seed names.
        labels: block to the strata of its stored cheap draws, or None.
    """

    cheap: Mapping[int, Effects]
    real: Mapping[int, Effects]
    cost: Mapping[int, float]
    ring: Mapping[int, int]
    order: Sequence[int]
    labels: Labels | None = None

    def up_to(self, cheap: Mapping[int, int], real: Mapping[int, int]) -> LevelDraws:
        """Return the first draws of every block, so many of each level."""
        return replace(
            self,
            cheap={block: draws[: cheap[block]] for block, draws in self.cheap.items()},
            real={block: draws[: real[block]] for block, draws in self.real.items()},
        )

    def strata(self, blocks: Sequence[int]) -> Labels | None:
        """Return the strata of the cheap draws of some blocks."""
        return labels_of({block: self.cheap[block] for block in blocks}, self.labels)

    def rest(self, block: int) -> Effects:
        """Return what the real network's draws are beyond the cheap ones of the same donors."""
        return self.real[block] - self.cheap[block][: len(self.real[block])]

    @property
    def lengths(self) -> Counts:
        """Number of draws of every block, of the cheap level and of the real network."""
        first, second = ({block: len(draws) for block, draws in level.items()} for level in (self.cheap, self.real))
        return first, second


@dataclass(frozen=True)
class Wanted:
    """Draws wanted next, of each level."""

    cheap: list[Request]
    real: list[Request]

    def __bool__(self) -> bool:
        """Whether any is wanted."""
        return bool(self.cheap or self.real)

    @classmethod
    def of(cls, draws: LevelDraws, cheap: Mapping[int, int], real: Mapping[int, int]) -> Wanted:
        """Return what lacks up to given numbers of draws of each level."""
        return cls(up_to(draws.cheap, cheap), up_to(draws.real, real))


class LevelRule(Protocol):
    """A rule that asks for draws of two levels."""

    def wanted(self, draws: LevelDraws) -> Wanted:
        """Return the draws wanted next; none when the rule is satisfied."""
        ...


@dataclass(frozen=True)
class Ring:
    """How a cheap level does at a distance from the ROI, measured on a pilot sample.

    Attributes:
        ring: index.
        blocks: number of blocks.
        left: variance that the level leaves, var(X - Z) / var(X), in the pilot's block where it leaves most.
        mean: |mean of X - Z| / (tol + |mean of X|), in the pilot's block where it is largest.
        cost: of a cheap draw, in forwards of the whole network.
        serves: whether the level is used there.
    """

    ring: int
    blocks: int
    left: float
    mean: float
    cost: float
    serves: bool


def asked_by_level(rule: LevelRule, stored: LevelDraws, counts: Counts | None = None) -> tuple[LevelDraws, Wanted]:
    """Ask a rule from the first draw on, as if nothing were stored (as `rules.asked`).

    Args:
        rule: the rule.
        stored: all stored draws.
        counts: numbers of draws of each level that it was asked with before; None to begin.

    Returns:
        The stored draws that the rule takes, and those that it wants next and that are not stored.
    """
    counts = (dict.fromkeys(stored.cheap, 0), dict.fromkeys(stored.real, 0)) if counts is None else counts
    while True:
        taken = stored.up_to(*counts)
        wanted, lacking = rule.wanted(taken), ([], [])
        levels = (stored.cheap, stored.real)
        for requests, level, count, lacks in zip((wanted.cheap, wanted.real), levels, counts, lacking, strict=True):
            for request in requests:
                have = len(level[request.block])
                count[request.block] = min(request.last, have)
                if have < request.last:
                    lacks.append(Request(request.block, have, request.last))
        if any(lacking) or not wanted:
            return stored.up_to(*counts), Wanted(*lacking)


def pilot(draws: LevelDraws) -> dict[int, list[int]]:
    """Return the blocks of every ring that both levels are first drawn on, the first of the random order."""
    rings = sorted(set(draws.ring.values()))
    return {ring: [block for block in draws.order if draws.ring[block] == ring][:PILOT_BLOCKS] for ring in rings}


def measured_rings(draws: LevelDraws, tol: float) -> list[Ring]:
    """Return how the cheap level does in every ring, by the pilot's first draws alone: it does not change later.

    Args:
        draws: of both levels, the pilot's among them.
        tol: half-width of the region of no effect, in the outcome's unit.
    """
    rings = []
    for ring, blocks in pilot(draws).items():
        cheap = np.array([draws.cheap[block][:PILOT_DRAWS] for block in blocks])
        real = np.array([draws.real[block][:PILOT_DRAWS] for block in blocks])
        whole, rest = (values.var(axis=1, ddof=1) for values in (real, real - cheap))
        left = float(np.where(whole > 0, rest / np.where(whole > 0, whole, 1.0), rest > 0).max())
        mean = float((np.abs((real - cheap).mean(axis=1)) / (tol + np.abs(real.mean(axis=1)))).max())
        cost = float(np.mean([draws.cost[block] for block in blocks]))
        # the best mix of both levels, against draws of the real network alone (Giles 2008, doi 10.1287/opre.1070.0496)
        worth = (np.sqrt(cost) + np.sqrt(left * (1 + cost))) ** 2 <= WORTH and mean <= MEAN_PART
        rings.append(Ring(ring, sum(at == ring for at in draws.ring.values()), left, mean, cost, bool(worth)))
    return rings
