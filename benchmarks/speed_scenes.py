"""One row of the benchmark, measured in this process: a scene's map by its engine and by plain full forwards.

Called by `benchmarks/speed.py`, one process a row. Engine and full forwards run in turns, in CPU seconds of one
thread, so that other work on the machine disturbs both alike. The map is measured on a sample of blocks and scaled.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import model_zoo  # noqa: E402
from cem_bench.engine import Engine, prepare  # noqa: E402
from cem_bench.engine.choose import sample_blocks  # noqa: E402
from cem_bench.engine.cone import ConeEngine  # noqa: E402
from cem_bench.engine.full import FullEngine  # noqa: E402
from cem_bench.inputs.degradations import Bicubic, Noise, Rain  # noqa: E402
from cem_bench.inputs.geometry import Rect  # noqa: E402

TOL = 0.01
MOST_DB = 1e-3
COARSE, FINE, BLOCK = 3, 50, 8
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
    needs: str = ""
    compiled: bool = False

    @property
    def case(self) -> str:
        """Name of the row."""
        return " ".join((self.network, self.task, str(self.side), self.schedule, self.asked, self.precision))

    @property
    def asked(self) -> str:
        """The engine asked for."""
        return self.kind + "+compile" * self.compiled


SCENES = (
    Scene("DnCNN", "DN", 256, 1, target=200),
    Scene("DnCNN", "DN", 256, 1, kind="crop", sample=2, fine=10),
    Scene("SRResNet_DN", "DN", 256, 1, sample=16, target=80),
    Scene("FFDNet", "DN", 256, 1, target=60),
    Scene("EDSR-64-16", "SR", 64, 4, target=10),
    Scene("SRResNet", "SR", 64, 4, target=10),
    Scene("EDSR-64-16", "SR", 128, 4, schedule="even", sample=32, target=80),
    Scene("SRResNet", "SR", 128, 4, schedule="even", sample=32, target=80),
    Scene("PAN", "SR", 64, 4, target=5),
    Scene("PReNet", "DR", 256, 1, sample=8, target=10),
    Scene("SwinIR", "SR", 64, 4, sample=3, target=1.5),
    Scene("CRAFT", "SR", 64, 4, sample=4, fine=10, target=1.5),
    Scene("CRAFT", "SR", 64, 4, sample=4, fine=10, target=1.5, compiled=True),
    Scene("RCAN", "SR", 64, 4, sample=2, fine=3, target=0.95),
    Scene("RCAN", "SR", 64, 4, sample=2, fine=3, target=0.95, compiled=True),
    Scene("IMDN", "SR", 64, 4, sample=6, fine=12, target=0.95),
    Scene("IMDN", "SR", 64, 4, sample=6, fine=12, target=0.95, compiled=True),
    Scene("RFDN", "SR", 64, 4, sample=6, fine=12, target=0.95),
    Scene("RRDBNet_RealSR", "SR", 64, 4, sample=2, fine=3, target=0.95),
    Scene("RCAN", "SR", 64, 4, precision="bf16", kind="full", sample=2, fine=3, target=3, needs="amx_bf16"),
    Scene("RRDBNet_RealSR", "SR", 64, 4, precision="bf16", kind="full", sample=2, fine=3, target=3, needs="amx_bf16"),
)


def engine_code() -> str:
    """Return what tells two versions of the engine apart: the start of the sha256 of its code, without its words."""
    code = []
    for file in sorted((ROOT / "cem_bench" / "engine").glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        code.append(ast.unparse(tree))
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:12]


def met(scene: Scene, ratio: float, difference_db: float) -> str:
    """Say whether a row reaches its target: yes, missed, or what the machine lacks for it."""
    cpu = Path("/proc/cpuinfo")
    if scene.needs and not (cpu.exists() and scene.needs in cpu.read_text()):
        return f"no {scene.needs} here"
    return "yes" if ratio >= scene.target and (difference_db <= MOST_DB or scene.precision != "fp32") else "missed"


def network(name: str) -> tuple[nn.Module, str]:
    """Return a network of the zoo with its real weights, or with seeded random ones, and which."""
    try:
        return model_zoo.load(name).eval(), "real"
    except model_zoo.ZooError:
        torch.manual_seed(0)  # the zoo initialises from torch's state; nothing else reads it here
        return model_zoo.build(name).eval(), "random"


def clean_image(side: int) -> np.ndarray:
    """Return a shared scene at that side if there is one, else a seeded synthetic image, (side, side, 3) uint8."""
    from PIL import Image

    for path in sorted((ROOT.parent / "shared" / "data" / "scenes").rglob("*demo_1*.png")):
        picture = Image.open(path).convert("RGB")
        if min(picture.size) >= 256:
            return np.array(picture.crop((0, 0, 256, 256)).resize((side, side), Image.Resampling.BICUBIC))
    generator = np.random.Generator(np.random.Philox(0))
    coarse = generator.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def as_tensor(image: np.ndarray) -> Tensor:
    """Return (3, h, w) float32 in [0, 1] from (h, w, 3) uint8."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255


def donors(observation: Tensor, step: int, count: int) -> Tensor:
    """Return patches of the observation itself: content of other places with the same degradation."""
    corners = np.random.Generator(np.random.Philox(1)).integers(0, observation.shape[-1] - step, (count, 2))
    return torch.stack([observation[:, row : row + step, column : column + step] for row, column in corners])


def timed(engine: Engine, block: Rect, patches: Tensor) -> tuple[Tensor, float]:
    """Return an engine's outputs and the CPU seconds they took."""
    start = time.process_time()
    return engine.outputs(block, patches), time.process_time() - start


def spread(blocks: list[Rect], count: int) -> list[Rect]:
    """Return that many blocks, evenly spread over the list."""
    return [blocks[index] for index in np.linspace(0, len(blocks) - 1, min(count, len(blocks))).round().astype(int)]


class Row:
    """One scene set up, and what was found on it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        size, step = scene.side * scene.scale, BLOCK // scene.scale
        self.roi = Rect(152 * size // 256 // 8 * 8, 96 * size // 256 // 8 * 8, 32, 32)
        clean = clean_image(size)
        how = {
            "DN": lambda: Noise(50, 0),
            "DR": lambda: Rain("medium", 0),
            "SR": lambda: Bicubic(scene.scale),
        }[scene.task]()
        self.truth = as_tensor(clean)[(slice(None), *self.roi.slices)].double()
        observation = as_tensor(how(clean))
        self.donors = donors(observation, step, FINE)
        restorer, self.weights = network(scene.network)
        start = sum(os.times()[:4])  # with the C++ compiler's
        self.engine = prepare(
            restorer, observation, self.roi, kind=scene.kind, precision=scene.precision, compiled=scene.compiled
        )
        self.prepare_s = sum(os.times()[:4]) - start
        self.full = FullEngine(restorer, observation, self.roi, precision="fp32", memory_gb=2.0, reason="")
        self.blocks = [
            block
            for row in range(0, scene.side, step)
            for column in range(0, scene.side, step)
            if not self._in_roi(block := Rect(row, column, step, step))
        ]
        self.reached = [block for block in self.blocks if self.engine.reaches(block)]
        self.sample = spread(self.reached, scene.sample)
        self.left = (
            self.engine.program.share(sample_blocks(observation)) if isinstance(self.engine, ConeEngine) else 1.0
        )

    def _in_roi(self, block: Rect) -> bool:
        """Whether a block overlaps the ROI: such blocks get no draws."""
        scale = self.scene.scale
        return bool(
            Rect(*(scale * edge for edge in (block.top, block.left, block.height, block.width)))
            .intersect(self.roi)
            .area
        )

    def psnr(self, outputs: Tensor) -> np.ndarray:
        """Return the PSNR of every row's ROI, dB."""
        return (-10 * ((outputs.double().clamp(0, 1) - self.truth) ** 2).mean((1, 2, 3)).log10()).numpy()

    @cached_property
    def best_batch(self) -> int:
        """Batch size with the least CPU time a full forward."""
        seconds = {}
        for batch in (1, 2) if self.scene.sample < 12 else (1, 2, 4):
            self.full.batch = batch
            timed(self.full, self.sample[0], self.donors[:1])  # what is prepared once
            seconds[batch] = timed(self.full, self.sample[0], self.donors[:batch])[1] / batch
        return min(seconds, key=seconds.__getitem__)

    def coarse(self) -> dict[str, Any]:
        """Run the coarse draws of the sampled blocks, some of them by full forwards too."""
        self.full.batch = self.best_batch
        compared = spread(self.sample, 3)
        timed(self.engine, self.sample[0], self.donors[:COARSE])  # libraries warm up
        plainly = self.donors[: -(-COARSE // self.full.batch) * self.full.batch]  # whole batches: no smaller ones
        timed(self.full, self.sample[0], plainly)
        spent, forward, worst, moved = [], [], 0.0, []
        for block in self.sample:
            outputs, seconds = timed(self.engine, block, self.donors[:COARSE])
            spent.append(seconds)
            values = self.psnr(outputs)
            if np.abs(values[0] - values[1:]).max() >= TOL:
                moved.append(block)
            if block in compared:
                plain, seconds = timed(self.full, block, plainly)
                forward.append(seconds / len(plainly))
                worst = max(worst, float(np.abs(self.psnr(plain[: len(values)]) - values).max()))
        return {
            "block_s": float(np.mean(spent)),
            "forward_s": float(np.median(forward)),
            "worst": worst,
            "moved": moved,
        }

    def deep(self, moved: list[Rect]) -> tuple[list[Rect], int, str]:
        """Return the blocks that get fine draws (a sample of them), how many there are, and how that is known."""
        if self.scene.schedule == "even":
            return self.sample, len(self.reached), "all"
        if self.weights == "real":
            return moved, round(len(moved) * len(self.reached) / len(self.sample)), "measured"
        scale, count = self.scene.scale, ASSUMED[self.scene.task]
        near = sorted(
            self.reached,
            key=lambda block: max(
                abs(block.top * scale + 4 - self.roi.top - 16), abs(block.left * scale + 4 - self.roi.left - 16)
            ),
        )
        return near[:count], min(count, len(near)), "assumed nearest"

    def fine(self, blocks: list[Rect]) -> float:
        """Return CPU seconds of the fine draws of one block, averaged over a few."""
        spent = [
            timed(self.engine, block, self.donors[: self.scene.fine])[1]
            for block in spread(blocks, self.scene.sample // 2 or 1)
        ]
        return float(np.mean(spent)) * FINE / self.scene.fine if spent else 0.0

    def measure(self) -> dict[str, Any]:
        """Return the row."""
        scene, coarse = self.scene, self.coarse()
        blocks, count, known = self.deep(coarse["moved"])
        even = scene.schedule == "even"
        engine_s = count * self.fine(blocks) + (0.0 if even else len(self.reached) * coarse["block_s"])
        forwards = FINE * len(self.blocks) if even else COARSE * len(self.blocks) + FINE * count
        plain_s = forwards * coarse["forward_s"]
        ratio = plain_s / (engine_s + self.prepare_s)
        return {
            "case": scene.case,
            "network": scene.network,
            "weights": self.weights,
            "task": scene.task,
            "input_px": scene.side,
            "scale": scene.scale,
            "schedule": scene.schedule,
            "asked": scene.asked,
            "precision": scene.precision,
            "engine": self.engine.kind + " compiled" * getattr(self.engine, "compiled", False),
            "blocks": len(self.blocks),
            "reached_blocks": len(self.reached),
            "sampled_blocks": len(self.sample),
            "fine_blocks": count,
            "fine_blocks_from": known,
            "fine_draws_measured": scene.fine,
            "forwards": forwards,
            "threads": torch.get_num_threads(),
            "best_batch": self.best_batch,
            "full_forward_s": coarse["forward_s"],
            "full_map_s": plain_s,
            "engine_map_s": engine_s,
            "prepare_s": self.prepare_s,
            "ratio": ratio,
            "target": scene.target,
            "met": met(scene, ratio, coarse["worst"]),
            "engine_code": engine_code(),
            "largest_difference_db": coarse["worst"],
            "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "work_removed": 1 - self.left,
            "reason": self.engine.reason,
        }


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write("\n" + json.dumps(Row(SCENES[int(sys.argv[1])]).measure()))
