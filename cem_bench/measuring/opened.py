"""Where the draws of a cell are kept: in a folder, or in memory."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cem_bench.measuring.cell import Cell
from cem_bench.store.draws import Limits, Store, run_key
from cem_bench.store.in_memory import MemoryStore

log = logging.getLogger(__name__)
REMEDY = "give it a name of your own, as_model(..., identity='mine-1') or model.identity=mine-1"


def store_of(cell: Cell, root: Path | None, kind: str = "draws", **more: Any) -> Store:
    """Return the store of a cell.

    Args:
        cell: what is measured.
        root: folder of all runs; None to keep nothing on disk.
        kind: `draws` or `matrix`.
        more: what goes into the run key beside the cell's identity.

    Returns:
        A store in the folder. In memory where there is none, or where it cannot be seen what the model computes: then
        nothing on disk can be known to be its own, and what this process measures of it is found again here alone.
    """
    identity = {**cell.identity(), **more}
    if root is None:
        return MemoryStore(Path(), identity, kind, limits_of(cell))
    if not is_unseen(identity):
        return Store(root, identity, kind, limits_of(cell))
    stores, key = cell.model.sight.stores, run_key(identity)
    if not stores:
        log.warning(
            "cem_bench: what %s computes cannot be seen (%s): its draws live in this process alone; %s to keep them.",
            *(cell.model.name, cell.model.unseen(), REMEDY),
        )
    return stores.setdefault(key, MemoryStore(Path(), identity, kind, limits_of(cell)))


def record_of(store: Store) -> Mapping[str, Any]:
    """Return the record of the session before; empty where there is none."""
    if isinstance(store, MemoryStore):
        return store.record
    path = store.folder / "record.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def is_unseen(identity: Mapping[str, Any]) -> bool:
    """Say whether an identity stands for an object of this process only."""
    return "process" in identity


def limits_of(cell: Cell) -> Limits:
    """Return the largest values that the rows of a cell's store can have."""
    return Limits(len(cell.scene.grid), len(cell.pool))
