"""Photographs of any size as scenes: the part that is used, and where the regions of interest lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.images import SUFFIXES, locate, read_photo, sha256_of

MARGIN = 24  # clean pixels that a region keeps from the edges, where the part has room
TRIES = 1000


@dataclass(frozen=True)
class Framing:
    """How a photograph becomes scenes.

    Attributes:
        multiple: the sides of the part are multiples of it, clean pixels: of the block, and of what networks ask for.
        crop: the part, or None for the largest one, centred.
        largest: longest side of a part that is not given, clean pixels; 0 for no limit.
        rois: regions in pixels of the part; empty for `count` by the seeded rule.
        count: regions by the rule.
        side: of a region by the rule, clean pixels.
        roi_seed: names their places.
        step: regions by the rule lie on multiples of it: the block.
    """

    multiple: int = 8
    crop: Rect | None = None
    largest: int = 512
    rois: tuple[Rect, ...] = ()
    count: int = 1
    side: int = 32
    roi_seed: int = 0
    step: int = 8


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph, the part of it that is used, and its regions of interest.

    Attributes:
        name: its file's stem.
        source: as it was given.
        size: height and width of the whole, pixels.
        held: how its file holds it, where that is not plain RGB.
        part: what is used, in pixels of the whole.
        how: how the part was chosen.
        rois: in pixels of the part.
    """

    name: str
    source: str
    size: tuple[int, int]
    held: str
    part: Rect
    how: str
    rois: tuple[Rect, ...]

    @property
    def scenes(self) -> dict[str, Rect]:
        """Names of the scenes, with their region: the photo's, numbered where there are several."""
        if len(self.rois) == 1:
            return {self.name: self.rois[0]}
        return {f"{self.name}_{number}": roi for number, roi in enumerate(self.rois, 1)}


def photos_of(sources: Sequence[str], framing: Framing) -> list[Photo]:
    """Read photographs and choose parts and regions.

    Args:
        sources: files, folders, or package:path of images that an installed package ships.
        framing: how.

    Raises:
        FileNotFoundError: if one is not there.
        ValueError: if there is none, one cannot be read or is too small, or two have one name.
    """
    files = [(text, file) for source in sources for text, file in _files(source)]
    if not files:
        raise ValueError(
            f"No image in {', '.join(sources) or 'an empty list'}; expected files of {', '.join(SUFFIXES)}."
        )
    stems = [file.stem for _, file in files]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"Two photos are called {', '.join(twice)}, and pages name them so: rename one of each.")
    return [_photo(text, file, framing) for text, file in files]


def _files(source: str) -> list[tuple[str, Path]]:
    path = locate(source)
    if path.is_dir():
        images = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        return [(str(file), file) for file in images]
    return [(source, path)]


def _photo(source: str, path: Path, framing: Framing) -> Photo:
    pixels, held = read_photo(path)
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    part, how = fitted(size, framing, path.name)
    rois = framing.rois or seeded_rois(part, framing, sha256_of(pixels), path.name)
    inside = Rect(0, 0, part.height, part.width)
    for roi in rois:
        if not inside.contains(roi) or roi.area == 0:
            raise ValueError(
                f"{path.name}: the region {_words(roi)} does not lie in the part of {part.height}x{part.width} that is "
                "used; give another --roi top,left,size, counted from the part's corner, or leave it out for the rule."
            )
    return Photo(path.stem, source, size, held, part, how, tuple(rois))


def fitted(size: tuple[int, int], framing: Framing, name: str) -> tuple[Rect, str]:
    """Return the part of an image that is used, and how it was chosen.

    Args:
        size: height and width of the whole.
        framing: how.
        name: what errors call the image.

    Raises:
        ValueError: if a given part leaves the image or has wrong sides, or the image is smaller than the multiple.
    """
    multiple, whole = framing.multiple, Rect(0, 0, *size)
    if framing.crop is not None:
        part = framing.crop
        sides = [side // multiple * multiple for side in (part.height, part.width)]
        if not whole.contains(part) or part.area == 0:
            raise ValueError(
                f"{name}: the part {_words(part)} does not lie in the image of {size[0]}x{size[1]} pixels."
            )
        if sides != [part.height, part.width]:
            raise ValueError(
                f"{name}: the part is {part.height}x{part.width} pixels, expected multiples of {multiple} (block and "
                f"networks): give --crop {part.top},{part.left},{sides[0]},{sides[1]}."
            )
        return part, "by --crop"
    most = framing.largest or max(size)
    height, width = (min(side, most) // multiple * multiple for side in size)
    if not height or not width:
        raise ValueError(
            f"{name}: the image of {size[0]}x{size[1]} pixels is smaller than {multiple}x{multiple}, which block and "
            "networks ask for: leave it out, or take a smaller block (scene.block=4)."
        )
    part = Rect((size[0] - height) // 2, (size[1] - width) // 2, height, width)
    if (height, width) == size:
        return part, "the whole"
    cut = " (no side above --largest)" if min(max(size), most) < max(size) else ""
    return part, f"the largest of multiples of {multiple}, centred{cut}"


def seeded_rois(part: Rect, framing: Framing, content: str, name: str) -> tuple[Rect, ...]:
    """Return regions by a rule that looks at no pixel: corners uniform over multiples of the step, without overlap.

    Args:
        part: that is used.
        framing: how many, of which side, and the seed.
        content: sha256 of the image, hexadecimal: other photos get other places, whatever their order.
        name: what errors call the image.

    Raises:
        ValueError: if so many do not fit.
    """
    step, side = framing.step, framing.side
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((framing.roi_seed, int(content[:16], 16)))))
    room = min(part.height, part.width) - side
    margin = min(MARGIN, max(room, 0) // 2) // step * step
    for least in dict.fromkeys((margin, 0) if room >= 0 else ()):  # where they do not fit, up to the edges
        chosen: list[Rect] = []
        for _ in range(TRIES):
            ends = [(extent - least - side) // step for extent in (part.height, part.width)]
            top, left = (int(rng.integers(least // step, end + 1)) * step for end in ends)
            roi = Rect(top, left, side, side)
            if all(roi.intersect(region).area == 0 for region in chosen):
                chosen.append(roi)
            if len(chosen) == framing.count:
                return tuple(chosen)
    raise ValueError(
        f"{name}: {framing.count} region(s) of {side}x{side} pixels do not fit into the part of "
        f"{part.height}x{part.width}: ask for fewer (--rois) or smaller ones (--side)."
    )


def _words(part: Rect) -> str:
    return f"at row {part.top}, column {part.left} of {part.height}x{part.width} pixels"


def rect_in(text: str, name: str) -> Rect:
    """Return the rectangle that an option's text names.

    Args:
        text: `top,left,size` or `top,left,height,width`, pixels.
        name: of the option.

    Raises:
        ValueError: if it names none.
    """
    parts = text.split(",")
    if len(parts) not in (3, 4) or not all(part.strip().isdigit() for part in parts) or 0 in map(int, parts[2:]):
        raise ValueError(
            f"{name}: got {text!r}, expected top,left,size or top,left,height,width in pixels, as 96,96,32."
        )
    numbers = [int(part) for part in parts]
    return Rect(numbers[0], numbers[1], numbers[2], numbers[-1])
