"""Write a map in squares of mixed size: table, figure, record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from cem_bench.figures.map import Look, map_figure
from cem_bench.figures.saving import save_figure
from cem_bench.measuring.quadtree import measure_quadtree
from cem_bench.run.commands.composing import cell_of
from cem_bench.run.publish import progress_bar
from cem_bench.store.files import file_name, write_atomically


def write_quadtree(overrides: list[str], draws: int, coarsest: int) -> list[Path]:
    """Measure the squares of a cell that are missing, and write what they come to.

    Args:
        overrides: of the cell, as on the command line.
        draws: of every square.
        coarsest: blocks along the side of the largest squares.

    Returns:
        The files written.

    Raises:
        ValueError: if the command line or the cell is refused.
    """
    config, cell = cell_of(overrides)
    output = Path(config.output)
    with progress_bar(f"{cell.model.name} on {cell.scene.name}") as progress:
        tree = measure_quadtree(cell, output / "store", draws, progress, coarsest=coarsest)
    stem = output / "quadtree" / file_name(f"{cell.model.name}_{cell.scene.name}")
    shown = cell.scene.source.startswith("skimage:")  # pictures of other images stay out of what is written
    panels = [("Input", tree.observation), (cell.model.name, tree.restored)] if shown else []
    image = cell.scene.clean if shown else np.full_like(cell.scene.clean, 128)
    look = Look.of(cell.degradation.task, cell.options.outcome, config.palette)
    figures = save_figure(
        map_figure(tree.effect_map, panels, image, cell.scene.roi, look), stem, root=tree.record["root_sha256"]
    )
    table, record = stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}.json")
    write_atomically(table, tree.squares.to_csv(index=False, float_format="%.6g").encode())
    write_atomically(record, (json.dumps(tree.record, indent=1) + "\n").encode())
    return [table, *figures, record]
