"""Write an experiment's folder: tables, figures, page, atlas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cem_bench.figures.saving import FORMATS
from cem_bench.report import ablations, atlas, page, photo_page, printed
from cem_bench.report.columns import in_file
from cem_bench.report.drawn import Drawing, draw
from cem_bench.report.experiment import Experiment, read_experiment, read_plan, read_settings
from cem_bench.report.latex import latex
from cem_bench.store.cells import has_cells
from cem_bench.store.draws import write_atomically


def write_report(name: str, output: Path, *, palette: str = "paper", formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write tables, figures, page and atlas of an experiment from its stored draws.

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
    folder, settings = output / name, read_settings(name, output)
    reported = (folder / "cells.csv").is_file()  # its page is not one of nothing measured
    if not has_cells(output, name) and not reported and (folder / "plan.json").is_file():
        text = page.page_without_cells(name, settings["question"], read_plan(name, output))
        write_atomically(folder / "README.md", text.encode())
        return [folder / "README.md"]
    experiment = read_experiment(name, output)
    tables, root = _write_tables(experiment, folder), experiment.root_sha256
    drawing = Drawing(folder, output / "private" / name, palette, formats, root)
    if experiment.options.get("photos"):
        return [*tables, *photo_page.write(experiment, drawing)]
    figures, stay = draw(experiment, drawing)
    beside = [path for path in figures if path.parent == folder]
    write_atomically(folder / "atlas.html", atlas.atlas(experiment, output).encode())
    write_atomically(folder / "README.md", page.page(experiment, beside, sorted(stay)).encode())
    return [*tables, *figures, folder / "atlas.html", folder / "README.md"]


def _write_tables(experiment: Experiment, folder: Path) -> list[Path]:
    options, contents = experiment.options, {"cells": experiment.table, "summary": experiment.summary}
    if not ablations.varied(options) and not options.get("verdicts") and len(experiment.decay):
        contents["decay"] = experiment.decay
    if len(experiment.paired):
        contents["paired"] = experiment.paired
        contents["decay_paired"] = experiment.paired_decay
    if len(experiment.joint):
        contents["joint"] = experiment.joint
    if options.get("lam_steps"):
        contents["lam"] = experiment.lam
    paths = []
    for stem, table in contents.items():
        digits = 9 if stem == "cells" else 6  # rows of cells may be all that is left of their draws
        paths.append(folder / f"{stem}.csv")
        write_atomically(
            paths[-1], in_file(table, experiment.outcome).to_csv(index=False, float_format=f"%.{digits}g").encode()
        )
    return [*paths, *_write_latex(experiment, folder)]


def _write_latex(experiment: Experiment, folder: Path) -> list[Path]:
    """Write the summary in two columns' width and in one's, and the paired differences, for a paper."""
    question, options, label = experiment.settings["question"], experiment.options, experiment.name.replace("_", "-")
    means = f"{question} Means over images with 95 % intervals."
    contents = {
        "summary": (printed.summary(experiment.summary, options, "wide", experiment.outcome), means, True),
        "summary_column": (printed.summary(experiment.summary, options, "narrow", experiment.outcome), means, False),
    }
    if len(experiment.paired):
        text = f"{question} Paired differences with 95 % intervals over images."
        contents["paired"] = (printed.paired(experiment.paired, experiment.outcome), text, True)
    for stem, (table, caption, wide) in contents.items():
        name = f"{label}-{stem.replace('_', '-')}"
        text = latex(table, caption=caption, label=name, wide=wide, root=experiment.root_sha256)
        write_atomically(folder / f"{stem}.tex", text.encode())
    return [folder / f"{stem}.tex" for stem in contents]
