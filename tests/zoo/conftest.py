"""The signatures, the probes and the rule that fills a synthetic checkpoint, of ../shared/signatures."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "signatures"


@dataclass(frozen=True)
class Signatures:
    """Facts about the official networks, and the rule's two functions."""

    entries: dict[str, dict[str, Any]]
    probes: Any
    checkpoint: Callable[..., dict[str, torch.Tensor]]
    probe_input: Callable[..., torch.Tensor]


@cache
def read_signatures() -> Signatures:
    spec = importlib.util.spec_from_file_location("probe_rule", FOLDER / "probe_rule.py")
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    entries = json.loads((FOLDER / "signatures.json").read_text())
    return Signatures(entries, np.load(FOLDER / "probes.npz"), rule.checkpoint, rule.probe_input)


@pytest.fixture(scope="session")
def signatures() -> Signatures:
    if not FOLDER.is_dir():
        pytest.skip(f"needs the signatures of the official networks in {FOLDER}, which are not in the repository")
    return read_signatures()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case for each signature, the slow ones marked; one case that skips where the folder is missing."""
    if "key" not in metafunc.fixturenames:
        return
    entries = read_signatures().entries if FOLDER.is_dir() else {"absent|SR": {"parameters": 0}}
    slow = metafunc.definition.get_closest_marker("heavy_from")
    limit = slow.args[0] if slow else float("inf")
    named_slow = set(slow.args[1:]) if slow else set()
    cases = [
        pytest.param(
            key,
            marks=pytest.mark.slow if entry["parameters"] > limit or key.split("|")[0] in named_slow else (),
        )
        for key, entry in entries.items()
    ]
    metafunc.parametrize("key", cases)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "heavy_from(parameters, *names): cases from so many parameters on are slow")
