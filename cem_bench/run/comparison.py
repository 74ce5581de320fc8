"""Compare networks on photographs of one's own: every cell measured, or found in the store; then one folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from cem_bench.inputs.photos import Framing, Photo, photos_of, rect_in
from cem_bench.run.asked import Asked, name_of, scene_overrides, write_settings
from cem_bench.run.build import asked_degradation, build_cell, check_task, register
from cem_bench.run.compose import composed
from cem_bench.run.job import line_of
from cem_bench.run.networks import build_model, why_no_model
from cem_bench.run.overrides import check_overrides
from cem_bench.run.references import check_names, registered
from cem_bench.store.failures import clear_failure, note_failure
from cem_bench.store.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from cem_bench.inputs.degradations import Degradation
    from cem_bench.measuring.cell import Cell
    from cem_bench.models.model import Model
    from cem_bench.store.cells import StoredCell


@dataclass(frozen=True, eq=False)
class Comparison:
    """A finished comparison.

    Attributes:
        name: of its folder.
        output: folder of the results.
        files: what was written; the page last.
        failed: a line for every cell that could not be measured.
        left_out: a line for every network and task that was not measured, with the reason.
    """

    name: str
    output: Path
    files: Sequence[Path]
    failed: Sequence[str]
    left_out: Sequence[str]

    @property
    def folder(self) -> Path:
        """Where page, tables and figures are."""
        return self.output / self.name

    @property
    def cells(self) -> list[StoredCell]:
        """What was measured: entries, effects per block, maps, pictures."""
        from cem_bench.store.cells import read_cells

        return read_cells(self.output, self.name)

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per network, photo, region and task; the columns are explained in results/README.md."""
        from cem_bench.report.earlier import read_table

        return read_table(self.folder / "cells.csv")

    def plot(self, scene: str = "", palette: str = "paper") -> Figure:
        """Return the panels of one photo under every network: restored images, maps, verdicts.

        Args:
            scene: its name; "" for the first.
            palette: `paper` or `safe` (for colour-blind readers).

        Raises:
            ValueError: if there is no such scene.
        """
        from cem_bench.figures.panels import scene_figure

        cells = self.cells
        scene = scene or cells[0].scene
        shown = [cell for cell in cells if cell.scene == scene and cell.entry["task"] == cells[0].entry["task"]]
        if not shown:
            raise ValueError(f"There is no scene {scene}; one of {', '.join(dict.fromkeys(c.scene for c in cells))}.")
        return scene_figure(shown, palette)


def compare(
    networks: Sequence[str | Model],
    photos: str | Path | Sequence[str | Path],
    task: str | Sequence[str],
    *,
    output: str | Path = "results",
    name: str = "",
    crop: str = "",
    roi: str | Sequence[str] = (),
    rois: int = 1,
    side: int = 32,
    roi_seed: int = 0,
    largest: int = 512,
    force: bool = False,
    palette: str = "paper",
    overrides: Sequence[str] = (),
) -> Comparison:
    """Compare networks on photographs, and write one folder with a page, tables and figures.

    What the store holds already is not measured again, so an interrupted comparison goes on.

    Args:
        networks: at least one; names of the zoo, references (`mine.py:Net,weights=my.pth`), or models of `as_model`.
            The first is compared with each of the others.
        photos: files or folders of images of any size.
        task: one or several of the group `task`, as `dn25`; a network is measured under those it is trained for.
        output: folder of the results.
        name: of the comparison's folder in it; "" for one that depends on all arguments.
        crop: `top,left,height,width` of the part of every photo, pixels; "" for the largest part, centred.
        roi: one or several `top,left,size` regions in pixels of the part; empty for the seeded rule.
        rois: regions per photo by the rule.
        side: of a region by the rule, pixels.
        roi_seed: names their places.
        largest: longest side of a part that is not given, pixels; 0 for no limit.
        force: also measure networks under tasks that they are not trained for.
        palette: `paper` or `safe`.
        overrides: of the configuration, as `["sampling=uniform", "sampling.n=8", "seed=1"]`.

    Returns:
        The comparison; its `folder` holds the page.

    Raises:
        ValueError: if something asked for cannot be, with what to write.
        FileNotFoundError: if a photo is not there.
    """
    register()
    texts = [str(photos)] if isinstance(photos, str | Path) else [str(photo) for photo in photos]
    given = [roi] if isinstance(roi, str) else list(roi)
    framing = Framing(
        crop=rect_in(crop, "crop") if crop else None,
        largest=largest,
        rois=tuple(rect_in(text, "roi") for text in given),
        count=rois,
        side=side,
        roi_seed=roi_seed,
    )
    tasks = (task,) if isinstance(task, str) else tuple(task)
    asked = Asked(tuple(networks), tuple(texts), tasks, framing, force, palette, tuple(overrides))
    return run_comparison(asked, Path(output), name)


def run_comparison(asked: Asked, output: Path, name: str = "") -> Comparison:
    """Measure what is missing of a comparison and write its folder.

    Args:
        asked: what was asked for.
        output: folder of the results.
        name: of the comparison's folder; "" for one of its own.

    Raises:
        ValueError: as `compare`.
    """
    _check(asked)
    name = name or asked.folder()
    entrants, left_out = _entrants(asked)
    framing = _framing(asked, entrants)
    photos = photos_of(asked.photos, framing)
    write_settings(asked, photos, left_out, output, name)
    failed = []
    cells = [(entrant, photo, scene) for entrant in entrants for photo in photos for scene in photo.scenes]
    for number, (entrant, photo, scene) in enumerate(cells, 1):
        tqdm.write(f"[{number}/{len(cells)}] {entrant.model.name} on {scene}, {entrant.task}")
        if line := _measure(asked, entrant, photo, scene, output, name):
            failed.append(line)
    files = _report(asked, output, name, len(cells), failed)
    return Comparison(name, output, files, failed, left_out)


@dataclass(frozen=True, eq=False)
class Entrant:
    """A network under a task."""

    network: str | Model
    task: str
    model: Model
    degradation: Degradation


def _check(asked: Asked) -> None:
    if not asked.networks or not asked.tasks or not all(asked.tasks):
        raise ValueError("A comparison needs networks and a task, as compare DnCNN FFDNet --photos FOLDER --task dn25.")
    check_names(asked.names)
    for task in asked.tasks:
        references = [f"model={text}" for text in asked.networks if isinstance(text, str)]
        for reference in references or [""]:
            problem = check_overrides(registered([*filter(None, [reference]), f"task={task}", *asked.common]))
            if problem:
                raise ValueError(problem)


def _entrants(asked: Asked) -> tuple[list[Entrant], list[str]]:
    """Return every network under every task that it may be measured under, and a line for each that it may not."""
    entrants, left_out = [], []
    for task in asked.tasks:
        for network in asked.networks:
            overrides = [*([f"model={network}"] if isinstance(network, str) else []), f"task={task}", *asked.common]
            config = composed(overrides)
            if isinstance(network, str) and (reason := why_no_model(network)):
                raise ValueError(f"{network}: {reason}.")
            degradation = asked_degradation(config)
            if degradation is None:
                raise ValueError(f"task={task} depends on the network; give one that all share, as --task dn25.")
            try:
                model = (
                    build_model(config.model, degradation, forced=asked.force) if isinstance(network, str) else network
                )
                if not asked.force:
                    check_task(model, degradation)
                _check_scale(model, degradation)
            except ValueError as error:
                if len(asked.tasks) == 1:
                    raise
                left_out.append(f"{name_of(network)}, {task}: {error}")
                continue
            entrants.append(Entrant(network, task, model, degradation))
    if not entrants:
        raise ValueError(f"No network fits a task. {' '.join(left_out)}")
    return entrants, left_out


def _check_scale(model: Model, degradation: Degradation) -> None:
    if degradation.scale != model.scale:
        raise ValueError(
            f"{model.name} enlarges by {model.scale}, and the task reduces by {degradation.scale}: choose a task of "
            f"scale {model.scale}, or say what it does by scale={degradation.scale}."
        )
    if reason := model.unseen():
        raise ValueError(f"What {model.name} computes cannot be seen ({reason}): give it identity=NAME.")


def _framing(asked: Asked, entrants: Sequence[Entrant]) -> Framing:
    """Return the framing with the multiple that the block, every degradation and every network ask for."""
    block = int(composed(list(asked.overrides)).scene.block)
    asks = [entrant.degradation.lattice for entrant in entrants]
    asks += [int(entrant.model.facts.get("size_multiple") or 1) * entrant.model.scale for entrant in entrants]
    return replace(asked.framing, multiple=lcm(block, *asks), step=lcm(block, *(m.model.scale for m in entrants)))


def _measure(asked: Asked, entrant: Entrant, photo: Photo, scene: str, output: Path, name: str) -> str:
    """Measure one cell and enter it; return "" or, where it failed, why."""
    from cem_bench.measuring.entry import enlist
    from cem_bench.measuring.measure import measure
    from cem_bench.run.publish import progress_bar

    chosen = [f"model={entrant.network}"] if isinstance(entrant.network, str) else []
    overrides = [*chosen, f"task={entrant.task}", *scene_overrides(photo, scene), *asked.common]
    try:
        cell = _cell(composed(overrides), entrant)
        beside = [roi for label, roi in photo.scenes.items() if label != scene]
        also = beside if cell.model.facts.get("global_statistics") else []
        with progress_bar(f"{entrant.model.name} on {scene}") as progress:
            measured = measure(cell, output / "store", progress, also=also)
        chosen = chosen or [f"model={entrant.model.name}"]  # it names the entry
        entered = [*chosen, *(text for text in overrides if not text.startswith("model="))]
        enlist(cell, measured, entered, output, name, common=asked.common)
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:  # noqa: BLE001 - a network may raise anything, and the others go on
        line = f"{entrant.model.name} on {scene}, {entrant.task}: {line_of(error)}"
        note_failure(output, overrides, line_of(error))
        tqdm.write(f"cem_bench: {line}")
        return line
    clear_failure(output, overrides)
    return ""


def _cell(config: DictConfig, entrant: Entrant) -> Cell:
    OmegaConf.resolve(config)
    return build_cell(config, entrant.model)


def _report(asked: Asked, output: Path, name: str, cells: int, failed: Sequence[str]) -> list[Path]:
    from cem_bench.report import write_report
    from cem_bench.store.cells import has_cells

    plan = {"cells": cells, "missing": {}, "left_out": {}, "failed": list(failed)}
    write_atomically(output / name / "plan.json", (json.dumps(plan, indent=1) + "\n").encode())
    if not has_cells(output, name):
        raise ValueError(f"Nothing could be measured: {' '.join(failed)}")
    return write_report(name, output, palette=asked.palette, formats=("png", "pdf"))
