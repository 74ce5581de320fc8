"""Write the validity page of a model and scene.

The command line is that of `python -m cem_bench`:

    python scripts/validity.py model=RCAN_DN_none scene=shipped_astronaut_1 [sampling.n=16]

Measures the map, the maps under randomised weights, blocks together in four orders, and other noise fields; what is
stored is not measured again. Writes results/validity/MODEL_SCENE/: page, table and figure.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cem_bench.figures.map import Look
from cem_bench.measuring.validity import probe
from cem_bench.report.validity_page import figure_of, judge, write_page
from cem_bench.run.build import CONF, build_cell, register
from cem_bench.run.overrides import check_overrides
from cem_bench.run.publish import progress_bar

RULE = ["sampling=uniform", "sampling.n=16"]


def main(arguments: list[str]) -> None:
    """Compose the cell, measure what is missing, judge, and write."""
    register()
    problem = check_overrides(CONF, [*RULE, *arguments])
    if problem:
        sys.exit(f"validity: {problem}")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=[*RULE, *arguments])
    OmegaConf.resolve(config)
    try:
        cell = build_cell(config)
        with progress_bar(f"{cell.model.name} on {cell.scene.name}") as progress:
            measured, probes = probe(cell, Path(config.output) / "store", progress)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"validity: {error}")
    shown = cell.scene.source.startswith("skimage:")  # pictures of other images stay out of what is written
    image = cell.scene.clean if shown else np.full_like(cell.scene.clean, 128)
    look, found = Look.of(cell.degradation.task, cell.options.outcome, config.palette), judge(probes)
    figure = figure_of(found, probes, measured.effect_map, (image, cell.scene.roi), look)
    folder = Path(config.output) / "validity" / f"{cell.model.name}_{cell.scene.name}"
    command = f"python scripts/validity.py {' '.join(arguments)}"
    print("\n".join(str(path) for path in write_page(folder, found, figure, measured.record, command)))


if __name__ == "__main__":
    main(sys.argv[1:])
