"""Every command and every script that a page of the repository names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import prove_statistics
from cem_bench.run.commands import NAMES
from cem_bench.run.compose import CONF

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in (ROOT / name for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines())
    if path.suffix in (".md", ".j2") and path.name not in ("CHANGELOG.md",)
)
SCRIPT = re.compile(
    r"(?<![\w/.])((?:scripts|benchmarks|tests|model_zoo|cem_bench|conf|docs)/[\w/.-]+\.(?:py|sh|yaml|csv|md))"
)
MODULE = re.compile(r"python -m ((?:benchmarks|model_zoo|cem_bench)(?:\.\w+)*)(?: ([a-z]\w*)(?![\w=./]))?")
EXPERIMENT = re.compile(r"\+experiment=([\w,]+)|\b(?:report|draws restore|draws keep) experiment=([\w,]+)")
OWN = ("defocus", "mine")  # files that a how-to page makes


def named(text: str) -> list[str]:
    """Return what a page names and is not there."""
    lacking = [name for name in SCRIPT.findall(text) if not (ROOT / name).exists() and Path(name).stem not in OWN]
    for module, command in MODULE.findall(text):
        place = ROOT / module.replace(".", "/")
        if not (place.with_suffix(".py").is_file() or (place / "__main__.py").is_file()):
            lacking.append(f"python -m {module}")
        if module == "cem_bench" and command and command not in NAMES:
            lacking.append(f"python -m cem_bench {command}")
    for names in EXPERIMENT.findall(text):
        files = [CONF / "experiment" / f"{name}.yaml" for name in "".join(names).split(",")]
        lacking += [file.name for file in files if not file.is_file() and file.stem not in ("NAME", *OWN)]
    return lacking


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_names_what_is_there(page):
    assert named(page.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "python scripts/prove_statistics.py",
        "`scripts/gold.py`",
        "python -m cem_bench prove",
        "python -m benchmarks.gold",
        "+experiment=denoise",
    ],
)
def test_what_is_not_there_is_found(text):
    assert named(text)


def test_the_page_of_the_statistics_is_that_of_its_tables(tmp_path, monkeypatch):
    folder = ROOT / "results" / "statistics"
    for path in folder.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(sys, "argv", ["prove_statistics", "--page", "--out", str(tmp_path)])
    prove_statistics.main()
    assert (tmp_path / "README.md").read_text() == (folder / "README.md").read_text()
