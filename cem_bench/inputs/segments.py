"""Segments of an image in place of square blocks: superpixels that follow its edges. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cem_bench.inputs.geometry import Grid, Rect

FINEST = 4  # px; segments consist of cells of at most this side, so that they lie on the lattice of x2 and x4
COMPACTNESS = 10.0


@dataclass(frozen=True, eq=False)
class Segments(Grid):
    """Segments that tile an image, with the ROI as the last of them; else as `Grid`.

    Attributes:
        labels: (H, W) int, the index of every pixel's segment, constant on cells of `lattice` px.
        lattice: side of a cell, px.
    """

    labels: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    lattice: int = FINEST

    @property
    def shape(self) -> tuple[int, int]:
        """One row of all segments."""
        return 1, len(self)

    def __len__(self) -> int:
        return len(self._boxes)

    @cached_property
    def _boxes(self) -> list[Rect]:
        from scipy import ndimage

        places = ndimage.find_objects(self.labels + 1)
        return [Rect(rows.start, at.start, rows.stop - rows.start, at.stop - at.start) for rows, at in places]

    def rect(self, index: int) -> Rect:
        """Return the smallest rectangle that holds segment `index`, clean pixels."""
        return self._boxes[index]

    def mask(self, index: int) -> np.ndarray:
        """Return which pixels of its rectangle belong to segment `index`, (height, width) bool."""
        return self.labels[self.rect(index).slices] == index

    def overlapping(self, region: Rect) -> Iterator[int]:
        """Yield the indices of the segments that share a pixel with `region`."""
        return (int(index) for index in np.unique(self.labels[region.slices]))

    def distances(self, roi: Rect) -> np.ndarray:
        """Return every segment's distance to the ROI: that of its nearest pixel, as of a block at its place."""
        from scipy import ndimage

        rows, columns = np.mgrid[: self.height, : self.width]
        gap = np.maximum(_gap(rows, roi.top, roi.bottom), _gap(columns, roi.left, roi.right))
        nearest = ndimage.minimum(gap, self.labels, np.arange(len(self)))
        return np.where(np.asarray(nearest) < 0, 0, np.asarray(nearest) + self.block)

    @property
    def cells(self) -> np.ndarray:
        """The index of every cell's segment, (H / lattice, W / lattice) int."""
        return self.labels[:: self.lattice, :: self.lattice]


def _gap(at: np.ndarray, first: int, end: int) -> np.ndarray:
    """Return how many pixels lie between a line and a span, -1 inside it."""
    return np.maximum(np.maximum(first - 1 - at, at - end), -1)


def slic_segments(clean: np.ndarray, roi: Rect, block: int, count: int) -> Segments:
    """Divide what lies outside the ROI into about `count` superpixels.

    Args:
        clean: (H, W, 3) uint8, sides multiples of `block`.
        roi: in clean pixels; becomes the last segment.
        block: side in clean pixels whose largest divisor up to 4 is the side of the cells that segments consist of.
        count: of segments, about.

    Raises:
        ValueError: if the ROI does not lie on the cells.

    Source: SLIC, Achanta et al. 2012, doi 10.1109/TPAMI.2012.120, by scikit-image, on the means of cells.
    """
    from skimage.segmentation import slic

    height, width = clean.shape[:2]
    side = max(size for size in range(1, FINEST + 1) if block % size == 0)
    if any(edge % side for edge in (roi.top, roi.left, roi.height, roi.width)):
        raise ValueError(
            f"Segments consist of cells of {side} px, and the ROI {(roi.top, roi.left, roi.height, roi.width)} (row, "
            f"column, height, width) does not lie on them: use multiples of {side}."
        )
    means = clean.reshape(height // side, side, width // side, side, 3).mean(axis=(1, 3)) / 255.0
    outside = np.ones(means.shape[:2], bool)
    outside[Rect(*(edge // side for edge in (roi.top, roi.left, roi.height, roi.width))).slices] = False
    superpixels = slic(means, n_segments=count, compactness=COMPACTNESS, mask=outside, start_label=1, channel_axis=2)
    _, labels = np.unique(np.where(outside, superpixels, superpixels.max() + 1), return_inverse=True)
    labels = labels.reshape(means.shape[:2])
    return Segments(height, width, block, np.kron(labels, np.ones((side, side), np.int64)), side)
