"""The figures of an experiment's report, as files: over all cells, and scene by scene."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cem_bench.figures import curves, panels
from cem_bench.figures.rings import ring_plot
from cem_bench.figures.saving import FORMATS, METADATA, save_figure
from cem_bench.report import ablations, lam_agreement
from cem_bench.report.earlier import pictures_of
from cem_bench.report.experiment import Experiment
from cem_bench.store.cells import StoredCell
from cem_bench.store.files import write_atomically

PANEL_SCENES = 3


@dataclass(frozen=True)
class Drawing:
    """How figures are drawn and where they go.

    Attributes:
        shown: folder of the page.
        private: folder of pictures of scenes that are not shipped.
        palette: `paper` or `safe` (for colour-blind readers).
        formats: of the files: `png`, which the page shows, `svg`, `pdf`.
        root: of the draws, which every file carries.
    """

    shown: Path
    private: Path
    palette: str = "paper"
    formats: Sequence[str] = FORMATS
    root: str = ""

    def save(self, figure: Figure, stem: str) -> list[Path]:
        """Write a figure beside the page."""
        return save_figure(figure, self.shown / stem, self.formats, root=self.root)


def draw(experiment: Experiment, drawing: Drawing) -> tuple[list[Path], set[str]]:
    """Draw everything, remove the pictures that an earlier report drew and this one does not.

    Returns:
        The files, and the names of the figures beside the page that stay as an earlier report drew them, since their
        draws are not here.
    """
    figures, stay = [], _staying(experiment, drawing.shown)
    for stem, make in over_cells(experiment, drawing.palette).items():
        old = [path for path in (drawing.shown / f"{stem}.{name}" for name in METADATA) if path.is_file()]
        figures += old if stem in stay else drawing.save(make(), stem)
    scenes, left = _scenes(experiment, drawing)
    figures += sorted([*scenes, *left])  # the page is the same whether they were drawn now or stay
    for folder in (drawing.shown, drawing.private):
        for path in {path for name in METADATA for path in folder.glob(f"*.{name}")} - set(figures):
            path.unlink()
    return figures, stay | {path.stem for path in left if path.parent == drawing.shown}


def inputs_of(cells: pd.DataFrame) -> dict[str, float]:
    """Return the PSNR of the unrestored input above the models' mean, dB, mean over images, of every task that has it.

    Args:
        cells: `cells.csv`.
    """
    above = cells["observed_psnr_roi_db"] - cells["psnr_roi_db"] + cells["psnr_gain_db"]
    by_image = cells.assign(above=above.astype(float)).groupby(["task", "image"])["above"].mean()
    return {str(task): float(gain) for task, gain in by_image.groupby("task").mean().dropna().items()}


def _staying(experiment: Experiment, folder: Path) -> set[str]:
    """Return the figures over all cells that need draws which are not here, and that an earlier report has drawn."""
    if experiment.earlier.empty:
        return set()
    drawn, lines = (
        set(zip(table["label"], table["task"], strict=True)) if len(table) else set()
        for table in (experiment.decay, experiment.summary)
    )
    return {"decay"} if lines - drawn and (folder / "decay.png").is_file() else set()


def over_cells(experiment: Experiment, palette: str) -> Mapping[str, Callable[[], Figure]]:
    """Return the figures over all cells of an experiment, by their files' stems."""
    look = panels.look_of(experiment.cells, palette)
    summary, options, outcome = experiment.summary, experiment.options, experiment.outcome.name
    figures: dict[str, Callable[[], Figure]] = {}
    if ablations.varied(options):
        figures["setting"] = lambda: ablations.figure(experiment.table, options, outcome)
    elif options.get("verdicts"):
        figures["verdicts"] = lambda: curves.verdict_plot(summary, look)
    else:
        figures["masses"] = lambda: curves.mass_plot(summary, look, inputs_of(experiment.table))
        if summary["r90_px"].notna().any():  # one draw per block: no estimate of sizes
            figures["radius"] = lambda: curves.radius_plot(summary)
        if len(experiment.decay):
            figures["decay"] = lambda: curves.decay_plot(experiment.decay, outcome)
        if len(experiment.paired_decay):
            figures["decay_paired"] = lambda: curves.paired_decay_plot(experiment.paired_decay, outcome)
        figures["verdicts"] = lambda: curves.verdict_plot(summary, look)
    if experiment.joint.get("distance_px", pd.Series(dtype=float)).notna().any():
        figures["joint"] = lambda: ring_plot(experiment.joint, outcome)
    if layout := options.get("summary_figure"):
        figures["multitask"] = lambda: panels.multitask_figure(experiment.table, layout, palette, outcome)
    if options.get("lam_steps"):
        figures["lam_against_cem"] = lambda: lam_agreement.agreement_plot(experiment.lam)
    return figures


def _scenes(experiment: Experiment, drawing: Drawing) -> tuple[list[Path], list[Path]]:
    """Draw every scene, all models beside each other; the first shipped ones are for the page, the rest to look at.

    Returns:
        The figures drawn, and those of an earlier report that stay: of scenes that it drew with more models.
    """
    seed, paths, left = experiment.table["seed"].min(), [], []
    by_scene = drawable(experiment, seed)
    wanted = experiment.table[experiment.table["seed"] == seed].groupby(["scene", "task"]).size()
    several = experiment.table["task"].nunique() > 1
    names = {(scene, task): f"{scene}_{task}" if several else scene for scene, task in wanted.index}
    before = {at: pictures_of(drawing.shown, name) for at, name in names.items()}
    ours = {scene for (scene, _), cells in by_scene.items() if cells[0].shipped}
    ours |= {scene for (scene, _), old in before.items() if old}
    scenes = sorted(scene for scene in ours if scene.endswith("_1"))
    for (scene, task), count in wanted.items():
        cells, name, shown = by_scene.get((scene, task), []), names[scene, task], scene in scenes[:PANEL_SCENES]
        old = before[scene, task] if shown else pictures_of(drawing.private, name)
        if len(cells) < count and old:
            left += old
        elif cells:
            paths += _panels(cells, name, drawing, shown=shown)
            if shown and experiment.options.get("lam_steps"):
                paths += drawing.save(lam_agreement.lam_figure(cells, drawing.palette), f"lam_{name}")
            if scene in scenes[:1]:
                paths += _pair(experiment, cells, drawing, f"difference_{name}")
    return paths, left


def drawable(experiment: Experiment, seed: int) -> dict[tuple[str, str], list[StoredCell]]:
    """Return the cells of one seed whose pictures are stored, by scene and task."""
    by_scene: dict[tuple[str, str], list[StoredCell]] = {}
    for cell in experiment.cells:
        if cell.entry["seed"] == seed and cell.has_pictures:
            by_scene.setdefault((cell.scene, cell.entry["task"]), []).append(cell)
    return by_scene


def _panels(cells: Sequence[StoredCell], name: str, drawing: Drawing, *, shown: bool) -> list[Path]:
    """Draw one scene in as many figures as it takes; for the page, or only to be looked at here."""
    paths = []
    for number, part in enumerate(evenly(cells)):
        stem = f"scene_{name}" + (f"_part{number + 1}" if len(cells) > panels.MOST else "")
        figure = panels.scene_figure(part, drawing.palette)
        paths += drawing.save(figure, stem) if shown else [_private(figure, drawing.private / f"{stem}.png")]
    return paths


def evenly(cells: Sequence[StoredCell]) -> list[Sequence[StoredCell]]:
    """Return the cells in as few parts as fit a page, all of one size but for one cell."""
    parts = -(-len(cells) // panels.MOST)
    ends = [round(len(cells) * part / parts) for part in range(parts + 1)]
    return [cells[start:end] for start, end in pairwise(ends)]


def _private(figure: Figure, path: Path) -> Path:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    write_atomically(path, content.getvalue())
    return path


def _pair(experiment: Experiment, cells: Sequence[StoredCell], drawing: Drawing, stem: str) -> list[Path]:
    named = {cell.model: cell for cell in cells}
    for first, second in experiment.options.get("pairs") or ():
        if first in named and second in named:
            return drawing.save(panels.pair_figure(named[first], named[second], drawing.palette), stem)
    return []
