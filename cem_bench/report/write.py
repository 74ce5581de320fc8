"""Write an experiment's folder: cells, summary, figures, page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from cem_bench.figures import save_figure
from cem_bench.report import ablations, lam_rows, pages, panels, plots
from cem_bench.report.collect import StoredCell, has_cells, read_cells
from cem_bench.report.tables import cells_table, decay_table, paired_decay_table, paired_table, summary_table
from cem_bench.store import write_atomically

CONF = next(at for at in (Path(__file__).parents[1] / "conf", Path(__file__).parents[2] / "conf") if at.is_dir())
PAIRED = ("psnr_roi_db", "positive_mass_db", "negative_mass_db", "far_mass_db", "r90_px")
PANEL_SCENES = 3


@dataclass(frozen=True, eq=False)
class Experiment:
    """What a report is made of.

    Attributes:
        name: of the experiment.
        said: its file in `conf/experiment`.
        plan: what the last sweep could not run, by key and value.
        cells: what is stored.
        table: one row a cell.
        summary: one row a model.
        paired: differences of the pairs the file names.
        paired_decay: differences of their decay curves.
        palette: `paper` or `safe`.
    """

    name: str
    said: Mapping[str, Any]
    plan: Mapping[str, Any]
    cells: Sequence[StoredCell]
    table: pd.DataFrame
    summary: pd.DataFrame
    paired: pd.DataFrame
    paired_decay: pd.DataFrame
    palette: str

    @property
    def options(self) -> Mapping[str, Any]:
        """The file's `report` part."""
        return self.said.get("report") or {}

    @property
    def hypotheses(self) -> list[str]:
        """Names of the claims that were stated on this experiment."""
        said: Any = OmegaConf.to_container(OmegaConf.load(CONF / "claims.yaml"))
        return [claim["id"] for claim in said["claims"] if claim["experiment"] == self.name]


def read_experiment(name: str, output: Path, palette: str) -> Experiment:
    """Read the cells of an experiment and make its tables.

    Raises:
        FileNotFoundError: if there is no such experiment or no stored cell of it.
    """
    path = CONF / "experiment" / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise FileNotFoundError(f"There is no experiment {name!r}; one of {known}.")
    said: Any = OmegaConf.to_container(OmegaConf.load(path))
    plan_path = output / name / "plan.json"
    plan = json.loads(plan_path.read_text()) if plan_path.is_file() else {}
    measured = sorted(read_cells(output, name), key=_rank(said))
    cells = ablations.seen(measured, (said.get("report") or {}).get("draws") or ())
    table = cells_table(cells)
    pairs = (said.get("report") or {}).get("pairs") or ()
    paired, decay = paired_table(table, pairs, PAIRED), paired_decay_table(cells, pairs)
    return Experiment(name, said, plan, cells, table, summary_table(table), paired, decay, palette)


def _rank(said: Mapping[str, Any]) -> Callable[[StoredCell], int]:
    """Return where a cell's model stands in the list of the experiment's file; behind it where others joined it."""
    listed = said["hydra"]["sweeper"]["params"]["model"].split(",")
    return lambda cell: listed.index(cell.model) if cell.model in listed else len(listed)


def write_report(name: str, output: Path, *, palette: str = "paper") -> list[Path]:
    """Write tables, figures and page of an experiment from its stored draws.

    Args:
        name: of the experiment.
        output: folder of the results; pictures of scenes that are not shipped go to `private/` in it.
        palette: `paper` or `safe` (for colour-blind readers).

    Returns:
        The files written, tables first; where a sweep found nothing that can run here, a page that says so.

    Raises:
        FileNotFoundError: if there is no such experiment or no stored cell of it.
    """
    folder = output / name
    if not has_cells(output, name) and (folder / "plan.json").is_file():
        said: Any = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{name}.yaml"))
        text = pages.page_without_cells(name, said["question"], json.loads((folder / "plan.json").read_text()))
        write_atomically(folder / "README.md", text.encode())
        return [folder / "README.md"]
    experiment = read_experiment(name, output, palette)
    tables = _write_tables(experiment, folder)
    figures = [path for stem, draw in _figures(experiment).items() for path in save_figure(draw(), folder / stem)]
    private = output / "private" / name
    figures += _scenes(experiment, folder, private)
    for place in (folder, private):
        _sweep_out(place, figures)
    page = folder / "README.md"
    write_atomically(page, pages.page(experiment, [path for path in figures if path.parent == folder]).encode())
    return [*tables, *figures, page]


def _sweep_out(folder: Path, figures: Sequence[Path]) -> None:
    """Remove the pictures of earlier reports that this one no longer draws: a page and its folder agree."""
    for path in {*folder.glob("*.png"), *folder.glob("*.svg")} - set(figures):
        path.unlink()


def _write_tables(experiment: Experiment, folder: Path) -> list[Path]:
    contents = {"cells": experiment.table, "summary": experiment.summary}
    if len(experiment.paired):
        contents["paired"] = experiment.paired
        contents["decay_paired"] = experiment.paired_decay
    if experiment.options.get("lam_steps"):
        contents["lam"] = lam_rows.agreement_table(experiment.cells)
    paths = []
    for stem, table in contents.items():
        write_atomically(folder / f"{stem}.csv", table.to_csv(index=False, float_format="%.6g").encode())
        paths.append(folder / f"{stem}.csv")
    tex = pages.shown(experiment.summary).to_latex(index=False, escape=True)
    write_atomically(folder / "summary.tex", tex.encode())
    return [*paths, folder / "summary.tex"]


def _figures(experiment: Experiment) -> dict[str, Callable[[], Figure]]:
    look = panels.look_of(experiment.cells, experiment.palette)
    summary, options = experiment.summary, experiment.options
    found: dict[str, Callable[[], Figure]] = {}
    if options.get("draws") or options.get("setting"):
        found["setting"] = lambda: ablations.figure(experiment.table, options)
    else:
        found["masses"] = lambda: plots.mass_plot(summary, look)
        found["radius"] = lambda: plots.radius_plot(summary)
        found["decay"] = lambda: plots.decay_plot(decay_table(experiment.cells))
        if len(experiment.paired_decay):
            found["decay_paired"] = lambda: plots.paired_decay_plot(experiment.paired_decay)
        found["verdicts"] = lambda: plots.verdict_plot(summary, look)
    if layout := options.get("summary_figure"):
        found["multitask"] = lambda: panels.multitask_figure(experiment.cells, layout, experiment.palette)
    if options.get("lam_steps"):
        found["lam_against_cem"] = lambda: lam_rows.agreement_plot(experiment.cells)
    return found


def _scenes(experiment: Experiment, shown: Path, private: Path) -> list[Path]:
    """Draw every scene, all models beside each other; the first shipped ones are for the page, the rest to look at."""
    paths, seed = [], min(cell.entry["seed"] for cell in experiment.cells)
    by_scene: dict[tuple[str, str], list[StoredCell]] = {}
    for cell in experiment.cells:
        if cell.entry["seed"] == seed:
            by_scene.setdefault((cell.scene, cell.entry["task"]), []).append(cell)
    tasks = {task for _, task in by_scene}
    scenes = sorted({scene for (scene, _), cells in by_scene.items() if cells[0].shipped and scene.endswith("_1")})
    for (scene, task), cells in sorted(by_scene.items()):
        folder = shown if scene in scenes[:PANEL_SCENES] else private
        name = f"{scene}_{task}" if len(tasks) > 1 else scene
        for number, part in enumerate(_evenly(cells)):
            stem = f"scene_{name}" + (f"_part{number + 1}" if len(cells) > panels.MOST else "")
            figure = panels.scene_figure(part, experiment.palette)
            paths += save_figure(figure, folder / stem) if folder is shown else _private(figure, folder / stem)
        if folder is shown and experiment.options.get("lam_steps"):
            paths += save_figure(lam_rows.lam_figure(cells, experiment.palette), folder / f"lam_{name}")
        if scene in scenes[:1]:
            paths += _pair(experiment, cells, shown / f"difference_{name}")
    return paths


def _evenly(cells: Sequence[StoredCell]) -> list[Sequence[StoredCell]]:
    """Return the cells in as few parts as fit a page, all of one size but for one cell."""
    parts = -(-len(cells) // panels.MOST)
    ends = [round(len(cells) * part / parts) for part in range(parts + 1)]
    return [cells[start:end] for start, end in pairwise(ends)]


def _private(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure that is only to be looked at here."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(stem.with_suffix(".png"), dpi=100)
    return [stem.with_suffix(".png")]


def _pair(experiment: Experiment, cells: Sequence[StoredCell], stem: Path) -> list[Path]:
    named = {cell.model: cell for cell in cells}
    for first, second in experiment.options.get("pairs") or ():
        if first in named and second in named:
            return save_figure(panels.pair_figure(named[first], named[second], experiment.palette), stem)
    return []
