"""Kill, race and damage real processes on a small cell and a small sweep: `results/reliability/faults.csv`.

A case ends with a clean run, compared bit by bit with draws of one undisturbed process; of all engine calls for draws,
one may be made twice for each process that was killed. `--help` has the counts.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from benchmarks.damages import DAMAGES
from cem_bench.inputs.degradations import Noise
from cem_bench.inputs.donors import DonorPool
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.scene import Scene
from cem_bench.measuring.cell import Cell, Options
from cem_bench.measuring.entry import enlist
from cem_bench.measuring.lam import keep_lam
from cem_bench.measuring.measure import measure
from cem_bench.measuring.prepared import Bench
from cem_bench.models.model import as_model
from cem_bench.sampling.rules import Request, Uniform
from cem_bench.store import draws as store_draws
from cem_bench.store.audit import walk
from cem_bench.store.draws import DamagedError, read_rows
from cem_bench.store.files import write_atomically
from cem_bench.store.leases import BusyError

TABLE = Path(__file__).resolve().parents[1] / "results" / "reliability" / "faults.csv"
SERVER = multiprocessing.get_context("forkserver")  # children in milliseconds, of a process that never ran autograd
SERVER.set_forkserver_preload(["cem_bench.measuring.entry", "cem_bench.measuring.lam", "torchvision"])
EXPERIMENT, CALLS, SWEEP, DRAWS = "faults", "calls.txt", (0, 1, 2), 3
Work = Callable[[Path], None]


class Net(nn.Module):
    """Two small convolutions, residual."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the image and a small change."""
        return x + 0.2 * self.body(x)


def cell_of(number: int) -> Cell:
    """Return a cell of 64 blocks: one network per number, the same scene and donors."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:64, :64]
    waves = np.stack([np.sin(rows / 7 + i) + np.cos(columns / 5 - i) for i in range(3)], axis=-1)
    clean = np.clip(127 + 50 * waves + rng.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)
    pool = DonorPool(rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40).astype(str), {"source": "made"})
    model = as_model(Net(number), name=f"net{number}", tasks=("DN",), identity=f"net{number}")
    scene = Scene("waves", clean, Rect(24, 24, 16, 16), 8, "made")
    return Cell(model, scene, Noise(25.0), pool, Uniform(DRAWS), Options(joint=0))  # one folder per cell


def prepare(output: Path) -> None:
    """Write a shard every few units of work, and leave a line for every engine call that makes draws."""
    store_draws.FLUSH_SECONDS, store_draws.FLUSH_SHARE = 0.05, np.inf
    run = Bench.run

    def noted(bench: Bench, request: Request) -> torch.Tensor:
        with (output / CALLS).open("a") as file:
            file.write(f"{bench.cell.model.name} {request}\n")
        return run(bench, request)

    Bench.run = noted  # pyright: ignore[reportAttributeAccessIssue]


def twice(output: Path) -> int:
    """Return how many engine calls were made again."""
    calls = (output / CALLS).read_text().splitlines() if (output / CALLS).exists() else []
    return len(calls) - len({*calls})


def one_cell(output: Path) -> None:
    """Measure a cell."""
    prepare(output)
    measure(cell_of(0), output / "store")


def one_sweep(output: Path) -> None:
    """Measure all cells as a worker of a sweep does: skip what another measures, and come back to it."""
    prepare(output)
    left = [number for number in SWEEP if not _tried(number, output, wait=False)]
    for number in left:
        _tried(number, output, wait=True)


def _tried(number: int, output: Path, *, wait: bool) -> bool:
    cell = cell_of(number)
    try:
        measured = measure(cell, output / "store", wait=wait)
    except BusyError:
        return False
    keep_lam(cell, measured, steps=2)
    enlist(cell, measured, [f"model=net{number}"], output, EXPERIMENT)
    return True


def rows_of(output: Path) -> dict[str, pd.DataFrame]:
    """Return the draws of every run of a folder, checked."""
    return {path.parent.name: read_rows(path.parent) for path in sorted((output / "store").glob("*/identity.json"))}


def same(rows: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> bool:
    """Whether two folders hold the same draws, bit by bit."""
    return rows.keys() == expected.keys() and all(rows[key].equals(expected[key]) for key in expected)


@dataclass(frozen=True)
class Setting:
    """What is disturbed.

    Attributes:
        name: of the row in the table.
        work: of one process.
        expected: the draws of one undisturbed process.
        seconds: that it took.
    """

    name: str
    work: Work
    expected: dict[str, pd.DataFrame]
    seconds: float


def undisturbed(name: str, work: Work) -> Setting:
    """Run work alone and keep what it gave."""
    with _folder() as output:
        start(work, output).join()
        shutil.rmtree(output / "store")
        (output / CALLS).unlink()
        started = time.perf_counter()
        start(work, output).join()
        return Setting(name, work, rows_of(output), time.perf_counter() - started)


def start(work: Work, output: Path) -> multiprocessing.Process:
    """Start work in a process of its own, quiet, with today's environment."""
    process = SERVER.Process(target=_child, args=(cloudpickle.dumps(work), output, {**os.environ}))
    process.start()
    return process  # pyright: ignore[reportReturnType]


def _child(work: bytes, output: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    pickle.loads(work)(output)


def killed(setting: Setting, rng: np.random.Generator, *, workers: int = 1) -> str:
    """Kill -9 one process at a random instant, run again, compare; "" where all is well."""
    with _folder() as output:
        processes = [start(setting.work, output) for _ in range(workers)]
        time.sleep(float(rng.uniform(0, setting.seconds * workers)))
        processes[0].kill()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes[1:]):
            return "the other worker failed"
        with suppress(FileNotFoundError):
            rows_of(output)  # whatever lies there can be read: old or new, never between
        again = start(setting.work, output)
        again.join()
        return _judged(setting, output, again.exitcode, most=1)


def raced(setting: Setting, rng: np.random.Generator) -> str:
    """Run two processes at once, a moment apart; "" where all is well."""
    with _folder() as output:
        processes = [start(setting.work, output)]
        time.sleep(float(rng.choice([0.0, rng.uniform(0, setting.seconds)])))
        processes.append(start(setting.work, output))
        for process in processes:
            process.join()
        return _judged(setting, output, max(process.exitcode or 0 for process in processes))


def damaged(
    setting: Setting, finished: Path, damage: Callable[[Path, np.random.Generator], None], rng: np.random.Generator
) -> str:
    """Damage a copy of a finished folder; it must be refused, then mended by the same command; "" where all is well."""
    with _folder() as output:
        shutil.copytree(finished / "store", output / "store")
        folder = output / "store" / next(iter(setting.expected))
        damage(folder, rng)
        try:
            read_rows(folder)
            return "was served"
        except DamagedError:
            pass
        again = start(setting.work, output)
        again.join()
        return _judged(setting, output, again.exitcode)


def _judged(setting: Setting, output: Path, code: int | None, *, most: int = 0) -> str:
    """Return what is wrong after a clean run: its exit code, more than `most` calls made twice, draws, a hash."""
    if code:
        return f"exit code {code}"
    if twice(output) > most:
        return f"{twice(output)} engine calls were made twice"
    try:
        rows = rows_of(output)
    except DamagedError as error:
        return f"refused: {error}"
    if not same(rows, setting.expected):
        return "other draws"
    entries = (output / "store" / "experiments").is_dir()
    return "; ".join(item.reason for item in walk(output, EXPERIMENT).damage) if entries else ""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cem_bench_faults") as name:
        yield Path(name)


def count(name: str, cases: int, case: Callable[[np.random.Generator], str]) -> dict[str, object]:
    """Run a kind of fault many times; return its row of the table."""
    rng, started = np.random.default_rng(len(name)), time.perf_counter()
    answers = [case(rng) for _ in tqdm(range(cases), desc=name, leave=False)]
    failed = [answer for answer in answers if answer]
    row = {"fault": name, "cases": cases, "failed": len(failed), "why": "; ".join(sorted({*failed}))}
    return row | {"seconds": round(time.perf_counter() - started, 1)}


def note(path: Path, row: dict[str, object]) -> None:
    """Put a row into the table; those of kinds that were not asked for stay."""
    if not row["cases"]:
        return
    known = pd.read_csv(path, keep_default_na=False).to_dict("records") if path.exists() else []
    rows = {entry["fault"]: entry for entry in known} | {row["fault"]: row}
    write_atomically(path, pd.DataFrame(rows.values()).to_csv(index=False).encode())


def main() -> None:
    """Run everything that is asked for, and write a row after each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("kills", 100), ("races", 100), ("damages", 20)):
        parser.add_argument(f"--{name}", type=int, default=default, help="in all; damages: of each kind")
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["CEM_BENCH_LEASE_SECONDS"] = "5"
    kills, races = given.kills // 4, given.races // 2
    for name, work in (("cell", one_cell), ("sweep", one_sweep)) if kills or races else ():
        s = undisturbed(name, work)
        note(given.out, count(f"kill -9, {name}", kills, lambda rng, s=s: killed(s, rng)))
        note(given.out, count(f"kill -9 of one of two, {name}", kills, lambda rng, s=s: killed(s, rng, workers=2)))
        note(given.out, count(f"two processes, {name}", races, lambda rng, s=s: raced(s, rng)))
    cell = undisturbed("cell", one_cell)
    with _folder() as finished:
        start(one_cell, finished).join()
        for name, damage in DAMAGES.items():
            note(given.out, count(name, given.damages, lambda rng, d=damage: damaged(cell, finished, d, rng)))
    print(pd.read_csv(given.out).drop(columns="why").to_string(index=False))


if __name__ == "__main__":
    main()
