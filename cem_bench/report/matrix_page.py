"""What a measured effect matrix leaves for its reader: sparse matrix, decay with distance, figure and record."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy import sparse

from cem_bench.figures.saving import save_figure
from cem_bench.store.files import file_name, write_atomically
from cem_bench.store.matrix import EffectMatrix


def publish_matrix(matrix: EffectMatrix, record: dict[str, Any], folder: Path) -> list[Path]:
    """Write matrix (npz, for `scipy.sparse.load_npz`), decay (CSV), figure and record.

    Args:
        matrix: the matrix.
        record: of the run, with the root of its rows.
        folder: where to.

    Returns:
        The files written.
    """
    stem = folder / file_name(f"{record['model']}-{record['scene']}-all-rois-{record['key'][:8]}")
    sparse_map = io.BytesIO()
    sparse.save_npz(sparse_map, matrix.mean_db)
    contents = {
        ".npz": sparse_map.getvalue(),
        ".csv": matrix.decay().to_csv(index=False).encode(),
        ".json": (json.dumps(record, indent=2) + "\n").encode(),
    }
    paths = {suffix: stem.with_name(stem.name + suffix) for suffix in contents}
    for suffix, content in contents.items():
        write_atomically(paths[suffix], content)
    return [*paths.values(), *save_figure(_decay_figure(matrix, record), stem, root=record["root_sha256"])]


def _decay_figure(matrix: EffectMatrix, record: dict[str, Any]) -> Figure:
    decay = matrix.decay()
    rings = decay[decay["distance_px"] > 0]
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(rings["distance_px"], rings["mass_db"], color="black", marker="o", markersize=3, label="absolute")
    axes.plot(rings["distance_px"], rings["positive_db"], color="#c1272d", label="positive")
    axes.plot(rings["distance_px"], rings["negative_db"], color="#2e5fa3", label="negative")
    for share, name in ((0.5, "r50"), (0.9, "r90")):
        radius = matrix.radius_px(share)
        axes.axvline(radius, color="0.6", linestyle=":")
        at = {"xycoords": ("data", "axes fraction"), "fontsize": 7, "va": "top"}
        axes.annotate(f"{name} = {radius:.1f} px", (radius, 0.97), **at)
    axes.set_yscale("log")
    axes.set_xlabel("distance between block and target (px)")
    axes.set_ylabel("effect of a block on a target (dB)")
    axes.set_title(f"{record['model']} on {record['scene']}", fontsize=10)
    axes.legend(fontsize=7, frameon=False)
    return figure


def matrix_table(matrix: EffectMatrix, record: dict[str, Any], paths: list[Path]) -> None:
    """Print what was found and where it lies."""
    table = Table(title=f"All ROIs: {record['model']} on {record['scene']}", show_header=False)
    engine, session = record["engine"], record["session"]
    rows = {
        "causal radius": f"r50 {record['r50_px']:.1f} px, r90 {record['r90_px']:.1f} px (of effects on other blocks)",
        "pairs kept": f"{record['stored_pairs']} of {len(matrix.grid) ** 2}; the others are exactly 0",
        "engine": f"{engine['kind']}, {engine['precision']}: {engine['reason']}",
        "time": f"{session['new_blocks']} new blocks in {session['seconds']:.1f} s",
        "run key": record["key"][:16],
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    Console().print("files:", *map(str, paths), sep="\n  ", soft_wrap=True, markup=False, highlight=False)
