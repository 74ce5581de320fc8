"""Recorded runs of the reference code, replayed: a seeded subset of draws through full and auto engines."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "replay.py"
RUNS = [
    ("DN_DnCNN_crop_2.npz", "DnCNN", "dncnn_color_blind.pth", 8),
    ("SR_RFDN_demo_1.npz", "RFDN", "rfdn_aim_x4.pth", 24),
    ("DR_PReNet_crop_2.npz", "PReNet", "prenet_rain100h.pth", 4),
]


def replay(*args, **kwargs):
    spec = importlib.util.spec_from_file_location("replay", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.replay(*args, **kwargs)


@pytest.mark.parametrize("engine", ["full", "auto"])
@pytest.mark.parametrize(("file", "model", "weights", "draws"), RUNS, ids=[run[1] for run in RUNS])
def test_recorded_runs(shared: Path, file: str, model: str, weights: str, draws: int, engine: str):
    result = replay(
        shared / "golden" / file, model=model, weights=str(shared / "weights" / weights), engine=engine, draws=draws
    )
    assert result["draws"] == draws
    assert result["max_abs_db"] <= 0.002
    assert result["baseline_abs_db"] <= 0.002
