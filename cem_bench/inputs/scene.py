"""A scene: a clean image, the region of interest, and the grid of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cem_bench.inputs.geometry import Grid, Rect
from cem_bench.inputs.images import locate, read_rgb, sha256_of
from cem_bench.inputs.segments import Segments, slic_segments


@dataclass(frozen=True, eq=False)
class Scene:
    """What is looked at.

    Attributes:
        name: short name, used in file names and tables.
        clean: clean image (H, W, 3) uint8 RGB.
        roi: region of interest in clean pixels.
        block: side of a block in clean pixels.
        source: where the clean image came from.
        segments: about how many superpixels the image outside the ROI is divided into, instead of square blocks; 0 for
            blocks.
    """

    name: str
    clean: np.ndarray
    roi: Rect
    block: int = 8
    source: str = ""
    segments: int = 0

    def __post_init__(self) -> None:
        """Check that image, ROI and grid fit together.

        Raises:
            ValueError: saying which does not fit, and the nearest that does.
        """
        if self.clean.ndim != 3 or self.clean.shape[2] != 3 or self.clean.dtype != np.uint8:
            raise ValueError(f"Clean image must be (H, W, 3) uint8, got {self.clean.shape} {self.clean.dtype}.")
        height, width = self.size
        roi = self.roi
        if roi.height > height or roi.width > width:
            raise ValueError(
                f"The image of {height}x{width} pixels is smaller than the ROI of {roi.height}x{roi.width}: "
                "use a larger image or a smaller ROI."
            )
        if roi.area == 0 or not Rect(0, 0, height, width).contains(roi):
            top, left = (min(max(at, 0), side - part) for at, side, part in self._edges())
            raise ValueError(
                f"ROI at row {roi.top}, column {roi.left} of {roi.height}x{roi.width} pixels does not lie in the image "
                f"of {height}x{width}; the nearest that does is at row {top}, column {left}."
            )
        _ = self.grid

    def _edges(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        height, width = self.size
        return (self.roi.top, height, self.roi.height), (self.roi.left, width, self.roi.width)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in clean pixels."""
        return self.clean.shape[0], self.clean.shape[1]

    @cached_property
    def grid(self) -> Grid:
        """The blocks of the image, or its segments."""
        blocks = Grid(*self.size, self.block)
        if not self.segments:
            return blocks
        return slic_segments(self.clean, self.roi, self.block, self.segments)

    @property
    def donor_side(self) -> int:
        """The side that donor patches need, px: that of a block, or of the largest rectangle around a segment."""
        roi = set(self.grid.overlapping(self.roi)) if self.segments else ()
        rects = [self.grid.rect(index) for index in range(len(self.grid)) if self.segments and index not in roi]
        return max([self.block, *(max(rect.height, rect.width) for rect in rects)])

    @cached_property
    def image_sha256(self) -> str:
        """Hash of the clean pixels."""
        return sha256_of(self.clean)

    def require_scale(self, scale: int) -> None:
        """Check that ROI and blocks (or segments) lie on the lattice of `scale`.

        Raises:
            ValueError: naming what is not a multiple of the scale.
        """
        if isinstance(self.grid, Segments) and self.grid.lattice % scale:
            raise ValueError(
                f"Segments consist of cells of {self.grid.lattice} px, which is not a multiple of the scale {scale}: "
                f"use blocks of {scale} or {2 * scale} px, whose cells are."
            )
        if self.block % scale:
            raise ValueError(
                f"Block size {self.block} is not a multiple of the scale {scale}: "
                f"use {max(self.block // scale, 1) * scale} or {(self.block // scale + 1) * scale}."
            )
        roi = (self.roi.top, self.roi.left, self.roi.height, self.roi.width)
        if any(edge % scale for edge in roi):
            nearest = tuple(edge // scale * scale for edge in roi)
            raise ValueError(
                f"ROI {roi} (row, column, height, width) is not aligned to the scale {scale}; the nearest is {nearest}."
            )


def load_scene(
    name: str,
    source: str,
    roi: Rect,
    *,
    crop: Rect | None,
    block: int,
    segments: int = 0,
) -> Scene:
    """Read a scene from an image file.

    Args:
        name: short name.
        source: file path, or package:path of an image that an installed package ships.
        roi: in pixels of the (cropped) clean image.
        crop: the part of the file to use; None for the whole.
        block: side of a block in clean pixels.
        segments: as `Scene`.

    Raises:
        FileNotFoundError: if the image is not there.
        ValueError: if it cannot be used, with the reason.
    """
    clean = read_rgb(locate(source))
    if crop is not None:
        whole = Rect(0, 0, *clean.shape[:2])
        if not crop.area or not whole.contains(crop):
            part = f"{crop.height}x{crop.width} at row {crop.top}, column {crop.left}"
            raise ValueError(f"Crop {part} does not lie in the image {source} of {whole.height}x{whole.width}.")
        clean = np.ascontiguousarray(clean[crop.slices])
    return Scene(name, clean, roi, block, source, segments)
