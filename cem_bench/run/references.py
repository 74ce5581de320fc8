"""References to networks, as texts: one parser for the command line, for sweeps, `compare` and `check`.

    NAME                                    of the zoo, as DnCNN
    file.pth                                a checkpoint that spandrel recognises (.pth, .pt, .ckpt, .safetensors)
    file.pt, file.torchscript               a scripted or traced network
    file.onnx                               an exported network
    file.py:Class, pkg.mod:Class            a class of one's own, or a function

and behind any of them options, as `,weights=my.pth,output=-1,features=32`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_store import ConfigStore

from cem_bench.run.config import ModelConfig

FILES = (".pth", ".pt", ".ckpt", ".safetensors", ".torchscript", ".onnx")
OPTION = re.compile(r"[A-Za-z_][\w.]*=")
TARGET = re.compile(r"(.+\.py|[A-Za-z_][\w.]*):([A-Za-z_][\w.]*)")
KEY = "model="
# what a reference says by its first part, and what only this module writes
INNER = ("name", "path", "_target_", "options", "reference", "called")
_KEPT: dict[str, dict[str, Any]] = {}  # by the name of their choice
SETTINGS = tuple(item.name for item in dataclasses.fields(ModelConfig) if item.name not in INNER)


def split_references(text: str) -> list[str]:
    """Split a list of references at the commas between them; an option belongs to the reference before it.

    Args:
        text: as `mine.py:Net,weights=my.pth,tasks=[DN,SR],DnCNN`.
    """
    parts: list[str] = []
    for piece in _pieces(text):
        if parts and OPTION.match(piece):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts


def _pieces(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    pieces, depth = [""], 0
    for sign in text:
        depth += (sign in "[({") - (sign in "])}")
        if sign == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    return [piece.strip() for piece in pieces]


def is_reference(text: str) -> bool:
    """Say whether a text names a network otherwise than by a name of the zoo alone."""
    first, *options = _pieces(text)
    return bool(options) or TARGET.fullmatch(first) is not None or Path(first).suffix.lower() in FILES


def node_of(reference: str) -> dict[str, Any]:
    """Return the node `model` that a reference stands for.

    Args:
        reference: one, see the head of this module.

    Raises:
        ValueError: if an option is no KEY=VALUE, or comes twice.
    """
    first, *options = _pieces(reference)
    node: dict[str, Any] = {"reference": reference, "called": "", "options": {}}
    target = TARGET.fullmatch(first)
    if Path(first).suffix.lower() in FILES:
        node |= {"path": first, "called": Path(first).stem}
    elif target:
        node |= {"_target_": first, "called": target[2].rpartition(".")[2]}
    else:
        node["name"] = first
        node["called"] = f"{first} ({'; '.join(options)})" if options else ""
    for option in options:
        name, equals, text = option.partition("=")
        if not equals:
            raise ValueError(f"{reference}: got the option {option!r}, expected KEY=VALUE, as weights=my.pth.")
        _set(node, name, text)
    return node


def _set(node: dict[str, Any], name: str, text: str) -> None:
    """Put one option of a reference into its node: ours by name, all others into those of the class."""
    value = yaml.safe_load(text) if text else ""
    if name == "name":
        node["called"] = text
    elif name in SETTINGS:
        node[name] = [str(item) for item in value] if isinstance(value, list) else _plain(name, text, value)
    else:
        node["options"][name.removeprefix("options.")] = value


def _plain(name: str, text: str, value: Any) -> Any:
    """Return a setting by its declared type; a list of one may be written without brackets."""
    if name == "tasks":
        return [text]
    kind = {item.name: item.type for item in dataclasses.fields(ModelConfig)}[name]
    return value if str(kind) in ("int", "bool") else text


def registered(arguments: Sequence[str]) -> list[str]:
    """Return a command line in which every reference is the name of a choice that Hydra knows from now on.

    Args:
        arguments: overrides and flags; `model=A,B` may hold references, each with its options.

    Raises:
        ValueError: as `node_of`, and if two references share a name.
    """
    return [_registered(text) if text.startswith(KEY) else text for text in arguments]


def _registered(override: str) -> str:
    references = split_references(override.removeprefix(KEY))
    if not any(map(is_reference, references)) or any(mark in override for mark in "(*"):
        return override
    nodes = [node_of(text) if is_reference(text) else None for text in references]
    check_names([node["called"] if node else text for node, text in zip(nodes, references, strict=True)])
    return KEY + ",".join(store(node) if node else text for node, text in zip(nodes, references, strict=True))


def check_names(names: Sequence[str]) -> None:
    """Refuse networks that share a name: their maps could not be told apart.

    Raises:
        ValueError: with the option that gives another.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"Two networks are called {', '.join(twice)}: give one another name, as ...,name=MINE.")


def store(node: dict[str, Any]) -> str:
    """Make a node a choice of the group `model`, and return the choice's name."""
    name = f"reference_{hashlib.sha256(node['reference'].encode()).hexdigest()[:12]}"
    ConfigStore.instance().store(group="model", name=name, node=node)
    _KEPT[name] = node
    return name


def node_kept(choice: str) -> dict[str, Any] | None:
    """Return the node of a choice that `store` made; None for a name of the zoo."""
    return _KEPT.get(choice)


def reference_of(choice: str) -> str:
    """Return what a choice of the group `model` is called on the command line."""
    node = node_kept(choice)
    return node["reference"] if node else choice


def spelled(overrides: Sequence[str], reference: str) -> list[str]:
    """Return overrides with the reference in place of its choice's name, so that they can be pasted.

    Args:
        overrides: of one cell.
        reference: of its network; "" where it was chosen by name.
    """
    if not reference:
        return list(overrides)
    return [KEY + reference if text.startswith(KEY) else text for text in overrides]
