"""Run every experiment of the paper from nothing, or go on from what is stored; say beforehand what it will take."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cem_bench.run.build import register, wanted, why_no_scene
from cem_bench.run.launch import run_parts
from cem_bench.run.networks import why_no_model
from cem_bench.run.sweep import Sweep, included, plan

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
    means = table.groupby("model")["seconds"].mean().dropna() if "seconds" in table else pd.Series(dtype=float)
    return {str(name): float(value) for name, value in means.items()}


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


def reproduce_all(output: Path, *, plan_only: bool) -> int:
    """Print what every experiment will take, then run them; stopped at any time, the same call goes on.

    Args:
        output: folder of the results.
        plan_only: print only.

    Returns:
        The exit code.
    """
    register()
    names = included(["+experiment=paper"])
    asking = {"model": why_no_model, "scene": why_no_scene}
    sweeps = {name: sweep for name in names if (sweep := plan([f"+experiment={name}"], asking))}
    total = 0.0
    for name, sweep in sweeps.items():
        words, seconds = line(name, sweep, output)
        total += seconds
        print(words)
    print(
        f"about {total / 60:.0f} minutes in all: a cell as long as the tables in {output} say it took where they were "
        f"measured, {GUESS_SECONDS:.0f} s where they do not know the model"
    )
    return 0 if plan_only else run_parts(names, [f"output={output}"])
