"""Rain: streaks drawn by a seed and added to the clean image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from scipy import ndimage, signal

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.protocol import Placed

RAIN_LEVELS: dict[str, dict[str, tuple[float, ...]]] = {
    "small": {"amount": (0.002, 0.004), "width": (1, 3), "odds": (0.5, 0.5), "length": (25, 35), "angle": (-10, 10)},
    "medium": {
        "amount": (0.005, 0.007),
        "width": (3, 5, 7),
        "odds": (0.25, 0.5, 0.25),
        "length": (35, 45),
        "angle": (-30, 30),
    },
    "large": {"amount": (0.008, 0.010), "width": (7, 9), "odds": (0.5, 0.5), "length": (45, 55), "angle": (-60, 60)},
}


@dataclass(frozen=True)
class Rain(Placed):
    """Generated rain streaks added to the image (docs/method.md, table of tasks).

    Attributes:
        level: small, medium (the published setting), large, or random (one of the three, by the `field_seed`).
        field_seed: names the rain layer of an image size.
    """

    task: ClassVar[str] = "DR"
    title: ClassVar[str] = "deraining"
    bound_db: ClassVar[float] = 2.0
    word: ClassVar[str] = "rain"
    level: str = "medium"
    field_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse an unknown level."""
        if self.level not in (*RAIN_LEVELS, "random"):
            raise ValueError(f"Unknown rain level {self.level!r}; one of {', '.join(RAIN_LEVELS)}, random.")

    @classmethod
    def usual(cls, named: Mapping[str, Any], scale: int) -> Self:
        """Return rain of the level that a card names, else the published one."""
        return cls(str(named.get(cls.word, cls.level)))

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Add the part `at` of the rain layer of an image of `size` to `clean` ((n,) at.height, at.width, 3)."""
        layer, parameters = rain_layer(self.level, self.field_seed, *size)
        streaks = parameters["beta"] * layer[at.slices][..., None]
        return np.clip(np.rint(clean + streaks), 0, 255).astype(np.uint8)

    def parameters(self, height: int, width: int) -> dict[str, float]:
        """Return the drawn parameters of the rain of an image size, to be stored with a run."""
        return rain_layer(self.level, self.field_seed, height, width)[1]


@lru_cache(maxsize=8)
def rain_layer(level: str, field_seed: int, height: int, width: int) -> tuple[np.ndarray, dict[str, float]]:
    """Draw a rain layer: thresholded noise, smeared along an angle and across a width.

    Returns:
        The layer (height, width) float64 in 0..255, and its parameters: amount (share of seed pixels), length and
        width of a streak in pixels, angle in degrees from the vertical, beta (strength when added).

    Source: docs/method.md, "degraded input" of DR.
    """
    rng = np.random.Generator(np.random.Philox(field_seed))
    spans = RAIN_LEVELS[str(rng.choice(list(RAIN_LEVELS))) if level == "random" else level]
    drawn = {
        "amount": float(rng.uniform(spans["amount"][0], spans["amount"][1])),
        "width": float(rng.choice(spans["width"], p=spans["odds"])),
        "length": float(rng.integers(int(spans["length"][0]), int(spans["length"][1]), endpoint=True)),
        "angle": float(rng.integers(int(spans["angle"][0]), int(spans["angle"][1]), endpoint=True)),
        "beta": float(rng.uniform(0.6, 1.0)),
    }
    noise = rng.random((height, width))
    seeds = np.where(noise > 1 - drawn["amount"], noise, 0.0)
    drops = ndimage.convolve(seeds, np.array([[0, 0.1, 0], [0.1, 8, 0.1], [0, 0.1, 0]]), mode="mirror")
    layer = signal.fftconvolve(np.pad(drops, 32, mode="symmetric"), _streak(drawn), mode="same")[32:-32, 32:-32]
    span = np.ptp(layer)
    # quantised like an 8-bit layer, which also removes the last bits in which Fourier transforms differ by machine
    layer = np.floor((layer - layer.min()) / span * 255.0 + 1e-6) if span > 0 else np.zeros_like(layer)
    layer.setflags(write=False)
    return layer, drawn


def _streak(drawn: dict[str, float]) -> np.ndarray:
    """Motion-blur kernel: a line at `angle` degrees, shortened by length per cent, Gaussian across `width` pixels."""
    side = int(drawn["length"]) | 1
    half = 0.5 * np.sqrt(2.0) * drawn["length"] * (1 - drawn["length"] / 100.0)
    angle = np.deg2rad(drawn["angle"])
    rows, columns = np.mgrid[:side, :side] - side // 2
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    line = np.clip(half + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    # OpenCV's rule for the sigma of a Gaussian kernel of a given width, which the reference code relies on
    return ndimage.gaussian_filter(line, 0.3 * ((drawn["width"] - 1) * 0.5 - 1) + 0.8, truncate=2.0)
