"""The folder of a comparison on one's own photographs: every photo's panels and differences, what a paper needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.figures import curves, panels
from cem_bench.figures.saving import METADATA
from cem_bench.figures.style import COLUMN
from cem_bench.report import page, printed
from cem_bench.report.drawn import Drawing, drawable, evenly, over_cells
from cem_bench.report.experiment import Experiment
from cem_bench.report.render import Markdown, as_html, listed, render
from cem_bench.stats.compare import FEWEST
from cem_bench.store.cells import StoredCell
from cem_bench.store.files import file_name, write_atomically
from cem_bench.store.roots import marked

LEVEL = 0.05
OF_PHOTO = ("image", "ROI", "scenes")  # differ from photo to photo, and have a table
BIBTEX = "method.bib"
METHOD = """\
@article{hu2025cem,
  author  = {Hu, Jinfan and Gu, Jinjin and Yu, Shiyao and Yu, Fanghua and Li, Zheyuan and You, Zhiyuan and Lu, Chaochao
             and Dong, Chao},
  title   = {Interpreting Low-level Vision Models with Causal Effect Maps},
  journal = {IEEE Transactions on Pattern Analysis and Machine Intelligence},
  volume  = {47},
  number  = {8},
  pages   = {6396--6409},
  year    = {2025},
  doi     = {10.1109/TPAMI.2025.3557149}
}
"""


def write(experiment: Experiment, drawing: Drawing) -> list[Path]:
    """Draw the figures of a comparison and write its page in Markdown and HTML.

    Args:
        experiment: its tables and cells.
        drawing: where figures go, and how.

    Returns:
        The files, the HTML page last.
    """
    folder = drawing.shown
    figures, scenes = _figures(experiment, drawing)
    for path in {path for name in METADATA for path in folder.glob(f"*.{name}")} - set(figures):
        path.unlink()  # of an earlier report
    write_atomically(folder / BIBTEX, METHOD.encode())
    text = page_text(experiment, figures, scenes)
    write_atomically(folder / "README.md", text.encode())
    html = folder / "index.html"
    write_atomically(html, as_html(text, experiment.settings["question"]).encode())
    return [*figures, folder / BIBTEX, folder / "README.md", html]


def _figures(experiment: Experiment, drawing: Drawing) -> tuple[list[Path], dict[str, list[str]]]:
    """Return the figures, and for every scene the stems of its own."""
    paths: list[Path] = []
    for stem, make in over_cells(experiment, drawing.palette).items():
        paths += drawing.save(make(), stem)
    if len(experiment.decay):
        paths += drawing.save(curves.decay_plot(experiment.decay, experiment.outcome.name, COLUMN), "decay_column")
    several = experiment.table["task"].nunique() > 1
    scenes: dict[str, list[str]] = {}
    for (scene, task), cells in drawable(experiment, experiment.table["seed"].min()).items():
        name = file_name(f"{scene}_{task}" if several else scene)
        stems = scenes.setdefault(name, [])
        for number, part in enumerate(evenly(cells), 1):
            stem = f"scene_{name}" + (f"_part{number}" if len(cells) > panels.MOST else "")
            paths += drawing.save(panels.scene_figure(part, drawing.palette), stem)
            paths += drawing.save(panels.scene_figure(part, drawing.palette, COLUMN), f"{stem}_column")
            stems.append(stem)
        for number, (first, second) in enumerate(_pairs(experiment, cells), 1):
            stem = f"difference_{name}_{number}"
            paths += drawing.save(panels.pair_figure(first, second, drawing.palette), stem)
            stems.append(stem)
    return paths, scenes


def _pairs(experiment: Experiment, cells: Sequence[StoredCell]) -> list[tuple[StoredCell, StoredCell]]:
    named = {cell.model: cell for cell in cells}
    wanted = experiment.options.get("pairs") or ()
    return [(named[first], named[second]) for first, second in wanted if first in named and second in named]


def page_text(experiment: Experiment, figures: Sequence[Path], scenes: Mapping[str, Sequence[str]]) -> str:
    """Return the page in Markdown.

    Args:
        experiment: tables and cells.
        figures: files beside the page.
        scenes: of every scene, the stems of its figures.
    """
    options = experiment.options
    overall = [path for path in figures if path.suffix == ".png" and path.stem in page.CAPTIONS]
    return render(
        "photos",
        question=experiment.settings["question"],
        setting={name: text for name, text in page.setting(experiment).items() if name not in OF_PHOTO},
        photos=pd.DataFrame(options["photos"]),
        networks=networks_table(experiment),
        summary=printed.summary(experiment.summary, options, outcome=experiment.outcome),
        worse=worse_than_input(experiment.table),
        forced=_forced(experiment),
        power=power(experiment.table["image"].nunique()),
        paired=_paired(experiment),
        rings=_rings(experiment),
        missing=[*page.missing(experiment), *options.get("left_out", ())],
        scenes={name: [_figure(stem) for stem in stems] for name, stems in scenes.items()},
        figures=[{"path": path.name, "caption": page.caption(path.stem)} for path in overall],
        files=sorted(path.name for path in figures if path.suffix == ".pdf"),
        bibtex=Markdown("\n".join(f"    {line}" for line in METHOD.splitlines())),
        bib=BIBTEX,
        command=options["command"],
        root=marked(experiment.root_sha256),
        commits=listed(sorted({str(commit)[:10] for commit in experiment.table["commit"]})),
    )


def _figure(stem: str) -> dict[str, str]:
    kind = "scene" if stem.startswith("scene_") else "difference"
    return {"path": f"{stem}.png", "caption": page.SCENE_CAPTIONS[kind]}


def networks_table(experiment: Experiment) -> pd.DataFrame:
    """Return one row per network: what it is, what it was fed, which engine computed its draws."""
    rows = {}
    for cell in experiment.cells:
        facts, known = cell.entry["facts"], rows.setdefault(cell.model, {"engines": set()})
        known["engines"].add(cell.entry["engine"]["kind"])
        known |= {"facts": facts, "trained": cell.entry["trained_for"]}
    return pd.DataFrame([_network(name, **known) for name, known in rows.items()])


def _network(name: str, facts: Mapping[str, Any], trained: Sequence[str], engines: set[str]) -> dict[str, object]:
    contract = facts.get("contract") or {}
    reach = facts.get("reach")
    return {
        "network": name,
        "trained for": ", ".join(trained) or "not said",
        "parameters": Markdown(f"{facts['parameters']:,}") if facts.get("parameters") else "",
        "reach, px": f"{reach}" if reach else (facts.get("global_statistics") or "not said"),
        "takes and gives": ", ".join(f"{key}={value}" for key, value in contract.items()) or "RGB in 0..1",
        "engine": ", ".join(sorted(engines)),
    }


def worse_than_input(table: pd.DataFrame) -> list[str]:
    """Return the networks whose regions come out worse than they went in, on the mean, with what that suggests.

    Args:
        table: `cells.csv`.
    """
    known = table.assign(gain=table["psnr_roi_db"] - table["observed_psnr_roi_db"]).dropna(subset=["gain"])
    means = known.groupby(["model", "task"], sort=False)["gain"].mean()
    return [f"{model} in {task} ({gain:+.2f} dB)" for (model, task), gain in means.items() if gain < 0]  # pyright: ignore


def _forced(experiment: Experiment) -> list[str]:
    """Return the networks that were measured under a task that they are not trained for."""
    measured = {
        f"{cell.model} (trained for {', '.join(cell.entry['trained_for'])}) under {cell.entry['task']}": None
        for cell in experiment.cells
        if cell.entry["trained_for"] and cell.entry["task"] not in cell.entry["trained_for"]
    }
    return list(measured)


def power(images: int) -> dict[str, Any]:
    """Return what so many photos can tell: whether there is an interval, and the least p of sign flips.

    Args:
        images: photos, the sample of every claim about networks.
    """
    least = min(2.0 / 2**images, 1.0)
    return {
        "images": images,
        "interval": images >= FEWEST,
        "test": least <= LEVEL,
        "least": f"{least:.2g}",
        "for": FEWEST,
    }


def _paired(experiment: Experiment) -> pd.DataFrame | None:
    """Return paired differences as they are printed; without p where no p could be small."""
    if not len(experiment.paired):
        return None
    rows = printed.paired(experiment.paired, experiment.outcome)
    return rows if power(int(np.max(experiment.paired["images"])))["test"] else rows.drop(columns="p")


def _rings(experiment: Experiment) -> pd.DataFrame | None:
    testable = len(experiment.paired_decay) and power(int(np.max(experiment.paired_decay["images"])))["test"]
    return printed.rings(experiment.paired_decay) if testable else None
