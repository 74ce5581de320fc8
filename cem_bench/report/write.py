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

from cem_bench.figures import curves, panels
from cem_bench.figures.saving import FORMATS, METADATA, save_figure
from cem_bench.report import ablations, lam_agreement, pages
from cem_bench.report.earlier import kept_rows, pictures_of, whole_decay, whole_pairs, with_earlier
from cem_bench.report.tables import cells_table, paired_table, summary_table
from cem_bench.store.cells import PICTURES, StoredCell, has_cells, read_cells
from cem_bench.store.draws import write_atomically

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
        kept: rows of cells that are not, from the table of an earlier report.
        table: one row a cell.
        summary: one row a model.
        decay: size of effects by distance, one row a model and ring.
        paired: differences of the pairs the file names.
        paired_decay: differences of their decay curves.
        lam: agreement of LAM with the effects, one row a cell; empty where LAM is not asked for.
        palette: `paper` or `safe`.
        formats: of the figures: `png`, `svg`, `pdf`.
    """

    name: str
    said: Mapping[str, Any]
    plan: Mapping[str, Any]
    cells: Sequence[StoredCell]
    kept: pd.DataFrame
    table: pd.DataFrame
    summary: pd.DataFrame
    decay: pd.DataFrame
    paired: pd.DataFrame
    paired_decay: pd.DataFrame
    lam: pd.DataFrame
    palette: str
    formats: Sequence[str] = FORMATS

    @property
    def options(self) -> Mapping[str, Any]:
        """The file's `report` part."""
        return self.said.get("report") or {}

    @property
    def hypotheses(self) -> list[str]:
        """Names of the claims that were stated on this experiment."""
        said: Any = OmegaConf.to_container(OmegaConf.load(CONF / "claims.yaml"))
        return [claim["id"] for claim in said["claims"] if claim["experiment"] == self.name]


def read_experiment(name: str, output: Path, palette: str, formats: Sequence[str] = FORMATS) -> Experiment:
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
    listed, options = said["hydra"]["sweeper"]["params"]["model"].split(","), said.get("report") or {}
    rank = {model: at for at, model in enumerate(listed)}

    def place(cell: StoredCell) -> tuple[Any, ...]:
        return rank.get(cell.model, len(listed)), ablations.by_value(ablations.setting_of(cell.variant))

    measured = sorted(read_cells(output, name), key=place)
    cells = ablations.seen(measured, options.get("draws") or ())
    folder, pairs = output / name, options.get("pairs") or ()
    # an ablation compares maps of one machine's draws with each other: it needs them all
    kept = pd.DataFrame() if ablations.varied(options) else kept_rows(folder / "cells.csv", cells)
    table = cells_table(cells, kept, listed)
    return Experiment(
        name,
        said,
        plan,
        cells,
        kept,
        table,
        summary_table(table),
        whole_decay(folder / "decay.csv", cells, kept),
        paired_table(table, pairs, PAIRED),
        whole_pairs(folder / "decay_paired.csv", cells, kept, pairs),
        _agreement(cells, folder / "lam.csv") if options.get("lam_steps") else pd.DataFrame(),
        palette,
        formats,
    )


def _agreement(cells: Sequence[StoredCell], earlier: Path) -> pd.DataFrame:
    return with_earlier(lam_agreement.agreement_table(cells), earlier, ["model", "scene"])


def write_report(name: str, output: Path, *, palette: str = "paper", formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write tables, figures and page of an experiment from its stored draws.

    Rows of cells that an earlier report had and the store has not are kept; figures that need their draws stay as they
    are.

    Args:
        name: of the experiment.
        output: folder of the results; pictures of scenes that are not shipped go to `private/` in it.
        palette: `paper` or `safe` (for colour-blind readers).
        formats: of the figures: `png`, which the page shows, `svg`, `pdf`.

    Returns:
        The files written, tables first; where a sweep found nothing that can run here, a page that says so.

    Raises:
        FileNotFoundError: if there is no such experiment or no stored cell of it.
    """
    folder = output / name
    measured_before = (folder / "cells.csv").is_file()  # its page is not one of nothing measured
    if not has_cells(output, name) and not measured_before and (folder / "plan.json").is_file():
        said: Any = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / f"{name}.yaml"))
        text = pages.page_without_cells(name, said["question"], json.loads((folder / "plan.json").read_text()))
        write_atomically(folder / "README.md", text.encode())
        return [folder / "README.md"]
    experiment = read_experiment(name, output, palette, formats)
    tables = _write_tables(experiment, folder)
    figures, private, stay = [], output / "private" / name, _staying(experiment, folder)
    for stem, draw in _figures(experiment).items():
        old = [path for path in (folder / f"{stem}.{name}" for name in METADATA) if path.is_file()]
        figures += old if stem in stay else save_figure(draw(), folder / stem, formats)
    scenes, left = _scenes(experiment, folder, private)
    figures += sorted([*scenes, *left])  # the page is the same whether they were drawn now or stay
    for place in (folder, private):
        _sweep_out(place, figures)
    stay |= {path.stem for path in left if path.parent == folder}
    page, shown = folder / "README.md", [path for path in figures if path.parent == folder]
    write_atomically(page, pages.page(experiment, shown, sorted(stay)).encode())
    return [*tables, *figures, page]


def _staying(experiment: Experiment, folder: Path) -> set[str]:
    """Return the figures over all cells that need draws which are not here, and that an earlier report has drawn."""
    if experiment.kept.empty:
        return set()
    curves, lines = (
        set(zip(table["label"], table["task"], strict=True)) if len(table) else set()
        for table in (experiment.decay, experiment.summary)
    )
    return {"decay"} if lines - curves and (folder / "decay.png").is_file() else set()


def _sweep_out(folder: Path, figures: Sequence[Path]) -> None:
    """Remove the pictures of earlier reports that this one no longer draws: a page and its folder agree."""
    for path in {path for name in METADATA for path in folder.glob(f"*.{name}")} - set(figures):
        path.unlink()


def _write_tables(experiment: Experiment, folder: Path) -> list[Path]:
    options, contents = experiment.options, {"cells": experiment.table, "summary": experiment.summary}
    if not ablations.varied(options) and not options.get("verdicts") and len(experiment.decay):
        contents["decay"] = experiment.decay
    if len(experiment.paired):
        contents["paired"] = experiment.paired
        contents["decay_paired"] = experiment.paired_decay
    if options.get("lam_steps"):
        contents["lam"] = experiment.lam
    paths = []
    for stem, table in contents.items():
        digits = 9 if stem == "cells" else 6  # rows of cells may be all that is left of their draws
        write_atomically(folder / f"{stem}.csv", table.to_csv(index=False, float_format=f"%.{digits}g").encode())
        paths.append(folder / f"{stem}.csv")
    tex = pages.shown(experiment.summary, pages.columns_of(options)).to_latex(index=False, escape=True)
    write_atomically(folder / "summary.tex", tex.encode())
    return [*paths, folder / "summary.tex"]


def _figures(experiment: Experiment) -> dict[str, Callable[[], Figure]]:
    look = panels.look_of(experiment.cells, experiment.palette)
    summary, options = experiment.summary, experiment.options
    found: dict[str, Callable[[], Figure]] = {}
    if ablations.varied(options):
        found["setting"] = lambda: ablations.figure(experiment.table, options)
    elif options.get("verdicts"):
        found["verdicts"] = lambda: curves.verdict_plot(summary, look)
    else:
        found["masses"] = lambda: curves.mass_plot(summary, look)
        found["radius"] = lambda: curves.radius_plot(summary)
        if len(experiment.decay):
            found["decay"] = lambda: curves.decay_plot(experiment.decay)
        if len(experiment.paired_decay):
            found["decay_paired"] = lambda: curves.paired_decay_plot(experiment.paired_decay)
        found["verdicts"] = lambda: curves.verdict_plot(summary, look)
    if layout := options.get("summary_figure"):
        found["multitask"] = lambda: panels.multitask_figure(experiment.table, layout, experiment.palette)
    if options.get("lam_steps"):
        found["lam_against_cem"] = lambda: lam_agreement.agreement_plot(experiment.lam)
    return found


def _scenes(experiment: Experiment, shown: Path, private: Path) -> tuple[list[Path], list[Path]]:
    """Draw every scene, all models beside each other; the first shipped ones are for the page, the rest to look at.

    Returns:
        The figures drawn, and those of an earlier report that stay: of scenes that it drew with more models.
    """
    paths, left, seed, formats = [], [], experiment.table["seed"].min(), experiment.formats
    by_scene: dict[tuple[str, str], list[StoredCell]] = {}
    for cell in experiment.cells:
        if cell.entry["seed"] == seed and all((cell.folder / f"{name}.png").is_file() for name in PICTURES):
            by_scene.setdefault((cell.scene, cell.entry["task"]), []).append(cell)
    wanted = experiment.table[experiment.table["seed"] == seed].groupby(["scene", "task"]).size()
    several = experiment.table["task"].nunique() > 1
    names = {(scene, task): f"{scene}_{task}" if several else scene for scene, task in wanted.index}
    drawn = {at: pictures_of(shown, name) for at, name in names.items()}
    ours = {scene for (scene, _), cells in by_scene.items() if cells[0].shipped}
    ours |= {scene for (scene, _), old in drawn.items() if old}
    scenes = sorted(scene for scene in ours if scene.endswith("_1"))
    for (scene, task), count in wanted.items():
        cells, name = by_scene.get((scene, task), []), names[scene, task]
        folder = shown if scene in scenes[:PANEL_SCENES] else private
        if len(cells) < count and (old := drawn[scene, task] if folder is shown else pictures_of(private, name)):
            left += old
            continue
        if not cells:
            continue
        for number, part in enumerate(_evenly(cells)):
            stem = f"scene_{name}" + (f"_part{number + 1}" if len(cells) > panels.MOST else "")
            figure = panels.scene_figure(part, experiment.palette)
            paths += save_figure(figure, folder / stem, formats) if folder is shown else _private(figure, folder / stem)
        if folder is shown and experiment.options.get("lam_steps"):
            paths += save_figure(lam_agreement.lam_figure(cells, experiment.palette), folder / f"lam_{name}", formats)
        if scene in scenes[:1]:
            paths += _pair(experiment, cells, shown / f"difference_{name}")
    return paths, left


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
            figure = panels.pair_figure(named[first], named[second], experiment.palette)
            return save_figure(figure, stem, experiment.formats)
    return []
