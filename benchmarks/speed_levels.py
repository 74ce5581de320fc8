"""Measure whole maps by `sampling=levels` against the published rule by plain forwards: results/benchmark/levels.csv.

    CEM_WEIGHTS=FOLDER python benchmarks/speed_levels.py [--only RCAN_DN_ca ...]

Each row runs in a process of its own, in CPU seconds of one thread; a forward is timed before and after the map. The
published rule's forwards are counted: 3 in every block, 50 more where one of the first three draws of the map reaches
tol. Its plain cost is that number times a forward. `python benchmarks/speed.py --only` prints the table on its page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from speed import OUT, REACHED, read, write

from cem_bench.measuring.drawing import Drawing
from cem_bench.measuring.level_drawing import LevelDrawing
from cem_bench.measuring.measure import measure
from cem_bench.measuring.prepared import Bench
from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.sampling.level_draws import RINGS
from cem_bench.sampling.rules import Paper
from cem_bench.store.roots import tables_root

COARSE, FINE = Paper().coarse, Paper().fine
TIMED = 6  # forwards before the map, and as many after it


@dataclass(frozen=True)
class Row:
    """One row: a network, its task, and the ratio to reach; 256x256 px of a photograph that scikit-image ships."""

    network: str
    task: str
    target: float


ROWS = (
    Row("RCAN_DN_ca", "dn50", 12),
    Row("RCAN_SR_ca", "sr_x4", 12),
    Row("IMDN", "sr_x4", 10),
    Row("SCET", "sr_x4", 6),
    Row("SMFANet", "sr_x4", 6),
    Row("DnCNN", "dn50", 1),
)
SCENE = "scene=astronaut"


def forward_s(bench: Bench) -> float:
    """Return CPU seconds of a plain forward of the observation, median of several."""
    spent = []
    with bench.cell.model.forwards():
        for _ in range(TIMED):
            begun = time.process_time()
            bench.full_forward(bench.cell, bench.tensor[None])
            spent.append(time.process_time() - begun)
    return float(np.median(spent))


def first_draws(drawing: Drawing, blocks: list[int]) -> np.ndarray:
    """Return the largest |effect| of the first draws of each block, by the cheap level where there is one."""
    level = drawing.level if isinstance(drawing, LevelDrawing) else None
    outcome = drawing.bench.cell.options.outcome
    effects = (drawing.store if level is None else level.store).effects(blocks, outcome)
    own = drawing.store.effects(blocks, outcome)
    first = [draws[:COARSE] if len(draws) else own[block][:COARSE] for block, draws in effects.items()]
    return np.array([np.abs(draws).max(initial=0.0) for draws in first])


def measured(row: Row, sampling: str = "levels") -> dict[str, Any]:
    """Measure a map, in this process."""
    torch.set_num_threads(1)
    register()
    config = composed([f"model={row.network}", f"task={row.task}", f"sampling={sampling}", "joint=0", SCENE])
    OmegaConf.resolve(config)
    cell, drawings = build_cell(config), []
    bench = Bench.of(cell)
    forward = [forward_s(bench)]
    begun = time.process_time()
    done = measure(cell, watch=drawings.append)
    spent = time.process_time() - begun
    forward.append(forward_s(bench))
    table, levels = done.table, done.record.get("levels", {})
    moved = first_draws(drawings[0], table.block.tolist()) >= cell.options.threshold
    forwards = COARSE * int(done.effect_map.counted.sum()) + FINE * int(moved.sum())
    plain = forwards * float(np.mean(forward))
    return {
        "network": row.network,
        "task": row.task,
        "input_px": bench.observation.shape[1],
        "blocks": int(done.effect_map.counted.sum()),
        "coloured_by_paper": int(moved.sum()),
        "paper_forwards": forwards,
        "forward_s": float(np.mean(forward)),
        "plain_s": plain,
        "map_s": spent,
        "ratio": plain / spent,
        "target": row.target,
        "met": "yes" if plain / spent >= row.target else "missed",
        "undecided": table.counts()["undecided"],
        **of_levels(levels),
        "real_draws": len(done.store.rows),
        "reason": levels.get("reason", ""),
    }


def of_levels(levels: dict[str, Any]) -> dict[str, Any]:
    """Return what a record says of the levels, one column each; empty columns where there is no level."""
    rings, audit = {ring["up_to_px"]: ring for ring in levels.get("rings", [])}, levels.get("audit", {})
    seconds = {f"{name}_s": levels.get(f"{name}_cpu_seconds") for name in ("setup", "cheap", "real")}
    ends = [None if edge == RINGS[-1] else edge for edge in RINGS]
    return {
        "cheap_draws": levels.get("cheap_draws"),
        "audited": audit.get("blocks"),
        "none_unseen": audit.get("called_none_unseen"),
        "audit_failed": audit.get("failed"),
        **seconds,
        **{f"left_to_{end or 'end'}": rings[end]["variance_left"] if end in rings else None for end in ends},
        **{f"cost_to_{end or 'end'}": rings[end]["cost_forwards"] if end in rings else None for end in ends},
        "rings_served": sum(ring["level_used"] for ring in rings.values()) if rings else None,
    }


def figure(rows: list[dict[str, Any]]) -> None:
    """Draw the ratio of every row against its target, and the variance left by distance."""
    from matplotlib.figure import Figure

    from cem_bench.figures.saving import save_figure
    from cem_bench.figures.style import WIDTH, style

    with style():
        drawing = Figure(figsize=(WIDTH, 0.9 + 0.3 * len(rows)))
        ratio, left = drawing.subplots(1, 2)
        names = ["{network} {task}".format(**row) for row in rows]
        colours = [REACHED if row["met"] == "yes" else "#c9a227" for row in rows]
        ratio.barh(names, [row["ratio"] for row in rows], color=colours, height=0.7)
        ratio.plot([row["target"] for row in rows], names, "|", color="#b2182b", markersize=9, markeredgewidth=1.6)
        ratio.set(xscale="log", xlabel="published rule by plain forwards / levels\n(CPU time of one map; line: target)")
        ratio.invert_yaxis()
        for row in rows:
            parts = [float(row[f"left_to_{end}"] or "nan") for end in (*RINGS[:-1], "end")]
            if np.isfinite(parts).any():
                left.plot(range(len(parts)), np.maximum(parts, 1e-8), "o-", label=row["network"])
        edges = [f"to {edge:g}" for edge in RINGS[:-1]]
        left.set(yscale="log", ylabel="variance left", xlabel="distance from the ROI, px")
        left.set_xticks(range(len(RINGS)), [*edges, "beyond"])
        if left.lines:
            left.legend(fontsize=6)
        save_figure(drawing, OUT / "levels", root=tables_root(OUT, ("levels.csv",)))


def main() -> int:
    """Measure the rows asked for, each in its own process, and write table and figure; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", help="networks to measure anew; none: the figure alone; default all")
    parser.add_argument("--row", choices=[row.network for row in ROWS], help="measure one in this process, print it")
    options = parser.parse_args()
    if options.row:
        row = next(row for row in ROWS if row.network == options.row)
        sys.stdout.write("\n" + json.dumps(measured(row)))
        return 0
    rows, failed = {row["network"]: row for row in read("levels.csv")}, False
    for row in ROWS:
        if options.only is not None and row.network not in options.only:
            continue
        command = [sys.executable, "-W", "ignore", __file__, "--row", row.network]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        if done.returncode:
            sys.stdout.write(f"{row.network}: {done.stderr[-600:]}\n")
            failed = True
            continue
        rows[row.network] = json.loads(done.stdout.splitlines()[-1])
        sys.stdout.write(json.dumps(rows[row.network]) + "\n")
        write("levels.csv", [rows[row.network] for row in ROWS if row.network in rows])
    figure(read("levels.csv"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
