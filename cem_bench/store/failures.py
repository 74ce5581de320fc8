"""Cells that failed: one small file each, so that any process or machine can say what is left to mend."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cem_bench.store.draws import write_atomically


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
    contents = [json.loads(path.read_text()) for path in (output / "store" / "failures").glob("*.json")]
    failures = [Failure(tuple(entry["overrides"]), entry["error"], entry["at"]) for entry in contents]
    return sorted((failure for failure in failures if failure.at >= start), key=lambda failure: failure.at)


def _path(output: Path, overrides: Sequence[str]) -> Path:
    name = hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:16]
    return output / "store" / "failures" / f"{name}.json"
