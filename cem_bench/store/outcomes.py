"""What is known of every outcome: unit, direction and the size below which an effect counts as none. No torch.

The one place where an outcome becomes an effect: a positive effect helps the region of interest, whatever the outcome.
An outcome is one of `FACTS`, or `module.name` of somebody's own (`cem_bench.outcome`), whose module is then imported.
"""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class OutcomeFacts:
    """The facts about one outcome.

    Attributes:
        name: column in the store, and word of the configuration.
        unit: of a value and of an effect, as it is printed.
        higher_is_better: direction.
        tol: an |effect| below it counts as none, where the user says nothing else.
        meaning: in words.
        least_side: smallest side of a region of interest that it can be computed on, pixels.
    """

    name: str
    unit: str
    higher_is_better: bool
    tol: float
    meaning: str
    least_side: int = 1

    def __post_init__(self) -> None:
        """Refuse a unit without a name, and a tol that is no size.

        Raises:
            ValueError: saying which.
        """
        if not self.unit.strip() or not 0 < self.tol < float("inf"):
            raise ValueError(
                f"Outcome {self.name}: got unit {self.unit!r} and tol {self.tol!r}, expected a unit as it is printed "
                "and the size below which an effect counts as none, above 0."
            )

    @property
    def digits(self) -> int:
        """Decimals that show a tenth of tol's size apart from none: those of tol itself."""
        return max(round(-np.log10(self.tol)), 0)

    @property
    def suffix(self) -> str:
        """How names of columns and arrays end that hold effects, in files: `_db`, `_ssim`, `_levels`."""
        return "_" + re.sub(r"[^a-z0-9]+", "_", self.unit.lower())

    def effect(self, untouched: np.ndarray, intervened: np.ndarray) -> np.ndarray:
        """Return the effects of interventions: positive where the outcome gets worse without what was replaced."""
        return untouched - intervened if self.higher_is_better else intervened - untouched


FACTS = {
    facts.name: facts
    for facts in (
        OutcomeFacts("psnr", "dB", True, 0.01, "PSNR in RGB of the clipped output"),
        OutcomeFacts("psnr_8bit", "dB", True, 0.01, "PSNR in RGB of the output clipped and rounded to 8 bit"),
        OutcomeFacts("psnr_y", "dB", True, 0.01, "PSNR of BT.601 luma"),
        # the third decimal is the last that papers report
        OutcomeFacts("ssim", "SSIM", True, 0.001, "mean SSIM over RGB", least_side=11),
        OutcomeFacts("lpips", "LPIPS", False, 0.001, "LPIPS 0.1, AlexNet", least_side=31),
        OutcomeFacts("dists", "DISTS", False, 0.001, "DISTS, VGG-16"),
        # 0.01 dB of PSNR at 28 dB are 0.1 % of an error of 10 levels
        OutcomeFacts("mae", "levels", False, 0.01, "mean absolute error in RGB of the clipped output, levels of 255"),
    )
}


def facts_of(name: str) -> OutcomeFacts:
    """Return the facts of an outcome.

    Args:
        name: one of `FACTS`, or `module.name` of an outcome of one's own.

    Raises:
        ValueError: for an unknown one, with the known ones and the nearest.
    """
    return FACTS[name] if name in FACTS else own_outcome(name).facts


def own_outcome(name: str) -> Any:
    """Import an outcome of somebody's own; a module of the current folder needs no installation.

    Args:
        name: `module.name` of what `cem_bench.outcome` made.

    Raises:
        ValueError: if it cannot be imported, or is no outcome.
    """
    module, _, attribute = name.rpartition(".")
    if not module:
        near = difflib.get_close_matches(name, FACTS, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise ValueError(f"Unknown outcome {name!r}; one of {', '.join(FACTS)}{hint}, or module.name of your own.")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        outcome = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"Outcome {name} cannot be imported: {type(error).__name__}: {error}.") from error
    if not isinstance(getattr(outcome, "facts", None), OutcomeFacts):
        raise ValueError(
            f"{name} is a {type(outcome).__name__}, expected an outcome: write @cem_bench.outcome(unit=..., "
            "higher_is_better=..., tol=...) above the function."
        )
    return outcome
