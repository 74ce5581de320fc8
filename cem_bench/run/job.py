"""One cell from its configuration to its files. A plain function of plain data, so that any launcher can run it."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from cem_bench.engine.allocator import keep_freed_memory
from cem_bench.run.build import build_cell, register, rois_beside_scene
from cem_bench.run.data import plain_words
from cem_bench.run.references import spelled
from cem_bench.run.stopping import catch_signals
from cem_bench.store.failures import clear_failure, note_failure
from cem_bench.store.leases import BusyError
from cem_bench.store.states import State, claimed_cell, current_turn, read_state, state_name, write_state

if TYPE_CHECKING:
    from cem_bench.measuring.cell import Cell


log = logging.getLogger(__name__)
_FREE: list[float] = []  # when this process was free for its next cell, seconds since the epoch


def job(config: DictConfig) -> None:
    """Measure one cell; a failure is printed, kept beside the store, and does not stop the others.

    Args:
        config: as Hydra composed it.
    """
    register()  # a launcher may run jobs in processes of their own
    keep_freed_memory()
    catch_signals()
    _warm()
    overrides, output, begun = _asked(), Path(str(config.output)), _FREE.pop() if _FREE else time.time()
    wait = HydraConfig.get().mode != RunMode.MULTIRUN  # a sweep goes on with its next cell, and comes back
    try:
        _claim(config, overrides, output, begun, wait=wait)
    except BusyError as busy:
        log.info("%s: the sweep goes on and comes back to this cell", busy)
    except OSError as error:  # no file of the store can be written: no further cell could be kept either
        print(f"cem_bench: the run ends: {line_of(error)}", file=sys.stderr)
        raise SystemExit(1) from error
    _FREE[:] = [time.time()]


def _claim(config: DictConfig, overrides: list[str], output: Path, begun: float, *, wait: bool) -> None:
    """Measure a cell unless another worker of the same sweep has, or does."""
    name, turn = state_name(overrides), current_turn()
    if turn and turn.tried(read_state(output, name)):
        return
    with claimed_cell(output, overrides, wait=wait):
        if turn and turn.tried(read_state(output, name)):  # while this process waited
            return
        _in_turn(config, State(tuple(overrides), turn.name if turn else "", begun), output, wait=wait)


def _asked() -> list[str]:
    """Return the overrides of this cell, with the folders of one's own configurations: what repeats it."""
    given = HydraConfig.get().overrides
    return own_overrides((*given.task, *given.hydra))


def own_overrides(overrides: Sequence[str]) -> list[str]:
    """Return those of a command line's overrides that a cell keeps when it is measured by itself; the last of a key."""
    keeps = (text for text in overrides if not text.startswith(("hydra.", "hydra/", "+hydra", "workers=")))
    places = (text for text in overrides if text.startswith("hydra.searchpath="))
    return list({text.partition("=")[0].lstrip("+"): text for text in (*keeps, *places)}.values())


def _warm() -> None:
    """Import what every cell needs: the first cell's cost is to be its own."""
    import cem_bench.measuring.measure
    import cem_bench.run.publish  # noqa: F401


def _in_turn(config: DictConfig, state: State, output: Path, *, wait: bool) -> None:
    """Measure a claimed cell and keep how far it is, whatever it comes to."""
    overrides = spelled(list(state.overrides), config.model.reference)
    write_state(output, state)
    try:
        OmegaConf.resolve(config)
        new_draws = measure_cell(config, overrides, wait=wait)
    except (KeyboardInterrupt, SystemExit, BusyError):
        raise
    except Exception as error:  # noqa: BLE001 - a network may raise anything, and the sweep goes on
        line = line_of(error)
        print(f"cem_bench: {line}", file=sys.stderr)
        note_failure(output, overrides, line)
        write_state(output, replace(state, ended=time.time(), failed=True))
        return
    clear_failure(output, overrides)
    write_state(output, replace(state, ended=time.time(), new_draws=new_draws))


def line_of(error: Exception) -> str:
    """Say an error in one line: ours as they are, a network's own with its type and the line that raised it."""
    text = " ".join(plain_words(error).split() if isinstance(error, OmegaConfBaseException) else str(error).split())
    if isinstance(error, ValueError | TypeError | OSError | OmegaConfBaseException):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def measure_cell(config: DictConfig, overrides: list[str], *, wait: bool = True) -> int:
    """Measure the cell of a resolved configuration and write what it leaves; returns the number of new draws.

    Args:
        config: the whole configuration.
        overrides: of the command line, as key=value.
        wait: where another process measures this cell, until it is done.

    Raises:
        BusyError: if another process measures this cell of an experiment and `wait` is false.
    """
    cell = build_cell(config)
    if config.question:
        return _for_report(config, cell, overrides, wait=wait)
    if config.roi == "grid":
        return _matrix(config, cell)
    return _single(config, cell, overrides)


def _single(config: DictConfig, cell: Cell, overrides: list[str]) -> int:
    from cem_bench.measuring.measure import measure
    from cem_bench.run.publish import progress_bar, publish, summary_table

    with progress_bar(f"{cell.model.name} on {cell.scene.name}") as progress:
        measured = measure(cell, Path(config.output) / "store", progress)
    paths = publish(cell, measured, Path(config.output) / config.experiment, overrides, palette=config.palette)
    summary_table(cell, measured, paths)
    return int(measured.record["session"]["new_draws"])


def _matrix(config: DictConfig, cell: Cell) -> int:
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
        matrix, store, record = measure_matrix(cell, Path(config.output) / "store", cell.rule.n, progress)
    record = {**record, "root_sha256": store.root_sha256}
    matrix_table(matrix, record, publish_matrix(matrix, record, Path(config.output) / config.experiment))
    return int(record["session"]["new_blocks"])


def _for_report(config: DictConfig, cell: Cell, overrides: list[str], *, wait: bool) -> int:
    """Measure one cell of an experiment, enter it into the experiment's list, and print one line on it."""
    from cem_bench.measuring.entry import enlist
    from cem_bench.measuring.lam import keep_lam
    from cem_bench.measuring.measure import measure
    from cem_bench.run.publish import progress_bar
    from cem_bench.sampling.multilevel import Multilevel

    if cell.scene.segments:
        raise ValueError("scene.segments makes single maps: the tables of an experiment are of square blocks.")
    if isinstance(cell.rule, Multilevel):
        raise ValueError("sampling=levels makes single maps: the tables of an experiment are of one level's draws.")
    if reason := cell.model.unseen():
        raise ValueError(f"What {cell.model.name} computes cannot be seen ({reason}): give it model.identity=NAME.")
    title = f"{cell.model.name} on {cell.scene.name}"
    # what mixes the whole image is computed whole: the image's other ROIs cost no forward
    also = rois_beside_scene(config.scene.name) if cell.model.facts.get("global_statistics") else []
    with progress_bar(title) as progress:
        measured = measure(cell, Path(config.output) / "store", progress, also=also, wait=wait)
    if config.report.get("lam_steps"):
        keep_lam(cell, measured, steps=config.report["lam_steps"])
    enlist(cell, measured, overrides, Path(config.output), config.experiment)
    summary, session = measured.effect_map.summary(), measured.record["session"]
    span = f"{summary.get('min_db', 0):+.3f} to {summary.get('max_db', 0):+.3f} {cell.options.facts.unit}"
    tqdm.write(f"{title}: {measured.record['psnr_roi_db']:.2f} dB, {span}, {session['new_draws']} new draws")
    return int(session["new_draws"])
