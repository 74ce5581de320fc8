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
from scipy import ndimage, signal

from cem_bench.inputs.geometry import Rect


class Degradation(Protocol):
    """What every degradation offers."""

    @property
    def task(self) -> str:
        """SR, DN, DR, or restore for the others."""
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
    lattice: int = 1

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
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
    def lattice(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The kernel sits on every `factor`-th clean pixel."""
        return self.factor

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
def _noise_field(stream: str, seed: int, height: int, width: int) -> np.ndarray:
    """Standard normal field (H, W, 3) float64 of an image size."""
    if stream == "philox":
        field = np.random.Generator(np.random.Philox(seed)).standard_normal((height, width, 3))
    else:
        # a private instance of the old generator: the reference code's noise field is only to be had from it
        field = np.random.RandomState(seed).standard_normal((height, width, 3))
    field.setflags(write=False)
    return field


@dataclass(frozen=True)
class Noise:
    """Additive white Gaussian noise, clipped and truncated to 8 bit.

    Attributes:
        sigma: standard deviation on the 0..255 scale.
        seed: names the noise field of an image size.
        stream: `philox`, or `mt19937` for the field of the reference code (its seed is 0).
    """

    task: ClassVar[str] = "DN"
    sigma: float = 50.0
    seed: int = 0
    stream: str = "philox"
    scale: ClassVar[int] = 1
    reach: ClassVar[int] = 0
    lattice: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse a negative sigma and an unknown stream."""
        if not self.sigma >= 0:
            raise ValueError(f"Noise sigma must be 0 or more on the 0..255 scale, got {self.sigma}.")
        if self.stream not in ("philox", "mt19937"):
            raise ValueError(f"Unknown noise stream {self.stream!r}; one of philox, mt19937.")

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Add the field to (H, W, 3) uint8."""
        height, width = clean.shape[:2]
        return self.window(clean, Rect(0, 0, height, width), (height, width))

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Add the part `at` of the field of an image of `size` to `clean` ((n,) at.height, at.width, 3)."""
        field = _noise_field(self.stream, self.seed, *size)[at.slices]
        return _quantise(clean / 255.0 + field * (self.sigma / 255.0))


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
class Rain:
    """Generated rain streaks added to the image (method.md, table of tasks).

    Attributes:
        level: small, medium (the published setting), large, or random (one of the three, by the seed).
        seed: names the rain layer of an image size.
    """

    task: ClassVar[str] = "DR"
    level: str = "medium"
    seed: int = 0
    scale: ClassVar[int] = 1
    reach: ClassVar[int] = 0
    lattice: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Refuse an unknown level."""
        if self.level not in (*RAIN_LEVELS, "random"):
            raise ValueError(f"Unknown rain level {self.level!r}; one of {', '.join(RAIN_LEVELS)}, random.")

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
    lattice: ClassVar[int] = 8

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
