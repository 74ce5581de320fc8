"""Run keys: all that decides what a network computes, and nothing else; draws that are shipped are still found."""

from __future__ import annotations

import json
from pathlib import Path

from hydra import compose, initialize_config_dir

from cem_bench.store import run_key
from cem_bench.wiring import CONF, build_cell, register

ROOT = Path(__file__).resolve().parents[2]


def composed(*overrides: str):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def test_quickstart_still_has_the_key_under_which_its_draws_are_shipped():
    (path,) = (ROOT / "results" / "quickstart").glob("*.json")
    cell = build_cell(composed("+experiment=quickstart"))
    record = json.loads(path.read_text())
    assert cell.identity() == record["identity"]
    assert run_key(cell.identity()) == record["key"]
