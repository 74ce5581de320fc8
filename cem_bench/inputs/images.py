"""Reading images: as 8-bit RGB where nothing is lost by it, else a clear refusal."""

from __future__ import annotations

import hashlib
import struct
import warnings
import zlib
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

WHAT_TO_DO = {
    "LA": "a grey image with alpha that is not opaque: flatten it on a background and save it as RGB",
    "RGBA": "an image with alpha that is not opaque: flatten it on a background and save it as RGB",
    "P": "a palette image that is not opaque: flatten it on a background and save it as RGB",
    "PA": "a palette image with alpha that is not opaque: flatten it on a background and save it as RGB",
    "CMYK": "a CMYK image: save it as RGB",
}
# how Pillow's decoders call channels of more than 8 bits, which it cuts to 8
DEEP = (";16", ";12", ";10", ";32", ";64")
# modes that 8-bit RGB holds without loss, and what the page calls them
LOSSLESS = {
    "L": "grey: three equal channels",
    "1": "black and white: three equal channels",
    "P": "colours of a palette",
}
ORIENTATION = 0x0112  # of EXIF
FIRST_COUNTS = ("MPO",)  # phones put a preview behind the photograph
BROKEN = (UnidentifiedImageError, OSError, SyntaxError, EOFError, struct.error, zlib.error, MemoryError, OverflowError)
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
    """Read an image as (H, W, 3) uint8 RGB, upright; an alpha plane that is opaque everywhere is dropped.

    A photograph that its camera turned by a note (EXIF) is turned, as every viewer does. A grey image gives three equal
    channels, a palette its colours.

    Raises:
        ValueError: if the file is not an image, is damaged, has more pixels than a photograph, or is deeper than
            8 bits, of several pictures, for print, or transparent anywhere; with what to do.
    """
    return read_photo(path)[0]


def read_photo(path: Path) -> tuple[np.ndarray, str]:
    """Read an image as `read_rgb`, and say how its file holds it; "" for plain RGB.

    Raises:
        ValueError: as `read_rgb`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings(
                "ignore", category=UserWarning
            )  # a foreign note in a file says nothing of its pixels
            with Image.open(path) as image:
                check_kind(image, path)
                upright = ImageOps.exif_transpose(image)
                turned = "turned by its EXIF note" if upright.size != image.size or turned_by(image) else ""
                mode, pixels = upright.mode, np.asarray(_without_loss(upright))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{path} has too many pixels ({error}): reduce it, or cut out the part to look at.") from error
    except KindError:
        raise
    except (*BROKEN, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"{path} is not an image that can be read ({error}); expected an 8-bit RGB PNG or JPEG."
        ) from error
    if pixels.ndim == 3 and pixels.dtype == np.uint8 and pixels.shape[2] in (3, 4):
        opaque = pixels.shape[2] == 4 and (pixels[..., 3] == 255).all()
        if opaque or pixels.shape[2] == 3:
            held = [LOSSLESS.get(mode, ""), "opaque alpha left out" if opaque else "", turned]
            return np.ascontiguousarray(pixels[..., :3]), ", ".join(word for word in held if word)
    raise ValueError(f"{path} is {WHAT_TO_DO.get(mode, f'in mode {mode}: save it as RGB')}; expected 8-bit RGB.")


def turned_by(image: Image.Image) -> bool:
    """Say whether an image has a note (EXIF) that it is to be turned."""
    return image.getexif().get(ORIENTATION, 1) not in (0, 1)


def _without_loss(image: Image.Image) -> Image.Image:
    """Return an image as RGB or RGBA where these hold it without loss; else as it is."""
    if image.mode in ("LA", "PA") or (image.mode == "P" and "transparency" in image.info):
        return image.convert("RGBA")
    if image.mode in LOSSLESS and "transparency" not in image.info:
        return image.convert("RGB")
    return image


class KindError(ValueError):
    """An image that opens but is not of the kind that is measured."""


def check_kind(image: Image.Image, path: Path) -> None:
    """Refuse what would be cut down to 8-bit RGB without a word.

    Raises:
        KindError: for more than 8 bits per channel, several pictures, or one colour that stands for transparent.
    """
    coded = " ".join(str(tile[3]) for tile in getattr(image, "tile", ()))
    if image.mode.startswith("I") or image.mode == "F" or any(depth in coded for depth in DEEP):
        raise KindError(
            f"{path} has {image.mode} pixels (16 bit or more); expected 8-bit RGB: convert it to 8 bit first."
        )
    if getattr(image, "n_frames", 1) > 1 and image.format not in FIRST_COUNTS:
        raise KindError(
            f"{path} holds {getattr(image, 'n_frames', 1)} pictures; expected one: save the one that is meant."
        )
    if image.mode in ("RGB", "L", "1") and "transparency" in image.info:
        raise KindError(
            f"{path} has a colour that stands for transparent: flatten it on a background and save it as RGB."
        )


def sha256_of(array: np.ndarray) -> str:
    """Return the sha256 of an array's shape, type and values."""
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()
