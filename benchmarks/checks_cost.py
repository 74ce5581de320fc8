"""Measure what the checks of a map cost the processor; write results/reliability/checks.csv.

    python -m benchmarks.checks_cost                      # quickstart and two maps of a minute or more
    python -m benchmarks.checks_cost --map IMDN --output /tmp/reliability

Quickstart may take `CHECKS_S` seconds, a map of a minute or more `CHECKS_SHARE` of the processor's time. Seconds are
those of one thread, and of the machine as busy as it is: a forward of the whole image, timed beside the map, says how
busy. The exit code is 1 where a limit is passed.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import pandas as pd
import torch

from cem_bench import measure
from cem_bench.engine.allocator import keep_freed_memory
from cem_bench.engine.cost import Cost
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.prepared import to_tensor
from cem_bench.measuring.proof import CHECKS_S, CHECKS_SHARE
from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.store.files import write_atomically

MINUTE, FORWARDS = 60.0, 3
MAPS = {
    "quickstart": ["+experiment=quickstart"],
    "RCAN_DN_ca": ["model=RCAN_DN_ca", "task=dn50", "scene=astronaut", "scene.crop=[0,64,128,128]", "roi=center"],
    "IMDN": ["model=IMDN", "task=sr_x4", "scene=astronaut", "sampling=uniform", "sampling.n=4"],
}
OUTPUT = Path(__file__).resolve().parents[1] / "results" / "reliability"


def forward_s(cell: Cell) -> float:
    """Return what a plain forward of the whole observation takes the processor, seconds."""
    rows, cost = to_tensor(cell.degradation(cell.scene.clean))[None], Cost()
    with torch.inference_mode():
        cell.model.restorer(rows)
        with cost.counted():
            for _ in range(FORWARDS):
                cell.model.restorer(rows)
    return cost.cpu_seconds / FORWARDS


def measured(name: str) -> dict[str, str | float | bool]:
    """Measure one map and return its row."""
    cell = build_cell(composed(MAPS[name]))
    cell = dataclasses.replace(cell, options=dataclasses.replace(cell.options, joint=0))
    before = forward_s(cell)
    record = measure(cell).record
    checks, proof = record["checks"], record["proof"]
    seconds, whole = checks["cpu_seconds"], checks["of_cpu_seconds"]
    holds = seconds <= CHECKS_S if whole < MINUTE else checks["share"] <= CHECKS_SHARE
    return {
        "map": name,
        "engine": record["engine"]["kind"],
        "draws": record["session"]["new_draws"],
        "cpu_seconds": whole,
        "checks_cpu_seconds": seconds,
        "share": checks["share"],
        "forward_cpu_seconds": round((before + forward_s(cell)) / 2, 4),
        "proof_draws": proof["draws"],
        **{
            f"{part}_cpu_seconds": checks[f"{part}_cpu_seconds"]
            for part in ("yardstick", "engine", "fingerprint", "proof")
        },
        "holds": holds,
    }


def main() -> None:
    """Parse the command line, measure, write the table."""
    parser = argparse.ArgumentParser(description="Measure what the checks of a map cost.")
    parser.add_argument("--map", action="append", choices=list(MAPS), help="default: all")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of checks.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command that runs quickstart does
    register()
    rows: list[dict[str, str | float | bool]] = []
    for name in options.map or MAPS:
        rows.append(measured(name))
        table = pd.DataFrame(rows)
        write_atomically(options.output / "checks.csv", table.to_csv(index=False).encode())
        print(table.tail(1).to_string(index=False), flush=True)
    sys.exit(int(not all(row["holds"] for row in rows)))


if __name__ == "__main__":
    main()
