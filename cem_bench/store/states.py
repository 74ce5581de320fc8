"""How far each cell of a sweep is: one small file per cell, written by whoever measures it. No torch.

A sweep's leader, its workers, a launcher's jobs and `status` agree through these files alone: nothing is read from a
job's return, so a job that dies, a launcher that hides failures, and another machine all look the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cem_bench.store.files import write_atomically
from cem_bench.store.leases import holder_of, lease

# the sweep that a process works for, as SECONDS@NAME: set by its leader, and inherited by workers and jobs
SWEEP = "CEM_BENCH_SWEEP"
OF_SLURM = "SLURM_ARRAY_JOB_ID"  # the same for all tasks of an array, and when one is requeued


@dataclass(frozen=True)
class State:
    """How far a cell is.

    Attributes:
        overrides: its command line.
        sweep: name of the turn of a sweep that measured it last; "" where it was measured by itself.
        begun: when its worker was free for it, seconds since the epoch.
        ended: when its worker was free again; None while it is measured, or after its worker died.
        new_draws: that were made for it; 0 where all was stored already.
        failed: whether it could not be measured.
    """

    overrides: tuple[str, ...]
    sweep: str
    begun: float
    ended: float | None = None
    new_draws: int = 0
    failed: bool = False

    @property
    def seconds(self) -> float | None:
        """What the cell cost its worker, all in all; None where nothing was measured anew, or it has not ended."""
        return self.ended - self.begun if self.ended is not None and self.new_draws else None


@dataclass(frozen=True)
class Turn:
    """One run of a sweep.

    Attributes:
        name: the same for all its workers.
        since: when it began here, seconds since the epoch.
    """

    name: str
    since: float

    def tried(self, state: State | None) -> bool:
        """Say whether a cell was measured, or failed, in this turn: then it is not to be tried again."""
        if state is None or state.ended is None:
            return False
        return state.sweep == self.name or state.ended >= self.since


@contextmanager
def turn_begun() -> Iterator[Turn]:
    """Begin a turn of a sweep, or take part in that of this process's leader, until the block ends."""
    turn = current_turn()
    if turn is not None:
        yield turn
        return
    name = os.environ.get(OF_SLURM) or f"{socket.gethostname()}-{os.getpid()}-{time.time():.6f}"
    os.environ[SWEEP] = f"{time.time():.6f}@{name}"
    try:
        yield turn_of(os.environ[SWEEP])
    finally:
        del os.environ[SWEEP]


def current_turn() -> Turn | None:
    """Return the turn that this process works for; None where it measures a cell by itself."""
    return turn_of(os.environ[SWEEP]) if SWEEP in os.environ else None


def turn_of(text: str) -> Turn:
    """Read SECONDS@NAME.

    Raises:
        ValueError: if it is something else.
    """
    since, _, name = text.partition("@")
    try:
        return Turn(name, float(since))
    except ValueError:
        raise ValueError(
            f"{SWEEP}={text!r}: expected SECONDS@NAME, as a sweep sets it for its workers; unset it."
        ) from None


def state_name(overrides: Iterable[str]) -> str:
    """Return what the files of a cell are called, by its overrides in any order."""
    return hashlib.sha256("\n".join(sorted(overrides)).encode()).hexdigest()[:16]


def write_state(output: Path, state: State) -> None:
    """Keep how far a cell is, in place of what was known before."""
    content = asdict(state) | {"overrides": list(state.overrides)}
    path = _folder(output) / f"{state_name(state.overrides)}.json"
    # a state that a power cut takes away costs a look at the store, no draw
    write_atomically(path, (json.dumps(content) + "\n").encode(), durable=False)


def read_state(output: Path, name: str) -> State | None:
    """Return how far a cell is, by its name; None where nobody has begun it, or the file is none of ours."""
    try:
        content = json.loads((_folder(output) / f"{name}.json").read_bytes())
        ended = content["ended"]
        times = float(content["begun"]), None if ended is None else float(ended)
        numbers = int(content["new_draws"]), bool(content["failed"])
        state = State(tuple(map(str, content["overrides"])), str(content["sweep"]), *times, *numbers)
        return state if all(0 <= time < math.inf for time in times if time is not None) else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def all_states(output: Path) -> Iterator[State]:
    """Yield how far every cell is that anybody began in this folder."""
    for path in sorted(_folder(output).glob("*.json")):
        if (state := read_state(output, path.stem)) is not None:
            yield state


@contextmanager
def claimed_cell(output: Path, overrides: Sequence[str], *, wait: bool) -> Iterator[None]:
    """Hold a cell of a sweep against its other workers, before anything of it is loaded.

    Raises:
        BusyError: if another process holds it and `wait` is false.
    """
    with lease(_claim(output, state_name(overrides)), wait=wait, of=" ".join(overrides)):
        yield


def is_held(output: Path, name: str) -> bool:
    """Say whether a living process measures a cell."""
    return bool(holder_of(_claim(output, name)))


def _claim(output: Path, name: str) -> Path:
    return _folder(output) / f"{name}.lease"


def _folder(output: Path) -> Path:
    return output / "store" / "cells"
