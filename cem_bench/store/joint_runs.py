"""Joint draws as they lie in the store, beside the map whose blocks they replace together. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cem_bench.inputs.sets import BlockSets, by_distance, listed
from cem_bench.stats.interaction import Joint, interaction
from cem_bench.stats.verdicts import NEGATIVE, POSITIVE
from cem_bench.store import maps
from cem_bench.store.cells import StoredCell
from cem_bench.store.draws import effects_by_block, read_rows, run_key
from cem_bench.store.manifest import DamagedError, content_of, read_identity

VERDICTS = {"blocks that help": POSITIVE, "blocks that harm": NEGATIVE}


def joint_identity(identity: Mapping[str, Any], sets: BlockSets) -> dict[str, Any]:
    """Return what the key of joint draws hashes: the map's identity and what the sets are."""
    return {**identity, "joint": dict(sets.spec)}


def base_key(identity: Mapping[str, Any]) -> str:
    """Return the key of the map that joint draws belong to; "" of what are no joint draws of sets."""
    spec = identity.get("joint", {})
    if not ("sets" in spec or "blocks" in spec):
        return ""
    return run_key({name: value for name, value in identity.items() if name != "joint"})


def sets_of(cell: StoredCell) -> list[BlockSets]:
    """Return the sets whose joint effects are told of a cell: by distance, and by the verdicts of its map.

    Blocks chosen by their verdict are replaced by donors of later draws than those that chose them: else the draws that
    made a block look helpful would count for it twice.
    """
    table = cell.table
    by_verdict = [(name, table.block[table.verdict == code].tolist()) for name, code in VERDICTS.items()]
    chosen = [listed(name, blocks, cell.looked_at) for name, blocks in by_verdict if blocks]
    return [by_distance(cell.grid, cell.roi), *chosen]


def joint_rows(cell: StoredCell) -> list[dict[str, Any]]:
    """Return the joint effects of a cell, one row per set that was drawn or provably has none.

    Returns:
        `set`, `blocks`, `draws` and the numbers of `stats.interaction.Joint`, in the outcome's unit. Of blocks chosen
        by their verdict the sum of singles is left out: the draws that chose them made it too large.
    """
    rows, identity = [], read_identity(cell.folder)
    unreachable = set(np.flatnonzero(cell.status.ravel() == maps.UNREACHABLE).tolist())
    for sets in sets_of(cell):
        folder = cell.folder.parent / run_key(joint_identity(identity, sets))[:16]
        if content_of(folder / "identity.json") is None:
            continue
        drawn = effects_by_block(read_rows(folder), range(len(sets.blocks)), cell.entry["outcome"])
        for place, (name, blocks) in enumerate(sets.blocks.items()):
            none = unreachable.issuperset(blocks)
            if not none and not len(drawn[place]):
                continue
            joint = _joint(cell, None if none else drawn[place], blocks, chosen=sets.first > 0)
            rows.append({"set": name, "blocks": len(blocks), "draws": len(drawn[place]), **joint})
    return rows


def _joint(cell: StoredCell, draws: np.ndarray | None, blocks: tuple[int, ...], *, chosen: bool) -> dict[str, float]:
    singles = {} if chosen else {block: cell.effects[block] for block in blocks if block in cell.effects}
    numbers: Joint = interaction(draws, singles)
    known = {name: value if np.isfinite(value) else np.nan for name, value in numbers.named().items()}
    return {name: np.nan if chosen and not name.startswith("effect") else value for name, value in known.items()}


def joint_folders(store: Path) -> dict[str, list[Path]]:
    """Return the folders of joint draws in a store, by the folder name of the map that they belong to.

    Those whose identity does not hold are under "".
    """
    folders: dict[str, list[Path]] = {}
    for path in sorted(store.glob("*/identity.json")):
        if b'"joint"' not in path.read_bytes():
            continue
        try:
            key = base_key(read_identity(path.parent))
        except DamagedError:
            folders.setdefault("", []).append(path.parent)
            continue
        if key:
            folders.setdefault(key[:16], []).append(path.parent)
    return folders
