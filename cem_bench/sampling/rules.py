"""Sampling rules: which draws of which block come next, given the draws that are stored.

A rule is a frozen dataclass and a pure function of the stored effects, so a run that was interrupted asks again with
what is on disk and goes on as if nothing had happened. Draw k of a block always has the same donor, whatever the rule.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cem_bench.inputs.declared import check_options, option

__all__ = ["Paper", "Request", "Rule", "Smoke", "Uniform", "asked"]

TOL_DB = 0.01  # of PSNR
Effects = NDArray[np.float64]
Labels = Mapping[int, NDArray[np.int64]]


@dataclass(frozen=True)
class Request:
    """Draws k in [first, last) of one block.

    Args:
        block: flat index of the block, row-major in the grid.
        first: index of the first draw wanted.
        last: one past the index of the last draw wanted.
    """

    block: int
    first: int
    last: int

    @property
    def draws(self) -> int:
        """Number of draws asked for."""
        return self.last - self.first


class Rule(Protocol):
    """What the measuring loop needs from a sampling rule.

    Attributes:
        looks: planned numbers of draws at which the rule decides whether a block goes on; empty where the draws that
            enter its mean do not depend on themselves. `stats.blocks.block_table` needs it for honest intervals.
    """

    @property
    def looks(self) -> tuple[int, ...]:
        """Planned numbers of draws of a block."""
        ...

    def next_round(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> list[Request]:
        """Return the draws wanted next, or an empty list when the rule is satisfied."""
        ...

    def estimate(self, effects: Effects) -> Effects:
        """Return the draws that enter the block's mean."""
        ...

    def worst_case(self, blocks: int) -> int:
        """Return the largest number of draws the rule can ask for."""
        ...

    def describe(self) -> str:
        """Return one line that says the rule in words."""
        ...


def up_to(effects: Mapping[int, Effects], wanted: Mapping[int, int]) -> list[Request]:
    """Return the missing draws of every block, in block order."""
    return [
        Request(block, len(effects[block]), last)
        for block, last in sorted(wanted.items())
        if len(effects[block]) < last
    ]


def labels_of(effects: Mapping[int, Effects], labels: Labels | None) -> Labels | None:
    """Return the labels of the draws whose effects are given, from the first on; None where there are none."""
    return None if labels is None else {block: labels[block][: len(draws)] for block, draws in effects.items()}


def asked(
    rule: Rule, stored: Mapping[int, Effects], labels: Labels | None = None
) -> tuple[dict[int, Effects], list[Request]]:
    """Ask a rule from the first draw on, as if nothing were stored.

    So a map under a rule is the same whatever else the store holds: draws of another rule, or those that another
    region on the same forwards asked for.

    Args:
        rule: the rule.
        stored: flat block index to the stored effects, dB, draw 0 first; an entry for every block that may be drawn.
        labels: the strata of these draws, where donors are stratified.

    Returns:
        The stored draws that the rule takes, and those it wants next that are not stored; none where it is satisfied.
    """
    taken = {block: draws[:0] for block, draws in stored.items()}
    while True:
        requests = rule.next_round(taken, labels_of(taken, labels))
        taken |= {request.block: stored[request.block][: request.last] for request in requests}
        missing = {request.block: request.last for request in requests if len(taken[request.block]) < request.last}
        if missing or not requests:
            return taken, up_to(taken, missing)


@dataclass(frozen=True)
class Paper:
    """The published rule: a few coarse draws everywhere, many fine ones where any of them reached tol.

    Args:
        coarse: draws of every block.
        fine: further draws of a block where any coarse |effect| is at least tol; they alone enter its mean.
        tol: gate, in the outcome's unit; None for the outcome's own (0.01 dB where no outcome is known).
        unit: of effects, as it is printed.

    Source: Hu et al., TPAMI 2025, doi 10.1109/TPAMI.2025.3557149, and its published code.
    """

    coarse: int = option(3, unit="draws", least=1)
    fine: int = option(50, unit="draws", least=1)
    tol: float | None = option(None, least=0.0)
    unit: str = "dB"

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def gate(self) -> float:
        """The smallest |effect| that opens the gate."""
        return TOL_DB if self.tol is None else self.tol

    @property
    def looks(self) -> tuple[int, ...]:
        """No looks: the draws of the mean are not those that opened the gate."""
        return ()

    def next_round(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> list[Request]:
        """Return the coarse draws that are missing and the fine draws of the blocks that passed the gate."""
        return up_to(effects, {block: self._wanted(stored) for block, stored in effects.items()})

    def estimate(self, effects: Effects) -> Effects:
        """Return the fine draws of a refined block, the coarse ones of any other."""
        return effects[self.coarse : self.coarse + self.fine] if self._refined(effects) else effects[: self.coarse]

    def worst_case(self, blocks: int) -> int:
        """Return the draws if every block were refined."""
        return blocks * (self.coarse + self.fine)

    def describe(self) -> str:
        """The rule in words."""
        gate = f"{self.gate:g} {self.unit}"
        return f"paper: {self.coarse} draws, {self.fine} more where any |effect| >= {gate} (these alone count)"

    def _refined(self, effects: Effects) -> bool:
        # Only the coarse draws open the gate: the store may hold more draws, asked for by another rule.
        coarse = effects[: self.coarse]
        return len(coarse) == self.coarse and bool(np.any(np.abs(coarse) >= self.gate))

    def _wanted(self, effects: Effects) -> int:
        return self.coarse + self.fine if self._refined(effects) else self.coarse


@dataclass(frozen=True)
class Uniform:
    """The same number of draws for every block.

    Args:
        n: draws a block.
    """

    n: int = option(50, unit="draws", least=1)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def looks(self) -> tuple[int, ...]:
        """No looks: the number is fixed."""
        return ()

    def next_round(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> list[Request]:
        """Return the missing draws of every block."""
        return up_to(effects, dict.fromkeys(effects, self.n))

    def estimate(self, effects: Effects) -> Effects:
        """Return the first n draws."""
        return effects[: self.n]

    def worst_case(self, blocks: int) -> int:
        """Return n draws for every block."""
        return blocks * self.n

    def describe(self) -> str:
        """The rule in words."""
        return f"uniform: {self.n} draws a block"


@dataclass(frozen=True)
class Smoke(Uniform):
    """One or two draws a block, to see that everything runs; no verdict can come of it.

    Args:
        n: draws a block, 1 or 2.
    """

    n: int = option(2, unit="draws", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n > 2:
            raise ValueError(f"smoke sampling: got n={self.n}, expected 1 or 2; use uniform for more")

    def describe(self) -> str:
        """The rule in words."""
        return f"smoke: {self.n} draws a block, no verdicts"


@dataclass(frozen=True)
class Following:
    """Draws that another outcome of the same forwards decided on: all that are given count.

    Args:
        rule: that decided.
        outcome: that it decided by.
    """

    rule: Rule
    outcome: str

    @property
    def looks(self) -> tuple[int, ...]:
        """Those of the rule: intervals pay for them whatever they looked at."""
        return self.rule.looks

    def next_round(self, effects: Mapping[int, Effects], labels: Labels | None = None) -> list[Request]:
        """Want nothing: the other outcome decides."""
        return []

    def estimate(self, effects: Effects) -> Effects:
        """Return all draws."""
        return effects

    def worst_case(self, blocks: int) -> int:
        """Return that of the rule."""
        return self.rule.worst_case(blocks)

    def describe(self) -> str:
        """The rule in words."""
        return f"{self.rule.describe()}; decided by {self.outcome}"


def for_outcome(rule: Rule, tol: float, unit: str) -> Rule:
    """Return a rule with the tol and the unit of an outcome, where it has such and the user gave none."""
    if not dataclasses.is_dataclass(rule):
        return rule
    told: dict[str, Any] = {"unit": unit}
    if getattr(rule, "tol", unit) is None:
        told["tol"] = tol
    names = {part.name for part in dataclasses.fields(rule)}  # pyright: ignore[reportArgumentType]
    return dataclasses.replace(rule, **{name: value for name, value in told.items() if name in names})  # pyright: ignore
