"""Measure what workers gain, what the store costs, and what 100,000 units take: writes results/scaling/.

`python benchmarks/scaling.py [--cells 8] [--units 100000]`. Wall seconds mean little on a machine that does other work
beside: CPU seconds of all processes stand beside them, and the load of the machine when each row began.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd

from cem_bench.report.render import table
from cem_bench.run.progress import Turnout
from cem_bench.run.sweep import Sweep
from cem_bench.sampling.rules import Uniform, asked
from cem_bench.store import maps
from cem_bench.store.draws import Store, read_rows
from cem_bench.store.files import write_atomically
from cem_bench.store.states import State, Turn, claimed_cell, write_state

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "scaling"
BLOCKS, DRAWS = 256, 4
SWEEP = ("--multirun", "model=RCAN_DN_none", "scene=astronaut", "sampling=uniform", "sampling.n=4")
CELL = (*SWEEP[1:-1], "sampling.n=16")


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Measure a block: wall and CPU seconds of this process and of the children that ended in it, load before it."""
    figures = {"load": round(os.getloadavg()[0], 1)}
    wall, cpu = time.perf_counter(), cpu_seconds()
    try:
        yield figures
    finally:
        figures |= {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(cpu_seconds() - cpu, 3)}


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended, user and system."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def by_workers(cells: int) -> pd.DataFrame:
    """Measure one sweep by 1 and by 2 workers of this machine, each from an empty folder."""
    rows = []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder, timed() as figures:
            seeds = ",".join(map(str, range(cells)))
            words = [*SWEEP, f"seed={seeds}", f"workers={workers}", f"output={folder}"]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            subprocess.run(
                [sys.executable, "-m", "cem_bench", *words], env=environment, check=True, stdout=subprocess.DEVNULL
            )
        rows.append(
            {"workers": workers, "cells": cells, "threads": os.environ.get("OMP_NUM_THREADS", "all"), **figures}
        )
    shared = pd.DataFrame(rows)
    shared["speedup"] = (shared["wall_s"].iloc[0] / shared["wall_s"]).round(2)
    return shared


def store_share() -> tuple[float, float]:
    """Return the CPU and wall seconds that the store takes of one cell's, as shares."""
    from cem_bench.run.build import build_cell, register
    from cem_bench.run.compose import composed

    register()
    config = composed(CELL)
    spent = {"cpu": 0.0, "wall": 0.0, "depth": 0.0}
    names = ("__post_init__", "_mend", "append", "flush", "write_record", "write_files", "read_file", "remove")
    from cem_bench.measuring.measure import measure

    with tempfile.TemporaryDirectory() as folder:
        cell = build_cell(config)
        for name in names:
            patcher = patch.object(Store, name, counted(getattr(Store, name), spent))
            patcher.start()
        wall, cpu = time.perf_counter(), time.process_time()
        measure(cell, Path(folder))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        patch.stopall()
    return spent["cpu"] / cpu, spent["wall"] / wall


def counted(function: Callable[..., object], spent: dict[str, float]) -> Callable[..., object]:
    """Return a function that adds its time to what is spent; a call within a call is not counted twice."""

    def call(*arguments: object, **more: object) -> object:
        spent["depth"] += 1
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            return function(*arguments, **more)
        finally:
            spent["depth"] -= 1
            if not spent["depth"]:
                spent["cpu"] += time.process_time() - cpu
                spent["wall"] += time.perf_counter() - wall

    return call


def many_units(units: int) -> dict[str, float]:
    """Plan, lease, store and aggregate units of work without a network: one unit is all draws of one block.

    Every cell is planned by a sweep, claimed, asked for by the rule, stored, and read again for its map.
    """
    cells, shape = -(-units // BLOCKS), (16, 16)
    rng, status = np.random.default_rng(0), np.full(shape, maps.MEASURED)
    with tempfile.TemporaryDirectory() as name, timed() as figures:
        output, turn, planned = Path(name), Turn("made", time.time()), made_up(cells)
        turnout = Turnout(output, planned, turn)
        for overrides in planned:
            with claimed_cell(output, overrides, wait=False):
                store = Store(output / "store", {"cell": overrides})
                _, requests = asked(Uniform(DRAWS), {block: np.empty(0) for block in range(BLOCKS)})
                with store.claimed():
                    for request in requests:
                        store.append(rows_of(np.full(DRAWS, request.block), np.arange(DRAWS), rng))
                    store.write_record({})
                write_state(output, State(tuple(overrides), turn.name, time.time(), time.time(), BLOCKS * DRAWS))
        turnout.read()
        effects = (effects_of(output, overrides) for overrides in planned)
        drawn = [maps.build_map(shape, by_block, Uniform(DRAWS), status, tol=0.01) for by_block in effects]
    if len(drawn) != cells or turnout.left or not all((item.n == DRAWS).all() for item in drawn):
        raise RuntimeError("not every unit was planned, stored and read")
    return {"units": cells * BLOCKS, "cells": cells, **figures}


def made_up(cells: int) -> list[list[str]]:
    """Return the overrides of every cell of a sweep over two models and many scenes."""
    scenes = tuple(f"s{number}" for number in range(-(-cells // 2)))
    sweep = Sweep(("+experiment=made",), {"model": ("A", "B"), "scene": scenes}, {})
    return [[*sweep.fixed, *(f"{key}={value}" for key, value in cell.items())] for cell in sweep.cells][:cells]


def rows_of(block: np.ndarray, k: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return made-up draws."""
    psnr = rng.normal(30, 0.1, len(k))
    return {"block": block, "k": k, "donor": k, "stratum": 0 * k, "psnr": psnr, "psnr_untouched": 0 * psnr + 30}


def effects_of(output: Path, overrides: list[str]) -> dict[int, np.ndarray]:
    """Read the effects of a cell, every byte checked."""
    store = Store(output / "store", {"cell": overrides})
    return store.effects(range(BLOCKS), "psnr")


def many_cells(cells: int) -> dict[str, float]:
    """Plan, claim, note and aggregate cells of one draw each: what a sweep costs beside its work."""
    with tempfile.TemporaryDirectory() as name, timed() as figures:
        output, turn = Path(name), Turn("made", time.time())
        planned = made_up(cells)
        turnout = Turnout(output, planned, turn)
        for overrides in planned:
            with claimed_cell(output, overrides, wait=False):
                write_state(output, State(tuple(overrides), turn.name, time.time(), time.time(), 1))
        turnout.read()
        if turnout.left or turnout.eta_s(1) != 0.0:
            raise RuntimeError("not every cell was noted")
    return {"units": cells, "cells": cells, **figures}


def as_a_leader(units: int) -> tuple[dict[str, float], dict[str, float], float]:
    """Plan, lease and aggregate made-up units, and cells, in a process that has loaded what a sweep's leader has.

    Returns:
        Figures of both, and the peak memory of the process after the units, GiB.
    """
    made, peak = many_units(units), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return made, many_cells(units // 5), peak


def reading(draws: int) -> dict[str, float]:
    """Read a cell of many draws, every byte checked; the median of nine times."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        store = Store(Path(name), {"cell": "large"})
        block, k = np.divmod(np.arange(draws), 100)
        store.append(rows_of(block, k, rng))
        store.write_record({})
        times = []
        for _ in range(9):
            with timed() as figures:
                if len(read_rows(store.folder)) != draws:
                    raise RuntimeError("not every draw was read")
            times.append(figures)
    return {name: float(np.median([entry[name] for entry in times])) for name in ("wall_s", "cpu_s", "load")}


def limits(units: int) -> pd.DataFrame:
    """Measure what has a limit."""
    cpu, wall = store_share()
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:
        made, noted, peak = apart.submit(as_a_leader, units).result()
    reads = reading(50_000)
    made_name = f"{made['units']:,} units in {made['cells']:,} cells planned, leased, stored, read"
    noted_name = f"{noted['cells']:,} cells planned, leased, noted, summed up"
    rows = [
        ("store, share of a cell's CPU seconds", 100 * cpu, 1.0, "%"),
        ("store, share of a cell's wall seconds", 100 * wall, 1.0, "%"),
        ("reading 50,000 draws of one cell, wall", reads["wall_s"], 0.2, "s"),
        (f"{made_name}, wall", made["wall_s"], 60, "s"),
        (f"{made_name}, CPU", made["cpu_s"], 60, "s"),
        ("peak memory of the process that did this, torch loaded", peak, 1.0, "GiB"),
        (f"{noted_name}, wall", noted["wall_s"], None, "s"),
        (f"{noted_name}, CPU", noted["cpu_s"], None, "s"),
    ]
    bounds = pd.DataFrame(rows, columns=["what", "measured", "limit", "unit"])
    bounds["measured"] = bounds["measured"].map(lambda value: float(f"{value:.3g}"))
    bounds["load"] = round(os.getloadavg()[0], 1)
    return bounds


PAGE = """\
# What workers gain, and what the store costs

{limits}

A unit of work is all draws of one block. Units are made up, so that nothing but the store and its leases costs time.
Cells (of many units each) are what workers claim; the rows on cells alone are what claiming and noting that many takes
one process, and have no limit. The store's share is of a cell of 16 draws a block.

One sweep by one and by two workers of the same machine, from an empty folder:

{workers}

How well a sweep foretells its end: [time_left.csv](time_left.csv), by `python benchmarks/time_left.py`. Three networks
on four scenes; `factor` is how far the time shown after each cell was from what was left.

`load` is the machine's load average when a row began: where it exceeds the number of cores, wall seconds say little,
and CPU seconds of all processes stand beside them. Each process imports torch and loads its network once.

Written by `python benchmarks/scaling.py`; not edited by hand.
"""


def page(bounds: pd.DataFrame, shared: pd.DataFrame) -> str:
    """Return the page of both tables."""
    return PAGE.format(limits=table(bounds.fillna("")), workers=table(shared))


def main() -> None:
    """Measure everything and write tables and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=8, help="of the sweep that workers share")
    parser.add_argument("--units", type=int, default=100_000, help="of made-up work")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--limits", action="store_true", help="measure limits.csv alone; workers.csv stays")
    parser.add_argument("--page", action="store_true", help="write the page alone, of the tables in --out")
    given = parser.parse_args()
    if not given.page:
        write_atomically(given.out / "limits.csv", limits(given.units).to_csv(index=False).encode())
    if not given.page and not given.limits:
        write_atomically(given.out / "workers.csv", by_workers(given.cells).to_csv(index=False).encode())
    bounds, shared = (pd.read_csv(given.out / f"{name}.csv") for name in ("limits", "workers"))
    write_atomically(given.out / "README.md", page(bounds, shared).encode())
    print(bounds.to_string(index=False), shared.to_string(index=False), sep="\n")


if __name__ == "__main__":
    main()
