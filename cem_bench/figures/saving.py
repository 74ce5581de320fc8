"""Figures as files: PNG that git can hold, SVG and PDF when asked for. No torch.

Where a PNG in true colours is too large, it gets 256 colours, and then fewer pixels.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.spatial import KDTree

from cem_bench.store.files import write_atomically
from cem_bench.store.roots import marked

DPI = 160
FORMATS = ("png",)  # what is written where nothing is asked for
METADATA: dict[str, dict[str, None]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
ROOT_IN = {"png": "Comment", "svg": "Description", "pdf": "Keywords"}  # what each format calls a note
MOST_BYTES = 250_000  # of a picture in git
COLOURS = 256  # what a palette holds
EXACT = 64  # of them: the commonest of the picture as they are, so that flat areas, lines and legends stay
ROUNDS = 12  # of k-means
SHRINK = 0.85  # of a side, per attempt
SMALLEST = 64  # pixels of a side


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS, *, root: str = "") -> list[Path]:
    """Write a figure in each format; reproducible bytes (no date inside), a PNG no larger than git should hold.

    Args:
        figure: the figure.
        stem: path without a suffix.
        formats: of `png`, `svg` and `pdf`.
        root: of the draws it shows, which its metadata carry; "" where it shows none.

    Returns:
        The files, in the order of the formats.

    Raises:
        ValueError: for another format.
        OSError: if the folder cannot be written.
    """
    if wrong := [name for name in formats if name not in METADATA]:
        raise ValueError(f"Got figure format {', '.join(wrong)}; expected one or more of {', '.join(METADATA)}.")
    paths = []
    for name in formats:
        content, note = io.BytesIO(), {ROOT_IN[name]: marked(root)} if root else {}
        with mpl.rc_context({"svg.hashsalt": "cem_bench", "svg.fonttype": "path"}):
            figure.savefig(content, format=name, dpi=DPI, metadata={**METADATA[name], **note})
        written = small_png(content.getvalue(), note=note) if name == "png" else content.getvalue()
        paths.append(stem.with_name(f"{stem.name}.{name}"))
        write_atomically(paths[-1], written)
    return paths


def small_png(content: bytes, most: int = MOST_BYTES, *, note: Mapping[str, str] | None = None) -> bytes:
    """Return a PNG as it is where it is small, else the same picture in fewer colours or pixels.

    Args:
        content: of the file.
        most: bytes.
        note: texts for its metadata.

    Raises:
        ValueError: if a thumbnail with a side of 64 pixels is still larger.
    """
    if len(content) <= most:
        return content
    texts = PngInfo()
    for key, text in (note or {}).items():
        texts.add_text(key, text)
    picture = _on_white(Image.open(io.BytesIO(content)))
    while min(picture.size) >= SMALLEST:
        smaller = io.BytesIO()
        _with_palette(picture).save(smaller, "PNG", optimize=True, pnginfo=texts)
        if smaller.tell() <= most:
            return smaller.getvalue()
        width, height = (round(SHRINK * side) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    raise ValueError(
        f"Got most = {most} bytes for a picture; expected enough for a side of {SMALLEST} pixels, say 10000."
    )


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _with_palette(picture: Image.Image) -> Image.Image:
    """Return an RGB picture with every pixel in the nearest of 256 colours."""
    pixels = np.asarray(picture).reshape(-1, 3).astype(np.int32)
    codes, where, counts = np.unique(pixels @ (65536, 256, 1), return_inverse=True, return_counts=True)
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    palette = colours if len(colours) <= COLOURS else _palette(picture, colours, counts)
    nearest = np.asarray(KDTree(palette).query(colours)[1])
    indexed = Image.fromarray(nearest[where].astype(np.uint8).reshape(picture.height, picture.width), "P")
    indexed.putpalette(palette.astype(np.uint8).tobytes())
    return indexed


def _palette(picture: Image.Image, colours: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return 256 colours: the commonest as they are, the others by k-means from Pillow's two palettes.

    One palette has the photographs (median cut), the other what is rare (coverage): a thin line, a patch in a legend.

    Args:
        picture: RGB.
        colours: (n, 3) that it has.
        counts: (n,) pixels of each.
    """
    common = colours[np.argsort(-counts, kind="stable")[:EXACT]]
    halves = (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
    listed = [picture.quantize((COLOURS - EXACT) // 2, method=half).getpalette() or [] for half in halves]
    palette = np.concatenate([common, *(np.reshape(part, (-1, 3)) for part in listed)])[:COLOURS].astype(float)
    weights = np.sqrt(counts)
    for _ in range(ROUNDS):
        nearest = KDTree(palette).query(colours)[1]
        mass = np.bincount(nearest, weights, COLOURS)
        sums = [np.bincount(nearest, weights * channel, COLOURS) for channel in colours.T]
        means = np.stack(sums, axis=1) / np.maximum(mass, 1e-9)[:, None]
        moves = (mass > 0) & (np.arange(COLOURS) >= len(common))
        palette[moves] = means[moves]
    return palette.round()
