"""A network set up on an image before the region of interest is known: then any region's first draws come at once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.prepared import Bench


@dataclass(frozen=True, eq=False)
class Ready:
    """A network on an image.

    Attributes:
        bench: yardstick checked, engine recorded for the whole output.
    """

    bench: Bench

    @classmethod
    def of(cls, cell: Cell) -> Ready:
        """Set up a cell's network on its image.

        Raises:
            MeasureError: as `Bench.of`.
        """
        with cell.model.forwards():
            return cls(Bench.of(cell, [Rect(0, 0, *cell.scene.size)]))

    def at(self, cell: Cell) -> Bench:
        """Return the bench of a cell that differs in ROI and rule alone.

        Raises:
            ValueError: if it differs in more, naming in what.
        """
        own, asked = self.bench.cell.identity(), cell.identity()
        differ = [name for name in asked if name != "roi" and own.get(name) != asked[name]]
        if differ:
            raise ValueError(f"This network was set up on another cell: {', '.join(differ)} differ; set it up again.")
        return dataclasses.replace(self.bench.beside(cell.scene.roi), cell=cell)
