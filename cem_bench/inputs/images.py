"""Reading images: 8-bit RGB or a clear refusal."""

from __future__ import annotations

import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

WHAT_TO_DO = {
    "L": "a grey image: save it as RGB (`Image.open(p).convert('RGB').save(...)`) if three equal channels are meant",
    "LA": "a grey image with alpha: save it as RGB",
    "RGBA": "an image with alpha that is not opaque: flatten it on a background and save it as RGB",
    "P": "a palette image: save it as RGB",
    "1": "a black-and-white image: save it as RGB",
    "CMYK": "a CMYK image: save it as RGB",
}
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def locate(source: str) -> Path:
    """Turn an image source into a path.

    Args:
        source: a file path, or `package:path/inside` for an image that an installed package ships.

    Raises:
        FileNotFoundError: if nothing is there.
    """
    package, colon, inside = source.partition(":")
    if colon and package.isidentifier() and len(package) > 1:
        path = Path(str(resources.files(package))) / inside
    else:
        path = Path(source).expanduser()
    if not path.exists():
        raise FileNotFoundError(
            f"Image not found: {path}. Give a file path, or package:path as skimage:data/coffee.png."
        )
    return path


def read_rgb(path: Path) -> np.ndarray:
    """Read an 8-bit RGB image as (H, W, 3) uint8; an alpha plane that is opaque everywhere is dropped.

    Raises:
        ValueError: if the file is not an image, or is grey, 16-bit, or has alpha or a palette.
    """
    try:
        with Image.open(path) as image:
            mode, pixels = image.mode, np.asarray(image)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(
            f"{path} is not an image that can be read ({error}); expected an 8-bit RGB PNG or JPEG."
        ) from error
    if mode == "RGBA" and (pixels[..., 3] == 255).all():
        return np.ascontiguousarray(pixels[..., :3])  # opaque: the alpha plane says nothing
    if mode == "RGB" and pixels.dtype == np.uint8:
        return pixels
    if mode.startswith("I") or mode == "F":
        raise ValueError(f"{path} has {mode} pixels (16 bit or more); expected 8-bit RGB: convert it to 8 bit first.")
    raise ValueError(f"{path} is {WHAT_TO_DO.get(mode, f'in mode {mode}: save it as RGB')}; expected 8-bit RGB.")


def sha256_of(array: np.ndarray) -> str:
    """Return the sha256 of an array's shape, type and values."""
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()
