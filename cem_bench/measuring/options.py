"""The options of a run, each declared once: name, type, default, unit, range and help.

The command line makes its schema and its help of these fields, a cell holds the object itself, and the record writes
it down; nothing else knows an option by name.
"""

from __future__ import annotations

from dataclasses import dataclass

from cem_bench.inputs.declared import check_options, option
from cem_bench.stats.corrections import CORRECTIONS
from cem_bench.store.outcomes import FACTS, OutcomeFacts, facts_of

FORMS = ("true", "reference")


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
