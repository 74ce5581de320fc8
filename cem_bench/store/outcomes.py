"""What is known of every outcome: unit, direction and the size below which an effect counts as none. No torch.

The one place where an outcome becomes an effect: a positive effect helps the region of interest, whatever the outcome.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
    """

    name: str
    unit: str
    higher_is_better: bool
    tol: float
    meaning: str

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
        OutcomeFacts("ssim", "SSIM", True, 0.001, "mean SSIM over RGB"),
        # 0.01 dB of PSNR at 28 dB are 0.1 % of an error of 10 levels
        OutcomeFacts("mae", "levels", False, 0.01, "mean absolute error in RGB of the clipped output, levels of 255"),
    )
}


def facts_of(name: str) -> OutcomeFacts:
    """Return the facts of an outcome.

    Raises:
        ValueError: for an unknown one, with the known ones.
    """
    if name not in FACTS:
        raise ValueError(f"Unknown outcome {name!r}; one of {', '.join(FACTS)}.")
    return FACTS[name]
