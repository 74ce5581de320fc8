"""Train members of a matched family and put them into the zoo. Run from the repository's root.

One member: `python scripts/train.py +train=rcan_dn_ca`. Members and seeds: `python scripts/train.py -m
+train=rcan_dn_none,rcan_dn_ca train.training_seed=0,1,2`. A run that was cut goes on from its last checkpoint; one that
is finished only measures and publishes again.
"""

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from cem_bench.engine.allocator import keep_freed_memory
from cem_bench.inputs.geometry import Rect
from cem_bench.store.files import write_atomically
from model_zoo.cards import Card
from model_zoo.compat import basicsr, training_library
from model_zoo.loading import build_card
from model_zoo.training import Crops, Maker, Recipe, measure, publish, train, warm_start
from model_zoo.training.split import photographs, training_images

CONF = Path(__file__).parents[1] / "conf"


@hydra.main(version_base="1.3", config_path="../conf", config_name=None)
def main(cfg: DictConfig) -> None:
    """Train, measure and publish the member that `+train=` names."""
    if "train" not in cfg:
        members = sorted(path.stem for path in (CONF / "train").glob("*.yaml"))
        raise SystemExit(f"Say which member: python scripts/train.py +train=NAME, one of {', '.join(members)}.")
    logging.getLogger("accelerate").setLevel(logging.WARNING)
    keep_freed_memory()
    run(cfg.train)


def run(spec: DictConfig) -> None:
    """Train one member, from its last checkpoint if there is one; measure and publish it unless `weights` is null."""
    training_library("accelerate")  # a missing library is said before anything is made
    basicsr("losses")
    name = of_seed(spec.name, spec.training_seed)
    folder = Path(spec.outputs) / name
    commit = first_commit(folder)
    images, manifest = photographs(spec.photographs) if spec.photographs else training_images(spec.data_root)
    makers = [degradation_maker(node) for node in spec.degradations]
    network = build(spec)
    start = warm_start(network, of_seed(spec.warm_start, spec.training_seed)) if spec.warm_start else None
    crops = Crops(images, makers, spec.crop, spec.training_seed, alike=spec.recipe.batch)
    state = train(network, crops, Recipe(**spec.recipe), folder)
    print(f"{name}: {state['step']} steps, {state['seconds']:.0f} s, training PSNR {state['psnr']:.2f} dB")
    if spec.weights is None:
        return
    trained_on = {"images": len(images), "manifest": manifest, "commit": commit, "warm_start": start}
    record = {**describe(name, spec), **trained_on, **{f"training_{key}": value for key, value in state.items()}}
    facts = publish(network, record, lambda net: check(net, spec), Path(spec.weights), Path(spec.cards))
    print(f"{name}: {spec.check} {facts['psnr']} dB, {facts['precision']}, sha256 {facts['sha256']}")


def of_seed(name: str, training_seed: int) -> str:
    """Name of a member's training with this `training_seed`; the first, 0, carries the member's own."""
    return name + (f"_seed{training_seed}" if training_seed else "")


def build(spec: DictConfig) -> torch.nn.Module:
    """Make the network of a member, as its card will describe it, with weights drawn from its `training_seed` alone."""
    facts = describe(spec.name, spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.training_seed)
        return build_card(Card(name=spec.name, network=facts["network"], options=facts["options"]))


def first_commit(folder: Path) -> str:
    """Return the commit a training started from, noted in its folder at the first start."""
    note = folder / "commit.txt"
    if not note.exists():
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        write_atomically(note, (commit.stdout.strip() or "unknown").encode())
    return note.read_text()


def describe(name: str, spec: DictConfig) -> dict[str, Any]:
    """Return what is known of a member before it is trained, as plain data."""
    plain: Any = OmegaConf.to_container(spec, resolve=True)
    module, _, kind = plain["network"].pop("_target_").rpartition(".")
    if spec.training_seed:
        plain["card"].pop("aliases", None)  # they stay with the first seed
    facts = ("family", "member", "crop", "degradations", "recipe", "check", "card")
    libraries = ("torch", "timm", "accelerate", "basicsr")
    return {
        "name": name,
        "network": f"{module}:{kind}",
        "options": plain["network"],
        "seed": plain["training_seed"],  # as records have always called it
        **{key: plain[key] for key in facts},
        "versions": {library: version(library) for library in libraries},
    }


def check(network: torch.nn.Module, spec: DictConfig) -> float | None:
    """PSNR in dB on the family's own test; None where it has none."""
    return None if spec.check is None else measure(network, spec.check, Path(spec.data_root))["psnr"]


def degradation_maker(node: DictConfig) -> Maker:
    """Turn a degradation's configuration into a function from a crop's generator and number to the degradation.

    A degradation without a `field_seed` is the same for every crop. One with a `field: {size: [H, W], live: n,
    uses: m}` is costly to draw (rain): n fields of an image of that size are live at a time, each crop takes a window
    of one, and after n * m crops they are drawn anew.
    """
    settings = {str(key): value for key, value in node.items() if key not in ("_target_", "field")}
    kind = get_class(node["_target_"])
    if not any(item.name == "field_seed" for item in fields(kind)):
        fixed = kind(**settings)
        return lambda rng, index: fixed
    if "field" not in node:
        return lambda rng, index: kind(**settings, field_seed=int(rng.integers(2**63)))
    height, width = node["field"]["size"]
    live, uses = node["field"]["live"], node["field"]["uses"]

    def windowed(rng: np.random.Generator, index: int) -> Callable[[np.ndarray], np.ndarray]:
        degradation = kind(**settings, field_seed=index % live + index // (live * uses) * live)

        def degrade(clean: np.ndarray) -> np.ndarray:
            side = clean.shape[0]
            at = Rect(int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1)), side, side)
            return degradation.window(clean, at, (height, width))

        return degrade

    return windowed


if __name__ == "__main__":
    # `train.seed` is the name of before, which queues may still write
    sys.argv[1:] = [re.sub(r"^train\.seed=", "train.training_seed=", argument) for argument in sys.argv[1:]]
    main()
