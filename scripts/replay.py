"""Feed a recorded run of the reference code through our model, engine and outcome, and compare.

    python scripts/replay.py ../shared/golden/DN_DnCNN_crop_2.npz --model DnCNN
    python scripts/replay.py ../shared/golden --engine auto

Prints one JSON line a recording: file, model, engine, draws (of how many), max_abs_db, mean_abs_db, baseline_abs_db,
seconds, passed. A folder replays every recording that `RECORDED` knows and keeps the lines in
results/benchmark/replay.csv, one row a file and engine asked for.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

import model_zoo
from cem_bench.engine import prepare
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.outcome import psnr_8bit
from cem_bench.measuring.prepared import to_tensor
from cem_bench.models.model import as_model

TABLE = Path(__file__).resolve().parents[1] / "results" / "benchmark" / "replay.csv"
ALLOWED_DB = 0.002  # what the recordings' own page allows
# The zoo's name for the network that each recording was made with; its card finds the recorded checkpoint.
RECORDED = {"DN_DnCNN_crop_2.npz": "DnCNN", "DR_PReNet_crop_2.npz": "PReNet", "SR_RFDN_demo_1.npz": "RFDN"}


def replay(
    file: Path, *, model: str, weights: str | None = None, engine: str = "auto", draws: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Replay recorded interventions.

    Args:
        file: a recording, as described in shared/golden/README.md.
        model: zoo name.
        weights: checkpoint file; None for the one the model's card finds.
        engine: auto, cone, crop or full.
        draws: size of a random subset; None for all.
        seed: chooses the subset.

    Returns:
        Differences in dB between recorded and replayed PSNR of the ROI (8-bit), and what was replayed.
    """
    started = time.perf_counter()
    with np.load(file) as recording:
        data = {name: recording[name] for name in recording.files}
    meta = json.loads(str(data["meta"]))
    network = model_zoo.load(model, weights=weights)
    restorer = as_model(network, name=model, value_range=meta["value_range"]).restorer
    roi = Rect(meta["roi_row"], meta["roi_col"], meta["roi_size"], meta["roi_size"])
    bench = prepare(restorer, to_tensor(data["observation"]), roi, kind=engine)
    clean = to_tensor(data["clean"]).double()[(slice(None), *roi.slices)]
    total = len(data["psnr"])
    rng = np.random.Generator(np.random.Philox(seed))
    chosen = np.arange(total) if draws is None else np.sort(rng.choice(total, min(draws, total), replace=False))
    found, baseline = np.empty(len(chosen)), []
    columns = int(data["blocks"].max()) + 1
    flat = data["blocks"][chosen].astype(int) @ np.array([columns, 1])
    size = meta["block_input_px"]
    for block in tqdm(np.unique(flat), desc=file.stem, unit="block", mininterval=1):
        rows = np.flatnonzero(flat == block)
        row, column = divmod(int(block), columns)
        patches = torch.stack([to_tensor(patch) for patch in data["patches"][chosen[rows]]])
        outputs = bench.outputs(Rect(row * size, column * size, size, size), patches)
        values = psnr_8bit(outputs, clean).numpy()
        found[rows] = values[1:]
        baseline.append(abs(values[0] - float(data["psnr_untouched"])))
    difference = np.abs(found - data["psnr"][chosen])
    return {
        "file": file.name,
        "model": model,
        "asked": engine,
        "engine": bench.kind,
        "draws": len(chosen),
        "recorded_draws": total,
        "max_abs_db": float(difference.max()),
        "mean_abs_db": float(difference.mean()),
        "baseline_abs_db": float(max(baseline)),
        "seconds": round(time.perf_counter() - started, 2),
        "passed": bool(difference.max() <= ALLOWED_DB),
    }


def keep(row: dict[str, Any]) -> None:
    """Write a row into the table, in place of an older one of the same file and engine."""
    import pandas as pd

    TABLE.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Any] = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    others = [old for old in rows if (old["file"], old["asked"]) != (row["file"], row["asked"])]
    table = pd.DataFrame([*others, row]).sort_values(["file", "asked"])
    table.to_csv(TABLE, index=False, float_format="%.6g")


def main() -> None:
    """Parse the command line and print the result."""
    parser = argparse.ArgumentParser(description="Replay a recorded run of the reference code.")
    parser.add_argument("file", type=Path, help="recorded run, .npz, or the folder of all")
    parser.add_argument("--model", help="zoo name, see `python -m model_zoo list`; a folder needs none")
    parser.add_argument("--weights", help="checkpoint file; default: found by the model's card")
    parser.add_argument("--engine", default="auto", choices=["auto", "cone", "crop", "full"])
    parser.add_argument("--draws", type=int, help="replay a random subset of this size")
    parser.add_argument("--seed", type=int, default=0, help="chooses the subset")
    options = parser.parse_args()
    how = {"engine": options.engine, "draws": options.draws, "seed": options.seed}
    if not options.file.is_dir() and options.model is None:
        parser.error("which network? give --model")
    try:
        if not options.file.is_dir():
            print(json.dumps(replay(options.file, model=options.model, weights=options.weights, **how)))
            return
        for name, model in RECORDED.items():
            if (options.file / name).exists() and options.model in (None, model):
                row = replay(options.file / name, model=model, **how)
                print(json.dumps(row), flush=True)
                keep(row)
    except (ValueError, OSError) as error:
        parser.exit(1, f"replay: {error}\n")


if __name__ == "__main__":
    main()
