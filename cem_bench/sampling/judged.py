"""What draws of both levels come to under the rule: evidence, verdicts, the audit, and which draws come next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem_bench.sampling.level_draws import LevelDraws, Ring, measured_rings
from cem_bench.sampling.rules import Effects, labels_of
from cem_bench.sampling.sequential import FLAT
from cem_bench.stats.looks import sequential_p_values
from cem_bench.stats.residual import BEYOND, WITHIN, Evidence, Joined, rest_limit
from cem_bench.stats.verdicts import NONE, UNDECIDED, PValues, decide

if TYPE_CHECKING:
    from cem_bench.sampling.multilevel import Multilevel

__all__ = ["Judged"]

# Draws of the real network at which an audited block's limit is looked at.
AUDIT_LOOKS = (2, 3, 5, 8)
# Part of tol that the rest's mean may take in blocks that are called none unseen by the real network.
REST_PART = 0.25


@dataclass(frozen=True, eq=False)
class Judged:
    """What draws of both levels come to under the rule.

    Attributes:
        rule: the rule.
        draws: of both levels, the pilot's among them.
        blocks: those of the draws, in their order; all arrays are by block.
    """

    rule: Multilevel
    draws: LevelDraws
    blocks: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", list(self.draws.cheap))

    @cached_property
    def rings(self) -> list[Ring]:
        """How the level does by distance."""
        return measured_rings(self.draws, self.rule.region)

    @cached_property
    def served(self) -> NDArray[np.bool_]:
        """The blocks whose cheap level is used."""
        rings = {ring.ring for ring in self.rings if ring.serves}
        return np.array([self.draws.ring[block] in rings for block in self.blocks], dtype=bool)

    @cached_property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Number of draws of the cheap level and of the real network."""
        cheap, real = (np.array(list(level.values()), dtype=np.int64) for level in self.draws.lengths)
        return cheap, real

    def _evidence(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Return what the draws of some served blocks show."""
        blocks = [self.blocks[place] for place in np.flatnonzero(chosen)]
        cheap, real = ({block: level[block] for block in blocks} for level in (self.draws.cheap, self.draws.real))
        return Evidence(cheap, real, self.rule.cheap_looks, self.rule.looks, self.draws.strata(blocks))

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """The served blocks that the real network has drawn."""
        return self.served & (self.counts[1] > 0)

    @cached_property
    def _alone(self) -> PValues:
        """P-values of all blocks by draws of the real network alone; 1 where the level serves."""
        rest = [self.blocks[place] for place in np.flatnonzero(~self.served)]
        real = {block: self.draws.real[block] for block in rest}
        labels = None if self.draws.labels is None else labels_of(real, self.draws.labels)
        p = sequential_p_values(real, self.rule.region, self.rule.looks, labels)
        return self._with(~self.served, p, _unknown(len(self.blocks)))

    def _with(self, chosen: NDArray[np.bool_], p: PValues, others: PValues | None = None) -> PValues:
        """Return the p-values of all blocks from those of some; without `others`, those of the real draws alone."""
        base = vars(self._alone if others is None else others)
        parts = []
        for name, values in vars(p).items():
            whole = base[name].copy()
            whole[chosen] = values
            parts.append(whole)
        return PValues(*parts)

    def _decided(self, p: PValues) -> NDArray[np.int64]:
        level = self.rule.level if self.served.any() else 1 - self.rule.confidence
        return decide(p, level, self.rule.correction)

    @cached_property
    def _cheaply(self) -> PValues:
        """What the cheap level says, with room for the rest."""
        tol = self.rule.region
        evidence = self._evidence(self.served)
        beyond, within = (evidence.cheap(tol * (1 + part)) for part in (REST_PART, -REST_PART))
        return self._with(self.served, PValues(np.minimum(2 * beyond.effect, 1.0), within.none, beyond.sign))

    @cached_property
    def _joined(self) -> Joined:
        """What both levels show of the seen blocks."""
        return self._evidence(self.seen).joined(self.rule.region)

    @cached_property
    def unneeded(self) -> NDArray[np.bool_]:
        """The blocks that the cheap level calls none, which an audit may leave to it."""
        if self.rule.audit == "all":
            return np.zeros(len(self.blocks), bool)
        return self.served & (self._decided(self._cheaply) == NONE)

    @cached_property
    def limits(self) -> dict[int, float]:
        """Upper limit of the rest's mean of the audited blocks, a random sample of those that are called none."""
        called = {block for block, none in zip(self.blocks, self.unneeded, strict=True) if none}
        chosen = [block for block in self.draws.order if block in called][: self.rule.audited]
        return {block: rest_limit(self.draws.rest(block), AUDIT_LOOKS) for block in chosen}

    @property
    def bound(self) -> float:
        """What the rest's mean may be in a block that is called none unseen."""
        return REST_PART * self.rule.region

    @cached_property
    def audit_failed(self) -> bool:
        """Whether an audited block's rest is not shown to lie within the bound."""
        most = AUDIT_LOOKS[-1]
        return any(len(self.draws.real[at]) >= most and limit > self.bound for at, limit in self.limits.items())

    @cached_property
    def verdict(self) -> NDArray[np.int64]:
        """Verdict of every block, codes of `stats.verdicts`; while the audit runs, as if it held."""
        p = self._with(self.seen, self._joined.p)
        none = p.none if self.audit_failed else np.where(self.unneeded, self._cheaply.none, p.none)
        return self._decided(PValues(p.effect, none, p.sign))

    def alone_wanted(self) -> dict[int, int]:
        """Return the next numbers of real draws of the blocks without a level."""
        open_blocks = (~self.served) & (self.counts[1] < self.rule.maximum)
        settled = (self.counts[1] >= self.rule.minimum) & (
            (self._decided(self._cheaply) != UNDECIDED) | self._flat(self.draws.real)
        )
        return self._next(open_blocks & ~settled, self.counts[1], self.rule.looks)

    def cheap_wanted(self) -> dict[int, int]:
        """Return the next numbers of cheap draws of the blocks that they may still decide."""
        decided = self._decided(self._cheaply) != UNDECIDED
        done = decided | (self.counts[0] >= self.rule.cheap_maximum) | self._flat(self.draws.cheap)
        done &= self.counts[0] >= self.rule.cheap_minimum
        return self._next(self.served & ~done, self.counts[0], self.rule.cheap_looks)

    def real_wanted(self) -> tuple[dict[int, int], dict[int, int]]:
        """Return the next numbers of cheap and of real draws of the blocks that the real network must decide."""
        cheap, real = self.counts
        each = self.served & (~self.unneeded | self.audit_failed)
        first = each & (real < self.rule.minimum)
        rests = {
            block: self.draws.rest(block) if at else np.empty(0) for block, at in zip(self.blocks, each, strict=True)
        }
        flat = self._flat(self.draws.cheap) | self._flat(rests)
        rest_full, cheap_full = real >= self.rule.maximum, cheap >= self.rule.cheap_maximum
        undecided = each & ~first & (self.verdict == UNDECIDED) & ~flat & self._hope & ~(rest_full & cheap_full)
        by_rest = np.zeros(len(self.blocks), bool)
        by_rest[self.seen] = self._joined.by_rest
        by_rest = (by_rest & ~rest_full) | cheap_full
        more = self._next(undecided & by_rest, real, self.rule.looks)
        return (
            self._next(undecided & ~by_rest, cheap, self.rule.cheap_looks),
            {**more, **self._next(first, np.maximum(real, self.rule.minimum - 1), self.rule.looks)},
        )

    def audit_wanted(self) -> dict[int, int]:
        """Return the next numbers of real draws of the audited blocks whose limit is not under the bound yet."""
        if self.audit_failed:
            return {}
        have = {block: len(self.draws.real[block]) for block, limit in self.limits.items() if limit > self.bound}
        return {block: next(look for look in AUDIT_LOOKS if look > n) for block, n in have.items()}

    @property
    def _hope(self) -> NDArray[np.bool_]:
        """Whether a block would be decided, were the rest known to be next to nothing."""
        tol, evidence = self.rule.region, self._evidence(self.seen)
        beyond, within = evidence.cheap(tol * (1 + BEYOND[0])), evidence.cheap(tol * (1 - WITHIN[0]))
        effect, none = (np.minimum(2 * p, 1.0) for p in (beyond.effect, within.none))
        return self._decided(self._with(self.seen, PValues(effect, none, beyond.sign))) != UNDECIDED

    def _flat(self, level: Mapping[int, Effects]) -> NDArray[np.bool_]:
        return np.array([len(draws) >= FLAT and float(np.ptp(draws)) == 0.0 for draws in level.values()], dtype=bool)

    def _next(self, chosen: NDArray[np.bool_], counts: NDArray[np.int64], looks: tuple[int, ...]) -> dict[int, int]:
        """Return the next look of the chosen blocks."""
        return {
            self.blocks[at]: next((look for look in looks if look > counts[at]), looks[-1])
            for at in np.flatnonzero(chosen)
        }


def _unknown(many: int) -> PValues:
    return PValues(np.ones(many), np.ones(many), np.zeros(many, np.int64))
