"""One cell from its configuration to its files. A plain function of plain data, so that any launcher can run it."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from cem_bench.engine.allocator import keep_freed_memory
from cem_bench.run.build import build_cell, rois_beside_scene
from cem_bench.run.data import plain_words
from cem_bench.run.stopping import catch_signals
from cem_bench.store.failures import clear_failure, note_failure
from cem_bench.store.leases import BusyError
from cem_bench.store.skipped import clear_skipped, note_skipped

if TYPE_CHECKING:
    from cem_bench.measuring.cell import Cell


def job(config: DictConfig) -> None:
    """Measure one cell; a failure is printed, kept beside the store, and does not stop the others.

    Args:
        config: as Hydra composed it.
    """
    keep_freed_memory()  # here, since a launcher may run jobs in processes of their own
    catch_signals()
    overrides = list(HydraConfig.get().overrides.task)
    output = Path(str(config.output))
    wait = HydraConfig.get().mode != RunMode.MULTIRUN  # a sweep goes on with its next cell, and comes back
    try:
        OmegaConf.resolve(config)
        measure_cell(config, overrides, wait=wait)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BusyError as busy:
        note_skipped(output, overrides)
        tqdm.write(f"{busy}: the sweep goes on and comes back to this cell")
        return
    except Exception as error:  # noqa: BLE001 - a network may raise anything, and the sweep goes on
        line = _line_of(error)
        print(f"cem_bench: {line}", file=sys.stderr)
        _note(output, overrides, line)
        return
    clear_failure(output, overrides)
    clear_skipped(output, overrides)


def _note(output: Path, overrides: list[str], line: str) -> None:
    """Keep a failure; where nothing can be written, no further cell could be kept either, and the run ends."""
    try:
        note_failure(output, overrides, line)
    except OSError as error:
        print(f"cem_bench: the run ends: {_line_of(error)}", file=sys.stderr)
        raise SystemExit(1) from error


def _line_of(error: Exception) -> str:
    """Say an error in one line: ours as they are, a network's own with its type and the line that raised it."""
    text = " ".join(plain_words(error).split() if isinstance(error, OmegaConfBaseException) else str(error).split())
    if isinstance(error, ValueError | TypeError | OSError | OmegaConfBaseException):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def measure_cell(config: DictConfig, overrides: list[str], *, wait: bool = True) -> None:
    """Measure the cell of a resolved configuration and write what it leaves.

    Args:
        config: the whole configuration.
        overrides: of the command line, as key=value.
        wait: where another process measures this cell, until it is done.

    Raises:
        BusyError: if another process measures this cell of an experiment and `wait` is false.
    """
    cell = build_cell(config)
    if config.question:
        tqdm.write(_for_report(config, cell, overrides, wait=wait))
    elif config.roi == "grid":
        _matrix(config, cell)
    else:
        _single(config, cell, overrides)


def _single(config: DictConfig, cell: Cell, overrides: list[str]) -> None:
    from cem_bench.measuring.measure import measure
    from cem_bench.run.publish import progress_bar, publish, summary_table

    with progress_bar(f"{cell.model.name} on {cell.scene.name}") as progress:
        measured = measure(cell, Path(config.output) / "store", progress)
    paths = publish(cell, measured, Path(config.output) / config.experiment, overrides, palette=config.palette)
    summary_table(cell, measured, paths)


def _matrix(config: DictConfig, cell: Cell) -> None:
    """Measure the effect of every block on every output block and write matrix, decay and record."""
    from cem_bench.measuring.measure import measure_matrix
    from cem_bench.report.matrix_page import matrix_table, publish_matrix
    from cem_bench.run.publish import progress_bar
    from cem_bench.sampling.rules import Uniform

    if cell.scene.segments:
        raise ValueError("roi=grid needs square blocks, whose outputs are the ROIs: leave scene.segments=0.")
    if not isinstance(cell.rule, Uniform):
        raise ValueError("roi=grid draws the same number for every block: use sampling=uniform sampling.n=8, say.")
    with progress_bar(f"{cell.model.name} on {cell.scene.name}", unit="block") as progress:
        matrix, _, record = measure_matrix(cell, Path(config.output) / "store", cell.rule.n, progress)
    matrix_table(matrix, record, publish_matrix(matrix, record, Path(config.output) / config.experiment))


def _for_report(config: DictConfig, cell: Cell, overrides: list[str], *, wait: bool) -> str:
    """Measure one cell of an experiment, enter it into the experiment's list, and return one line on it."""
    from cem_bench.measuring.entry import enlist
    from cem_bench.measuring.lam import keep_lam
    from cem_bench.measuring.measure import measure
    from cem_bench.run.publish import progress_bar

    if cell.scene.segments:
        raise ValueError("scene.segments makes single maps: the tables of an experiment are of square blocks.")
    if reason := cell.model.unseen():
        raise ValueError(f"What {cell.model.name} computes cannot be seen ({reason}): give it model.identity=NAME.")
    title = f"{cell.model.name} on {cell.scene.name}"
    # what mixes the whole image is computed whole: the image's other ROIs cost no forward
    also = rois_beside_scene(config.scene.name) if cell.model.facts.get("global_statistics") else []
    with progress_bar(title, below=True) as progress:
        measured = measure(cell, Path(config.output) / "store", progress, also=also, wait=wait)
    if config.report.get("lam_steps"):
        keep_lam(cell, measured, steps=config.report["lam_steps"])
    enlist(cell, measured, overrides, Path(config.output), config.experiment)
    summary, session = measured.effect_map.summary(), measured.record["session"]
    span = f"{summary.get('min_db', 0):+.3f} to {summary.get('max_db', 0):+.3f} {cell.options.facts.unit}"
    return f"{title}: {measured.record['psnr_roi_db']:.2f} dB, {span}, {session['new_draws']} new draws"
