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
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.measure import Measurement
from cem_bench.measuring.prepared import Progress
from cem_bench.report.single_page import write_single_page
from cem_bench.store.files import file_name, npz, write_atomically
from cem_bench.store.outcomes import OutcomeFacts


@contextmanager
def progress_bar(title: str, *, below: bool = False, unit: str = "draw") -> Iterator[Progress]:
    """Give a progress bar with rate and ETA, `below` that of the sweep; the total grows when a rule asks for more."""
    with tqdm(desc=title, unit=unit, dynamic_ncols=True, position=int(below), leave=not below, mininterval=0.5) as bar:

        def update(done: int, total: int, stage: str) -> None:
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
    """Write map (npz), figure (PNG, SVG) and record (JSON) of a cell, and the page of the folder's cells.

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
    stem = folder / cell_name(cell, measured.store.key)
    effect_map, roi = measured.effect_map, cell.scene.roi
    record = {**measured.record, "command": shlex.join(["python", "-m", "cem_bench", *overrides])}
    write_atomically(stem.with_name(stem.name + ".json"), (json.dumps(record, indent=2) + "\n").encode())
    array = stem.with_name(stem.name + ".npz")
    effect: Any = {effect_name(cell.options.facts): effect_map.effect}
    content = npz(
        **effect,
        status=effect_map.status,
        n=effect_map.n,
        roi=np.array([roi.top, roi.left, roi.height, roi.width]),
        block=cell.scene.block,
        run_key=measured.store.key,
    )
    write_atomically(array, content)
    figure = measured.plot(palette)
    paths = [array, *save_figure(figure, stem), stem.with_name(stem.name + ".json")]
    page = write_single_page(folder)
    return [*paths, page] if page else paths


def effect_name(outcome: OutcomeFacts) -> str:
    """Return what the array of a map's effects is called: by its unit."""
    return f"effect{outcome.suffix}"


def summary_table(cell: Cell, measured: Measurement, paths: list[Path]) -> None:
    """Print what was found and where it lies."""
    record, summary, unit = measured.record, measured.effect_map.summary(), cell.options.facts.unit
    shares = ", ".join(f"{summary[name]:.1%} {name}" for name in ("positive", "negative", "none"))
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
        "effect of a block": f"{summary.get('min_db', 0):+.3f} to {summary.get('max_db', 0):+.3f} {unit}",
        f"blocks at {cell.options.threshold:g} {unit}": shares,
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
