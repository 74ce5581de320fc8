"""The looks of networks in plots: the same title, colour and marker on every page, at most eight in one panel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cem_bench.figures.style import WIDTH
from cem_bench.inputs.degradations import facts_of_task

MOST = 8  # series in a panel: more hues cannot be told apart
MARKERS = "osD^vPX*p<>hd8"
Look = dict[str, Any]


def network_of(model: str) -> str:
    """Return the network that a model is a training of: its name without the number of the seed."""
    return re.sub(r"_seed\d+(?=$| )", "", model)


def title_of(model: str) -> str:
    """Return what a network is called in a figure."""
    network = network_of(model)
    known = _table()["networks"].get(network)
    return known["title"] if known else network.replace("_", " ")


def training_of(model: str) -> str:
    """Return which training of a network a model is, for a figure that shows several; "" for the only or first one."""
    number = re.search(r"_seed(\d+)(?=$| )", model)
    return f"training {number[1]}" if number else ""


def task_of(task: str) -> str:
    """Return what a task is called in a figure."""
    facts = facts_of_task(task)
    return facts.title if facts.task == task else task


def looks_of(models: Sequence[str]) -> dict[str, Look]:
    """Return colour and marker of every model of one panel: those of the table, else the first that are free.

    Args:
        models: names of models or settings, any number of trainings of at most `MOST` networks. More than that repeat
            colours with other markers.
    """
    table, names = _table(), list(dict.fromkeys(network_of(model) for model in models))
    looks: dict[str, Look] = {}
    for name in sorted(names, key=lambda name: name not in table["networks"]):
        known = table["networks"].get(name, {})
        taken = {look["color"] for look in looks.values()}
        wanted = [table["colours"][known["colour"]]] if known else []
        free = [colour for colour in (*wanted, *table["colours"]) if colour not in taken]
        colour = free[0] if free else table["colours"][len(looks) % len(table["colours"])]
        looks[name] = {"color": colour, "marker": known.get("marker", MARKERS[len(looks) % len(MARKERS)])}
    return {model: looks[network_of(model)] for model in models}


def panels_of(models: Sequence[str]) -> list[list[str]]:
    """Divide models, in their order, over as few panels of at most `MOST` networks as hold them, evenly."""
    names = list(dict.fromkeys(network_of(model) for model in models))
    count = -(-len(names) // MOST) or 1
    panel = {name: place * count // len(names) for place, name in enumerate(names)}
    listed = list(dict.fromkeys(models))
    return [[model for model in listed if panel[network_of(model)] == number] for number in range(count)]


def key_beside(axis: Axes, looks: Mapping[str, Look]) -> None:
    """Write the legend of a panel right of it, not over its data: a line per title."""
    named = {title_of(model): look for model, look in looks.items()}
    handles = [Line2D([], [], label=title, linestyle="none", **look) for title, look in named.items()]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, handlelength=1.5)


def by_task(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of every task: numbers of different tasks share no axis."""
    return [(str(task), rows) for task, rows in table.groupby("task", sort=False)]


def by_panel(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Return task and rows of every panel: of one task, and of no more networks than can be told apart."""
    for task, rows in by_task(table):
        for labels in panels_of(list(rows["label"])):
            yield task, rows[rows["label"].isin(labels)]


def panel_grid(
    table: pd.DataFrame, height: float, width: float = WIDTH
) -> tuple[Figure, np.ndarray, list[list[pd.DataFrame]]]:
    """Return a figure with a column per task, and so many lines that no panel has too many networks; and their rows."""
    tasks = [[rows for name, rows in by_panel(table) if name == task] for task, _ in by_task(table)]
    lines = max(map(len, tasks))
    figure = Figure(figsize=(width, height * lines + 0.2))
    axes = figure.subplots(lines, len(tasks), squeeze=False, sharey=True, sharex=True)
    for number, line in enumerate(axes):
        shown = [rows[number] for rows in tasks if number < len(rows)]
        for axis in line[len(shown) :] if lines > 1 else ():
            axis.set_axis_off()
        parts = [looks_of(list(rows["label"])) for rows in shown]  # as in the panels: two of them may share a colour
        key_beside(line[-1], {label: look for part in parts for label, look in part.items()})
    for axis, (task, _) in zip(axes[0], by_task(table), strict=True):
        axis.set_title(task_of(task) if len(tasks) > 1 else "")
    return figure, axes, [[rows[number] for rows in tasks if number < len(rows)] for number in range(lines)]


@cache
def _table() -> dict[str, Any]:
    return yaml.safe_load((Path(__file__).parent / "networks.yaml").read_text(encoding="utf-8"))
