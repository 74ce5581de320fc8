"""The sequential rule by two levels: cheap draws decide, and few draws of the real network hold them to it.

The mean effect is E[X] = E[Z] + E[X - Z], Z the cheap level on the same donors, so no level can bias it. A pilot sample
says where the level serves; elsewhere, and for networks without one, the rule is `Sequential` on real draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cem_bench.inputs.declared import check_options, option
from cem_bench.sampling.judged import Judged
from cem_bench.sampling.level_draws import PILOT_DRAWS, LevelDraws, Wanted, pilot
from cem_bench.sampling.rules import Effects, Labels, Request
from cem_bench.sampling.sequential import Sequential
from cem_bench.stats.looks import looks_of
from cem_bench.stats.residual import audit_size, escape

__all__ = ["Multilevel"]

# Part of the error probability that the audit may let pass.
AUDIT_PART = 0.2


@dataclass(frozen=True)
class Multilevel:
    """Draws of a cheap level where they serve, few of the real network, until every block is decided.

    Cheap draws come in looks, only where they are still needed. Then every block that they do not call none gets draws
    of the real network, until its verdict stands for that. Of the blocks that they call none a random sample is audited
    by real draws: where all of these leave less than a quarter of tol, the others are called none unseen, against three
    quarters of tol, and the share of them that may be wrong (1 % of the claims) is part of the false discovery rate.
    Where one leaves more, each block gets draws. All verdicts pay for their looks and for the number of blocks.

    Args:
        tol: half-width of the region of no effect, in the outcome's unit; None for the outcome's own.
        confidence: of the verdicts and intervals, in (0, 1).
        minimum: real draws before a block is settled by them, at least 2.
        maximum: real draws after which an undecided block stays undecided.
        growth: factor from look to look at real draws, above 1.
        cheap_minimum: cheap draws before any block is settled.
        cheap_maximum: cheap draws after which they decide no more.
        cheap_growth: factor from look to look at cheap draws.
        audit: "sample", or "all": every block gets draws of the real network.
        correction: of the verdicts for the number of blocks, "bh" or "by".
        unit: of effects, as it is printed.

    Source: multilevel Monte Carlo, Giles 2008, doi 10.1287/opre.1070.0496; verdicts, `cem_bench.stats.residual`.
    """

    tol: float | None = None
    confidence: float = 0.95
    minimum: int = 2
    maximum: int = 50
    growth: float = 1.5
    cheap_minimum: int = 4
    cheap_maximum: int = 48
    cheap_growth: float = 3.5
    audit: Literal["sample", "all"] = option("sample", choices=("sample", "all"))
    correction: Literal["bh", "by"] = "bh"
    unit: str = "dB"

    def __post_init__(self) -> None:
        check_options(self)
        looks_of(self.cheap_minimum, self.cheap_maximum, self.cheap_growth)
        _ = self.alone.looks

    @property
    def alone(self) -> Sequential:
        """The rule on draws of the real network alone."""
        return Sequential(
            tol=self.tol,
            confidence=self.confidence,
            minimum=self.minimum,
            maximum=self.maximum,
            growth=self.growth,
            correction=self.correction,
            unit=self.unit,
        )

    @property
    def looks(self) -> tuple[int, ...]:
        """Planned numbers of draws of the real network."""
        return self.alone.looks

    @property
    def cheap_looks(self) -> tuple[int, ...]:
        """Planned numbers of draws of the cheap level."""
        return looks_of(self.cheap_minimum, self.cheap_maximum, self.cheap_growth)

    @property
    def region(self) -> float:
        """Half-width of the region of no effect."""
        return self.alone.region

    def next_round(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> list[Request]:
        """Return the next round where there is no cheap level."""
        return self.alone.next_round(effects, labels)

    def draws_needed(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> dict[int, float]:
        """Return about how many more draws each block needs where there is no cheap level."""
        return self.alone.draws_needed(effects, labels)

    def estimate(self, effects: Effects) -> Effects:
        """Return all draws."""
        return effects

    def worst_case(self, blocks: int) -> int:
        """Return the allowance of every block, of the real network."""
        return self.alone.worst_case(blocks)

    def describe(self) -> str:
        """The rule in words."""
        miss = f"{1 - self.confidence:.2g}"
        unseen = "" if self.audit == "all" else f", on average over the blocks called none ({self.audited} audited)"
        return (
            f"levels: every block against {self.region:g} {self.unit} at {self.confidence:.0%}, up to "
            f"{self.cheap_maximum} cheap draws and {self.minimum} to {self.maximum} of the real network; a true effect "
            f"is called none with probability at most {miss}{unseen}"
        )

    @property
    def audited(self) -> int:
        """Number of blocks in the audit's sample."""
        return audit_size(AUDIT_PART * (1 - self.confidence))

    @property
    def level(self) -> float:
        """Error probability that is left for the draws' own verdicts."""
        unseen = escape(self.audited) if self.audit == "sample" else 0.0
        return 1 - self.confidence - unseen

    def wanted(self, draws: LevelDraws) -> Wanted:
        """Return the draws wanted next of either level; none when every block is settled."""
        begun = {block: PILOT_DRAWS for blocks in pilot(draws).values() for block in blocks}
        if first := Wanted.of(draws, begun, begun):
            return first
        judged = Judged(self, draws)
        alone = judged.alone_wanted()
        if cheap := judged.cheap_wanted():
            return Wanted.of(draws, cheap, alone)
        cheap, real = judged.real_wanted()
        real |= judged.audit_wanted()
        # of a donor that the real network sees, the cheap draw too
        paired = {block: max(cheap.get(block, 0), real.get(block, 0)) for block in {**cheap, **real}}
        return Wanted.of(draws, paired, {**alone, **real})
