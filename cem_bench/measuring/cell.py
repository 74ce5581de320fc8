"""A cell: one model on one scene, with everything that could change a number."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from cem_bench.inputs.degradations import Degradation
from cem_bench.inputs.donors import DonorPool, DrawKeys
from cem_bench.inputs.interventions import FORMS, spread_px
from cem_bench.inputs.scene import Scene
from cem_bench.measuring.outcome import to_measure
from cem_bench.models.model import Model
from cem_bench.sampling.rules import Rule, check_tol, for_outcome
from cem_bench.stats.verdicts import check_correction
from cem_bench.store.outcomes import OutcomeFacts, facts_of

METHOD_VERSION = 1


@dataclass(frozen=True)
class Options:
    """Choices of a run beside model, scene and rule.

    Attributes:
        form: `true` or `reference` LV intervention.
        bgr: reference form only: swap red and blue of the donors.
        outcome: primary outcome, see `cem_bench.measuring.outcome`.
        tol: an effect under tol counts as none, in the outcome's unit; None for the outcome's own.
        fdr: correction of verdicts for the number of blocks, bh or by.
        engine: auto, cone, crop or full.
        precision: fp32 or bf16; part of the run key.
        memory_gb: memory that a batch may take, GiB.
        compile: run what every draw computes in full through torch.compile.
        device: cpu, cuda, ...
        include_roi: also draw in the ROI's own blocks.
        seed: names the draws.
    """

    form: str = "true"
    bgr: bool = False
    outcome: str = "psnr"
    tol: float | None = None
    fdr: str = "bh"
    engine: str = "auto"
    precision: str = "fp32"
    memory_gb: float = 2.0
    compile: bool = False
    device: str = "cpu"
    include_roi: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown form, correction or outcome, and a tol that is no size."""
        check_correction(self.fdr, "stats.fdr")
        check_tol(self.tol)
        facts_of(self.outcome)
        if self.form not in FORMS:
            raise ValueError(f"Unknown intervention form {self.form!r}; one of {', '.join(FORMS)}.")
        if self.bgr and self.form != "reference":
            raise ValueError("bgr=true reproduces a fault of the reference code: it needs intervention.form=reference.")

    @property
    def threshold(self) -> float:
        """The size under which an effect counts as none, in the outcome's unit."""
        return self.facts.tol if self.tol is None else self.tol

    @property
    def facts(self) -> OutcomeFacts:
        """Unit, direction and own tol of the outcome."""
        return facts_of(self.outcome)


@dataclass(frozen=True, eq=False)
class Cell:
    """A model on a scene under a degradation, with donors, a sampling rule and options."""

    model: Model
    scene: Scene
    degradation: Degradation
    pool: DonorPool
    rule: Rule
    options: Options = field(default_factory=Options)

    @property
    def sampling(self) -> Rule:
        """The rule with the tol and the unit of the outcome, where the rule names none of its own."""
        return for_outcome(self.rule, self.options.threshold, self.options.facts.unit)

    @property
    def keys(self) -> DrawKeys:
        """Names of the draws: the same for every model."""
        return DrawKeys(self.options.seed, self.scene.image_sha256, self.scene.block)

    def identity(self) -> dict[str, Any]:
        """Return all that could change a stored number, and nothing else."""
        roi = self.scene.roi
        return {
            "method": METHOD_VERSION,
            **self.model.identity(),
            "image_sha256": self.scene.image_sha256,
            "roi": [roi.top, roi.left, roi.height, roi.width],
            "block": self.scene.block,
            "degradation": describe(self.degradation),
            "intervention": {"form": self.options.form, "bgr": self.options.bgr, **self._spread()},
            "donors_sha256": self.pool.sha256,
            "seed": self.options.seed,
            "outcomes": [outcome.name for outcome in to_measure(self.options.outcome)],
            "precision": self.options.precision,
        }

    def _spread(self) -> dict[str, int]:
        """Return how far interventions are pasted beyond their block, clean pixels; nothing where they are not."""
        beyond = spread_px(self.degradation, self.scene.grid)
        return {"spread_px": beyond} if beyond else {}


def describe(degradation: Degradation) -> dict[str, Any]:
    """Return a degradation's type and fields, as they enter run key and record."""
    return {"type": type(degradation).__name__, **dataclasses.asdict(degradation)}  # pyright: ignore[reportArgumentType]
