"""Write the validity page of a model and scene: is the map the network's at all?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cem_bench.figures.map import Look
from cem_bench.measuring.validity import probe
from cem_bench.report.validity_page import figure_of, judge, write_page
from cem_bench.run.commands.composing import cell_of
from cem_bench.run.publish import progress_bar
from cem_bench.store.roots import root_over

RULE = ["sampling=uniform", "sampling.n=16"]


def write_validity(overrides: list[str]) -> list[Path]:
    """Compose the cell, measure what is missing, judge, and write.

    Args:
        overrides: of the cell, as on the command line.

    Returns:
        The files written.

    Raises:
        ValueError: if the command line or the cell is refused.
    """
    config, cell = cell_of([*RULE, *overrides])
    with progress_bar(f"{cell.model.name} on {cell.scene.name}") as progress:
        measured, probes = probe(cell, Path(config.output) / "store", progress)
    shown = cell.scene.source.startswith("skimage:")  # pictures of other images stay out of what is written
    image = cell.scene.clean if shown else np.full_like(cell.scene.clean, 128)
    look, judged = Look.of(cell.degradation.task, cell.options.outcome, config.palette), judge(probes)
    figure = figure_of(judged, probes, measured.effect_map, (image, cell.scene.roi), look)
    folder = Path(config.output) / "validity" / f"{cell.model.name}_{cell.scene.name}"
    command = f"python -m cem_bench validity {' '.join(overrides)}"
    record = {**measured.record, "root_sha256": root_over(probes.roots)}
    return write_page(folder, judged, figure, record, command)
