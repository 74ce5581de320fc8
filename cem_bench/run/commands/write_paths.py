"""Write the page of a map split by path: along the pixels, and through what is pooled over the whole image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from cem_bench.figures.map import Look
from cem_bench.inputs.donors import SHIPPED
from cem_bench.inputs.images import locate, read_rgb
from cem_bench.measuring.paths import paths
from cem_bench.report.paths_page import figure_of, write_paths_page
from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.run.overrides import check_overrides
from cem_bench.run.publish import progress_bar
from cem_bench.store.roots import root_over

RULE = ["sampling=uniform", "sampling.n=8"]


def write_paths(overrides: list[str], *, cheap: int = 0) -> list[Path]:
    """Compose the cell, measure what is missing, split it, and write.

    Args:
        overrides: of the cell, as on the command line.
        cheap: draws per block of the cheap levels.

    Returns:
        The files written.

    Raises:
        ValueError: if the command line or the cell is refused.
    """
    register()
    problem = check_overrides([*RULE, *overrides])
    if problem:
        raise ValueError(problem)
    config = composed([*RULE, *overrides])
    OmegaConf.resolve(config)
    cell = build_cell(config)
    with progress_bar(f"{cell.model.name} on {cell.scene.name}") as progress:
        others = [read_rgb(locate(source)) for source in SHIPPED if source != cell.scene.source]
        measured, split = paths(cell, Path(config.output) / "store", progress, others=others, cheap=cheap)
    shown = cell.scene.source.startswith("skimage:")  # pictures of other images stay out of what is written
    image = cell.scene.clean if shown else np.full_like(cell.scene.clean, 128)
    look = Look.of(cell.degradation.task, cell.options.outcome, config.palette)
    figure = figure_of(split, (image, cell.scene.roi), look)
    folder = Path(config.output) / "paths" / f"{cell.model.name}_{cell.scene.name}"
    command = " ".join(["python -m cem_bench paths", *overrides, *([f"--cheap {cheap}"] if cheap else [])])
    record = {**measured.record, "root_sha256": root_over(split.roots)}
    return write_paths_page(folder, split, figure, record, command)
