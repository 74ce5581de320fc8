"""What every degradation offers, and what degradations share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from cem_bench.inputs.geometry import Rect


class Degradation(Protocol):
    """What every degradation offers."""

    @property
    def task(self) -> str:
        """Short name of the task, as the cards of networks have it."""
        ...

    @property
    def scale(self) -> int:
        """Clean pixels per observation pixel, along one axis."""
        ...

    @property
    def reach(self) -> int:
        """How far, in clean pixels, a clean pixel is seen by the observation (0 for pointwise)."""
        ...

    @property
    def lattice(self) -> int:
        """Clean pixels after which the degradation repeats: windows must start on this lattice."""
        ...

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Degrade a whole clean image."""
        ...

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Degrade the part `at` of an image of `size`, as it would come out within the whole."""
        ...

    def spread(self, block: Rect, size: tuple[int, int]) -> Rect:
        """Return where an intervention on a block of an image of `size` is pasted, clean pixels."""
        ...


class TaskFacts:
    """What is known of a degradation's task by its class alone; a class of a task of its own says its own.

    Attributes:
        task: short name, as the cards of networks have it.
        title: what figures call the task.
        bound_db: effects of this size have the full colour in maps, dB of PSNR.
        word: key of a card's `degradation` that names this one; "" where cards name it by its task alone.
        strength: field that a network is trained for one value of; "" where there is none.
    """

    task: ClassVar[str] = "restore"
    title: ClassVar[str] = "restoration"
    bound_db: ClassVar[float] = 1.0
    word: ClassVar[str] = ""
    strength: ClassVar[str] = ""

    @classmethod
    def usual(cls, named: Mapping[str, Any], scale: int) -> Self:
        """Return the degradation of a network where the user asks for none.

        Args:
            named: `degradation` of its card; may be empty.
            scale: output pixels per input pixel of the network.
        """
        return cls()


class Unplaced(TaskFacts):
    """A degradation that is the same everywhere: a window is degraded like an image of its own."""

    scale: int = 1
    reach: int = 0
    lattice: int = 1

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Degrade (H, W, 3) uint8."""
        raise NotImplementedError

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Degrade a window; exact for pixels at least `reach` from a window edge that is not the image's."""
        return self(clean)

    def spread(self, block: Rect, size: tuple[int, int]) -> Rect:
        """Return the block grown by `reach`, within the image."""
        return grown(block, self.reach, size)


class Placed(TaskFacts):
    """A pixel by pixel degradation by fields that depend on the place: a window must know where it lies."""

    scale: ClassVar[int] = 1
    reach: ClassVar[int] = 0
    lattice: ClassVar[int] = 1

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Degrade (H, W, 3) uint8."""
        height, width = clean.shape[:2]
        return self.window(clean, Rect(0, 0, height, width), (height, width))

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Degrade the part `at` of an image of `size`, ((n,) at.height, at.width, 3) uint8."""
        raise NotImplementedError

    def spread(self, block: Rect, size: tuple[int, int]) -> Rect:
        """Return the block itself: a pixel is seen nowhere else."""
        return block


def grown(block: Rect, margin: int, size: tuple[int, int]) -> Rect:
    """Return a rectangle with a margin all around, cut at the edges of an image of `size` (height, width)."""
    top, left = max(block.top - margin, 0), max(block.left - margin, 0)
    bottom, right = min(block.bottom + margin, size[0]), min(block.right + margin, size[1])
    return Rect(top, left, bottom - top, right - left)


def on_lattice(part: Rect, lattice: int, size: tuple[int, int]) -> Rect:
    """Return the smallest rectangle on a lattice that holds `part`, cut at the edges of an image of `size`."""
    top, left = part.top // lattice * lattice, part.left // lattice * lattice
    bottom = min(-(-part.bottom // lattice) * lattice, size[0])
    right = min(-(-part.right // lattice) * lattice, size[1])
    return Rect(top, left, bottom - top, right - left)


def truncated(image: np.ndarray) -> np.ndarray:
    """Clip to 0..1 and truncate to 8 bit, as the reference code does (docs/method.md)."""
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def rounded(image: np.ndarray) -> np.ndarray:
    """Clip to 0..1 and round to 8 bit."""
    return np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


@lru_cache(maxsize=8)
def normal_field(stream: str, field_seed: int, height: int, width: int) -> np.ndarray:
    """Standard normal field (H, W, 3) float64 of an image size; `stream` as in `Noise`."""
    if stream == "philox":
        field = np.random.Generator(np.random.Philox(field_seed)).standard_normal((height, width, 3))
    else:
        # a private instance of the old generator: the reference code's noise field is only to be had from it
        field = np.random.RandomState(field_seed).standard_normal((height, width, 3))
    field.setflags(write=False)
    return field


@lru_cache(maxsize=8)
def uniform_field(field_seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform field in [0, 1) float64 of a shape, from another stream than the normal field."""
    field = np.random.Generator(np.random.Philox(field_seed).jumped()).random(shape)
    field.setflags(write=False)
    return field
