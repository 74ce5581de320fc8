"""Measure every network of the hostile battery and hold it against the truth; write results/reliability/networks.csv.

    python -m benchmarks.reliability                      # all networks, engines auto and full
    python -m benchmarks.reliability --kind "rows touch" --engine auto --output /tmp/reliability
    python -m benchmarks.reliability --resume             # after a stop: takes up the rows of before

The truth of a network is the same network, made afresh, hidden from every recorder, one image at a time, in a store of
its own. A network holds if every block (those called unreachable too) is within 1e-4 dB of the truth, or if it is
refused by an error of the project, where a refusal is allowed. The exit code is 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data
from torch import Tensor
from tqdm import tqdm

from benchmarks.hostile_networks import BATTERY, REFUSED, RIGHT, Hostile
from cem_bench import Cell, DonorPool, Noise, Rect, Scene, as_model
from cem_bench.measuring.cell import Options
from cem_bench.measuring.measure import measure
from cem_bench.sampling.rules import Uniform
from cem_bench.store.files import write_atomically

LIMIT_DB, DRAWS = 1e-4, 2
OUTPUT = Path(__file__).resolve().parents[1] / "results" / "reliability"


@dataclass(frozen=True)
class Outcome:
    """What came of one network under one engine.

    Attributes:
        network: its name.
        kind: what it misleads with.
        asked: engine asked for.
        engine: engine that did it; empty where it was refused.
        max_abs_db: largest difference to the truth over all blocks, dB; NaN where it was refused.
        must: what had to come of it.
        refusal: the words of the refusal.
        holds: whether it came to what it had to.
    """

    network: str
    kind: str
    asked: str
    engine: str
    max_abs_db: float
    must: str
    refusal: str
    holds: bool


def make_cell(network: Any, engine: str, side: int = 48) -> Cell:
    """Return the battery's scene, of side x side pixels with an ROI of 16x16 in a corner, under a network."""
    clean = np.ascontiguousarray(data.astronaut()[70 : 70 + side, 190 : 190 + side])
    coffee, rng = data.coffee(), np.random.default_rng(4)
    corners = rng.integers(0, [coffee.shape[0] - 8, coffee.shape[1] - 8], (200, 2))
    patches = np.stack([coffee[top : top + 8, left : left + 8] for top, left in corners])
    pool, scene = (
        DonorPool(patches, np.arange(200).astype(str)),
        Scene("face", clean, roi=Rect(side - 16, side - 16, 16, 16)),
    )
    return Cell(as_model(network, name="hostile"), scene, Noise(50), pool, Uniform(DRAWS), Options(engine=engine))


def hidden(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a network that no recorder sees into and that gets one image at a time."""

    def alone(images: Tensor) -> Tensor:
        rows = [network(torch.from_numpy(image.numpy().copy())[None]) for image in images]
        return torch.from_numpy(np.concatenate([row.detach().float().numpy() for row in rows]))

    return alone


def made(hostile: Hostile) -> Any:
    """Make a network; the same one each time."""
    torch.manual_seed(1)
    return hostile.make()


def held_against_truth(hostile: Hostile, engine: str) -> Outcome:
    """Measure one network and its truth."""
    head = (hostile.name, hostile.kind, engine)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(), torch.no_grad():
        try:
            measured = measure(make_cell(made(hostile), engine, hostile.side), Path(folder) / "store")
        except ValueError as error:  # an error of the project
            return Outcome(*head, "", float("nan"), hostile.must, str(error), hostile.must != RIGHT)
        truth = measure(
            make_cell(hidden(made(hostile)), "full", hostile.side), Path(folder) / "truth"
        ).effect_map.effect
        apart = float(np.nanmax(np.abs(measured.effect_map.effect - truth)))
        holds = apart < LIMIT_DB and hostile.must != REFUSED
        return Outcome(*head, measured.record["engine"]["kind"], apart, hostile.must, "", holds)


def _stopped(path: Path) -> dict[tuple[str, str], Outcome]:
    """Return what a run that was stopped came to, by network and engine."""
    rows = [Outcome(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    return {(row.network, row.asked): row for row in rows}


def main() -> None:
    """Parse the command line, measure, write the table."""
    parser = argparse.ArgumentParser(description="Hold the hostile battery against the truth.")
    parser.add_argument("--kind", help="only networks of this kind")
    parser.add_argument(
        "--engine", action="append", choices=["auto", "cone", "crop", "full"], help="default: auto, full"
    )
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of networks.csv")
    parser.add_argument("--resume", action="store_true", help="take up what a stopped run with this code came to")
    options = parser.parse_args()
    import pandas as pd

    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # torch.jit is deprecated; that is what some networks are made of
    chosen = [hostile for hostile in BATTERY if options.kind in (None, hostile.kind)]
    runs = [(hostile, engine) for hostile in chosen for engine in options.engine or ["auto", "full"]]
    unfinished = options.output / "networks.unfinished.jsonl"
    outcomes = _stopped(unfinished) if options.resume else {}
    for hostile, engine in tqdm(runs, unit="network"):
        if (hostile.name, engine) in outcomes:
            continue
        outcome = held_against_truth(hostile, engine)
        outcomes[hostile.name, engine] = outcome
        write_atomically(unfinished, "".join(json.dumps(asdict(row)) + "\n" for row in outcomes.values()).encode())
        if not outcome.holds:
            tqdm.write(f"does not hold: {outcome}")
    table = pd.DataFrame([outcomes[hostile.name, engine] for hostile, engine in runs])
    write_atomically(options.output / "networks.csv", table.to_csv(index=False, float_format="%.2e").encode())
    unfinished.unlink(missing_ok=True)
    print(f"{int(table.holds.sum())} of {len(table)} hold; {options.output / 'networks.csv'}")
    sys.exit(int(not table.holds.all()))


if __name__ == "__main__":
    main()
