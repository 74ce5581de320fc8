"""Motion blur: by the kernel of a file, or by one that deepinv draws from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from cem_bench.inputs.protocol import Unplaced


@dataclass(frozen=True)
class MotionBlur(Unplaced):
    """Blur along a camera's path, the same over the whole image, edges reflected.

    Attributes:
        kernel: file of a kernel (.npy, .txt or a grey image), scaled to sum 1; "" for one that is drawn.
        side: of a drawn kernel in pixels, odd.
        length: of a drawn path's smooth parts, as a share of the exposure.
        extent: standard deviation of a drawn path, as a share of the kernel's side.
        field_seed: names the drawn kernel.
        kernel_sha256: of the file, so that another kernel under its name is another run key.

    Source: Schuler et al. 2015, Learning to Deblur, 10.1109/TPAMI.2015.2481418 (paths of a Gaussian process).
    """

    kernel: str = ""
    side: int = 15
    length: float = 0.3
    extent: float = 0.25
    field_seed: int = 0
    kernel_sha256: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """Refuse parameters out of range, and a file that holds no kernel."""
        for name in ("length", "extent"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"MotionBlur {name} is {getattr(self, name)!r}; expected a number above 0.")
        if self.side < 3 or self.side % 2 == 0:
            raise ValueError(f"MotionBlur side is {self.side!r}; expected an odd number of pixels, 3 or more.")
        if self.kernel:
            file = Path(self.kernel).expanduser()
            if not file.is_file():
                raise ValueError(f"MotionBlur kernel {file} is not there; expected a .npy, .txt or image of a kernel.")
            object.__setattr__(self, "kernel_sha256", sha256(file.read_bytes()).hexdigest())
            _read(self.kernel, self.kernel_sha256)

    @property
    def weights(self) -> np.ndarray:
        """The kernel, (side, side') float64 of sum 1."""
        if self.kernel:
            return _read(self.kernel, self.kernel_sha256)
        return _drawn(self.side, self.length, self.extent, self.field_seed)

    @property
    def reach(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Half of the kernel's longer side."""
        return max(self.weights.shape) // 2

    def __call__(self, clean: np.ndarray) -> np.ndarray:
        """Blur (H, W, 3) uint8."""
        blurred = ndimage.convolve(clean.astype(np.float64), self.weights[..., None], mode="reflect")
        return np.rint(blurred).clip(0, 255).astype(np.uint8)


@lru_cache(maxsize=8)
def _read(path: str, _sha256: str) -> np.ndarray:
    """Read a kernel file and scale it to sum 1."""
    file = Path(path).expanduser()
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        elif file.suffix == ".txt":
            values = np.loadtxt(file, ndmin=2)
        else:
            with Image.open(file) as image:
                values = np.asarray(image.convert("F"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"MotionBlur kernel {file} cannot be read ({error}); expected .npy, .txt or an image."
        ) from error
    values = values.astype(np.float64)
    good = values.ndim == 2 and np.isfinite(values).all() and values.min() >= 0 and values.sum() > 0
    if not good or not all(side % 2 for side in values.shape):
        raise ValueError(
            f"MotionBlur kernel {file} is {values.shape} with values from {values.min():g} to {values.max():g}; "
            "expected (height, width), both odd, of numbers of 0 or more: pad it with zeros."
        )
    return _fixed(values / values.sum())


@lru_cache(maxsize=8)
def _drawn(side: int, length: float, extent: float, field_seed: int) -> np.ndarray:
    from cem_bench.inputs.physics import deepinv_version

    deepinv_version("task=motion without task.degradation.kernel=FILE")
    from deepinv.physics.generator import MotionBlurGenerator

    drawn = MotionBlurGenerator((side, side), l=length, sigma=extent).step(1, seed=field_seed)["filter"][0, 0]
    values = drawn.numpy().astype(np.float64)
    return _fixed(values / values.sum())


def _fixed(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values
