"""What scripts and benchmarks import from the packages is there: no other test runs most of them."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*ROOT.glob("scripts/*.py"), *ROOT.glob("benchmarks/*.py")])


def exists(module: str, name: str) -> bool:
    """Return whether a module has a name, or a submodule of that name."""
    if hasattr(importlib.import_module(module), name):
        return True
    try:
        importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_name_that_is_imported_exists(path: Path) -> None:
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if (node.module or "").split(".")[0] in ("cem_bench", "model_zoo")]
    lacking = [
        f"{node.module}.{name.name}" for node in ours for name in node.names if not exists(node.module, name.name)
    ]  # pyright: ignore
    assert lacking == []
