"""Whether the tables of a report are those that the stored draws give."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from cem_bench.report.earlier import CELL, read_table
from cem_bench.report.experiment import Experiment, read_experiment
from cem_bench.store.manifest import Damage

TOLERANCE = 1e-6  # relative and absolute; tables have nine digits


def table_damage(name: str, output: Path) -> tuple[int, list[Damage]]:
    """Compare `cells.csv` of an experiment with the table that its stored draws give.

    Args:
        name: of the experiment.
        output: folder of the results.

    Returns:
        How many of the table's rows have draws here and were compared, and a line for each that differs.

    Raises:
        FileNotFoundError: if there is no such experiment or no stored cell of it.
    """
    path = output / name / "cells.csv"
    if not path.is_file():
        return 0, []
    experiment = read_experiment(name, output)
    written = read_table(path).set_index(CELL)
    made = _as_written(experiment)
    here = [key for key in made.index if key in written.index]
    damage = [Damage(path, f"lacks the row {', '.join(map(str, key))}") for key in made.index.difference(here)]
    for key in here:
        differing = _differing(written.loc[key], made.loc[key])
        if differing:
            damage.append(Damage(path, f"row {', '.join(map(str, key))} differs from the draws in {differing}"))
    return len(here), damage


def _as_written(experiment: Experiment) -> pd.DataFrame:
    """Return the rows of the cells whose draws are here, through the file's format."""
    text = experiment.table.to_csv(index=False, float_format="%.9g")
    names = dict.fromkeys(("image", "variant", "model", "scene", "global_statistics", "commit", "run_key"), str)
    table = pd.read_csv(io.StringIO(text), dtype=names).fillna({"variant": "", "global_statistics": ""})
    keys = {cell.entry["key"][:16] for cell in experiment.cells}
    if "run_key" in table:
        table = table[[str(key)[:16] in keys for key in table["run_key"]]]
    return table.set_index(CELL)


def _differing(written: pd.Series, made: pd.Series) -> str:
    """Return the columns in which two rows differ, with both values."""
    parts = []
    for column in made.index.intersection(written.index):
        before, now = written[column], made[column]
        if isinstance(now, float | int | np.number) and isinstance(before, float | int | np.number):
            same = bool(np.isclose(float(before), float(now), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
        else:
            same = str(before) == str(now)
        if not same:
            parts.append(f"{column} ({before} there, {now} here)")
    return ", ".join(parts)
