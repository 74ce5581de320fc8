"""Run every experiment of the paper from nothing, or go on from what is stored; say beforehand what it will take.

    python scripts/reproduce.py            # look at the plan, then run
    python scripts/reproduce.py --plan     # only the plan

Stop it at any time; the same command goes on where it stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from cem_bench.__main__ import run_parts
from cem_bench.run.build import CONF, register, wanted, why_no_model, why_no_scene
from cem_bench.run.sweep import Sweep, included, plan

OUTPUT = Path("results")
GUESS_SECONDS = 60.0  # a cell of a model that no table of the experiment holds


def not_stored(experiment: str, cells: list[dict[str, str]], output: Path) -> list[dict[str, str]]:
    """Return those cells of an experiment that the store does not hold."""
    done = {path.stem for path in (output / "store" / "experiments" / experiment).glob("*.json")}
    return [cell for cell in cells if ",".join(f"{key}={cell[key]}" for key in sorted(cell)) not in done]


def seconds_a_cell(experiment: str, output: Path) -> dict[str, float]:
    """Return the mean seconds of a cell by model, as the experiment's table has them, on whichever machine."""
    path = output / experiment / "cells.csv"
    if not path.is_file():
        return {}
    table = pd.read_csv(path, usecols=lambda column: column in ("model", "seconds"))
    return table.groupby("model")["seconds"].mean().dropna().to_dict() if "seconds" in table else {}


def named(key: str, values: list[str]) -> str:
    """Return values by name where they are few, else how many they are: a sweep lists them all at its start."""
    return ", ".join(values) if len(values) <= 6 else f"{len(values)} {key}s"


def line(name: str, sweep: Sweep, output: Path) -> tuple[str, float]:
    """Return a line on one experiment and the seconds it still takes.

    Args:
        name: of its file.
        sweep: what it asks for.
        output: folder of the results.
    """
    cells = wanted(sweep)
    left = not_stored(sweep.experiment, cells, output)
    known = seconds_a_cell(sweep.experiment, output)
    seconds = sum(known.get(cell["model"], GUESS_SECONDS) for cell in left)
    absent = ", ".join(named(key, list(reasons)) for key, reasons in sweep.missing.items())
    words = f"{name:20} {len(cells):4} cells, {len(left):4} to measure, about {seconds / 60:6.1f} min"
    return words + (f"; not on this machine: {absent}" if absent else ""), seconds


def main() -> None:
    """Print the plan, then run it."""
    register()
    names = included(CONF, ["+experiment=paper"])
    asking = {"model": why_no_model, "scene": why_no_scene}
    sweeps = {name: sweep for name in names if (sweep := plan(CONF, [f"+experiment={name}"], asking))}
    total = 0.0
    for name, sweep in sweeps.items():
        words, seconds = line(name, sweep, OUTPUT)
        total += seconds
        print(words)
    print(
        f"about {total / 60:.0f} minutes in all: a cell as long as the tables in {OUTPUT} say it took where they were "
        f"measured, {GUESS_SECONDS:.0f} s where they do not know the model"
    )
    if "--plan" not in sys.argv[1:]:
        sys.exit(run_parts(names, []))


if __name__ == "__main__":
    main()
