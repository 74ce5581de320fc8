"""Measure how well a sweep foretells its end: writes results/scaling/time_left.csv.

`python benchmarks/time_left.py` runs one sweep of three shipped networks on four shipped scenes from an empty folder,
and notes after every cell what the sweep shows as the time that is left. Nothing of the store is read but the states of
the cells, as the sweep itself does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from cem_bench.run.build import parts_of, register
from cem_bench.run.job import own_overrides
from cem_bench.run.progress import Turnout
from cem_bench.run.sweep import plan
from cem_bench.store.entries import as_choices
from cem_bench.store.files import write_atomically
from cem_bench.store.states import Turn, read_state

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "results" / "scaling" / "time_left.csv"
MODELS = ("RCAN_DN_none", "RCAN_DN_window4", "SRResNet_DN_light")
SCENES = ("astronaut", "chelsea", "coffee", "rocket")
RULE = ("task=dn50", "sampling=smoke", "joint=0")
POLL_SECONDS = 0.2


def noted(words: list[str], output: Path) -> pd.DataFrame:
    """Run a sweep and return a row per cell, in the order in which they ended.

    Args:
        words: of its command line.
        output: an empty folder.

    Returns:
        `model`, `scene`, `seconds` of the cell; `eta_s` shown at its end; `ended`, seconds since the sweep began.
    """
    sweep = plan(words, {})
    if sweep is None:
        raise ValueError(f"{' '.join(words)}: expected a sweep")
    cells = [[f"{key}={value}" for key, value in cell.items()] for part in parts_of(sweep) for cell in part.cells]
    planned = [[*own_overrides(sweep.fixed), *cell] for cell in cells]
    turnout, rows = Turnout(output, planned, Turn("", time.time())), []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cem_bench", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        while turnout.left and process.poll() is None:
            time.sleep(POLL_SECONDS)
            before = dict(turnout.left)
            turnout.read()
            for name in before.keys() - turnout.left.keys():
                state, choices = read_state(output, name), as_choices(before[name])
                assert state is not None and state.ended is not None
                cell = {"model": choices["model"], "scene": choices["scene"], "seconds": state.ended - state.begun}
                rows.append({**cell, "eta_s": turnout.eta_s(1), "ended": state.ended - turnout.turn.since})
    if process.returncode or turnout.left:
        raise RuntimeError(f"the sweep ended with {process.returncode}, {len(turnout.left)} cells left")
    return pd.DataFrame(rows)


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with the time that was left, and how far off the foretold one was.

    Args:
        rows: of `noted`.

    Returns:
        With `left_s`, `factor` (the larger of the two over the smaller; NaN after the last cell), and `every_model`:
        whether a cell of each had ended.
    """
    left = rows["ended"].iloc[-1] - rows["ended"]
    apart = (rows["eta_s"] / left.where(left > 0)).astype(float)
    seen = [rows["model"].iloc[: at + 1].nunique() == rows["model"].nunique() for at in range(len(rows))]
    return rows.assign(left_s=left, factor=apart.where(apart >= 1, 1 / apart), every_model=seen)


def main() -> None:
    """Run the sweep and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TABLE)
    given = parser.parse_args()
    register()
    words = ["--multirun", *RULE, f"scene={','.join(SCENES)}", f"model={','.join(MODELS)}"]
    with tempfile.TemporaryDirectory() as folder:
        rows = judged(noted([*words, f"output={folder}"], Path(folder)))
    rows["load"] = round(os.getloadavg()[0], 1)
    write_atomically(given.out, rows.drop(columns="ended").to_csv(index=False, float_format="%.4g").encode())
    print(rows.to_string(index=False))


if __name__ == "__main__":
    main()
