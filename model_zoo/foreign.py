"""Checkpoint files without a card: recognised by spandrel, looked at twice."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.checkpoint import read
from model_zoo.errors import ZooError
from model_zoo.loading import SizeCheck

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor
    from torch import nn


@dataclass(frozen=True)
class Recognised:
    """What was found out about a checkpoint file.

    Attributes:
        name: architecture and file.
        architecture: what spandrel calls it.
        scale: output pixels per input pixel.
        tasks: SR where it enlarges; else all three, for a file does not tell what it was trained for.
        size_multiple: input height and width must be multiples of it.
        size_minimum: smallest input height and width, in pixels.
        value_range: white of input and output; always 1 here, nothing in a file tells of another range.
        parameters: number of learned numbers.
        tags: further facts spandrel tells.
    """

    name: str
    architecture: str
    scale: int
    tasks: tuple[str, ...]
    size_multiple: int
    size_minimum: int
    value_range: int
    parameters: int
    tags: tuple[str, ...]


def load_file(path: str | Path) -> "tuple[nn.Module, Recognised]":
    """Loads any checkpoint whose architecture its tensors give away.

    Args:
        path: a .safetensors file or a file of torch.save.

    Returns:
        The network in eval mode, (B, 3, h, w) in [0, 1] to (B, 3, h * scale, w * scale), and what was found out.

    Raises:
        ZooError: the file is not harmless or not recognised, or it was taken for what it is not.
    """
    from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError

    path = Path(path)
    tensors = read(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.meshgrid")
            parsed = ModelLoader(device="cpu").load_from_state_dict(dict(tensors))
    except (UnsupportedModelError, RuntimeError, ValueError, KeyError) as error:
        raise ZooError(
            f"{path}: spandrel does not recognise its {len(tensors)} tensors ({type(error).__name__}); "
            "give it a card (model_zoo/README.md: two files)"
        ) from error
    if not isinstance(parsed, ImageModelDescriptor):
        raise ZooError(f"{path}: {parsed.architecture.name} needs more than an image as input")
    network = parsed.model.eval()
    _proven(parsed, path)
    sizes = parsed.size_requirements
    facts = Recognised(
        name=f"{parsed.architecture.name}:{path.stem}",
        architecture=parsed.architecture.name,
        scale=parsed.scale,
        tasks=("SR",) if parsed.scale > 1 else (),
        size_multiple=sizes.multiple_of or 1,
        size_minimum=sizes.minimum or 1,
        value_range=1,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        tags=tuple(parsed.tags),
    )
    network.register_forward_pre_hook(SizeCheck(facts.name, facts.size_multiple, facts.size_minimum))
    return network, facts


def _proven(parsed: "ImageModelDescriptor", path: Path) -> None:
    """Refuses a network that does not do what its description says: take three colours, give `scale` times the size."""
    import torch

    what = f"{path}: spandrel takes it for {parsed.architecture.name} ({', '.join(parsed.tags)})"
    if (parsed.input_channels, parsed.output_channels) != (3, 3):
        raise ZooError(
            f"{what} with {parsed.input_channels} channels in and {parsed.output_channels} out, expected 3 and 3; "
            "FFDNet's file looks like that: load it by its card, model_zoo.load('FFDNet', weights=path)"
        )
    sizes = parsed.size_requirements
    side = -(-max(16, sizes.minimum or 1) // (sizes.multiple_of or 1)) * (sizes.multiple_of or 1)
    try:
        with torch.no_grad():
            shape = tuple(parsed.model(torch.zeros(1, 3, side, side)).shape)
    except (RuntimeError, ValueError) as error:
        raise ZooError(f"{what}, but it cannot take an image of {side} pixels ({type(error).__name__})") from error
    if shape != (1, 3, side * parsed.scale, side * parsed.scale):
        raise ZooError(f"{what} of scale {parsed.scale}, but {side} pixels come out as {shape}")
