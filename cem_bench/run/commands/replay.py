"""Feed a recorded run of the reference code through our model, engine and outcome, and compare.

One JSON line per recording: file, model, engine, draws (of how many), max_abs_db, mean_abs_db, baseline_abs_db,
seconds, passed.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cem_bench.engine import prepare
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.outcome import psnr_8bit
from cem_bench.measuring.prepared import to_tensor
from cem_bench.models.model import as_model
from cem_bench.run.build import zoo_network
from cem_bench.store.draws import write_atomically

ALLOWED_DB = 0.002  # what the recordings' own page allows
# The zoo's name for the network that each recording was made with; its card finds the recorded checkpoint.
RECORDED = {"DN_DnCNN_crop_2.npz": "DnCNN", "DR_PReNet_crop_2.npz": "PReNet", "SR_RFDN_demo_1.npz": "RFDN"}


def replay(
    file: Path,
    *,
    model: str,
    weights: str | None = None,
    engine: str = "auto",
    draws: int | None = None,
    sample_seed: int = 0,
) -> dict[str, Any]:
    """Replay recorded interventions.

    Args:
        file: a recording, as described in shared/golden/README.md.
        model: zoo name.
        weights: checkpoint file; None for the one the model's card finds.
        engine: auto, cone, crop or full.
        draws: size of a random subset; None for all.
        sample_seed: chooses the subset.

    Returns:
        Differences in dB between recorded and replayed PSNR of the ROI (8-bit), and what was replayed.
    """
    started = time.perf_counter()
    with np.load(file) as recording:
        data = {name: recording[name] for name in recording.files}
    meta = json.loads(str(data["meta"]))
    network = zoo_network(model, weights)
    restorer = as_model(network, name=model, value_range=meta["value_range"]).restorer
    roi = Rect(meta["roi_row"], meta["roi_col"], meta["roi_size"], meta["roi_size"])
    bench = prepare(restorer, to_tensor(data["observation"]), roi, kind=engine)
    clean = to_tensor(data["clean"]).double()[(slice(None), *roi.slices)]
    total = len(data["psnr"])
    rng = np.random.Generator(np.random.Philox(sample_seed))
    chosen = np.arange(total) if draws is None else np.sort(rng.choice(total, min(draws, total), replace=False))
    psnr, baseline = np.empty(len(chosen)), []
    columns = int(data["blocks"].max()) + 1
    flat = data["blocks"][chosen].astype(int) @ np.array([columns, 1])
    size = meta["block_input_px"]
    for block in tqdm(np.unique(flat), desc=file.stem, unit="block", mininterval=1):
        rows = np.flatnonzero(flat == block)
        row, column = divmod(int(block), columns)
        patches = torch.stack([to_tensor(patch) for patch in data["patches"][chosen[rows]]])
        outputs = bench.outputs(Rect(row * size, column * size, size, size), patches)
        values = psnr_8bit(outputs, clean).numpy()
        psnr[rows] = values[1:]
        baseline.append(abs(values[0] - float(data["psnr_untouched"])))
    difference = np.abs(psnr - data["psnr"][chosen])
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


def keep_row(row: dict[str, Any], path: Path) -> None:
    """Write a row into a table, in place of an older one of the same file and engine."""
    import pandas as pd

    rows: list[Any] = pd.read_csv(path).to_dict("records") if path.exists() else []
    others = [old for old in rows if (old["file"], old["asked"]) != (row["file"], row["asked"])]
    table = pd.DataFrame([*others, row]).sort_values(["file", "asked"])
    write_atomically(path, table.to_csv(index=False, float_format="%.6g").encode())


def replay_all(recording: Path, model: str, *, table: Path | None, **how: Any) -> bool:
    """Replay a recording, or those of a folder that `RECORDED` knows, and print a JSON line each.

    Args:
        recording: a file or a folder.
        model: zoo name; "" in a folder.
        table: csv that keeps the rows; None for none.
        how: of `replay`.

    Returns:
        Whether all agree within `ALLOWED_DB`.

    Raises:
        ValueError: if a file comes without a model, or a folder holds no recording.
    """
    if not recording.is_dir() and not model:
        raise ValueError(f"which network was {recording} recorded with? give --model NAME")
    pairs = {recording: model}
    if recording.is_dir():
        pairs = {recording / name: known for name, known in RECORDED.items() if model in ("", known)}
        pairs = {path: known for path, known in pairs.items() if path.exists()}
        if not pairs:
            raise ValueError(f"{recording} holds none of {', '.join(RECORDED)}")
    passed = True
    for path, known in pairs.items():
        row = replay(path, model=known, **how)
        print(json.dumps(row), flush=True)
        if table:
            keep_row(row, table)
        passed &= row["passed"]
    return passed
