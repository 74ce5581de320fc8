"""A cell: one model on one scene, with everything that could change a number."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cem_bench.inputs.degradations import Degradation
from cem_bench.inputs.donors import DonorPool, DrawKeys
from cem_bench.inputs.images import sha256_of
from cem_bench.inputs.interventions import spread_px
from cem_bench.inputs.scene import Scene
from cem_bench.inputs.segments import Segments
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

    def __post_init__(self) -> None:
        """Refuse donors and forms of intervention that segments cannot have."""
        if not self.scene.segments:
            return
        if self.options.form != "true":
            raise ValueError("The reference code knows square blocks alone: scene.segments needs intervention=lv.")
        have, need = self.pool.patches.shape[1], self.scene.donor_side
        if have < need:
            raise ValueError(
                f"Donor patches of {have}x{have} px are smaller than the largest segment, which needs {need}: cut them "
                f"anew, as shipped_donors({need}) or donors=shipped, or divide the image into more segments."
            )

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
            **self._segments(),
            "degradation": describe(self.degradation),
            "intervention": {"form": self.options.form, "bgr": self.options.bgr, **self.spread()},
            "donors_sha256": self.pool.sha256,
            "seed": self.options.seed,
            "outcomes": [outcome.identity for outcome in self.outcomes],
            "precision": self.options.precision,
            **({"stochastic": self.options.stochastic} if self.options.stochastic else {}),
        }

    def _segments(self) -> dict[str, str]:
        """Return the hash of the segments; nothing of square blocks, whose side says all."""
        grid = self.scene.grid
        return {"segments_sha256": sha256_of(grid.labels)} if isinstance(grid, Segments) else {}

    def spread(self) -> dict[str, int]:
        """Return how far interventions are pasted beyond their block, clean pixels; nothing where they are not."""
        beyond = spread_px(self.degradation, self.scene.grid)
        return {"spread_px": beyond} if beyond else {}


def describe(degradation: Degradation) -> dict[str, Any]:
    """Return a degradation's type and fields, as they enter run key and record (which call its `field_seed` seed)."""
    fields: dict[str, Any] = dataclasses.asdict(degradation)  # pyright: ignore[reportArgumentType]
    return {"type": type(degradation).__name__, **{STORED_NAMES.get(name, name): fields[name] for name in fields}}
