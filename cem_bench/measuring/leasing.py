"""The stores that measuring one cell writes to, each held against other processes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.sets import by_distance
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.joint import joint_store, refusal
from cem_bench.measuring.opened import store_of
from cem_bench.store.draws import Store
from cem_bench.store.leases import BusyError, lease
from cem_bench.store.manifest import run_key


@dataclass(frozen=True)
class Stores:
    """What one cell's forwards are kept in.

    Attributes:
        own: the cell's own store.
        beside: those of other ROIs on the same forwards; one that another process measures is not among them.
        joint: of sets of blocks that are replaced together; None where that is not asked for or cannot be.
    """

    own: Store
    beside: Mapping[Rect, Store]
    joint: Store | None = None


@contextmanager
def claimed(cell: Cell, root: Path | None, also: Sequence[Rect], *, wait: bool) -> Iterator[Stores]:
    """Hold the leases of a cell and of the ROIs beside it.

    Cells that share forwards also share a lease: two processes on them would divide their draws by chance, and so
    measure some in forwards of another size, which moves last bits.

    Raises:
        BusyError: if another process measures the cell and `wait` is false.
    """
    with ExitStack() as stack:
        if also and root is not None:
            shared = {name: value for name, value in cell.identity().items() if name != "roi"}
            stack.enter_context(lease(root / "groups" / run_key(shared)[:16], wait=wait))
        own = store_of(cell, root)
        stack.enter_context(own.claimed(wait=wait))
        beside = {}
        for roi in also:
            store = store_of(at_roi(cell, roi), root)
            with suppress(BusyError):
                stack.enter_context(store.claimed(wait=False))
                beside[roi] = store
        together = cell.options.joint and not refusal(cell)
        joint = joint_store(cell, root, by_distance(cell.scene.grid, cell.scene.roi)) if together else None
        if joint is not None:
            stack.enter_context(joint.claimed(wait=wait))
        yield Stores(own, beside, joint)


def at_roi(cell: Cell, roi: Rect) -> Cell:
    """Return the same cell with another ROI."""
    return dataclasses.replace(cell, scene=dataclasses.replace(cell.scene, roi=roi))
