"""What happens between scene and file: haze, blur, low light, photon noise, mosaic, compression, lost pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image
from scipy import ndimage

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.protocol import Placed, Unplaced, normal_field, on_lattice, rounded, uniform_field

BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
DEPTHS = ("plane", "level")


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    """Refuse a parameter out of its range."""
    if not holds:
        raise ValueError(f"{name} is {value!r}; expected {expected}.")


@dataclass(frozen=True)
class Blur(Unplaced):
    """Isotropic Gaussian blur of standard deviation `sigma` pixels, edges reflected."""

    sigma: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a sigma that is no positive number."""
        _require(0 < self.sigma < float("inf"), "Blur sigma", self.sigma, "a number above 0, in pixels")

    @property
    def reach(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Radius of the truncated kernel (4 sigma)."""
        return int(4 * self.sigma + 0.5)

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Blur (H, W, 3) uint8."""
        blurred = ndimage.gaussian_filter(clean.astype(np.float64), (self.sigma, self.sigma, 0), mode="reflect")
        return np.rint(blurred).clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Jpeg(Unplaced):
    """JPEG compression at `quality` (1..95), 4:4:4 so that a block of 8 pixels stays on its own."""

    task: ClassVar[str] = "CAR"
    title: ClassVar[str] = "compression artefacts"
    quality: int = 20
    reach: ClassVar[int] = 8
    lattice: ClassVar[int] = 8

    def __post_init__(self) -> None:
        """Refuse a quality that Pillow does not take."""
        _require(1 <= self.quality <= 95, "Jpeg quality", self.quality, "1 (worst) to 95")

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Compress and decode (H, W, 3) uint8."""
        buffer = io.BytesIO()
        Image.fromarray(clean).save(buffer, "JPEG", quality=self.quality, subsampling=0)
        return np.array(Image.open(buffer))

    def spread(self, block: Rect, size: tuple[int, int]) -> Rect:
        """Return the 8x8 blocks of the compression that the block touches."""
        return on_lattice(block, self.lattice, size)


@dataclass(frozen=True)
class Haze(Placed):
    """Haze of the atmosphere: clean * t + airlight * (1 - t), with t = exp(-beta * depth).

    Attributes:
        beta: scattering per unit of depth, 0 or more.
        airlight: brightness of the haze itself, 0..1.
        depth: `plane` falls from 1 at the top row to 0 at the bottom row, `level` is 1 everywhere.

    Source: Narasimhan and Nayar 2002, Vision and the Atmosphere, 10.1023/A:1016328200723.
    """

    beta: float = 1.0
    airlight: float = 0.9
    depth: str = "plane"

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        _require(0 <= self.beta < float("inf"), "Haze beta", self.beta, "a number of 0 or more")
        _require(0 <= self.airlight <= 1, "Haze airlight", self.airlight, "a number in 0..1")
        _require(self.depth in DEPTHS, "Haze depth", self.depth, f"one of {', '.join(DEPTHS)}")

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Veil the part `at` of an image of `size`, ((n,) at.height, at.width, 3) uint8."""
        rows = np.arange(at.top, at.bottom)[:, None, None]
        depth = 1 - rows / max(size[0] - 1, 1) if self.depth == "plane" else np.ones(rows.shape)
        transmission = np.exp(-self.beta * depth)
        return rounded(clean / 255.0 * transmission + self.airlight * (1 - transmission))


@dataclass(frozen=True)
class LowLight(Placed):
    """Low light: gain * clean ** gamma, and Gaussian noise on the dark image.

    Attributes:
        gamma: exponent, above 1 darkens.
        gain: factor after it, in 0..1.
        sigma: standard deviation of the noise on the 0..255 scale.
        field_seed: names the noise field of an image size.
    """

    task: ClassVar[str] = "LL"
    title: ClassVar[str] = "low light"
    gamma: float = 1.5
    gain: float = 0.25
    sigma: float = 2.0
    field_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        _require(0 < self.gamma < float("inf"), "LowLight gamma", self.gamma, "a number above 0")
        _require(0 < self.gain <= 1, "LowLight gain", self.gain, "a number above 0, at most 1")
        _require(0 <= self.sigma < float("inf"), "LowLight sigma", self.sigma, "0 or more on the 0..255 scale")

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Darken the part `at` of an image of `size`, ((n,) at.height, at.width, 3) uint8."""
        field = normal_field("philox", self.field_seed, *size)[at.slices]
        return rounded(self.gain * (clean / 255.0) ** self.gamma + field * (self.sigma / 255.0))


@dataclass(frozen=True)
class PoissonGaussian(Placed):
    """Photon noise of a sensor and Gaussian noise of its electronics.

    A pixel's photons are the quantile of its Poisson law at a uniform field, so that a donor meets the same chance as
    the content that it replaces: the more light, the more photons.

    Attributes:
        peak: photons of a white pixel.
        sigma: standard deviation of the Gaussian noise on the 0..255 scale.
        field_seed: names both fields of an image size.

    Source: Foi et al. 2008, 10.1109/TIP.2008.2001399.
    """

    peak: float = 50.0
    sigma: float = 5.0
    field_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        _require(0 < self.peak < float("inf"), "PoissonGaussian peak", self.peak, "photons above 0")
        _require(0 <= self.sigma < float("inf"), "PoissonGaussian sigma", self.sigma, "0 or more, 0..255 scale")

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Take the part `at` of an image of `size`, ((n,) at.height, at.width, 3) uint8."""
        from scipy import stats  # slow to import

        chance = uniform_field(self.field_seed, (*size, 3))[at.slices]
        photons = stats.poisson.ppf(chance, self.peak * (clean / 255.0))
        electronics = normal_field("philox", self.field_seed, *size)[at.slices] * (self.sigma / 255.0)
        return rounded(photons / self.peak + electronics)


@dataclass(frozen=True)
class Mosaic(Unplaced):
    """The colour filter of a sensor: one of three colours is measured at each pixel.

    Attributes:
        pattern: colours of a cell of 2x2 pixels, row by row: RGGB, BGGR, GRBG or GBRG.
        fill: `zero` leaves the other colours black, `bilinear` means over the measured neighbours.

    Source: Bayer 1976, US patent 3971065.
    """

    pattern: str = "RGGB"
    fill: str = "bilinear"
    lattice: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Refuse an unknown pattern or filling."""
        _require(self.pattern in BAYER, "Mosaic pattern", self.pattern, f"one of {', '.join(BAYER)}")
        _require(self.fill in ("zero", "bilinear"), "Mosaic fill", self.fill, "zero or bilinear")

    @property
    def reach(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """One pixel where neighbours fill in."""
        return int(self.fill == "bilinear")

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Measure (H, W, 3) uint8 through the filter, from its cell at the top left on."""
        height, width = clean.shape[:2]
        cell = np.array(["RGB".index(colour) for colour in self.pattern]).reshape(2, 2)
        colours = np.tile(cell, (-(-height // 2), -(-width // 2)))[:height, :width]
        measured = colours[..., None] == np.arange(3)
        raw = np.where(measured, clean, 0)
        if self.fill == "zero":
            return raw.astype(np.uint8)
        kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])[..., None]
        total = ndimage.convolve(raw.astype(np.int64), kernel, mode="constant")
        weight = ndimage.convolve(measured.astype(np.int64), kernel, mode="constant")
        # an image one pixel wide or high has colours that no neighbour measures: they stay black
        return np.where(measured, clean, np.rint(total / np.maximum(weight, 1))).astype(np.uint8)


@dataclass(frozen=True)
class LostPixels(Placed):
    """Squares of the image are lost: the task of inpainting.

    Attributes:
        share: of the squares that are lost, 0..1.
        side: of a square in pixels; the squares lie on a lattice from the top left.
        value: what stands in their place, 0..255.
        field_seed: names the mask of an image size.
    """

    share: float = 0.3
    side: int = 1
    value: int = 0
    field_seed: int = 0

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        _require(0 <= self.share <= 1, "LostPixels share", self.share, "a number in 0..1")
        _require(self.side >= 1, "LostPixels side", self.side, "at least 1 pixel")
        _require(0 <= self.value <= 255, "LostPixels value", self.value, "a whole number in 0..255")

    def mask(self, height: int, width: int) -> np.ndarray:
        """Return which pixels of an image size are lost, (height, width) bool."""
        squares = uniform_field(self.field_seed, (-(-height // self.side), -(-width // self.side))) < self.share
        return squares.repeat(self.side, axis=0).repeat(self.side, axis=1)[:height, :width]

    def window(self, clean: np.ndarray, at: Rect, size: tuple[int, int]) -> np.ndarray:
        """Lose pixels of the part `at` of an image of `size`, ((n,) at.height, at.width, 3) uint8."""
        return np.where(self.mask(*size)[at.slices][..., None], self.value, clean).astype(np.uint8)
