"""Measure what the engines save: `python scripts/benchmark.py` writes results/benchmark/ (two tables, one figure).

Each scene runs in a process of its own, full forwards and engine interleaved, in CPU seconds of one process, so that
other work on the machine disturbs both alike. The 3 + 50 map is measured on a sample of blocks and scaled; the sample's
size is a column. Networks without a checkpoint in CEM_WEIGHTS run with seeded random weights, which costs the same.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "benchmark"
TOL = 0.01
COARSE, FINE = 3, 50
# Blocks that get fine draws where random weights cannot tell: about what recorded maps of real networks show.
ASSUMED = {"DN": 40, "DR": 40, "SR": 100}


@dataclass(frozen=True)
class Scene:
    """One row of the table: a network on an input, and how much of its map to measure."""

    network: str
    task: str
    side: int
    scale: int
    schedule: str = "3+50"
    kind: str = "auto"
    precision: str = "fp32"
    sample: int = 24
    fine: int = FINE
    target: float = 1.0


SCENES = (
    Scene("DnCNN", "DN", 256, 1, target=200),
    Scene("DnCNN", "DN", 256, 1, kind="crop", sample=2, target=1),
    Scene("SRResNet_DN", "DN", 256, 1, sample=16, target=80),
    Scene("FFDNet", "DN", 256, 1, target=60),
    Scene("EDSR-64-16", "SR", 64, 4, target=10),
    Scene("SRResNet", "SR", 64, 4, target=10),
    Scene("EDSR-64-16", "SR", 128, 4, schedule="even", sample=40, target=80),
    Scene("SRResNet", "SR", 128, 4, schedule="even", sample=40, target=80),
    Scene("PAN", "SR", 64, 4, target=5),
    Scene("PReNet", "DR", 256, 1, sample=10, target=10),
    Scene("SwinIR", "SR", 64, 4, sample=3, fine=3, target=1.5),
    Scene("CRAFT", "SR", 64, 4, sample=4, fine=5, target=1.5),
    Scene("RCAN", "SR", 64, 4, sample=2, fine=3, target=0.95),
    Scene("IMDN", "SR", 64, 4, sample=6, fine=12, target=0.95),
    Scene("RFDN", "SR", 64, 4, sample=6, fine=12, target=0.95),
    Scene("RRDBNet_RealSR", "SR", 64, 4, sample=2, fine=3, target=0.95),
    Scene("RCAN", "SR", 64, 4, precision="bf16", kind="full", sample=2, fine=3, target=3),
    Scene("RRDBNet_RealSR", "SR", 64, 4, precision="bf16", kind="full", sample=2, fine=3, target=3),
)


def network(name: str) -> tuple[nn.Module, str]:
    """Return a network of the zoo with its real weights, or with seeded random ones, and which."""
    import torch

    import model_zoo

    try:
        return model_zoo.load(name).eval(), "real"
    except model_zoo.ZooError:
        torch.manual_seed(0)  # the zoo initialises from torch's state; nothing else reads it here
        return model_zoo.build(name).eval(), "random"


def clean_image(side: int) -> np.ndarray:
    """Return a shared scene of that side if there is one, else a seeded synthetic image, (side, side, 3) uint8."""
    from PIL import Image

    for path in sorted((ROOT.parent / "shared" / "data" / "scenes").rglob("*demo_1*.png")):
        picture = Image.open(path).convert("RGB")
        if min(picture.size) >= 256:
            return np.asarray(picture.crop((0, 0, 256, 256)).resize((side, side), Image.Resampling.BICUBIC))
    generator = np.random.Generator(np.random.Philox(0))
    coarse = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def degraded(clean: np.ndarray, scene: Scene) -> np.ndarray:
    """Return the observation of a scene, uint8."""
    from cem_bench import degrade

    how = {"DN": lambda: degrade.Noise(50, 0), "DR": lambda: degrade.Rain("medium", 0),
           "SR": lambda: degrade.Bicubic(scene.scale)}[scene.task]()
    return how(clean)


def measure(scene: Scene) -> dict[str, Any]:
    """Measure one scene in this process."""
    import torch

    from cem_bench.engine import prepare
    from cem_bench.engine.choose import sample_blocks
    from cem_bench.engine.cone import ConeEngine
    from cem_bench.geometry import Rect

    torch.set_num_threads(1)
    restorer, weights = network(scene.network)
    size = scene.side * scene.scale
    clean = clean_image(size)
    observation = torch.from_numpy(degraded(clean, scene).copy()).permute(2, 0, 1).float() / 255
    roi = Rect(152 * size // 256 // 8 * 8, 96 * size // 256 // 8 * 8, 32, 32)
    truth = torch.from_numpy(clean.copy()).permute(2, 0, 1)[(slice(None), *roi.slices)].double() / 255
    start = time.process_time()
    engine = prepare(restorer, observation, roi, kind=scene.kind, precision=scene.precision)
    prepared = time.process_time() - start
    step = 8 // scene.scale
    starts = range(0, scene.side, step)
    blocks = [Rect(row, column, step, step) for row in starts for column in starts]
    reached = [block for block in blocks if engine.reaches(block)]
    donors = _donors(observation, step)
    full = prepare(restorer, observation, roi, kind="full")
    near = sorted(reached, key=lambda block: max(abs(block.top * scene.scale + 4 - roi.top - 16),
                                                 abs(block.left * scene.scale + 4 - roi.left - 16)))
    assumed = near[: ASSUMED[scene.task]] if weights == "random" and scene.schedule == "3+50" else None
    times = _interleaved(Bench(engine, full, donors, truth, scene), reached, assumed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    fine = times["fine_blocks"]
    forwards = COARSE * len(blocks) + FINE * fine if scene.schedule == "3+50" else FINE * len(blocks)
    left = engine.program.share(sample_blocks(observation)) if isinstance(engine, ConeEngine) else 1.0
    plain_s, spent = forwards * times["forward_s"], times["engine_s"]
    return {"network": scene.network, "weights": weights, "task": scene.task, "input_px": scene.side,
            "scale": scene.scale, "schedule": scene.schedule, "precision": scene.precision, "engine": engine.kind,
            "blocks": len(blocks), "reached_blocks": len(reached), "sampled_blocks": min(scene.sample, len(reached)),
            "fine_blocks": round(fine), "fine_blocks_from": "assumed nearest" if assumed else "measured",
            "fine_draws_measured": scene.fine, "forwards": round(forwards), "threads": 1,
            "full_forward_s": times["forward_s"], "full_map_s": plain_s, "engine_map_s": spent, "prepare_s": prepared,
            "ratio": plain_s / (spent + prepared), "target": scene.target,
            "largest_difference_db": times["difference_db"], "peak_memory_gb": peak, "work_removed": 1 - left,
            "reason": engine.reason}


@dataclass(frozen=True)
class Bench:
    """What one scene is measured with."""

    engine: Any
    full: Any
    donors: Tensor
    truth: Tensor
    scene: Scene


def _donors(observation: Tensor, step: int) -> Tensor:
    """Return 50 patches of the observation itself: content of other places with the same degradation."""
    import torch

    generator = np.random.Generator(np.random.Philox(1))
    corners = generator.integers(0, observation.shape[-1] - step, (FINE, 2))
    return torch.stack([observation[:, row : row + step, column : column + step] for row, column in corners])


def _interleaved(bench: Bench, reached: list[Any], assumed: list[Any] | None) -> dict[str, float]:
    """Run the engine on sampled blocks, full forwards in between; CPU seconds scaled to the map, and differences."""
    chosen = _spread(reached, bench.scene.sample)
    bench.full.batch = batch = _best_batch(bench.full, chosen[0], bench.donors, bench.scene.sample < 12)
    coarse_s = forward_s = difference = 0.0
    forwards, moved = 0, []
    compared = _spread(chosen, 3 if bench.scene.sample >= 12 else 1)
    for block in chosen:
        outputs, seconds = _timed(bench.engine, block, bench.donors[:COARSE])
        coarse_s += seconds
        if np.abs(_psnr(outputs[:1], bench.truth) - _psnr(outputs[1:], bench.truth)).max() >= TOL:
            moved.append(block)
        if block in compared:
            plain, seconds = _timed(bench.full, block, bench.donors[:COARSE])
            forward_s, forwards = forward_s + seconds, forwards + -(-(COARSE + 1) // batch) * batch
            difference = max(difference, float(np.abs(_psnr(plain, bench.truth) - _psnr(outputs, bench.truth)).max()))
    scaled = len(reached) / len(chosen)
    even = bench.scene.schedule == "even"
    deep = chosen if even else moved if assumed is None else assumed
    sample = _spread(deep, bench.scene.sample // 2 or 1)
    fine_s = sum(_timed(bench.engine, block, bench.donors[: bench.scene.fine])[1] for block in sample)
    fine_blocks = len(deep) * (1 if assumed else scaled)
    fine_s *= fine_blocks / max(1, len(sample)) * (FINE + 1) / (bench.scene.fine + 1)
    return {"engine_s": fine_s + (0.0 if even else coarse_s * scaled), "forward_s": forward_s / forwards,
            "difference_db": difference, "fine_blocks": fine_blocks}


def _spread(blocks: list[Any], count: int) -> list[Any]:
    """Return that many blocks, evenly spread over the list."""
    return [blocks[index] for index in np.linspace(0, len(blocks) - 1, min(count, len(blocks))).round().astype(int)]


def _best_batch(full: Any, block: Any, donors: Tensor, slow: bool) -> int:
    """Return the batch size with the least CPU time a forward."""
    seconds = {}
    for batch in (1, 2) if slow else (1, 2, 4):
        full.batch = batch
        _, spent = _timed(full, block, donors[: batch - 1])
        seconds[batch] = spent / batch
    return min(seconds, key=seconds.__getitem__)


def _timed(engine: Any, block: Any, patches: Tensor) -> tuple[Tensor, float]:
    start = time.process_time()
    outputs = engine.outputs(block, patches)
    return outputs, time.process_time() - start


def _psnr(outputs: Tensor, truth: Tensor) -> np.ndarray:
    error = ((outputs.double().clamp(0, 1) - truth) ** 2).mean((1, 2, 3))
    return (-10 * error.log10()).numpy()


def growth() -> list[dict[str, Any]]:
    """Measure how the cost of a draw grows with image side, depth and number of draws."""
    rows = [{"what": "image side, px (DnCNN, 50 draws)", "value": side, "ms_a_draw": _cost(_plain(20), side, FINE)}
            for side in (128, 256, 512)]
    rows += [{"what": "3x3 layers (256 px, 50 draws)", "value": depth, "ms_a_draw": _cost(_plain(depth), 256, FINE)}
             for depth in (5, 10, 20, 35)]
    rows += [{"what": "draws a block (20 layers, 256 px)", "value": draws, "ms_a_draw": _cost(_plain(20), 256, draws)}
             for draws in (1, 3, 10, 50)]
    return rows


def _plain(depth: int) -> nn.Module:
    """Return a plain stack of 3x3 convolutions of 64 channels, as in DnCNN, with seeded random weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    inner = [layer for _ in range(depth - 2) for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), *inner, nn.Conv2d(64, 3, 3, padding=1)).eval()


def _cost(restorer: nn.Module, side: int, draws: int) -> float:
    """Return CPU milliseconds a draw, averaged over live blocks."""
    import torch

    from cem_bench.engine import prepare
    from cem_bench.geometry import Rect

    torch.set_num_threads(1)
    observation = torch.from_numpy(clean_image(side).copy()).permute(2, 0, 1).float() / 255
    centre = side // 2 // 8 * 8
    engine = prepare(restorer, observation, Rect(centre, centre - 32, 32, 32), kind="cone")
    live = [block for row in range(0, side, 8) for column in range(0, side, 8)
            if engine.reaches(block := Rect(row, column, 8, 8))]
    chosen = live[:: max(1, len(live) // 9)]
    donors = _donors(observation, 8)[:draws]
    return sum(_timed(engine, block, donors)[1] for block in chosen) / len(chosen) / draws * 1e3


def figure(rows: list[dict[str, Any]], cost: list[dict[str, Any]]) -> None:
    """Draw ratio against target for every scene, and the growth of the cost of a draw."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    kinds = sorted({row["what"] for row in cost})
    drawing, axes = plt.subplots(1, 1 + len(kinds), figsize=(4.6 + 2.6 * len(kinds), 5.2), layout="constrained",
                                 width_ratios=[2.2, *[1] * len(kinds)])
    names = [f"{row['network']} {row['task']} {row['input_px']} {row['engine']} {row['precision']}" for row in rows]
    axes[0].barh(names, [row["ratio"] for row in rows], color="#3b6ea5")
    axes[0].plot([row["target"] for row in rows], names, "|", color="#b2182b", ms=12, mew=2, label="target")
    axes[0].set(xscale="log", xlabel="full forwards / engine (CPU time of one map)")
    axes[0].invert_yaxis()
    axes[0].legend(loc="lower right")
    for axis, kind in zip(axes[1:], kinds, strict=True):
        points = [(row["value"], row["ms_a_draw"]) for row in cost if row["what"] == kind]
        axis.plot(*zip(*points, strict=True), "o-", color="#3b6ea5")
        axis.set(xlabel=kind.replace(" (", "\n("), ylabel="ms a draw", ylim=(0, None))
    for suffix in ("png", "svg"):
        drawing.savefig(OUT / f"benchmark.{suffix}", dpi=130)


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV."""
    import pandas as pd

    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")


def main() -> int:
    """Run all scenes (or those asked for), each in its own process, then write tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="networks to measure; default all")
    parser.add_argument("--scene", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("CEM_WEIGHTS", str(ROOT.parent / "shared" / "weights"))
    sys.path.insert(0, str(ROOT))
    if options.scene is not None:
        result = growth() if options.scene < 0 else measure(SCENES[options.scene])
        sys.stdout.write("\n" + json.dumps(result))
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    rows = _rows_of_others(options.only)
    for index, scene in enumerate(SCENES):
        if options.only and scene.network not in options.only:
            continue
        row = _in_process(index)
        if row is None:
            sys.stdout.write(f"{asdict(scene)}: not measured\n")
            continue
        rows.append(row)
        table(OUT / "engines.csv", rows)
        sys.stdout.write("  ".join(f"{key}={row[key]:.4g}" if isinstance(row[key], float) else f"{key}={row[key]}"
                                   for key in ("network", "input_px", "engine", "weights", "ratio", "target",
                                               "largest_difference_db", "peak_memory_gb", "reason")) + "\n")
        sys.stdout.flush()
    cost = _in_process(-1)
    if cost:
        table(OUT / "growth.csv", cost)
        figure(rows, cost)
    return 0


def _rows_of_others(only: list[str] | None) -> list[dict[str, Any]]:
    """Return the rows written before for networks that are not measured now."""
    import pandas as pd

    if not only or not (OUT / "engines.csv").exists():
        return []
    return [row for row in pd.read_csv(OUT / "engines.csv").to_dict("records") if row["network"] not in only]


def _in_process(index: int) -> Any:
    command = [sys.executable, "-W", "ignore", __file__, "--scene", str(index)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stdout.write(done.stderr[-600:] + "\n")
        return None
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())
