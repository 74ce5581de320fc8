"""How far a sweep is, read from the store alone: any process or machine that sees the folder can ask."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cem_bench.store.entries import HOW, as_choices, entry_stem
from cem_bench.store.failures import Failure, failures_since
from cem_bench.store.files import inside
from cem_bench.store.folder import LEASE
from cem_bench.store.leases import holder_of
from cem_bench.store.states import State, Turn, all_states, is_held, read_state, state_name

POLL_SECONDS = 2.0
LEAST_LEFT = 0.1  # of its cost that a cell which takes longer than foretold still takes


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


@dataclass(frozen=True)
class Timing:
    """What is known of a cell's time.

    Attributes:
        choices: that make the cell, by key.
        seconds: it cost; None where it was not measured anew.
        ended: whether nothing of it is left to do.
        spent: seconds on it so far, where it is being measured.
    """

    choices: Mapping[str, str]
    seconds: float | None = None
    ended: bool = False
    spent: float = 0.0


def eta_s(timings: Sequence[Timing], workers: int) -> float | None:
    """Return the seconds until all cells have ended.

    A cell takes what those with the same choices but scene and seed took on average, else those of the same model, else
    all models' average.

    Args:
        timings: of every cell of the sweep.
        workers: that measure it.

    Returns:
        Seconds; None before any cell's cost is known.
    """
    costs: dict[object, list[float]] = {}
    for timing in timings:
        if timing.seconds is not None:
            for group in _groups(timing.choices):
                costs.setdefault(group, []).append(timing.seconds)
    means = {group: sum(values) / len(values) for group, values in costs.items()}
    models = [mean for group, mean in means.items() if isinstance(group, str)]
    left = [timing for timing in timings if not timing.ended]
    if not left or not models:
        return None if left else 0.0
    usual = sum(models) / len(models)
    known = [next((means[group] for group in _groups(item.choices) if group in means), usual) for item in left]
    rest = [max(cost - item.spent, LEAST_LEFT * cost) for cost, item in zip(known, left, strict=True)]
    return max(sum(rest) / workers, *rest)


def _groups(choices: Mapping[str, str]) -> tuple[object, str]:
    rest = {key: value for key, value in choices.items() if key.split(".")[0] not in ("scene", "seed")}
    return tuple(sorted(rest.items())), choices.get("model", "")


def status(output: Path, experiment: str, cells: Sequence[dict[str, str]]) -> Status:
    """Read how far an experiment's cells are.

    Args:
        output: folder of the results.
        experiment: its name.
        cells: that are planned, as key to value.
    """
    folder = inside(output / "store" / "experiments", experiment)
    entries = {path.stem: _seconds(path) for path in folder.glob("*.json")}
    states = {}
    for state in all_states(output):
        choices = as_choices(state.overrides)
        if choices.get("experiment") == experiment:
            states[entry_stem(choices)] = state
    failed = [f for f in failures_since(output, 0.0) if f"+experiment={experiment}" in f.overrides]
    running = [
        f"{identity.get('model', path.parent.name)}: {holder}"
        for path in sorted((output / "store").glob(f"*/{LEASE}"))
        # who measures a map also holds its joint draws
        if (holder := holder_of(path)) and "joint" not in (identity := _identity(path.parent))
    ]
    timings = []
    for cell in cells:
        stem = entry_stem(cell)
        timing = _timing(cell, states.get(stem), output, ended=stem in entries)
        if timing.seconds is None and stem in entries:  # measured by a version that kept no states
            timing = Timing(cell, entries[stem], ended=True)
        timings.append(timing)
    done = sum(entry_stem(cell) in entries for cell in cells)
    return Status(len(cells), done, tuple(running), tuple(failed), eta_s(timings, max(1, len(running))))


def _timing(cell: Mapping[str, str], state: State | None, output: Path, *, ended: bool) -> Timing:
    if state is None:
        return Timing(cell, ended=ended)
    held = state.ended is None and is_held(output, state_name(state.overrides))
    return Timing(cell, state.seconds, ended, max(0.0, time.time() - state.begun) if held else 0.0)


def _seconds(path: Path) -> float | None:
    """Return what measuring a cell took; None where nothing was measured anew, or nothing can be read."""
    try:
        session = json.loads(path.read_bytes())["session"]
        seconds = float(session["seconds"])
        return seconds if session["new_draws"] and 0 <= seconds < math.inf else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _identity(folder: Path) -> dict[str, Any]:
    try:
        identity = json.loads((folder / "identity.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return identity if isinstance(identity, dict) else {}


class Turnout:
    """The cells of one turn of a sweep, as the store shows them; what has ended is not read again.

    Args:
        output: folder of the results.
        planned: overrides of every cell.
        turn: of the sweep.
    """

    def __init__(self, output: Path, planned: Sequence[Sequence[str]], turn: Turn) -> None:
        self.output, self.turn = output, turn
        self.left = {state_name(overrides): tuple(overrides) for overrides in planned}
        self.total = len(self.left)
        self.timings = {name: Timing(_cost_choices(overrides)) for name, overrides in self.left.items()}
        self.failed: list[str] = []

    def read(self) -> None:
        """Read how far the cells are that had not ended."""
        for name in list(self.left):
            state = read_state(self.output, name)
            ended = self.turn.tried(state)
            choices = self.timings[name].choices
            self.timings[name] = _timing(choices, state, self.output, ended=ended)
            if ended and state is not None:
                del self.left[name]
                self.failed += [name] * state.failed

    def eta_s(self, workers: int) -> float | None:
        """Return the seconds that are left, see `eta_s`."""
        return eta_s(list(self.timings.values()), workers)


def _cost_choices(overrides: Sequence[str]) -> dict[str, str]:
    return {
        key: value for key, value in as_choices(overrides).items() if key.split(".")[0] not in HOW or key == "sampling"
    }


@contextmanager
def followed(turnout: Turnout, workers: int) -> Iterator[None]:
    """Show how far a sweep is until the block ends: cells done and failed, and the time that is left."""
    over = threading.Event()
    form = "{desc}: {n_fmt} of {total_fmt} cells |{bar}| {elapsed}{postfix}"
    with tqdm(total=turnout.total, desc="sweep", bar_format=form, dynamic_ncols=True, leave=False, disable=None) as bar:

        def follow() -> None:
            while not over.wait(POLL_SECONDS):
                turnout.read()
                left = turnout.eta_s(workers)
                words = ["" if left is None else f"about {left / 60:.1f} min left"]
                words += [f"{len(turnout.failed)} failed"] * bool(turnout.failed)
                bar.set_postfix_str(", ".join(filter(None, words)), refresh=False)
                bar.n = turnout.total - len(turnout.left)
                bar.refresh()

        thread = threading.Thread(target=follow, name="sweep", daemon=True)
        if not bar.disable:  # on a terminal: elsewhere a line per cell tells
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.is_alive():
                thread.join()
