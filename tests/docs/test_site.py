"""The documentation builds strictly, without a network; its examples and notebooks run as they stand."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_the_site_builds_without_a_broken_link_and_asks_no_other_host(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    start = (tmp_path / "site" / "index.html").read_text()
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?:[^\"]+)", start) == []
    api = (tmp_path / "site" / "docs" / "api" / "index.html").read_text()
    for name in ("Scene", "Rect", "DonorPool", "Noise", "as_model", "Sequential", "Cell", "Options", "measure"):
        assert f'.{name}"' in api, name


def test_the_examples_of_the_api_page_run_as_printed():
    came = doctest.testfile(str(ROOT / "docs" / "api.md"), module_relative=False)
    assert came.attempted >= 15
    assert came.failed == 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_map(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads of several test processes wait for each other
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [out for cell in book.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    assert pictures


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_holds_its_outputs_and_stays_small(path):
    cells = json.loads(path.read_text())["cells"]
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    assert outputs
    assert all(out["output_type"] != "error" for out in outputs)
    assert path.stat().st_size <= 300_000
