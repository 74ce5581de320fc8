"""Train a member of a matched family: `python scripts/train.py +train=rcan_dn_none` (multirun over members, seeds)."""

from dataclasses import fields
from functools import partial
from pathlib import Path

import hydra
import torch
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig
from safetensors.torch import save_file

from model_zoo.training import Crops, Recipe, load_images, read_split, train

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


def degradation_maker(node: DictConfig):
    """Return a function from a seed to the degradation; a degradation without randomness ignores the seed."""
    settings = dict(node)
    kind = get_class(settings.pop("_target_"))
    if any(field.name == "seed" for field in fields(kind)):
        return lambda seed: kind(**settings, seed=seed)
    return partial(_same, kind(**settings))


def _same(degradation, seed: int):  # noqa: ARG001
    return degradation


if __name__ == "__main__":
    main()
