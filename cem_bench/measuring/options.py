"""The options of a run, each declared once: name, type, default, unit, range and help.

The command line makes its schema and its help of these fields, a cell holds the object itself, and the record writes
it down; nothing else knows an option by name.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cem_bench.stats.verdicts import CORRECTIONS
from cem_bench.store.outcomes import FACTS, OutcomeFacts, facts_of

FORMS = ("true", "reference")


def option(
    default: Any,
    about: str,
    *,
    unit: str = "",
    choices: Sequence[str] = (),
    least: float | None = None,
    above: float | None = None,
) -> Any:
    """Declare one option.

    Args:
        default: its value where nothing is given.
        about: one line of help.
        unit: of the value.
        choices: the values that are allowed; empty for any.
        least: smallest value that is allowed.
        above: value that it must exceed.

    Returns:
        A dataclass field.
    """
    facts = {"about": about, "unit": unit, "choices": tuple(choices), "least": least, "above": above}
    return field(default=default, metadata=facts)


def check_options(options: Any) -> None:
    """Refuse values out of range.

    Args:
        options: a dataclass whose fields were declared by `option`.

    Raises:
        ValueError: with what was got, what is allowed, and the nearest word.
    """
    for item in dataclasses.fields(options):
        if item.metadata:
            _check(item.name, getattr(options, item.name), item.metadata)


def _check(name: str, value: Any, facts: Any) -> None:
    choices, unit = facts["choices"], f" {facts['unit']}" if facts["unit"] else ""
    if choices and value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; nearest: {near[0]}" if near else ""
        raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(choices)}{hint}.")
    for bound, word, broken in (
        (facts["least"], "at least", lambda: value < facts["least"]),
        (facts["above"], "above", lambda: value <= facts["above"]),
    ):
        if bound is not None and value is not None and (math.isnan(value) or math.isinf(value) or broken()):
            raise ValueError(f"{name}: got {value}{unit}, expected a number {word} {bound:g}{unit}.")


@dataclass(frozen=True)
class Options:
    """Choices of a run beside model, scene, degradation, donors and rule; `metadata` of each field has its help."""

    form: str = option("true", "LV intervention: degraded with the scene, or as the reference code does", choices=FORMS)
    bgr: bool = option(False, "reference form only: swap red and blue of the donors, as the reference code does")
    outcome: str = option("psnr", f"what is measured in the ROI: {', '.join(FACTS)}, or module.name of your own")
    also_outcomes: tuple[str, ...] = option((), "further outcomes of the same forwards; the first decides on draws")
    outcome_weights: str = option("", "file or folder with the weights that lpips and dists need; else CEM_WEIGHTS")
    tol: float | None = option(None, "an |effect| under tol counts as none; null: the outcome's own", least=0.0)
    fdr: str = option(
        "bh", "correction for the number of blocks: Benjamini-Hochberg, -Yekutieli", choices=tuple(CORRECTIONS)
    )
    engine: str = option("auto", "how draws are computed", choices=("auto", "cone", "crop", "full"))
    precision: str = option("fp32", "number format of the forwards; part of the run key", choices=("fp32", "bf16"))
    memory_gb: float = option(2.0, "memory that one batch may take", unit="GiB", above=0.0)
    compile: bool = option(False, "try torch.compile: for networks that act globally (needs a C++ compiler)")
    stochastic: int = option(
        0, "for a network that draws random numbers: common states of the generators, 2 or more", least=0
    )
    device: str = option("cpu", "where the network runs: cpu, cuda, cuda:1")
    joint: int = option(10, "draws that replace all surroundings of the ROI at once; 0 for none", least=0)
    include_roi: bool = option(False, "also draw in the ROI's own blocks")
    seed: int = option(0, "names the draws: same seed, same donors for every model", least=0)

    def __post_init__(self) -> None:
        """Refuse what is out of range or does not fit together."""
        check_options(self)
        if self.bgr and self.form != "reference":
            raise ValueError("bgr=true reproduces a fault of the reference code: it needs intervention=reference.")
        object.__setattr__(self, "also_outcomes", tuple(self.also_outcomes))
        for name in self.outcomes:
            facts_of(name)
        if self.stochastic and self.also_outcomes:
            raise ValueError(
                f"also_outcomes={list(self.also_outcomes)} with stochastic={self.stochastic}: the spread over states "
                "is kept of one outcome; write also_outcomes=[] and measure the others on their own."
            )
        plain = self.engine in ("auto", "full") and not self.compile and self.precision == "fp32"
        if self.stochastic and (self.stochastic < 2 or not plain):
            raise ValueError(
                f"stochastic={self.stochastic} with engine={self.engine}, compile={self.compile}, precision="
                f"{self.precision}: expected 2 or more states of the generators, plain forwards in fp32: write "
                "stochastic=8 and leave the others."
            )

    @property
    def threshold(self) -> float:
        """The size under which an effect counts as none, in the outcome's unit."""
        return self.facts.tol if self.tol is None else self.tol

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The outcome and those measured with it, each once."""
        return tuple(dict.fromkeys((self.outcome, *self.also_outcomes)))

    @property
    def facts(self) -> OutcomeFacts:
        """Unit, direction and own tol of the outcome."""
        return facts_of(self.outcome)
