"""Run every experiment of the paper from nothing, or go on from what is stored; say beforehand what it will take.

    python scripts/reproduce.py            # look at the plan, then run
    python scripts/reproduce.py --plan     # only the plan

Stop it at any time; the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

from cem_bench.__main__ import run_parts
from cem_bench.sweep import Sweep, included, plan
from cem_bench.wiring import CONF, register, why_no_model, why_no_scene

OUTPUT = Path("results")
GUESS_SECONDS = 60.0  # a cell of a model that was never measured on this machine


def stored(experiment: str) -> dict[tuple[str, str], float]:
    """Return the seconds of every stored cell of an experiment by model and entry."""
    folder = OUTPUT / "store" / "experiments" / experiment
    entries = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    return {(entry["model"], name): entry["session"]["seconds"] for name, entry in entries.items()}


def line(name: str, sweep: Sweep, seen: dict[tuple[str, str], float],
         known: dict[str, float]) -> tuple[str, float]:
    """Return a line on one experiment and the seconds it still takes.

    Args:
        name: of its file.
        sweep: what it asks for.
        seen: its stored cells.
        known: median seconds of a cell by model.
    """
    done = {name for _, name in seen}
    left = [cell for cell in sweep.cells if ",".join(f"{key}={cell[key]}" for key in sorted(cell)) not in done]
    seconds = sum(known.get(cell["model"], GUESS_SECONDS) for cell in left)
    absent = ", ".join(value for reasons in sweep.missing.values() for value in reasons)
    words = f"{name:20} {len(sweep.cells):4} cells, {len(left):4} to measure, about {seconds / 60:6.1f} min"
    return words + (f"; not on this machine: {absent}" if absent else ""), seconds


def main() -> None:
    """Print the plan, then run it."""
    register()
    names = included(CONF, ["+experiment=paper"])
    asking = {"model": why_no_model, "scene": why_no_scene}
    sweeps = {name: sweep for name in names if (sweep := plan(CONF, [f"+experiment={name}"], asking))}
    cells = {sweep.experiment: stored(sweep.experiment) for sweep in sweeps.values()}
    by_model: dict[str, list[float]] = {}
    for part in cells.values():
        for (model, _), seconds in part.items():
            by_model.setdefault(model, []).append(seconds)
    known = {model: median(seconds) for model, seconds in by_model.items()}
    total = 0.0
    for name, sweep in sweeps.items():
        words, seconds = line(name, sweep, cells[sweep.experiment], known)
        total += seconds
        print(words)
    print(f"about {total / 60:.0f} minutes in all on this machine (60 s a cell assumed for models never measured here)")
    if "--plan" not in sys.argv[1:]:
        sys.exit(run_parts(names, []))


if __name__ == "__main__":
    main()
