"""The one reader of checkpoint files and the one way their tensors enter a network."""

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from model_zoo.cards import Card
from model_zoo.errors import ZooError

if TYPE_CHECKING:
    from torch import Tensor, nn

SLOW_SHARE = 0.01  # of subnormal numbers among all weights, from where on they are worth a change
WRAPPERS = ("params_ema", "params", "state_dict", "model", "net")


def sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read(path: Path, expected_sha256: str = "") -> "dict[str, Tensor]":
    """Reads the tensors of a checkpoint file; nothing in the file is ever run.

    Args:
        path: a .safetensors file, or any file of torch.save.
        expected_sha256: refuse a file with another sum; "" to take any.

    Returns:
        Tensor names, without wrapper and without "module.", to tensors on the CPU.

    Raises:
        ZooError: the file is missing, damaged, holds code, is no checkpoint, or its sum is another.
    """
    if not path.is_file():
        raise ZooError(f"no checkpoint at {path}")
    if expected_sha256 and sha256(path) != expected_sha256:
        raise ZooError(f"{path}: sha256 is {sha256(path)}, the card says {expected_sha256}: another or a damaged file")
    return unwrap(_content(path), str(path))


def _content(path: Path) -> object:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
            raise ZooError(f"{path}: damaged or not a safetensors file ({error})") from error
    import torch

    try:
        with warnings.catch_warnings():  # a foreign pickle warns before it is refused
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?:GLOBAL |global |class )([\w.]+)", str(error))
        if named is None:
            raise ZooError(f"{path}: damaged, or not a file of torch.save ({_first_line(error)})") from error
        raise ZooError(
            f"{path}: refused, the pickle asks for {named[1]}, that is code and not weights; "
            "ask its author for a plain state dict or a .safetensors file"
        ) from error
    except Exception as error:
        raise ZooError(f"{path}: damaged, or not a file of torch.save ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def unwrap(content: object, source: str = "weights") -> "dict[str, Tensor]":
    """Takes the tensors out of the wrappers that training codes put around them.

    Args:
        content: a state dict, or a mapping that holds one under one of WRAPPERS.
        source: what errors call it.

    Returns:
        Tensor names, without "module.", to tensors.

    Raises:
        ZooError: there is no mapping of names to tensors in it.
    """
    import torch

    inner = content
    while isinstance(inner, Mapping) and not any(isinstance(value, torch.Tensor) for value in inner.values()):
        wrapper = next((name for name in WRAPPERS if isinstance(inner.get(name), Mapping)), None)
        if wrapper is None:
            break
        inner = inner[wrapper]
    if not isinstance(inner, Mapping) or not inner:
        known = ", ".join(WRAPPERS)
        raise ZooError(f"{source}: no state dict in it, but {type(inner).__name__}; wrappers known: {known}")
    odd = [f"{name}: {type(value).__name__}" for name, value in inner.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ZooError(f"{source}: expected names and tensors only, got {', '.join(odd[:5])}")
    bare = all(str(name).startswith("module.") for name in inner)
    return {str(name).removeprefix("module.") if bare else str(name): value for name, value in inner.items()}


def learned(network: "nn.Module", entry: Card) -> "dict[str, Tensor]":
    """The tensors of a network a checkpoint must hold: all but counters, tables and what its card calls computed."""
    state = network.state_dict(keep_vars=True)
    return {name: value for name, value in state.items() if value.is_floating_point() and not _computed(name, entry)}


def fill(network: "nn.Module", tensors: "Mapping[str, Tensor]", entry: Card, source: str = "weights") -> None:
    """Puts a checkpoint into a network, strictly both ways.

    Args:
        network: what the card's architecture builds.
        tensors: names as in the checkpoint.
        entry: the card, for the names.
        source: what errors call the checkpoint.

    Raises:
        ZooError: a tensor is missing, left over, or of another shape; each is named.
    """
    wanted = learned(network, entry)
    free = set(network.state_dict()) - set(wanted)
    official = {_renamed(name, entry): name for name in tensors}
    used = {new: old for new, old in official.items() if new not in free and not _computed(old, entry)}
    given = _without_subnormal({new: tensors[old] for new, old in used.items()})
    problems = [f"missing {name}" for name in wanted if name not in given]
    problems += [f"left over {official[name]}" for name in given if name not in wanted]
    problems += [
        f"{official[name]} has shape {tuple(value.shape)}, expected {tuple(wanted[name].shape)}"
        for name, value in given.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise ZooError(f"{source} is not a checkpoint of {entry.name}: {'; '.join(problems[:6])}{more}")
    network.load_state_dict(given, strict=False)


def _without_subnormal(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The tensors with 0 for numbers too small for full precision, where they are many enough to cost time.

    Weight decay leaves them, and a CPU is 10 times slower on them. Of an IAT file they are a fifth of the weights; its
    outputs stay the same to the bit. Of most files they are a thousandth: those stay as they are, since run keys hash
    the weights and draws are stored under them.
    """
    import torch

    small = {
        name: (value != 0) & (value.abs() < torch.finfo(value.dtype).tiny)
        for name, value in tensors.items()
        if value.is_floating_point()
    }
    numbers, count = (
        sum(int(part.numel()) for part in small.values()),
        sum(int(part.sum()) for part in small.values()),
    )
    if count <= SLOW_SHARE * numbers:
        return dict(tensors)
    return {name: value.masked_fill(small[name], 0) if name in small else value for name, value in tensors.items()}


def _renamed(name: str, entry: Card) -> str:
    for pattern, replacement in entry.keys:
        name = re.sub(pattern, replacement, name)
    return name


def _computed(name: str, entry: Card) -> bool:
    return any(re.search(pattern, name) for pattern in (*entry.computed, r"num_batches_tracked$"))
