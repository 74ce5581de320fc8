"""A rule that draws the whole map roughly before it draws on: the reader sees one within seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cem_bench.sampling.rules import Effects, Labels, Request, Rule, up_to


@dataclass(frozen=True)
class RoughFirst:
    """One draw of every block, then what another rule asks for: in the end the same draws.

    Args:
        rule: the other rule.
    """

    rule: Rule

    @property
    def looks(self) -> tuple[int, ...]:
        """Those of the other rule."""
        return self.rule.looks

    def next_round(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> list[Request]:
        """Return the first draws that are missing, else what the other rule wants next."""
        return up_to(effects, dict.fromkeys(effects, 1)) or self.rule.next_round(effects, labels)

    def draws_needed(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> dict[int, float]:
        """Return about how many more draws each block needs, where the other rule can say."""
        needed = getattr(self.rule, "draws_needed", None)
        return needed(effects, labels) if needed and all(map(len, effects.values())) else {}

    def estimate(self, effects: Effects) -> Effects:
        """Return the draws that enter a mean under the other rule."""
        return self.rule.estimate(effects)

    def worst_case(self, blocks: int) -> int:
        """Return the largest number of draws."""
        return self.rule.worst_case(blocks)

    def describe(self) -> str:
        """Return the other rule in words."""
        return self.rule.describe()
