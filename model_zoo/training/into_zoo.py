"""Put a trained network into the zoo: weights, the record of how they came to be, and the card."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from model_zoo.training.receptive_field import reach

HALF_LOSS = 0.02
HEADER = "# Written by scripts/train.py from the records in model_zoo/weights/*.json; not edited by hand.\n"


def publish(
    network: nn.Module,
    record: Mapping[str, Any],
    measure: Callable[[nn.Module], float | None],
    weights: Path,
    cards: Path,
) -> dict[str, Any]:
    """Write NAME.safetensors, NAME.json and the card file.

    The weights are stored in half precision if that moves the PSNR by no more than 0.02 dB.

    Args:
        network: trained network; its weights become the stored ones.
        record: name, network ("module:class"), options, card (facts of the family) and what else is to be kept.
        measure: PSNR of a network in dB on the family's test, None where there is no test.
        weights: folder of the weights and records.
        cards: the card file, written anew from all records of the folder.

    Returns:
        The record as it was written.
    """
    network.eval()
    full = measure(network)
    before = _halve(network)
    psnr = measure(network)
    kind = torch.float16
    if full is not None and psnr is not None and abs(full - psnr) > HALF_LOSS:
        network.load_state_dict(before)
        psnr, kind = full, torch.float32
    path = weights / f"{record['name']}.safetensors"
    weights.mkdir(parents=True, exist_ok=True)
    save_file({key: value.to("cpu", kind).contiguous() for key, value in network.state_dict().items()}, path)
    measured = {"psnr_float32": full, "psnr": psnr, "precision": str(kind).removeprefix("torch.")}
    facts = {**record, **_facts(network.cpu(), int(record["card"].get("scale", 1)), path), **measured}
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    write_cards(weights, cards)
    return facts


def _facts(network: nn.Module, scale: int, path: Path) -> dict[str, Any]:
    return {
        "parameters": sum(value.numel() for value in network.parameters()),
        "reach": reach(network, scale),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def _halve(network: nn.Module) -> dict[str, torch.Tensor]:
    """Round the weights to half precision in place; returns the ones before."""
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict({key: value.half().to(value.dtype) for key, value in before.items()})
    return before


def write_cards(weights: Path, cards: Path) -> None:
    """Write the card file of all records in a folder.

    Args:
        weights: folder of the records.
        cards: YAML file to write.
    """
    records = [json.loads(path.read_text()) for path in sorted(weights.glob("*.json"))]
    content = {"cards": [_card(record) for record in records]}
    cards.write_text(HEADER + yaml.safe_dump(content, sort_keys=False, width=120))


def _card(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": record["name"],
        "network": record["network"],
        "options": record["options"],
        "checkpoint": f"{record['name']}.safetensors",
        **record["card"],
        **_warm_start(record),
        "parameters": record["parameters"],
        "reach": record["reach"],
        "sha256": record["sha256"],
        "measured": None if record["psnr"] is None else round(record["psnr"], 3),
    }


def _warm_start(record: Mapping[str, Any]) -> dict[str, str]:
    """The card's line on training with the weights it started from, where it did not start from nothing."""
    if not record.get("warm_start"):
        return {}
    parts = (record["card"].get("training"), f"fine-tuned from the weights of {record['warm_start']['name']}")
    return {"training": "; ".join(part for part in parts if part)}
