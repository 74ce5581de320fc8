"""The crop engine: a network that cannot be recorded but is local, run on the part of the image that the ROI needs.

Locality is certified, not assumed: everything outside the crop is filled with NaN; a NaN-free ROI proves that it reads
nothing there. Only networks whose every op is known to carry NaN are tried (`certificate`), and a crop that does not
also reproduce the full forward on two images is not taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from cem_bench.engine.base import PRECISIONS, EngineError
from cem_bench.engine.certificate import require_nan_carried
from cem_bench.engine.cost import Cost
from cem_bench.engine.full import FullEngine
from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from torch import Tensor, nn

MARGINS = (8, 16, 32, 64, 128)
ALIGNMENT = 16  # crops start and end on multiples: windows, strides and shuffles keep their phase
TOLERANCE = {"fp32": 1e-5, "bf16": 0.05}


class CropEngine:
    """Plain forwards of a certified crop."""

    kind = "crop"
    whole: Tensor | None = None
    elsewhere = float("inf")

    def __init__(
        self,
        restorer: nn.Module,
        observation: Tensor,
        roi: Rect,
        *,
        precision: str,
        memory_gb: float,
        reason: str,
        one_row: bool = False,
    ) -> None:
        network = restorer.to(PRECISIONS[precision])
        self.crop = certified_crop(network, observation.to(PRECISIONS[precision]), roi, TOLERANCE[precision])
        self.checks = Cost()
        self.reason = f"{reason}; certified crop {self.crop}"
        self.roi = roi
        self._area = observation.shape[-2] * observation.shape[-1]
        scale = _scale(network, observation.to(PRECISIONS[precision]))
        shifted = Rect(roi.top - self.crop.top * scale, roi.left - self.crop.left * scale, roi.height, roi.width)
        self._inner = FullEngine(
            network,
            observation[(slice(None), *self.crop.slices)],
            shifted,
            precision=precision,
            memory_gb=memory_gb,
            reason="",
            one_row=one_row,
        )

    def untouched(self) -> Tensor:
        """Return the ROI of the untouched output, (1, 3, roi.height, roi.width) float32."""
        return self._inner.untouched()

    def reaches(self, block: Rect, part: Rect | None = None) -> bool:
        """Say whether the block meets the certified crop."""
        return block.intersect(self.crop).area > 0

    def work(self, block: Rect) -> float:
        """Return what a draw on a block costs, in forwards of the whole network."""
        return self.crop.area / self._area if block.intersect(self.crop).area else 0.0

    def outputs(self, block: Rect, patches: Tensor) -> Tensor:
        """Return the ROI untouched (row 0) and under each patch, (n + 1, 3, roi.height, roi.width) float32."""
        part = block.intersect(self.crop)
        if not part.area:
            corner = Rect(0, 0, 1, 1)
            untouched = self._inner.outputs(corner, patches[:0, :, :1, :1])
            return untouched.expand(len(patches) + 1, -1, -1, -1)
        inside = Rect(part.top - block.top, part.left - block.left, part.height, part.width)
        place = Rect(part.top - self.crop.top, part.left - self.crop.left, part.height, part.width)
        return self._inner.outputs(place, patches[(..., *inside.slices)])

    def first_difference(self, block: Rect, patches: Tensor) -> str:
        """The crop runs the network as one piece."""
        return f"the network as a whole, on the crop {self.crop}: its border or its phase matters to the ROI"


def certified_crop(network: nn.Module, observation: Tensor, roi: Rect, tolerance: float) -> Rect:
    """Return the smallest tried crop (input pixels) that provably holds all that the ROI reads.

    Raises:
        EngineError: when an op of the network is not known to carry NaN, or no crop smaller than the image passes.
    """
    clean = require_nan_carried(network, observation[None])
    scale = clean.shape[-1] // observation.shape[-1]
    for margin in MARGINS:
        crop = _grown(roi, scale, margin, observation)
        if crop.area > 0.9 * observation.shape[-1] * observation.shape[-2]:
            break
        if _holds(network, observation, roi, crop, scale, tolerance):
            return crop
    raise EngineError("no crop smaller than the image holds all that the ROI reads: the network is not local")


def _scale(network: nn.Module, observation: Tensor) -> int:
    with torch.inference_mode():
        return network(observation[None].clone()).shape[-1] // observation.shape[-1]


def _grown(roi: Rect, scale: int, margin: int, observation: Tensor) -> Rect:
    height, width = observation.shape[-2:]
    top, left = (max(0, (start // scale - margin) // ALIGNMENT * ALIGNMENT) for start in (roi.top, roi.left))
    bottom, right = (
        min(size, -(-(-(-stop // scale) + margin) // ALIGNMENT) * ALIGNMENT)
        for stop, size in ((roi.bottom, height), (roi.right, width))
    )
    return Rect(top, left, bottom - top, right - left)


def _holds(network: nn.Module, observation: Tensor, roi: Rect, crop: Rect, scale: int, tolerance: float) -> bool:
    """Poison everything outside, then compare the crop with the full forward on the observation and on noise."""
    poisoned = torch.full_like(observation, float("nan"))
    inside = (slice(None), *crop.slices)
    poisoned[inside] = observation[inside]
    noise = torch.rand(observation.shape, generator=torch.Generator().manual_seed(0)).to(observation)
    place = Rect(roi.top - crop.top * scale, roi.left - crop.left * scale, roi.height, roi.width)
    with torch.inference_mode():
        if network(poisoned[None])[(..., *roi.slices)].isnan().any():
            return False
        for image in (observation, noise):
            whole = network(image[None].clone())[(..., *roi.slices)]
            part = network(image[inside][None].clone())[(..., *place.slices)]
            if part.shape != whole.shape or not (part - whole).abs().max() <= tolerance * (whole.abs().max() + 1e-12):
                return False
    return True
