"""How the benchmark's cost of a draw grows, and one forward under `torch.compile`, measured in this process.

Called by `benchmarks/speed.py`: `speed_growth.py growth` or `speed_growth.py compiled`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import torch
from speed_scenes import BLOCK, FINE, as_tensor, clean_image, donors, network, spread, timed
from torch import nn

from cem_bench.engine import prepare
from cem_bench.inputs.geometry import Rect


def growth() -> list[dict[str, Any]]:
    """Measure how the cost of a draw grows with image side, depth and number of draws."""
    rows = [("image side, px (20 layers as DnCNN, 50 draws)", side, 20, side, FINE) for side in (128, 256, 512)]
    rows += [("3x3 layers (256 px, 50 draws)", depth, depth, 256, FINE) for depth in (5, 10, 20, 35)]
    rows += [("draws a block (20 layers, 256 px)", draws, 20, 256, draws) for draws in (1, 3, 10, 50)]
    return [
        {"what": what, "value": value, "ms_a_draw": _cost(_plain(depth), side, draws)}
        for what, value, depth, side, draws in rows
    ]


def _plain(depth: int) -> nn.Module:
    """Return a plain stack of 3x3 convolutions of 64 channels, as in DnCNN, with seeded random weights."""
    torch.manual_seed(0)
    inner = [layer for _ in range(depth - 2) for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), *inner, nn.Conv2d(64, 3, 3, padding=1)).eval()


def _cost(restorer: nn.Module, side: int, draws: int) -> float:
    """Return CPU milliseconds a draw, averaged over live blocks."""
    observation = as_tensor(clean_image(side))
    centre = side // 2 // BLOCK * BLOCK
    engine = prepare(restorer, observation, Rect(centre, centre - 32, 32, 32), kind="cone")
    live = [
        block
        for row in range(0, side, BLOCK)
        for column in range(0, side, BLOCK)
        if engine.reaches(block := Rect(row, column, BLOCK, BLOCK))
    ]
    chosen, patches = spread(live, 9), donors(observation, BLOCK, draws)
    timed(engine, chosen[0], patches)
    return float(np.mean([timed(engine, block, patches)[1] for block in chosen])) / draws * 1e3


def compiled() -> list[dict[str, Any]]:
    """Time one forward of EDSR-64-16 plainly (0) and by torch.compile (1); nothing where there is no compiler."""
    restorer, _ = network("EDSR-64-16")
    image = as_tensor(clean_image(64))[None]
    compiled, rows = torch.compile(restorer), []
    with torch.inference_mode():
        for value, run in enumerate((restorer, compiled)):
            try:
                run(image)
            except (RuntimeError, OSError) as error:
                sys.stderr.write(f"torch.compile: {error}\n")
                break
            spent = []
            for _ in range(5):
                start = time.process_time()
                run(image)
                spent.append(time.process_time() - start)
            rows.append(
                {
                    "what": "plain (0) and torch.compile (1) (EDSR-64-16, one full forward)",
                    "value": value,
                    "ms_a_draw": float(np.median(spent)) * 1e3,
                }
            )
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write("\n" + json.dumps({"growth": growth, "compiled": compiled}[sys.argv[1]]()))
