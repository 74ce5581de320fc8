"""How far a sweep is, read from the store alone: any process or machine that sees the folder can ask."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cem_bench.store.entries import entry_stem
from cem_bench.store.failures import Failure, failures_since
from cem_bench.store.files import inside
from cem_bench.store.folder import LEASE
from cem_bench.store.leases import holder_of


@dataclass(frozen=True)
class Status:
    """How far a sweep is.

    Attributes:
        planned: number of its cells.
        done: number of them that are stored.
        running: model and holder of every run of the store that is being measured, of this sweep or another.
        failed: cells that failed since they were last measured.
        eta_s: seconds until the rest is done by as many workers as run now; None before a cell's cost is known.
    """

    planned: int
    done: int
    running: tuple[str, ...]
    failed: tuple[Failure, ...]
    eta_s: float | None


def status(output: Path, experiment: str, cells: Sequence[dict[str, str]]) -> Status:
    """Read how far an experiment's cells are.

    Args:
        output: folder of the results.
        experiment: its name.
        cells: that are planned, as key to value.
    """
    folder = inside(output / "store" / "experiments", experiment)
    stems = [entry_stem(cell) for cell in cells]
    entries = {path.stem: _seconds(path) for path in folder.glob("*.json")}
    failed = [f for f in failures_since(output, 0.0) if f"+experiment={experiment}" in f.overrides]
    running = [
        f"{identity.get('model', path.parent.name)}: {holder}"
        for path in sorted((output / "store").glob(f"*/{LEASE}"))
        # who measures a map also holds its joint draws
        if (holder := holder_of(path)) and "joint" not in (identity := _identity(path.parent))
    ]
    left = [cell["model"] for cell, stem in zip(cells, stems, strict=True) if stem not in entries]
    costs: dict[str, list[float]] = {}
    for cell, stem in zip(cells, stems, strict=True):
        if (seconds := entries.get(stem)) is not None:
            costs.setdefault(cell["model"], []).append(seconds)
    done = sum(stem in entries for stem in stems)
    return Status(len(cells), done, tuple(running), tuple(failed), _eta(left, costs, max(1, len(running))))


def _eta(left: Sequence[str], costs: dict[str, list[float]], workers: int) -> float | None:
    """Return the seconds that cells of these models take; one without a cost takes what the others do on average."""
    means = {model: sum(values) / len(values) for model, values in costs.items()}
    if not left or not means:
        return None if left else 0.0
    usual = sum(means.values()) / len(means)
    return sum(means.get(model, usual) for model in left) / workers


def _seconds(path: Path) -> float | None:
    """Return what measuring a cell took; None where nothing was measured anew, or nothing can be read."""
    try:
        session = json.loads(path.read_bytes())["session"]
        return float(session["seconds"]) if session["new_draws"] else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _identity(folder: Path) -> dict[str, Any]:
    try:
        identity = json.loads((folder / "identity.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return identity if isinstance(identity, dict) else {}
