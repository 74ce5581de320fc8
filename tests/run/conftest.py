"""Real command lines in processes of their own, on a tiny network of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest

from cem_bench.run.launch import run
from cem_bench.store.draws import read_rows

ROOT = Path(__file__).resolve().parents[2]
NETWORK = """
import os
import time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, seed=0, seconds=0.0, fate="none"):
        super().__init__()
        torch.manual_seed(seed)
        self.seconds = seconds
        self.fate = fate
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, x):
        time.sleep(self.seconds)
        if self.fate == "death":
            os.kill(os.getpid(), 9)
        if self.fate == "error":
            raise RuntimeError("as fate has it")
        return x + 0.2 * self.body(x)
"""
CELL = (
    "model=custom",
    "model._target_=mynet.Net",
    "model.tasks=[DN]",
    "model.identity=mynet",
    "task=dn25",
    "scene=coffee",
    "scene.crop=[0,100,64,64]",
    "scene.roi=[24,24,16,16]",
    "donors.count=50",
    "sampling=uniform",
    "sampling.n=4",
)
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that starts `python -m cem_bench ...` in a folder that holds `mynet.py`."""
    (tmp_path / "mynet.py").write_text(NETWORK)

    def begin(*arguments: str, extra: Mapping[str, str] | None = None, **more: object) -> subprocess.Popen[str]:
        path = os.pathsep.join((str(ROOT), str(tmp_path)))
        environment = os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}
        environment |= extra or {}
        command = [sys.executable, "-m", "cem_bench", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True, **more)  # pyright: ignore

    return begin


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, pd.DataFrame]]:
    """Return a function that measures a command line in this process alone, and returns the draws by run key."""
    (tmp_path / "mynet.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))

    def measure(*arguments: str) -> dict[str, pd.DataFrame]:
        run([*arguments, f"output={tmp_path / 'alone'}"])
        return draws_of(tmp_path / "alone")

    return measure


def draws_of(output: Path) -> dict[str, pd.DataFrame]:
    """Return the draws of every run of a folder, checked, by run key."""
    return {path.parent.name: read_rows(path.parent) for path in sorted((output / "store").glob("*/manifest.json"))}


@pytest.fixture
def arguments() -> list[str]:
    """One cell of 64 blocks and 4 draws each."""
    return list(CELL)
