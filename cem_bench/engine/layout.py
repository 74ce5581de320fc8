"""Where the image's rows and columns are inside a tensor, through every view, permute and window partition.

A layout names what each axis of a tensor is made of: the batch, image rows, image columns, or anything else. Splitting
64 rows into 8 windows of 8 leaves 8 "rows" (of windows) and 8 "inner rows"; merging them gives 64 rows again. An op
that only touches other axes treats every image position alike, whatever the tensor's shape: this is what makes one
rule per op enough for convolutional networks and for window attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

BATCH, ROW, COLUMN, INNER_ROW, INNER_COLUMN, OTHER = "b", "y", "x", "yi", "xi", "."
_INNER = {ROW: INNER_ROW, COLUMN: INNER_COLUMN}
PINNED = frozenset({BATCH, ROW, COLUMN})

Atom = tuple[str, int]
Axis = tuple[Atom, ...]


def _merge(atoms: Sequence[Atom]) -> Axis:
    """Join neighbours that belong together: rows with their inner rows, others with others; drop others of size 1."""
    merged: list[Atom] = []
    for name, size in atoms:
        if size == 1 and name not in PINNED:
            continue
        if merged and (_INNER.get(merged[-1][0]) == name or (merged[-1][0] == name and name not in PINNED)):
            merged[-1] = (merged[-1][0], merged[-1][1] * size)
        else:
            merged.append((name, size))
    return tuple(merged)


@dataclass(frozen=True)
class Layout:
    """The atoms (name, size) of every axis, outermost first."""

    axes: tuple[Axis, ...]

    @staticmethod
    def image(shape: Sequence[int]) -> Layout:
        """Layout of a (batch, channels, rows, columns) tensor."""
        _, channels, height, width = shape
        row, column = (((name, size),) if size > 1 else () for name, size in ((ROW, height), (COLUMN, width)))
        return Layout((((BATCH, 1),), _merge([(OTHER, channels)]), row, column))

    @staticmethod
    def plain(shape: Sequence[int]) -> Layout:
        """Layout of a tensor that holds no image positions, batch first."""
        return Layout((((BATCH, 1),), *(_merge([(OTHER, size)]) for size in shape[1:])))

    @staticmethod
    def constant(shape: Sequence[int]) -> Layout:
        """Layout of a tensor that does not come from the image, such as weights."""
        return Layout(tuple(_merge([(OTHER, size)]) for size in shape))

    @cached_property
    def atoms(self) -> tuple[Atom, ...]:
        """All atoms in order."""
        return tuple(atom for axis in self.axes for atom in axis)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of the region grid; 1 where the tensor has none."""
        sizes = dict(self.atoms)
        return sizes.get(ROW, 1), sizes.get(COLUMN, 1)

    @property
    def everywhere(self) -> Rect:
        """The region of all positions."""
        return Rect(0, 0, *self.extent)

    @cached_property
    def is_image(self) -> bool:
        """Whether this is (batch, channels, rows, columns) in the plain sense."""
        names = [tuple(name for name, _ in axis) for axis in self.axes]
        return [*names[:1], *names[2:]] == [(BATCH,), (ROW,), (COLUMN,)] and names[1] in ((), (OTHER,))

    @cached_property
    def sound(self) -> bool:
        """Whether batch, rows and columns occur at most once each."""
        names = [name for name, _ in self.atoms]
        return all(names.count(name) <= 1 for name in PINNED)

    def holds(self, axis: int, names: frozenset[str] = PINNED) -> bool:
        """Whether an axis is made (partly) of batch, rows or columns."""
        return any(name in names for name, _ in self.axes[axis])

    def shape(self, rows: int, region: Rect) -> list[int]:
        """Tensor shape of `rows` batch rows of a region."""
        return [prod(sizes) for sizes in self._sizes(rows, region)]

    def _sizes(self, rows: int, region: Rect) -> list[list[int]]:
        actual = {BATCH: rows, ROW: region.height, COLUMN: region.width}
        return [[actual.get(name, size) for name, size in axis] for axis in self.axes]

    @cached_property
    def _open(self) -> tuple[bool, int | None, int | None]:
        """Whether rows and columns are axes of their own, and where they are (else: where among the atoms)."""
        own = all(len(axis) == 1 for axis in self.axes if any(name in (ROW, COLUMN) for name, _ in axis))
        places: list[int | None] = []
        for wanted in (ROW, COLUMN):
            names = [axis[0][0] if axis else OTHER for axis in self.axes] if own else [name for name, _ in self.atoms]
            places.append(names.index(wanted) if wanted in names else None)
        return own, places[0], places[1]

    @property
    def opens(self) -> bool:
        """Whether rows and columns are axes of their own as the tensor is."""
        return self._open[0]

    def opened(self, value: Tensor, rows: int, region: Rect) -> Tensor:
        """View a tensor of a region with rows and columns as axes of their own."""
        if self._open[0]:
            return value
        return value.reshape([size for sizes in self._sizes(rows, region) for size in sizes])

    def crop(self, opened: Tensor, part: Rect, of: Rect) -> Tensor:
        """Return the part (region coordinates) of an opened tensor that holds the region `of`."""
        _, row, column = self._open
        if row is not None and (part.top, part.height) != (of.top, of.height):
            opened = opened.narrow(row, part.top - of.top, part.height)
        if column is not None and (part.left, part.width) != (of.left, of.width):
            opened = opened.narrow(column, part.left - of.left, part.width)
        return opened

    def opened_shape(self, rows: int, region: Rect) -> list[int]:
        """Shape of `opened` for that many batch rows of a region."""
        if self._open[0]:
            return self.shape(rows, region)
        return [size for sizes in self._sizes(rows, region) for size in sizes]

    def reshaped(self, shape: Sequence[int]) -> Layout | None:
        """Layout after a view to `shape`; None where an axis would cut through what belongs together."""
        left = list(self.atoms)
        axes: list[Axis] = []
        for size in shape:
            axis: list[Atom] = []
            if left and left[0][0] == BATCH:
                axis.append(left.pop(0))
            while prod(part for _, part in axis) < size:
                if not left:
                    return None
                name, part = left.pop(0)
                missing = size // prod(have for _, have in axis)
                if part > missing:
                    if part % missing or name == BATCH:
                        return None
                    left.insert(0, (_INNER.get(name, name), part // missing))
                    part = missing
                axis.append((name, part))
            if prod(part for _, part in axis) != size:
                return None
            axes.append(tuple(axis))
        if left and prod(part for _, part in left) != 1:
            return None
        layout = Layout(tuple(_merge(axis) for axis in axes))
        return layout if layout.sound else None

    def permuted(self, order: Sequence[int]) -> Layout:
        """Layout after a permute."""
        return Layout(tuple(self.axes[axis] for axis in order))

    def replaced(self, changes: dict[int, int]) -> Layout:
        """Layout with some axes (by index) made of `size` other things."""
        axes = list(self.axes)
        for axis, size in changes.items():
            axes[axis] = _merge([(OTHER, size)])
        return Layout(tuple(axes))


def broadcast(layouts: Sequence[Layout], ndim: int) -> Layout | None:
    """Layout of an elementwise op on operands aligned at their last axis; None where they mean different things."""
    axes: list[Axis] = []
    for axis in range(-ndim, 0):
        present = {layout.axes[axis] for layout in layouts if len(layout.axes) >= -axis and layout.axes[axis]}
        if len(present) > 1:
            return None
        axes.append(present.pop() if present else ())
    result = Layout(tuple(axes))
    return result if result.sound else None
