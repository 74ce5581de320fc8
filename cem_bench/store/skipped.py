"""Cells that a sweep skipped because another process was measuring them: one small file each, to come back to."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from cem_bench.store.files import write_atomically


def note_skipped(output: Path, overrides: Sequence[str]) -> None:
    """Keep below `output` that a cell is to be come back to."""
    content = {"overrides": list(overrides), "at": time.time()}
    write_atomically(_path(output, overrides), (json.dumps(content) + "\n").encode())


def clear_skipped(output: Path, overrides: Sequence[str]) -> None:
    """Forget a cell that has been measured since."""
    _path(output, overrides).unlink(missing_ok=True)


def skipped_since(output: Path, start: float) -> list[list[str]]:
    """Return the overrides of the cells skipped since a time (seconds since the epoch), oldest first."""
    skipped = []
    for path in (output / "store" / "skipped").glob("*.json"):
        try:
            content = json.loads(path.read_bytes())
            skipped.append((float(content["at"]), list(map(str, content["overrides"]))))
        except (OSError, ValueError, TypeError, KeyError):  # taken away by another sweep meanwhile, or no file of ours
            continue
    return [overrides for at, overrides in sorted(skipped) if at >= start]


def _path(output: Path, overrides: Sequence[str]) -> Path:
    name = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:16]
    return output / "store" / "skipped" / f"{name}.json"
