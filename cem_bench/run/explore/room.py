"""The explorer's workbench: at most two networks on one photograph, and one thing done at a time, in one thread."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.drawing import Drawing
from cem_bench.measuring.measure import measure
from cem_bench.measuring.measurement import Measurement
from cem_bench.measuring.ready import Ready
from cem_bench.run.explore import views
from cem_bench.run.explore.choices import Choice
from cem_bench.run.explore.rough import RoughFirst
from cem_bench.run.job import line_of
from cem_bench.sampling.rules import Effects

PATIENCE_S = 60.0  # without a sign of the page, until a measurement ends
LEAST_S = 0.4  # between two maps that are sent
SHARE = 0.1  # of the time that maps on the way may take
log = logging.getLogger(__name__)


class StopAsked(Exception):
    """The reader pressed stop, clicked elsewhere, or closed the page."""


@dataclass
class Side:
    """One network on the photograph.

    Attributes:
        choice: what was chosen.
        ready: set up on the photograph.
        drawing: of the ROI that was clicked last; None before the first click.
        measured: what it came to, once it is proven.
        map: as it is sent to the page.
        status: (rows, columns) int8 of that map.
        effects: draws that count in that map.
    """

    choice: Choice
    ready: Ready
    drawing: Drawing | None = None
    measured: Measurement | None = None
    map: Mapping[str, Any] | None = None
    status: np.ndarray | None = None
    effects: Mapping[int, Effects] = field(default_factory=dict)

    @property
    def cell(self) -> Cell:
        """The cell of the ROI that was clicked last."""
        return self.ready.bench.cell if self.drawing is None else self.drawing.bench.cell


class Room:
    """What the page looks into.

    Attributes:
        sides: the networks, the first one first.
        version: counts what changed, so that the page asks for maps only when there are new ones.
        set_up_number: counts the set-ups, so that the page knows other networks from those that it shows.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.sides: list[Side] = []
        self.version = 0
        self.set_up_number = 0
        self.seen = time.monotonic()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="explorer")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._stage: dict[str, Any] = {"busy": False, "text": "", "error": "", "done": 0, "known": 0, "left_s": None}

    def begin(self, what: str, work: Callable[[threading.Event], str]) -> None:
        """Do a piece of work in the background; what is at hand is stopped first, and what it drew is kept.

        Args:
            what: is being done, for the page.
            work: takes the event that asks it to stop; returns what to say at the end.
        """
        with self._lock:
            self._stop.set()
            self._stop = stop = threading.Event()
            self._say(busy=True, text=what, error="", done=0, known=0, left_s=None)
        self._worker.submit(self._run, work, stop)

    def stop(self) -> None:
        """Ask the work at hand to end."""
        self._stop.set()

    def state(self, version: int) -> dict[str, Any]:
        """Return what is going on, with the maps if they changed since a version."""
        self.seen = time.monotonic()
        answer = {**self._stage, "version": self.version}
        if version != self.version:
            answer["set_up"] = self.set_up_number if self.sides else 0
            answer["maps"] = [side.map for side in self.sides]
            answer["difference"] = self._difference()
            answer["commands"] = [side.choice.command for side in self.sides]
            answer["decided"] = [side.measured is not None for side in self.sides]
        return answer

    def free(self) -> None:
        """Refuse where work is at hand.

        Raises:
            ValueError: saying what to do.
        """
        if self._stage["busy"]:
            raise ValueError(f"Still at work ({self._stage['text']}): wait for the end, or press stop.")

    def side(self, number: int) -> Side:
        """Return a network by its place.

        Raises:
            ValueError: if there is none yet.
        """
        if not 0 <= number < len(self.sides):
            raise ValueError("No network is set up yet: press 'set up' first.")
        return self.sides[number]

    def measure(self, roi: Rect) -> None:
        """Measure an ROI of the photograph under every network."""
        self.side(0)
        sides = self.sides
        for side in sides:
            side.drawing, side.measured, side.map, side.effects = None, None, None, {}
            side.choice = dataclasses.replace(side.choice, roi=roi)
        self.version += 1
        self.begin("measuring", lambda stop: self._measure(sides, stop))

    def set_up(self, choices: Sequence[Choice]) -> None:
        """Load networks and set them up on the photograph."""
        self.sides = []
        self.version += 1

        def work(stop: threading.Event) -> str:
            sides = []
            for choice in choices:
                self._say(text=f"setting up {choice.model}: loading, restoring, recording")
                sides.append(Side(choice, Ready.of(choice.cell())))
                _ask(stop)
            self.sides = sides
            self.set_up_number += 1
            self.version += 1
            return "Click a place in the photograph."

        self.begin("setting up", work)

    def _run(self, work: Callable[[threading.Event], str], stop: threading.Event) -> None:
        text, error = "", ""
        try:
            _ask(stop)
            text = work(stop)
        except StopAsked as asked:
            text = str(asked)
        except Exception as raised:
            log.debug("explorer", exc_info=True)
            error = line_of(raised)
        if stop is self._stop:  # else newer work speaks
            self._say(busy=False, text=text, error=error, left_s=None)
            self.version += 1

    def _say(self, **parts: Any) -> None:
        self._stage = {**self._stage, **parts}

    def _measure(self, sides: Sequence[Side], stop: threading.Event) -> str:
        for side in sides:
            self._measure_side(side, _at(side), stop)
        new = sum(side.measured.record["session"]["new_draws"] for side in sides if side.measured)
        return f"Done and proven: {new:,} new draws; all are kept under {self.output / 'store'}."

    def _measure_side(self, side: Side, cell: Cell, stop: threading.Event) -> None:
        cell = dataclasses.replace(cell, rule=RoughFirst(cell.sampling))
        begun, shown, cost, before = time.monotonic(), 0.0, 0.0, 0

        def watch(drawing: Drawing) -> None:
            nonlocal before
            side.drawing, before = drawing, len(drawing.store.rows)
            self._show(side)

        def progress(done: int, known: int, stage: str) -> None:
            nonlocal shown, cost
            _ask(stop)
            now = time.monotonic()
            if now - self.seen > PATIENCE_S:
                raise StopAsked("Stopped, since the page was closed; what was drawn is kept.")
            speed = (done - before) / max(now - begun, 1e-3) if stage == "drawing" else 0
            left = (known - done) / speed if speed > 0 else None
            self._say(text=f"{cell.model.name}: {stage}", done=done, known=known, left_s=left)
            if stage == "drawing" and now - shown > max(LEAST_S, cost / SHARE):
                self._show(side)
                shown, cost = time.monotonic(), time.monotonic() - now

        side.measured = measure(cell, self.output / "store", progress, wait=False, ready=side.ready, watch=watch)
        self._show(side)

    def _show(self, side: Side) -> None:
        """Make the map of the draws so far."""
        assert side.drawing is not None
        bench = side.drawing.bench
        side.effects, side.status = views.taken_of(side.drawing), bench.status()
        side.map = views.map_of(bench.cell, side.status, side.effects)
        self.version += 1

    def _difference(self) -> dict[str, Any] | None:
        if len(self.sides) < 2 or any(side.map is None for side in self.sides):
            return None
        first, second = ((side.cell, side.status, side.effects) for side in self.sides)
        return views.difference_of(first, second)  # pyright: ignore[reportArgumentType]


def _at(side: Side) -> Cell:
    """Return the cell of the ROI that was clicked, without reading network, photograph and donors again."""
    cell = side.ready.bench.cell
    assert side.choice.roi is not None
    return dataclasses.replace(cell, scene=dataclasses.replace(cell.scene, roi=side.choice.roi))


def _ask(stop: threading.Event) -> None:
    if stop.is_set():
        raise StopAsked("Stopped; what was drawn is kept, the same click goes on from there.")
