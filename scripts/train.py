"""Train a member of a matched family: `python scripts/train.py +train=rcan_dn_none` (multirun over members, seeds)."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import hydra
import numpy as np
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig
from safetensors.torch import save_file

from cem_bench.geometry import Rect
from model_zoo.training import Crops, Maker, Recipe, load_images, read_split, train

ROOT = Path(__file__).parents[1]


@hydra.main(version_base="1.3", config_path="../conf", config_name=None)
def main(cfg: DictConfig) -> None:
    """Train the member that `+train=` names, from its last checkpoint if there is one."""
    if "train" not in cfg:
        members = sorted(path.stem for path in (ROOT / "conf/train").glob("*.yaml"))
        raise SystemExit(f"Say which member: python scripts/train.py +train=NAME, one of {', '.join(members)}.")
    spec = cfg.train
    rows = [row for row in read_split() if row["role"] == "train"]
    makers = [degradation_maker(node) for node in spec.degradations]
    crops = Crops(load_images(ROOT / spec.data_root, rows), makers, spec.crop, spec.seed)
    network = build(spec)
    folder = ROOT / spec.outputs / spec.name
    state = train(network, crops, Recipe(**spec.recipe), folder)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "final.safetensors")
    print(f"{spec.name}: {state['step']} steps, {state['seconds']:.0f} s, training PSNR {state['psnr']:.2f} dB")


def build(spec: DictConfig) -> torch.nn.Module:
    """Make the network of a member with weights drawn from its seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return instantiate(spec.network)


def degradation_maker(node: DictConfig) -> Maker:
    """Turn a degradation's configuration into a function from a crop's generator and number to the degradation.

    A degradation without a seed is the same for every crop. One with a `field: {size: [H, W], live: n, uses: m}` is
    costly to draw (rain): n fields of an image of that size are live at a time, each crop takes a window of one, and
    after n * m crops they are drawn anew.
    """
    settings = {key: value for key, value in node.items() if key not in ("_target_", "field")}
    kind = get_class(node["_target_"])
    if not any(item.name == "seed" for item in fields(kind)):
        fixed = kind(**settings)
        return lambda rng, index: fixed
    if "field" not in node:
        return lambda rng, index: kind(**settings, seed=int(rng.integers(2**63)))
    height, width = node["field"]["size"]
    live, uses = node["field"]["live"], node["field"]["uses"]

    def windowed(rng: np.random.Generator, index: int) -> Callable[[np.ndarray], np.ndarray]:
        degradation = kind(**settings, seed=index % live + index // (live * uses) * live)

        def degrade(clean: np.ndarray) -> np.ndarray:
            side = clean.shape[0]
            at = Rect(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side, side)
            return degradation.window(clean, at, (height, width))

        return degrade

    return windowed


if __name__ == "__main__":
    main()
