"""The numbers that prose quotes from `claims.csv`, written again in their places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from cem_bench.store.draws import write_atomically

QUOTE = re.compile(r"\S+ (?:dB|px) \[\S+ \S+\] \((\d[a-z]) [^)]*\)")  # +0.55 dB [+0.23, +0.87] (2b contradicts, ...)
TALLY = re.compile(r"(?<=\| insight )(\d): [^|]+(?= \|)")  # | insight 2: 3 supports, 2 contradicts, 3 undecided |
VERDICTS = ("supports", "contradicts", "undecided", "not measured")


def quote(row: Mapping[Any, Any]) -> str:
    """Return a claim as it is quoted: estimate, interval, hypothesis, verdict, clusters.

    Args:
        row: of `claims.csv`.
    """
    head = f"({row['id']} {row['verdict']}"
    if not row["images"]:
        return f"- {row['unit']} [-, -] {head})"
    trainings = f", {row['trainings']} trainings each" if row["trainings"] > 1 else ""
    ends = f"[{row['low']:+.2f}, {row['high']:+.2f}]"
    return f"{row['estimate']:+.2f} {row['unit']} {ends} {head}, {row['images']} images{trainings})"


def tally(verdicts: pd.Series) -> str:
    """Return how many hypotheses have which verdict."""
    return ", ".join(f"{(verdicts == name).sum()} {name}" for name in VERDICTS if (verdicts == name).any())


def requoted(text: str, claims: pd.DataFrame) -> str:
    """Return a text with every quote of a claim and every count of verdicts as the table has them; all else as it was.

    Args:
        text: prose, quotes in the form that `quote` and `tally` write.
        claims: `claims.csv`.

    Raises:
        ValueError: for a quote of a claim that is not in the table.
    """
    rows = {str(row["id"]): row for row in claims.to_dict("records")}

    def number(found: re.Match[str]) -> str:
        if found[1] not in rows:
            near = ", ".join(get_close_matches(found[1], rows, cutoff=0)) or "none"
            raise ValueError(f"{found[0]!r} quotes claim {found[1]}, which is not in conf/claims.yaml; nearest: {near}")
        return quote(rows[found[1]])

    def count(found: re.Match[str]) -> str:
        return f"{found[1]}: {tally(claims.loc[claims['insight'].astype(str) == found[1], 'verdict'])}"

    return TALLY.sub(count, QUOTE.sub(number, text))


def requote(path: Path, claims: Path) -> Path:
    """Write the numbers of `claims.csv` into the quotes of a file.

    Args:
        path: prose, as README.md.
        claims: the table.
    """
    write_atomically(path, requoted(path.read_text(), pd.read_csv(claims)).encode())
    return path
