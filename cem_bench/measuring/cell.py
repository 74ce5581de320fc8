"""A cell: one model on one scene, with everything that could change a number."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cem_bench.inputs.degradations import Degradation
from cem_bench.inputs.donors import DonorPool, DrawKeys
from cem_bench.inputs.interventions import spread_px
from cem_bench.inputs.scene import Scene
from cem_bench.measuring.options import Options
from cem_bench.measuring.outcome import Outcome, to_measure
from cem_bench.models.model import Model
from cem_bench.sampling.rules import Rule, for_outcome

METHOD_VERSION = 1
# fields of degradations that keys and records call by an earlier name, so that stored draws are found
STORED_NAMES = {"field_seed": "seed"}


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

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What is measured of every draw."""
        return to_measure(self.options.outcomes, self.options.outcome_weights)

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
            "intervention": {"form": self.options.form, "bgr": self.options.bgr, **self.spread()},
            "donors_sha256": self.pool.sha256,
            "seed": self.options.seed,
            "outcomes": [outcome.identity for outcome in self.outcomes],
            "precision": self.options.precision,
            **({"stochastic": self.options.stochastic} if self.options.stochastic else {}),
        }

    def spread(self) -> dict[str, int]:
        """Return how far interventions are pasted beyond their block, clean pixels; nothing where they are not."""
        beyond = spread_px(self.degradation, self.scene.grid)
        return {"spread_px": beyond} if beyond else {}


def describe(degradation: Degradation) -> dict[str, Any]:
    """Return a degradation's type and fields, as they enter run key and record (which call its `field_seed` seed)."""
    fields: dict[str, Any] = dataclasses.asdict(degradation)  # pyright: ignore[reportArgumentType]
    return {"type": type(degradation).__name__, **{STORED_NAMES.get(name, name): fields[name] for name in fields}}
