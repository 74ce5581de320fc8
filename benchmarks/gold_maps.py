"""Enumerate gold maps: every block that can reach the ROI against every donor of a pool of 1,000 (250 where costly).

    CEM_WEIGHTS=FOLDER python benchmarks/gold_maps.py dncnn edsr ffdnet fsrcnn rcan_dn_ca srresnet_dn

Writes results/statistics/gold_NAME.npz, from which `benchmarks/prove_statistics.py` draws with the truth known. One
thread, some milliseconds a draw; the donors are photographs that scikit-image ships, the scene's own left out.
"""

import argparse
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import model_zoo
from cem_bench.engine import Engine, prepare
from cem_bench.inputs.degradations import Bicubic, Degradation, Noise
from cem_bench.inputs.donors import DonorPool, pool_from_images
from cem_bench.inputs.geometry import Rect
from cem_bench.inputs.images import locate, read_rgb
from cem_bench.inputs.interventions import true_patches
from cem_bench.measuring.outcome import psnr, psnr_8bit
from cem_bench.stats.strata import strata_of_patches
from cem_bench.store.files import npz, write_atomically

PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
)
RESULTS = Path(__file__).resolve().parent.parent / "results" / "statistics"
DONORS, STRATA, BLOCK, BATCH = 1000, 25, 8, 50


@dataclass(frozen=True)
class Gold:
    """One network and one scene to enumerate."""

    model: str
    photograph: str
    crop: Rect
    roi: Rect
    degradation: Degradation
    donors: int = DONORS


GOLD = {
    "dncnn": Gold("DnCNN", "chelsea.png", Rect(20, 90, 256, 256), Rect(152, 96, 32, 32), Noise(50.0, field_seed=0)),
    "edsr": Gold("EDSR_SR_4", "rocket.jpg", Rect(256, 288, 128, 128), Rect(0, 0, 32, 32), Bicubic(4)),
    "ffdnet": Gold("FFDNet", "astronaut.png", Rect(288, 192, 128, 128), Rect(0, 0, 32, 32), Noise(50.0, field_seed=0)),
    "fsrcnn": Gold("FSRCNN-Y", "coffee.png", Rect(150, 250, 128, 128), Rect(48, 48, 32, 32), Bicubic(4)),
    # Channel attention over the whole image: every block reaches the ROI, most of them through a mean alone.
    "rcan_dn_ca": Gold(
        "RCAN_DN_ca", "astronaut.png", Rect(40, 190, 64, 64), Rect(0, 0, 32, 32), Noise(50.0, field_seed=0), donors=250
    ),
    "srresnet_dn": Gold(
        "SRResNet_DN_light",
        "motorcycle_left.png",
        Rect(180, 300, 128, 128),
        Rect(48, 48, 32, 32),
        Noise(50.0, field_seed=0),
    ),
}


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """(..., H, W, 3) uint8 to (..., 3, H, W) float32 in 0..1."""
    return torch.from_numpy(np.moveaxis(pixels, -1, -3).astype(np.float32) / 255)


def effects_of(gold: Gold, clean: np.ndarray, engine: Engine, block: Rect, pool: DonorPool) -> np.ndarray:
    """Return the effects of all donors on one block, (donors, 2) dB: float and 8-bit outcome."""
    target = to_tensor(clean[gold.roi.slices]).double()
    parts = []
    for first in range(0, len(pool), BATCH):
        patches = to_tensor(true_patches(clean, gold.degradation, block, pool.patches[first : first + BATCH]))
        outputs = engine.outputs(block.scale_down(gold.degradation.scale), patches)
        values = torch.stack([psnr(outputs, target), psnr_8bit(outputs, target)], dim=1)
        parts.append((values[:1] - values[1:]).numpy())
    return np.concatenate(parts)


def enumerate_map(gold: Gold) -> dict[str, np.ndarray]:
    """Return the arrays of one gold map."""
    photograph = read_rgb(locate(f"skimage:data/{gold.photograph}"))
    clean = np.ascontiguousarray(photograph[gold.crop.slices])
    others = [f"skimage:data/{name}" for name in PHOTOGRAPHS if name != gold.photograph]
    pool = pool_from_images(others, BLOCK, count=gold.donors, pool_seed=0)
    engine = prepare(model_zoo.load(gold.model), to_tensor(gold.degradation(clean)), gold.roi)
    blocks, effects, started = [], [], time.perf_counter()
    columns = gold.crop.width // BLOCK
    for index in range(gold.crop.height // BLOCK * columns):
        block = Rect(index // columns * BLOCK, index % columns * BLOCK, BLOCK, BLOCK)
        if gold.roi.intersect(block).area or not engine.reaches(block.scale_down(gold.degradation.scale)):
            continue
        blocks.append(index)
        effects.append(effects_of(gold, clean, engine, block, pool))
        print(
            f"{gold.model} block {index}: {len(blocks) * gold.donors} draws, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
    told = {
        "model": gold.model,
        "scene": f"scikit-image {gold.photograph}",
        "crop": vars(gold.crop),
        "roi": vars(gold.roi),
        "degradation": repr(gold.degradation),
        "engine": f"{engine.kind}: {engine.reason}",
        "donors": pool.sha256,
        "clean": hashlib.sha256(clean.tobytes()).hexdigest(),
        "unit": "dB, untouched minus intervened",
    }
    measured = np.stack(effects).astype(np.float32)
    return {
        "blocks": np.array(blocks, np.int32),
        "shape": np.array([gold.crop.height // BLOCK, columns], np.int32),
        "effects": measured[..., 0],
        "effects_8bit": measured[..., 1],
        "strata": strata_of_patches(pool.patches, STRATA).astype(np.int16),
        "about": np.array(json.dumps(told)),
    }


def main() -> None:
    """Enumerate the maps named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=sorted(GOLD))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        with torch.inference_mode():
            arrays = enumerate_map(GOLD[name])
        write_atomically(arguments.out / f"gold_{name}.npz", npz(**arrays))


if __name__ == "__main__":
    main()
