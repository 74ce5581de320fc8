"""A store of made-up draws, written as a sweep writes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cem_bench.inputs.geometry import Grid, Rect
from cem_bench.store.cells import StoredCell
from cem_bench.store.draws import Store

ROI = Rect(24, 24, 16, 16)
GRID = Grid(64, 64, 8)
Make = Callable[..., StoredCell]


def status() -> np.ndarray:
    """ROI in the middle, everything else can reach it."""
    codes = np.zeros(GRID.shape, dtype=np.int8)
    for index in GRID.overlapping(ROI):
        codes[divmod(index, GRID.shape[1])] = 1
    return codes


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that stores a cell of given effects and reads it back."""
    return maker(tmp_path)


def maker(folder: Path) -> Make:
    """Return a function that stores a cell in a folder of results and reads it back."""

    def build(
        effects: dict[int, np.ndarray], *, model: str = "A", image: str = "coffee", number: int = 1, psnr: float = 30.0
    ) -> StoredCell:
        scene = f"shipped_{image}_{number}"
        store = Store(folder / "store", {"model": model, "scene": scene})
        for block, draws in effects.items():
            count = len(draws)
            columns = {"block": np.full(count, block), "k": np.arange(count), "donor": np.zeros(count, int)}
            columns["stratum"] = np.zeros(count, int)
            for outcome in ("psnr", "psnr_8bit"):
                columns |= {outcome: psnr - draws, f"{outcome}_untouched": np.full(count, psnr)}
            store.append(columns)
        store.write_record({"model": model, "scene": scene})
        rng = np.random.default_rng(1)
        for name in ("clean", "observation", "restored"):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(store.folder / f"{name}.png")
        entry = entry_of(store.key, model, scene, image, max(len(draws) for draws in effects.values()), psnr)
        path = folder / "store" / "experiments" / "denoise_ca" / f"model={model},scene={scene},seed=0.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entry))
        return StoredCell.of(entry, folder / "store")

    return build


def entry_of(key: str, model: str, scene: str, image: str, draws: int, psnr: float) -> dict:
    """An entry as `member.enlist` writes it."""
    return {
        "key": key,
        "model": model,
        "scene": scene,
        "scene_source": f"skimage:data/{image}.png",
        "tol": 0.01,
        "outcome": "psnr",
        "psnr_roi_db": psnr,
        "psnr_image_db": psnr,
        "engine": {"kind": "full", "reason": "", "precision": "fp32"},
        "proof": {"draws": 0, "reason": "the full forward itself"},
        "session": {"new_draws": draws, "seconds": 1.0, "draws_a_second": 1.0},
        "provenance": {"commit": "0" * 40, "machine": "x86_64 Linux", "torch": "2", "python": "3", "numpy": "2"},
        "sampling": f"uniform: {draws} draws a block",
        "seed": 0,
        "task": "DN",
        "degradation": {"type": "Noise", "sigma": 50.0, "seed": 0},
        "trained_for": ["DN"],
        "facts": {"network": "x:Y", "reach": 20, "global_statistics": "", "parameters": 10},
        "observed_psnr_roi_db": 15.0,
        "roi": [ROI.top, ROI.left, ROI.height, ROI.width],
        "size": [64, 64],
        "block": 8,
        "rule": {"type": "Uniform", "n": draws},
        "donors": {"source": "made up", "licence": "none"},
        "status": status().tolist(),
        "variant": {},
    }


def live_blocks() -> list[int]:
    """The blocks outside the ROI."""
    return np.flatnonzero(status().ravel() == 0).tolist()
