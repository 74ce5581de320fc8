"""Pixel rectangles and the grid of blocks: the one place where rows, columns and scales are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rect:
    """A half-open pixel rectangle: rows [top, bottom), columns [left, right)."""

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """First row below the rectangle."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """First column right of the rectangle."""
        return self.left + self.width

    @property
    def area(self) -> int:
        """Number of pixels; 0 for an empty rectangle."""
        return max(self.height, 0) * max(self.width, 0)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slice, to index the last two axes of an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def intersect(self, rect: Rect) -> Rect:
        """Return the common part; height or width 0 where there is none."""
        top, left = max(self.top, rect.top), max(self.left, rect.left)
        height = max(min(self.bottom, rect.bottom) - top, 0)
        width = max(min(self.right, rect.right) - left, 0)
        return Rect(top, left, height, width)

    def contains(self, rect: Rect) -> bool:
        """Whether every pixel of `rect` lies inside."""
        rows = self.top <= rect.top and rect.bottom <= self.bottom
        return rows and self.left <= rect.left and rect.right <= self.right

    def scale_down(self, factor: int) -> Rect:
        """Return the same rectangle on a pixel lattice `factor` times coarser.

        Raises:
            ValueError: if an edge does not fall on the coarser lattice.
        """
        edges = (self.top, self.left, self.height, self.width)
        if any(edge % factor for edge in edges):
            raise ValueError(
                f"Rectangle {edges} (top, left, height, width) does not lie on the lattice of scale {factor}; "
                f"use multiples of {factor}."
            )
        return Rect(*(edge // factor for edge in edges))


def hull(first: Rect | None, second: Rect) -> Rect | None:
    """Return the smallest rectangle that holds both; None stands for nothing."""
    if second.area == 0:
        return first
    if first is None or first.area == 0:
        return second
    top, left = min(first.top, second.top), min(first.left, second.left)
    return Rect(top, left, max(first.bottom, second.bottom) - top, max(first.right, second.right) - left)


@dataclass(frozen=True)
class Grid:
    """The blocks that tile an image, row-major, in clean (high-resolution) pixels.

    Attributes:
        height: image height in clean pixels, a multiple of `block`.
        width: image width in clean pixels, a multiple of `block`.
        block: side of a block in clean pixels.
    """

    height: int
    width: int
    block: int

    def __post_init__(self) -> None:
        """Refuse a grid that does not tile the image."""
        if self.block < 1:
            raise ValueError(f"Block size must be at least 1 pixel, got {self.block}.")
        for name, side in (("height", self.height), ("width", self.width)):
            if side % self.block:
                raise ValueError(
                    f"Image {name} {side} is not a multiple of the block size {self.block}: crop the scene to "
                    f"{side // self.block * self.block} pixels or choose a block size that divides {side}."
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return self.height // self.block, self.width // self.block

    def __len__(self) -> int:
        rows, columns = self.shape
        return rows * columns

    def rect(self, index: int) -> Rect:
        """Return block `index` (row-major) in clean pixels."""
        row, column = divmod(index, self.shape[1])
        return Rect(row * self.block, column * self.block, self.block, self.block)

    def mask(self, index: int) -> np.ndarray:
        """Return which pixels of its rectangle belong to block `index`, (height, width) bool: all."""
        rect = self.rect(index)
        return np.ones((rect.height, rect.width), bool)

    def overlapping(self, region: Rect) -> Iterator[int]:
        """Yield the indices of the blocks that share a pixel with `region`."""
        return (index for index in range(len(self)) if self.rect(index).intersect(region).area)

    def distances(self, roi: Rect) -> np.ndarray:
        """Return what `ring_distance` says, (blocks,) clean pixels."""

        def gap(block: Rect) -> int:
            rows = max(block.top - roi.bottom, roi.top - block.bottom, -self.block)
            columns = max(block.left - roi.right, roi.left - block.right, -self.block)
            return max(rows, columns) + self.block

        return np.array([max(gap(self.rect(index)), 0) for index in range(len(self))])


def ring_distance(grid: Grid, roi: Rect) -> np.ndarray:
    """Return every block's distance to the ROI, clean pixels: 0 where it touches it, else the gap plus one block.

    Args:
        grid: of the image.
        roi: in clean pixels.

    Returns:
        (blocks,) Chebyshev distance; the blocks of ring d hold the pixels from d - block to d away from the ROI.
    """
    return grid.distances(roi)
