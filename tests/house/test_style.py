"""The house rules that a linter does not hold: short functions, short files, Hydra's public interface alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES_OF_BODY, LINES_OF_FILE = 40, 330


def sources() -> Iterator[Path]:
    for folder in ("cem_bench", "model_zoo", "benchmarks", "scripts"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_and_files_are_short():
    long = []
    for path in sources():
        text = path.read_text()
        if text.count("\n") > LINES_OF_FILE:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > LINES_OF_BODY:
                long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {body_lines(node)} lines of body")
    assert long == []


def test_hydra_is_used_by_its_public_interface():
    private = [path.relative_to(ROOT) for path in sources() if "hydra._internal" in path.read_text()]
    assert private == []
