"""Degradations: values that turn a clean image into an observation, bit for bit the same every time.

Each one is a frozen dataclass, called with a clean image (H, W, 3) uint8 RGB and answering the observation
(h, w, 3) uint8 RGB. What is random (noise field, rain layer) is drawn from the degradation's own `field_seed` for the
image's full size, and can be asked for alone, so that a donor placed in the clean image meets the very same field.
All are named here; `rain.py`, `camera.py`, `motion.py` and `physics.py` hold some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image

from cem_bench.inputs.camera import Blur, Haze, Jpeg, LostPixels, LowLight, Mosaic, PoissonGaussian
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.motion import MotionBlur
from cem_bench.inputs.physics import Physics
from cem_bench.inputs.protocol import Degradation, Placed, TaskFacts, Unplaced, normal_field, truncated
from cem_bench.inputs.rain import Rain

__all__ = [
    "Bicubic",
    "Blur",
    "Degradation",
    "Haze",
    "Jpeg",
    "LostPixels",
    "LowLight",
    "Mosaic",
    "MotionBlur",
    "Noise",
    "Physics",
    "PoissonGaussian",
    "Rain",
]


def kinds() -> list[type[TaskFacts]]:
    """Return the degradations that are shipped."""
    named = (globals()[name] for name in __all__)
    return [kind for kind in named if isinstance(kind, type) and issubclass(kind, TaskFacts)]


def facts_of_task(task: str) -> type[TaskFacts]:
    """Return a class that has title and bound of a task; those of every other task where no class is of it."""
    return next((kind for kind in kinds() if kind.task == task), TaskFacts)


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Bicubic(Unplaced):
    """Antialiased bicubic reduction by `scale` (PIL, 8 bit).

    Attributes:
        factor: reduction along each axis, 2, 3 or 4 (any integer above 1 works).
        restore_size: also enlarge again bicubically: the input of networks of upscale 1.
    """

    task: ClassVar[str] = "SR"
    title: ClassVar[str] = "super-resolution"
    bound_db: ClassVar[float] = 2.5
    word: ClassVar[str] = "bicubic"
    strength: ClassVar[str] = "factor"
    factor: int = 4
    restore_size: bool = False

    @classmethod
    def usual(cls, named: Mapping[str, Any], scale: int) -> Self:
        """Return the reduction by a network's own upscale; for one of upscale 1, by what its card names, else by 4."""
        return cls(scale if scale > 1 else int(named.get(cls.word, cls.factor)), restore_size=scale == 1)

    @property
    def scale(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Clean pixels per observation pixel."""
        return 1 if self.restore_size else self.factor

    @property
    def lattice(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The kernel sits on every `factor`-th clean pixel."""
        return self.factor

    @property
    def reach(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of the cubic kernel: 2 coarse pixels, and 2 more where the image is enlarged again."""
        return self.factor * (5 if self.restore_size else 3)

    def spread(self, block: Rect, size: tuple[int, int]) -> Rect:
        """Return the block alone, as the paper does: what the kernel carries beyond is not pasted (docs/method.md)."""
        return block

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Reduce (H, W, 3) uint8 to (H/factor, W/factor, 3), and back if `restore_size`.

        Raises:
            ValueError: if `factor` does not divide the image size.
        """
        height, width = clean.shape[:2]
        if height % self.factor or width % self.factor:
            raise ValueError(
                f"Image of {height}x{width} pixels cannot be reduced by {self.factor}: crop it to "
                f"{height // self.factor * self.factor}x{width // self.factor * self.factor}."
            )
        small = _resize(clean, height // self.factor, width // self.factor)
        return _resize(small, height, width) if self.restore_size else small


@dataclass(frozen=True)
class Noise(Placed):
    """Additive white Gaussian noise, clipped and truncated to 8 bit.

    Attributes:
        sigma: standard deviation on the 0..255 scale.
        field_seed: names the noise field of an image size.
        stream: `philox`, or `mt19937` for the field of the reference code (its `field_seed` is 0).
    """

    task: ClassVar[str] = "DN"
    title: ClassVar[str] = "denoising"
    word: ClassVar[str] = "noise"
    strength: ClassVar[str] = "sigma"
    sigma: float = 50.0
    field_seed: int = 0
    stream: str = "philox"

    def __post_init__(self) -> None:
        """Refuse a negative sigma and an unknown stream."""
        if not self.sigma >= 0:
            raise ValueError(f"Noise sigma must be 0 or more on the 0..255 scale, got {self.sigma}.")
        if self.stream not in ("philox", "mt19937"):
            raise ValueError(f"Unknown noise stream {self.stream!r}; one of philox, mt19937.")

    @classmethod
    def usual(cls, named: Mapping[str, Any], scale: int) -> Self:
        """Return noise of the sigma that a card names, else of the published one."""
        return cls(float(named.get(cls.word, cls.sigma)))

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Add the part `at` of the field of an image of `size` to `clean` ((n,) at.height, at.width, 3)."""
        field = normal_field(self.stream, self.field_seed, *size)[at.slices]
        return truncated(clean / 255.0 + field * (self.sigma / 255.0))
