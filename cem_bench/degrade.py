"""Degradations: values that turn a clean image into an observation, bit for bit the same every time.

Each one is a frozen dataclass, called with a clean image (H, W, 3) uint8 RGB and answering the observation
(h, w, 3) uint8 RGB. What is random (noise field, rain layer) is drawn from the degradation's own seed for the
image's full size, and can be asked for alone, so that a donor placed in the clean image meets the very same field.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Protocol

import numpy as np
from PIL import Image
from scipy import ndimage

from cem_bench.geometry import Rect


class Degradation(Protocol):
    """What every degradation offers."""

    task: ClassVar[str]

    @property
    def scale(self) -> int:
        """Clean pixels per observation pixel, along one axis."""
        ...

    @property
    def reach(self) -> int:
        """How far, in clean pixels, a clean pixel is seen by the observation (0 for pointwise)."""
        ...

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Degrade a whole clean image."""
        ...

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Degrade the part `at` of an image of `size`, as it would come out within the whole."""
        ...


def _quantise(image: np.ndarray) -> np.ndarray:
    """Clip to 0..1 and truncate to 8 bit, as the reference code does (method.md)."""
    return (np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


class _Spatial:
    """A degradation without a position-dependent field: a window is degraded like an image of its own."""

    task: ClassVar[str] = "restore"
    scale: int = 1
    reach: int = 0

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:  # noqa: ARG002
        """Degrade a window; exact for pixels at least `reach` from a window edge that is not the image's."""
        return self(clean)


@dataclass(frozen=True)
class Bicubic(_Spatial):
    """Antialiased bicubic reduction by `scale` (PIL, 8 bit).

    Attributes:
        factor: reduction along each axis, 2, 3 or 4 (any integer above 1 works).
        restore_size: also enlarge again bicubically: the input of networks of upscale 1.
    """

    task: ClassVar[str] = "SR"
    factor: int = 4
    restore_size: bool = False

    @property
    def scale(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Clean pixels per observation pixel."""
        return 1 if self.restore_size else self.factor

    @property
    def reach(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Support of the cubic kernel: 2 coarse pixels, and 2 more where the image is enlarged again."""
        return self.factor * (5 if self.restore_size else 3)

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


@lru_cache(maxsize=8)
def _noise_field(seed: int, height: int, width: int) -> np.ndarray:
    """Standard normal field (H, W, 3) float64 of an image size; NumPy's Philox, so the same on every machine."""
    field = np.random.Generator(np.random.Philox(seed)).standard_normal((height, width, 3))
    field.setflags(write=False)
    return field


@dataclass(frozen=True)
class Noise:
    """Additive white Gaussian noise, clipped and truncated to 8 bit.

    Attributes:
        sigma: standard deviation on the 0..255 scale.
        seed: names the noise field of an image size.
    """

    task: ClassVar[str] = "DN"
    sigma: float = 50.0
    seed: int = 0
    scale: ClassVar[int] = 1
    reach: ClassVar[int] = 0

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Add the field to (H, W, 3) uint8."""
        height, width = clean.shape[:2]
        return self.window(clean, Rect(0, 0, height, width), (height, width))

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Add the part `at` of the field of an image of `size` to `clean` ((n,) at.height, at.width, 3)."""
        field = _noise_field(self.seed, *size)[at.slices]
        return _quantise(clean / 255.0 + field * (self.sigma / 255.0))


RAIN_LEVELS: dict[str, dict[str, tuple[float, float]]] = {
    "small": {"amount": (0.002, 0.004), "length": (20, 30)},
    "medium": {"amount": (0.005, 0.007), "length": (35, 45)},
    "large": {"amount": (0.008, 0.010), "length": (50, 60)},
    "random": {"amount": (0.002, 0.010), "length": (20, 60)},
}


@dataclass(frozen=True)
class Rain:
    """Generated rain streaks added to the image (method.md, table of tasks).

    The level `medium` has the published parameters; `small` and `large` lie beside it with fewer, shorter or more,
    longer streaks (the paper gives no numbers for them), `random` draws from the whole span.

    Attributes:
        level: small, medium, large or random.
        seed: names the rain layer of an image size.
    """

    task: ClassVar[str] = "DR"
    level: str = "medium"
    seed: int = 0
    scale: ClassVar[int] = 1
    reach: ClassVar[int] = 0

    def __post_init__(self) -> None:
        """Refuse an unknown level."""
        if self.level not in RAIN_LEVELS:
            raise ValueError(f"Unknown rain level {self.level!r}; one of {', '.join(RAIN_LEVELS)}.")

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Add the rain layer to (H, W, 3) uint8."""
        height, width = clean.shape[:2]
        return self.window(clean, Rect(0, 0, height, width), (height, width))

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Add the part `at` of the rain layer of an image of `size` to `clean` ((n,) at.height, at.width, 3)."""
        layer, parameters = rain_layer(self.level, self.seed, *size)
        streaks = parameters["beta"] * layer[at.slices][..., None]
        return np.clip(np.rint(clean + streaks), 0, 255).astype(np.uint8)

    def parameters(self, height: int, width: int) -> dict[str, float]:
        """Return the drawn parameters of the rain of an image size, to be stored with a run."""
        return rain_layer(self.level, self.seed, height, width)[1]


@lru_cache(maxsize=8)
def rain_layer(level: str, seed: int, height: int, width: int) -> tuple[np.ndarray, dict[str, float]]:
    """Draw a rain layer: thresholded noise, smeared along an angle and across a width.

    Returns:
        The layer (height, width) float64 in 0..255, and its parameters: amount (share of seed pixels), length and
        width of a streak in pixels, angle in degrees from the vertical, beta (strength when added).

    Source: method.md, "degraded input" of DR.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    spans = RAIN_LEVELS[level]
    drawn = {
        "amount": float(rng.uniform(*spans["amount"])),
        "width": float(rng.choice([3, 5, 7], p=[0.25, 0.5, 0.25])),
        "length": float(rng.integers(int(spans["length"][0]), int(spans["length"][1]), endpoint=True)),
        "angle": float(rng.integers(-30, 30, endpoint=True)),
        "beta": float(rng.uniform(0.6, 1.0)),
    }
    seeds = np.where(rng.random((height, width)) < drawn["amount"], 255.0, 0.0)
    drops = ndimage.convolve(seeds, np.array([[0, 0.1, 0], [0.1, 8, 0.1], [0, 0.1, 0]]), mode="reflect")
    layer = ndimage.convolve(drops, _streak(drawn["length"], drawn["angle"], drawn["width"]), mode="reflect")
    span = np.ptp(layer)
    layer = (layer - layer.min()) / span * 255.0 if span > 0 else np.zeros_like(layer)
    layer.setflags(write=False)
    return layer, drawn


def _streak(length: float, angle: float, width: float) -> np.ndarray:
    """Motion-blur kernel: a vertical line of `length` turned by `angle` degrees, Gaussian across `width` pixels."""
    side = int(length) | 1
    line = np.zeros((side, side))
    line[:, side // 2] = 1.0
    turned = ndimage.rotate(line, angle, reshape=False, order=1)
    # OpenCV's rule for the sigma of a Gaussian kernel of a given width, which the reference code relies on
    across = ndimage.gaussian_filter(turned, 0.3 * ((width - 1) * 0.5 - 1) + 0.8)
    return across / across.sum()


@dataclass(frozen=True)
class Blur(_Spatial):
    """Isotropic Gaussian blur of standard deviation `sigma` pixels, edges reflected."""

    sigma: float = 2.0

    @property
    def reach(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Radius of the truncated kernel (4 sigma)."""
        return int(4 * self.sigma + 0.5)

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Blur (H, W, 3) uint8."""
        blurred = ndimage.gaussian_filter(clean.astype(np.float64), (self.sigma, self.sigma, 0), mode="reflect")
        return np.rint(blurred).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Jpeg(_Spatial):
    """JPEG compression at `quality` (1..95), 4:4:4 so that a block of 8 pixels stays on its own."""

    quality: int = 20
    reach: ClassVar[int] = 8

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Compress and decode (H, W, 3) uint8."""
        buffer = io.BytesIO()
        Image.fromarray(clean).save(buffer, "JPEG", quality=self.quality, subsampling=0)
        return np.asarray(Image.open(buffer))


@dataclass(frozen=True)
class Haze(_Spatial):
    """Homogeneous haze: clean * transmission + airlight * (1 - transmission), both in 0..1."""

    transmission: float = 0.5
    airlight: float = 0.9

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Veil (H, W, 3) uint8."""
        veiled = clean / 255.0 * self.transmission + self.airlight * (1 - self.transmission)
        return np.rint(np.clip(veiled, 0, 1) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Dark(_Spatial):
    """Low light: a power law of exponent `gamma` (above 1 darkens) after a gain."""

    gamma: float = 2.0
    gain: float = 0.6

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Darken (H, W, 3) uint8."""
        return np.rint(np.clip(self.gain * (clean / 255.0) ** self.gamma, 0, 1) * 255).astype(np.uint8)
