"""Files changed at random are read as they were written, or refused: `benchmarks/fuzz.py`, small."""

from __future__ import annotations

import logging
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "fuzz.py"


def test_nothing_changed_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--cases", "150", "--out", str(tmp_path / "fuzz.csv")])
    monkeypatch.syspath_prepend(str(FILE.parent))
    try:
        runpy.run_path(str(FILE), run_name="__main__")
    finally:
        logging.disable(logging.NOTSET)
    table = pd.read_csv(tmp_path / "fuzz.csv")
    read = {
        "overrides",
        "image of a scene",
        "checkpoint",
        "donor pool",
        "scene file",
        "notes of a sweep",
        "manifest.json",
    }
    assert read <= {*table["file"]}
    assert table["cases"].sum() >= 150 and table["failed"].sum() == 0, table[table["failed"] > 0].to_string()
    assert (table["survived"] + table["refused"]).equals(table["cases"])
