"""`docs/findings.md` is written by hand: every number in it is one of a committed table."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "findings.md").read_text()
SECTIONS = [part.partition("\n") for part in TEXT.split("\n## ")[1:]]
INSIGHTS = [(title, body) for title, _, body in SECTIONS if title[:1].isdigit()]
QUOTED = re.compile(r"(?<![\w.])[+-]?\d+\.\d+|(?<![\w.])[+-]?\d+(?= (?:%|dB|of 17))")


def table_rows(body: str) -> list[dict[str, str]]:
    """Return the rows of a section's table of numbers."""
    lines = [line for line in body.splitlines() if line.startswith("|")]
    start = next(at for at, line in enumerate(lines) if [cell.strip() for cell in line.split("|")][1] == "number")
    names = [cell.strip() for cell in lines[start].strip("|").split("|")]
    return [
        dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True))
        for line in lines[start + 2 :]
    ]


ROWS = [(title, row) for title, body in INSIGHTS for row in table_rows(body)]


def selected(row: dict[str, str]) -> pd.Series:
    """Return the one row of the committed table that a row names by its values."""
    table = pd.read_csv(ROOT / "results" / row["file"].strip("`"), dtype=str, keep_default_na=False)
    for condition in row["row"].strip("`").split("; "):
        name, _, value = condition.partition("=")
        table = table[table[name] == value]
    assert len(table) == 1, f"{row['row']} names {len(table)} rows of {row['file']}"
    return table.iloc[0]


@pytest.mark.parametrize(("title", "row"), ROWS, ids=[f"{title[0]}: {row['number']}" for title, row in ROWS])
def test_a_number_is_that_of_its_table(title: str, row: dict[str, str]) -> None:
    column, source = row["column"].strip("`"), selected(row)
    numbers = re.findall(r"[+-]?\d+(?:\.\d+)?", row["number"])
    ends = ("low", "high") if column in ("estimate", "value") else (f"{column}_low", f"{column}_high")
    factor = 100 if row["number"].endswith("%") else 1
    for text, name in zip(numbers, (column, *ends), strict=False):
        digits = len(text.partition(".")[2])
        assert np.isclose(float(text), factor * float(source[name]), atol=0.501 * 10**-digits, rtol=0), name
    assert len(numbers) in (1, 3)


@pytest.mark.parametrize(("title", "body"), INSIGHTS, ids=[title[0] for title, _ in INSIGHTS])
def test_no_number_of_an_answer_is_without_its_table(title: str, body: str) -> None:
    listed = {number for row in table_rows(body) for number in re.findall(r"[+-]?\d+(?:\.\d+)?", row["number"])}
    own = [part for part in body.strip().split("\n\n") if not part.startswith(("|", "**The paper.**"))]
    assert set(QUOTED.findall("\n".join(own))) <= listed


def test_the_table_of_insights_repeats_numbers_of_the_answers_only() -> None:
    head = TEXT.split("\n## ")[0]
    rows = [line for line in head.splitlines() if line.startswith("| ") and not line.startswith("| insight")]
    assert len(rows) == 5
    listed = {number for _, row in ROWS for number in re.findall(r"[+-]?\d+(?:\.\d+)?", row["number"])}
    here = "\n".join(line.split("|")[3] for line in rows)  # what was measured; the paper's own numbers stand beside it
    assert set(QUOTED.findall(here)) <= listed


@pytest.mark.parametrize(("title", "body"), INSIGHTS, ids=[title[0] for title, _ in INSIGHTS])
def test_an_answer_is_short_and_says_strength_and_caveat(title: str, body: str) -> None:
    answer = body.split("**Answer.**")[1].split("\n\n")[0]
    sentences = re.findall(r"[.!?](?=\s|$)", re.sub(r"\d\.\d", "", " ".join(answer.split())))
    assert len(sentences) <= 4
    for part in ("**The paper.**", "**Strength.**", "**Caveat.**"):
        assert body.count(part) == 1


def test_verdicts_in_the_text_are_those_of_the_claims() -> None:
    claims = pd.read_csv(ROOT / "results" / "claims.csv").set_index("id")
    quoted = re.findall(r"\((\d[a-z]): ([a-z ]+)\)", TEXT)
    assert quoted
    for name, verdict in quoted:
        assert claims.loc[name, "verdict"] == verdict
