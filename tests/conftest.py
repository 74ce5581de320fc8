"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # of every process that a test starts: xdist has one worker per core

import numpy as np
import pytest
import torch
from torch import nn

from cem_bench.inputs.donors import DonorPool
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.scene import Scene
from cem_bench.measuring.perceptual import BACKBONES

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of real checkpoints, images and recordings; the test is skipped where it is missing."""
    folder = Path(os.environ.get("CEM_SHARED", SHARED))
    if not (folder / "weights").is_dir():
        pytest.skip(f"needs the real checkpoints and images of {folder}, which are not in the repository")
    monkeypatch.setenv("CEM_WEIGHTS", str(folder / "weights"))
    monkeypatch.setenv("CEM_DATA", str(folder / "data"))
    return folder


@pytest.fixture(scope="session")
def perceptual_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Backbones of LPIPS and DISTS with weights drawn here, under the names of those that torchvision publishes."""
    import torchvision

    folder = tmp_path_factory.mktemp("backbones")
    for name, file in BACKBONES.items():
        with torch.random.fork_rng(), torch.device("meta"):
            network = torchvision.models.alexnet() if name == "lpips" else torchvision.models.vgg16()
        draw = np.random.default_rng(0)
        state = {}
        for key, value in network.state_dict().items():
            if key.startswith("features"):
                spread = float(np.sqrt(2 / max(value[0].numel(), 1)))
                state[key] = torch.from_numpy(draw.normal(0, spread, tuple(value.shape)).astype(np.float32))
            else:  # no part of the measure: a single stored number
                state[key] = torch.zeros(1).expand(value.shape)
        torch.save(state, folder / file)
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def pool(rng: np.random.Generator) -> DonorPool:
    patches = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    return DonorPool(patches, np.arange(40).astype(str), {"source": "random"})


@pytest.fixture
def scene(rng: np.random.Generator) -> Scene:
    """A smooth image of 48x64 pixels (not square) with an ROI of 16x16 in the middle."""
    rows, columns = np.mgrid[:48, :64]
    waves = np.stack([np.sin(rows / 7 + i) + np.cos(columns / 5 - i) for i in range(3)], axis=-1)
    clean = np.clip(127 + 50 * waves + rng.normal(0, 6, waves.shape), 0, 255).astype(np.uint8)
    return Scene("waves", clean, Rect(16, 24, 16, 16), 8, "made")


class TinyNet(nn.Module):
    """Two 3x3 convolutions around a ReLU, residual; reach 2 pixels; upscale by pixel shuffle where asked."""

    def __init__(self, scale: int = 1, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first = nn.Conv2d(3, 8, 3, padding=1)
            self.last = nn.Conv2d(8, 3 * scale * scale, 3, padding=1)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        detail = torch.nn.functional.pixel_shuffle(self.last(torch.relu(self.first(x))), self.scale)
        return torch.nn.functional.interpolate(x, scale_factor=self.scale, mode="nearest") + 0.2 * detail


@pytest.fixture
def tiny() -> type[TinyNet]:
    return TinyNet
