"""What a measured cell leaves for its reader: a table on the terminal, and map, figure and record under `results/`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from cem_bench.figures.saving import save_figure
from cem_bench.inputs.segments import Segments
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.measure import Measurement
from cem_bench.measuring.prepared import Progress
from cem_bench.report.single_page import joint_lines, write_single_page
from cem_bench.store.files import file_name, npz, write_atomically
from cem_bench.store.outcomes import OutcomeFacts
from cem_bench.store.states import current_turn


@contextmanager
def progress_bar(title: str, *, unit: str = "draw") -> Iterator[Progress]:
    """Give a progress bar with rate and ETA, below that of a sweep; the total grows when a rule asks for more."""
    below = current_turn() is not None
    with tqdm(desc=title, unit=unit, dynamic_ncols=True, position=int(below), leave=not below, mininterval=0.5) as bar:

        def update(done: int, total: int, stage: str) -> None:
            if bar.disable:
                return
            if stage != bar.postfix:
                bar.set_postfix_str(stage, refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield update


def cell_name(cell: Cell, key: str) -> str:
    """Name a cell's files: model, scene, seed and the head of the run key."""
    return file_name(f"{cell.model.name}-{cell.scene.name}-seed{cell.options.seed}-{key[:8]}")


def publish(
    cell: Cell, measured: Measurement, folder: Path, overrides: Sequence[str], *, palette: str = "paper"
) -> list[Path]:
    """Write map (npz), figure (PNG) and record (JSON) of each outcome of a cell, and the page of the folder's cells.

    Args:
        cell: the cell.
        measured: what it came to.
        folder: where to.
        overrides: of the command line that asked for it.
        palette: `paper` or `safe`.

    Returns:
        The files written.

    Raises:
        OSError: if the folder cannot be written.
    """
    name, (_, *others) = cell_name(cell, measured.store.key), cell.options.outcomes
    command = shlex.join(["python", "-m", "cem_bench", *overrides])
    paths = _publish_map(measured, folder / name, command, palette)
    for outcome in others:
        paths += _publish_map(measured.under(outcome), folder / file_name(f"{name}-{outcome}"), command, palette)
    page = write_single_page(folder)
    return [*paths, page] if page else paths


def _publish_map(measured: Measurement, stem: Path, command: str, palette: str) -> list[Path]:
    """Write array, figure and record of one outcome."""
    effect_map, cell = measured.effect_map, measured.cell
    roi, root = cell.scene.roi, measured.store.root_sha256
    trained = {"trained_for": list(cell.model.tasks), "task": cell.degradation.task}
    record = {**measured.record, **trained, "root_sha256": root, "command": command}
    write_atomically(stem.with_name(stem.name + ".json"), (json.dumps(record, indent=2) + "\n").encode())
    array = stem.with_name(stem.name + ".npz")
    effect: Any = {effect_name(cell.options.facts): effect_map.effect}
    if isinstance(cell.scene.grid, Segments):
        effect["segments"] = cell.scene.grid.labels
    content = npz(
        **effect,
        status=effect_map.status,
        n=effect_map.n,
        roi=np.array([roi.top, roi.left, roi.height, roi.width]),
        block=cell.scene.block,
        run_key=measured.store.key,
        root_sha256=root,
    )
    write_atomically(array, content)
    figure = measured.plot(palette)
    return [array, *save_figure(figure, stem, root=root), stem.with_name(stem.name + ".json")]


def effect_name(outcome: OutcomeFacts) -> str:
    """Return what the array of a map's effects is called: by its unit."""
    return f"effect{outcome.suffix}"


def summary_table(cell: Cell, measured: Measurement, paths: list[Path]) -> None:
    """Print what was found and where it lies."""
    record, summary = measured.record, measured.effect_map.summary()
    blocks = ", ".join(f"{count} {name[7:]}" for name, count in summary.items() if name.startswith("blocks_") and count)
    session, engine, proof = record["session"], record["engine"], record["proof"]
    speed = f"{session['new_draws']} new draws in {session['seconds']:.1f} s"
    if session["draws_a_second"]:
        speed += f", {session['draws_a_second']:.0f} a second"
    checked = f"{proof['draws']} draws through the full network"
    checked += f", largest difference {proof['max_abs_db']:.1e} dB" if proof["draws"] else f" ({proof['reason']})"
    table = Table(title=f"Causal Effect Map: {cell.model.name} on {cell.scene.name}", show_header=False)
    rows = {
        "PSNR of the ROI, untouched": f"{record['psnr_roi_db']:.2f} dB (whole image {record['psnr_image_db']:.2f} dB)",
        **_effect_rows(measured),
        **joint_lines(record["joint"]),
        "blocks": blocks,
        "sampling": cell.sampling.describe(),
        "draws": f"{summary['draws']} in the averages; {speed}",
        "engine": f"{engine['kind']}, {engine['precision']}: {engine['reason']}",
        "proof": checked,
        "checks": f"{record['checks']['cpu_seconds']:.1f} s of the processor, {record['checks']['share']:.1%} of all",
        "run key": record["key"][:16],
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    Console().print("files:", *map(str, paths), sep="\n  ", soft_wrap=True, markup=False, highlight=False)


def _effect_rows(measured: Measurement) -> dict[str, str]:
    """Return the table's rows on the effects of a block, two for each outcome."""
    rows = {}
    for outcome in measured.cell.options.outcomes:
        shown = measured.under(outcome)
        summary, options = shown.effect_map.summary(), shown.cell.options
        unit, of = options.facts.unit, f", {outcome}" if shown is not measured else ""
        shares = ", ".join(f"{summary[name]:.1%} {name}" for name in ("positive", "negative", "none"))
        rows[f"effect of a block{of}"] = f"{summary.get('min_db', 0):+.3f} to {summary.get('max_db', 0):+.3f} {unit}"
        rows[f"blocks at {options.threshold:g} {unit}{of}"] = shares
    return rows
