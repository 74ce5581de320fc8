"""Recorded runs of the reference code, replayed: a seeded subset of draws through full and auto engines."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cem_bench.run.commands.replay import replay, replay_all

RUNS = [
    ("DN_DnCNN_crop_2.npz", "DnCNN", "dncnn_color_blind.pth", 8),
    ("SR_RFDN_demo_1.npz", "RFDN", "rfdn_aim_x4.pth", 24),
    ("DR_PReNet_crop_2.npz", "PReNet", "prenet_rain100h.pth", 4),
]


@pytest.mark.parametrize("engine", ["full", "auto"])
@pytest.mark.parametrize(("file", "model", "weights", "draws"), RUNS, ids=[run[1] for run in RUNS])
def test_recorded_runs(shared: Path, file: str, model: str, weights: str, draws: int, engine: str):
    result = replay(
        shared / "golden" / file, model=model, weights=str(shared / "weights" / weights), engine=engine, draws=draws
    )
    assert result["draws"] == draws
    assert result["max_abs_db"] <= 0.002
    assert result["baseline_abs_db"] <= 0.002


def test_a_folder_keeps_one_row_per_recording(shared: Path, tmp_path: Path):
    table = tmp_path / "replay.csv"
    for _ in range(2):
        assert replay_all(shared / "golden", "DnCNN", table=table, engine="auto", draws=4)
    rows = pd.read_csv(table)
    assert rows["file"].tolist() == ["DN_DnCNN_crop_2.npz"]
    assert rows["passed"].all()


def test_what_cannot_be_replayed(tmp_path: Path):
    with pytest.raises(ValueError, match="give --model NAME"):
        replay_all(tmp_path / "run.npz", "", table=None)
    with pytest.raises(ValueError, match=r"holds none of DN_DnCNN_crop_2\.npz"):
        replay_all(tmp_path, "", table=None)
