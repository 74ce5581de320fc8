"""Measure what the engines save: `python benchmarks/speed.py` writes results/benchmark/ (tables, figure, page).

Each scene of `benchmarks/speed_scenes.py` runs in a process of its own, one after the other, and its row is written at
once: `--resume` measures only what the tables lack. Networks without a checkpoint in CEM_WEIGHTS run with seeded random
weights, which costs the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from speed_scenes import SCENES, engine_code, met

from cem_bench.report.render import render
from cem_bench.store.files import write_atomically
from cem_bench.store.roots import marked, tables_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "benchmark"
TABLES = ("engines.csv", "growth.csv")
REACHED = "#3b6ea5"
LONGEST_S = 600  # a row that takes longer is given up
SHOWN = (
    "network",
    "input_px",
    "engine",
    "weights",
    "ratio",
    "target",
    "met",
    "largest_difference_db",
    "peak_memory_gb",
    "reason",
)


def in_process(script: str, asked: str) -> Any:
    """Measure what a script beside this one is asked for, in a process of its own; None where it fails."""
    environment = {
        "CEM_WEIGHTS": str(ROOT.parent / "shared" / "weights"),
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
    }
    command = [sys.executable, "-W", "ignore", str(Path(__file__).with_name(script)), asked]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        sys.stdout.write(f"{asked}: not done after {LONGEST_S} s\n")
        return None
    if done.returncode:
        sys.stdout.write(done.stderr[-600:] + "\n")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV."""
    OUT.mkdir(parents=True, exist_ok=True)
    write_atomically(OUT / name, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g").encode())


def read(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table written before; none where there is none."""
    path = OUT / name
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def engines(wanted: Callable[[Any, dict[str, Any] | None], bool]) -> list[dict[str, Any]]:
    """Measure the scenes that are wanted; others keep the row they have.

    Args:
        wanted: from a scene and its row so far, whether to measure it.
    """
    rows = {row["case"]: row for row in read("engines.csv")}
    for index, scene in enumerate(SCENES):
        if wanted(scene, rows.get(scene.case)):
            row = in_process("speed_scenes.py", str(index))
            if row is None:
                sys.stdout.write(f"{scene.case}: not measured\n")
                continue
            rows[scene.case] = row
            say(row)
        write("engines.csv", _in_order(rows))
    return _in_order(rows)


def _in_order(rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows there are, in the order of the scenes, each with whether it reaches today's target."""
    known = [(scene, rows[scene.case]) for scene in SCENES if scene.case in rows]
    return [
        {**row, "target": scene.target, "met": met(scene, row["ratio"], row["largest_difference_db"])}
        for scene, row in known
    ]


def say(row: dict[str, Any]) -> None:
    """Print the main columns of a row."""
    sys.stdout.write(
        "  ".join(f"{key}={row[key]:.4g}" if isinstance(row[key], float) else f"{key}={row[key]}" for key in SHOWN)
        + "\n"
    )
    sys.stdout.flush()


def figure(rows: list[dict[str, Any]], cost: list[dict[str, Any]]) -> None:
    """Draw ratio against target for every scene, and the growth of the cost of a draw."""
    from matplotlib.figure import Figure

    from cem_bench.figures.saving import save_figure
    from cem_bench.figures.style import WIDTH, style

    kinds = [kind for kind in dict.fromkeys(row["what"] for row in cost) if "torch.compile" not in kind]  # two numbers
    with style():
        drawing = Figure(figsize=(WIDTH, 2.6 + 0.17 * len(rows)))
        axes = drawing.subplot_mosaic([["ratio"] * len(kinds), kinds], height_ratios=[0.17 * len(rows), 1.6])
        ratios(axes["ratio"], rows)
        for kind in kinds:
            points = [(row["value"], row["ms_a_draw"]) for row in cost if row["what"] == kind]
            axes[kind].plot(*zip(*points, strict=True), "o-", color=REACHED)
            axes[kind].set(xlabel=per(kind).replace(" (", "\n("), ylabel="ms per draw")
            axes[kind].set_ylim(0, 1.15 * max(cost for _, cost in points))
        save_figure(drawing, OUT / "benchmark", root=tables_root(OUT, TABLES))


def per(kind: str) -> str:
    """Return what a cost grows with as it is printed: the table has always said "draws a block"."""
    return kind.replace(" a block", " per block")


def ratios(axis: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw a bar per scene with its number, and its target."""
    names = ["{network}, {task} {input_px} px, {engine} {precision}".format(**row) for row in rows]
    colours = [REACHED if row["met"] == "yes" else "#c9a227" for row in rows]
    axis.barh(names, [row["ratio"] for row in rows], color=colours, height=0.7)
    for line, row in enumerate(rows):
        axis.text(1.08 * max(row["ratio"], row["target"]), line, f"{row['ratio']:.3g}", va="center", fontsize=6)
    axis.plot(
        [row["target"] for row in rows],
        names,
        "|",
        color="#b2182b",
        markersize=9,
        markeredgewidth=1.6,
        label="target (yellow: not met)",
    )
    axis.set(xscale="log", xlabel="full forwards / engine (CPU time of one map)", xlim=(0.7, 1000))
    axis.tick_params(axis="y", labelsize=6)
    axis.grid(visible=False, axis="y")
    axis.invert_yaxis()
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)


def page(rows: Sequence[Mapping[str, Any]], cost: Sequence[Mapping[str, Any]]) -> str:
    """Return the page.

    Args:
        rows: of engines.csv.
        cost: of growth.csv.
    """
    growth = [
        {"cost of a draw by": per(row["what"]), "value": row["value"], "ms": f"{row['ms_a_draw']:.3g}"} for row in cost
    ]
    return render(
        "speed",
        engines=pd.DataFrame([printed(row) for row in rows]),
        older=[row["case"] for row in rows if row.get("engine_code") != engine_code()],
        reasons=pd.DataFrame([{"case": row["case"], "reason": row["reason"]} for row in rows]),
        growth=pd.DataFrame(growth),
        levels=pd.DataFrame([printed_levels(row) for row in read("levels.csv")]),
        levels_root=marked(tables_root(OUT, ("levels.csv",))) if (OUT / "levels.csv").exists() else "",
        root=marked(tables_root(OUT, TABLES)),
    )


def printed(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of engines.csv as the page prints it."""
    return {
        "network": row["network"],
        "weights": row["weights"],
        "scene": f"{row['task']} {row['input_px']} px, {row['schedule']}",
        "engine": f"{row['engine']} {row['precision']}",
        "full, s": f"{row['full_map_s']:,.0f}",
        "engine, s": f"{row['engine_map_s'] + row['prepare_s']:,.0f}",
        "ratio": f"{row['ratio']:.3g}",
        "target": f"{row['target']:g}",
        "met": row["met"],
        "largest difference, dB": f"{row['largest_difference_db']:.1e}",
        "peak memory, GB": f"{row['peak_memory_gb']:.1f}",
        "work removed": f"{row['work_removed']:.1%}",
    }


def printed_levels(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of levels.csv as the page prints it."""
    left = [row[f"left_to_{end}"] for end in ("8.0", "16.0", "32.0", "64.0", "end")]
    return {
        "network": f"{row['network']}, {row['task']} {row['input_px']} px",
        "plain, s": f"{row['plain_s']:,.0f}",
        "levels, s": f"{row['map_s']:,.0f}",
        "ratio": f"{row['ratio']:.3g}",
        "target": f"{row['target']:g}",
        "met": row["met"],
        "draws, cheap / real": f"{row['cheap_draws']:,.0f} / {row['real_draws']:,.0f}".replace("nan", "-"),
        "cheap, real, s": f"{row['cheap_s']:,.0f}, {row['real_s']:,.0f}".replace("nan", "-"),
        "undecided": f"{row['undecided']}",
        "variance left to 8, 16, 32, 64 px, beyond": ", ".join(f"{part:.1g}" for part in left).replace("nan", "-"),
        "note": "" if pd.isna(row["reason"]) else row["reason"],
    }


def main() -> int:
    """Run all scenes (or those asked for), then write tables, figure and page; 1 if a scene could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="networks to measure anew, none: figure and page alone; default all")
    parser.add_argument("--resume", action="store_true", help="keep the rows that are there, measure what is missing")
    parser.add_argument("--changed", action="store_true", help="as --resume, but measure anew what an older engine did")
    options = parser.parse_args()

    def wanted(scene: Any, row: dict[str, Any] | None) -> bool:
        if options.only is not None:
            return scene.network in options.only
        stale = options.changed and row is not None and row.get("engine_code") != engine_code()
        return row is None or stale or not (options.resume or options.changed)

    rows = engines(wanted)
    keeps = options.only is not None or options.resume or options.changed
    cost = (read("growth.csv") if keeps else []) or [
        row for asked in ("growth", "compiled") for row in in_process("speed_growth.py", asked) or []
    ]
    if cost:
        write("growth.csv", cost)
    figure(rows, cost)
    write_atomically(OUT / "README.md", page(rows, cost).encode())
    return int(len(rows) < len(SCENES) or not cost)


if __name__ == "__main__":
    sys.exit(main())
