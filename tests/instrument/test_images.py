"""Image files: read as every viewer shows them, or refused with what to do."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cem_bench import DonorPool, Rect, Scene
from cem_bench.inputs.donors import pool_from_array
from cem_bench.inputs.images import read_photo, read_rgb
from cem_bench.run.build import register
from cem_bench.run.compose import composed
from cem_bench.run.config import check_config


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)


# EXIF's orientation to what must be done to the stored pixels
TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    6: lambda x: np.rot90(x, -1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_turned_photograph_is_turned(pixels: np.ndarray, orientation: int, suffix: str, tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"photo{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(read_rgb(path), TURNS[orientation](pixels))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(depth: int, colour: int, rows: bytes, size: tuple[int, int], more: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", size[1], size[0], depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def deep_png(path: Path, channels: int) -> None:
    row = b"\x00" + bytes(range(16 * channels)) + bytes(16 * channels)
    path.write_bytes(png(16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], row[: 1 + 8 * channels * 2] * 8, (8, 8)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_not_cut_to_eight(channels: int, tmp_path: Path):
    deep_png(tmp_path / "deep.png", channels)
    with pytest.raises(ValueError, match=r"16 bit or more\); expected 8-bit RGB: convert it to 8 bit first"):
        read_rgb(tmp_path / "deep.png")


def several(path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (10, 20)]
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])


def keyed(path: Path) -> None:
    Image.new("RGB", (8, 8), (1, 2, 3)).save(path, "PNG", transparency=(1, 2, 3))


REFUSED = {
    "animated PNG": (lambda path: several(path, "PNG"), "holds 2 pictures; expected one"),
    "TIFF of two pages": (lambda path: several(path, "TIFF"), "holds 2 pictures; expected one"),
    "colour for transparent": (keyed, "a colour that stands for transparent: flatten it"),
    "transparent palette": (lambda path: transparent(path), "is not opaque: flatten it"),
    "grey, partly transparent": (lambda path: Image.new("LA", (8, 8)).save(path, "PNG"), "is not opaque: flatten it"),
    "grey for transparent": (lambda path: Image.new("L", (8, 8)).save(path, "PNG", transparency=3), "flatten it"),
    "print": (lambda path: Image.new("CMYK", (8, 8)).save(path, "JPEG"), "a CMYK image: save it as RGB"),
    "floats": (lambda path: Image.new("F", (8, 8)).save(path, "TIFF"), "16 bit or more"),
}


def transparent(path: Path) -> None:
    image = Image.new("P", (8, 8))
    image.putpalette([7, 8, 9] * 256)
    image.save(path, "PNG", transparency=0)


def test_what_rgb_holds_without_loss_is_read(rng, tmp_path: Path):
    shades, codes = (rng.integers(0, 256, (8, 12), dtype=np.uint8) for _ in range(2))
    table = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    indexed = Image.fromarray(codes, "P")
    indexed.putpalette(table.tobytes())
    opaque = Image.merge("LA", [Image.fromarray(shades), Image.new("L", (12, 8), 255)])
    grey = np.repeat(shades[..., None], 3, axis=2)
    bits = Image.fromarray(shades > 99)
    expected = {
        "grey": (Image.fromarray(shades), grey, "grey: three equal channels"),
        "palette": (indexed, table[codes], "colours of a palette"),
        "opaque": (opaque, grey, "opaque alpha left out"),
        "bits": (bits, np.repeat((shades > 99)[..., None] * np.uint8(255), 3, axis=2), "black and white"),
        "plain": (Image.fromarray(grey), grey, ""),
    }
    for name, (image, pixels, words) in expected.items():
        image.save(tmp_path / f"{name}.png")
        read, held = read_photo(tmp_path / f"{name}.png")
        assert np.array_equal(read, pixels), name
        assert held.startswith(words) and bool(held) == bool(words), name


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_cut_down_is_refused(kind: str, tmp_path: Path):
    make, message = REFUSED[kind]
    make(tmp_path / "image")
    with pytest.raises(ValueError, match=message):
        read_rgb(tmp_path / "image")


WHOLE = png(8, 2, (b"\x00" + bytes(24)) * 8, (8, 8))
BROKEN = {
    "empty": b"",
    "text": b"not an image",
    "head alone": WHOLE[:20],
    "cut": WHOLE[:-30],
    "wrong sum": WHOLE.replace(b"IDAT", b"IDAT", 1)[:45] + b"\x00\x00\x00" + WHOLE[48:],
    "rows lacking": png(8, 2, b"\x00" * 10, (8, 8)),
    "no pixels": png(8, 2, b"", (0, 8)),
    "cut JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_say_so(kind: str, tmp_path: Path):
    path = tmp_path / "broken.png"
    path.write_bytes(BROKEN[kind])
    with pytest.raises(ValueError, match=r"broken\.png is not an image that can be read .*expected an 8-bit RGB"):
        read_rgb(path)


@pytest.mark.parametrize("size", [(12_000, 12_000), (40_000, 40_000), (1, 200_000_000)])
def test_a_bomb_is_not_unpacked(size: tuple[int, int], tmp_path: Path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(8, 2, b"\x00" * 100, size))
    with pytest.raises(ValueError, match=r"bomb\.png has too many pixels .*: reduce it, or cut out the part"):
        read_rgb(path)


@pytest.mark.parametrize("crop", ["[0,0,-8,-8]", "[0,0,0,8]", "[0,0,8]", "[0,0,8,8,8]", "[-1,0,8,8]"])
@pytest.mark.parametrize("name", ["crop", "roi"])
def test_a_rectangle_that_is_none_is_refused_when_composed(crop: str, name: str):
    register()
    config = composed(["model=DnCNN", "scene=coffee", f"scene.{name}={crop}"])
    with pytest.raises(ValueError, match=rf"scene\.{name}: got \[.*\], expected row, column, height and width"):
        check_config(config)


@pytest.mark.parametrize("at", [(-8, 0, 8, 8), (0, 0, -8, -8), (0, 8, 8, 24)])
def test_a_region_outside_is_refused_in_python_too(pixels, at):
    with pytest.raises(ValueError, match="does not lie in the image"):
        Scene("photo", pixels, Rect(*at))


PATCHES = np.zeros((6, 8, 8, 3), np.uint8)
LABELS = [
    (np.zeros(5, int), r"Donor strata are \(5,\), expected \(6,\): one per patch"),
    (np.zeros((6, 1), int), r"Donor strata are \(6, 1\), expected \(6,\)"),
    (np.zeros(6), "must be whole numbers from 0 on, got float64"),
    (np.array([0, 1, -1, 0, 1, 0]), "from -1: number the strata"),
]


@pytest.mark.parametrize(("strata", "message"), LABELS)
def test_strata_that_are_not_one_per_patch_are_refused(strata, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        DonorPool(PATCHES, np.arange(6).astype(str), {}, strata)
    np.savez(tmp_path / "pool.npz", patches=PATCHES, strata=strata)
    with pytest.raises(ValueError, match=message):
        pool_from_array(str(tmp_path / "pool.npz"))


def test_names_that_are_not_one_per_patch_are_refused():
    with pytest.raises(ValueError, match=r"Donor names are \(2,\), expected \(6,\): one per patch"):
        DonorPool(PATCHES, np.array(["a", "b"]))
