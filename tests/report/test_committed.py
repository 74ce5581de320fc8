"""Committed pages are what their templates make of the committed tables; nothing in them or in docs/ leads nowhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from cem_bench.report.validity_page import page_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
VALIDITY = sorted(path.parent for path in RESULTS.glob("validity/*/validity.csv"))
PAGES = sorted([*RESULTS.glob("**/README.md"), *ROOT.glob("docs/**/*.md")])
PAGES = [page for page in PAGES if "store" not in page.parts and "private" not in page.parts]


@pytest.mark.parametrize("folder", VALIDITY, ids=[folder.name for folder in VALIDITY])
def test_a_page_of_validity_is_what_its_table_says(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    command = re.findall(r"^Again: `([^`]*)`", text, re.MULTILINE)[0]
    record = json.loads((folder / "record.json").read_text())
    assert page_of(pd.read_csv(folder / "validity.csv"), record, command) == text


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_no_link_of_a_page_leads_nowhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    here = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in here if link and not (page.parent / link).exists()] == []


def test_every_experiment_has_its_table_in_one_and_in_two_columns_of_a_paper() -> None:
    for path in RESULTS.glob("*/summary.csv"):
        wide, narrow = ((path.parent / f"{stem}.tex").read_text() for stem in ("summary", "summary_column"))
        rows = len(pd.read_csv(path))
        for text, environment in ((wide, "table*"), (narrow, "table")):
            assert f"\\begin{{{environment}}}" in text
            assert text.count("\\\\\n") == rows + 1, path
