"""The plain network on the window of an observation that holds every block in reach of the ROI.

A forward of the window costs its share of the image, and gives the same ROI wherever the network is local. That is
held against the answer to the whole observation before a window is used; what lies outside of it is the business of
`reach`, which replaces all of it by plain forwards of whole images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cem_bench.inputs.geometry import Rect, hull
from cem_bench.measuring.prepared import Bench
from cem_bench.measuring.refusals import MeasureError
from cem_bench.measuring.yardstick import answer, apart_of
from cem_bench.store import maps

if TYPE_CHECKING:
    from torch import Tensor

# windows begin and end on multiples: a network's own windows, strides and shuffles keep their phase; smaller ones first
PHASES = (8, 16)
LARGEST = 0.6  # share of the image from which a window is not worth the forward that tries it
TOLERANCE = 1e-5  # in the answer's largest value: rounding alone


@dataclass(frozen=True, eq=False)
class Window:
    """A part of an observation, in place of the whole.

    Attributes:
        bench: of the cell.
        rect: observation pixels.
    """

    bench: Bench
    rect: Rect

    @property
    def share(self) -> float:
        """What a forward costs, in forwards of the whole observation."""
        height, width = self.bench.observation.shape[:2]
        return self.rect.area / (height * width)

    def plain_roi(self, rows: Tensor) -> Tensor:
        """Return the ROI of observations (n, 3, h, w) by the plain network, (n, 3, h, w) float32."""
        bench, scale, rect = self.bench, self.bench.scale, self.rect
        size = (rect.height * scale, rect.width * scale)
        roi = bench.cell.scene.roi
        place = Rect(roi.top - rect.top * scale, roi.left - rect.left * scale, roi.height, roi.width)
        return answer(bench.cell.model, rows[(..., *rect.slices)], size)[(..., *place.slices)]


def window_of(bench: Bench) -> Window | None:
    """Return the window to prove draws on; None where whole images must be taken.

    Whole images: for an engine that makes plain forwards of whole images, for a network that acts globally, and where
    the window would be most of the image or gives another ROI.
    """
    status = bench.status().ravel()
    reached: Rect | None = None
    for block in np.flatnonzero(status != maps.UNREACHABLE):
        reached = hull(reached, bench.input_rect(int(block)))
    if reached is None or (status != maps.UNREACHABLE).all():
        return None
    for rect in dict.fromkeys(_around(reached, phase, bench) for phase in PHASES):
        window = Window(bench, rect)
        if window.share <= LARGEST and _is_exact(window):
            return window
    return None


def _around(reached: Rect, phase: int, bench: Bench) -> Rect:
    """Return the smallest rectangle on multiples of a phase that holds all in reach."""
    margin = phase if bench.engine.kind == "crop" else 0  # another window than the engine's own
    height, width = bench.observation.shape[:2]
    top, left = (max(0, (least - margin) // phase * phase) for least in (reached.top, reached.left))
    bottom = min(height, -(-(reached.bottom + margin) // phase) * phase)
    right = min(width, -(-(reached.right + margin) // phase) * phase)
    return Rect(top, left, bottom - top, right - left)


def _is_exact(window: Window) -> bool:
    """Say whether the network makes the same ROI of the untouched window as of the whole observation."""
    bench = window.bench
    expected = bench.yardstick.answer[(..., *bench.cell.scene.roi.slices)]
    try:
        return apart_of(window.plain_roi(bench.tensor[None]), expected) <= TOLERANCE
    except MeasureError:  # it does not take images of that size
        return False
