"""Cells that failed: one small file each, so that any process or machine can say what is left to mend."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cem_bench.store.files import write_atomically
from cem_bench.store.states import state_name


@dataclass(frozen=True)
class Failure:
    """A cell that could not be measured.

    Attributes:
        overrides: its command line.
        error: one line, what went wrong and what to do.
        at: seconds since the epoch.
    """

    overrides: tuple[str, ...]
    error: str
    at: float

    @property
    def command(self) -> str:
        """What to paste to measure it again."""
        return shlex.join(["python", "-m", "cem_bench", *self.overrides])


def note_failure(output: Path, overrides: Sequence[str], error: str) -> None:
    """Keep a failure below `output`, in place of an older one of the same cell."""
    failure = Failure(tuple(overrides), error, time.time())
    write_atomically(_path(output, overrides), (json.dumps(asdict(failure), indent=1) + "\n").encode())


def clear_failure(output: Path, overrides: Sequence[str]) -> None:
    """Forget the failure of a cell that has been measured since."""
    _path(output, overrides).unlink(missing_ok=True)


def failures_since(output: Path, start: float) -> list[Failure]:
    """Return the failures noted since a time (seconds since the epoch), oldest first."""
    failures = []
    for path in (output / "store" / "failures").glob("*.json"):
        try:
            entry = json.loads(path.read_bytes())
            failures.append(Failure(tuple(map(str, entry["overrides"])), str(entry["error"]), float(entry["at"])))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # taken away meanwhile, or no file of ours
            continue
    return sorted((failure for failure in failures if failure.at >= start), key=lambda failure: failure.at)


def _path(output: Path, overrides: Sequence[str]) -> Path:
    return output / "store" / "failures" / f"{state_name(overrides)}.json"
