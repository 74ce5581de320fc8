"""Every insight as a hypothesis that was stated beforehand, with estimate, interval, p, clusters and verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.figures import curves
from cem_bench.figures.saving import save_figure
from cem_bench.report.columns import signed_estimate
from cem_bench.report.earlier import read_table
from cem_bench.report.experiment import read_conf
from cem_bench.report.render import Markdown, escaped, render
from cem_bench.report.tables import KEYS
from cem_bench.stats.compare import crossed_mean, sign_flip
from cem_bench.store.draws import write_atomically

EXPECTED = {"greater": "above", "less": "below", "equal": "within"}


def trainings(named: str | Sequence[str]) -> list[str]:
    """Return the checkpoints of one architecture."""
    return [named] if isinstance(named, str) else list(named)


def by_training_and_image(table: pd.DataFrame, claim: Mapping[str, Any]) -> pd.DataFrame:
    """Return the claim's number by training (rows) and image (columns), of the images that every training has.

    Args:
        table: `cells.csv` of the claim's experiment.
        claim: from `conf/claims.yaml`.
    """
    if claim.get("task"):
        table = table[table["task"] == claim["task"]]
    first = trainings(claim["first"])
    second = trainings(claim["second"]) if claim.get("second") else [None] * len(first)
    rows = {}
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        values = _values(table, one, claim["quantity"])
        gap = values if other is None else (values - _values(table, other, claim["quantity"])).dropna()
        if len(gap):
            rows[number] = gap.groupby(level="image").mean()
    return pd.DataFrame(rows).T.dropna(axis=1)


def _values(table: pd.DataFrame, model: str, quantity: str) -> pd.Series:
    return table[table["model"] == model].set_index(KEYS)[quantity]


def verdict(low: float, high: float, expected: str, margin: float) -> str:
    """Return supports, contradicts or undecided for an interval against what is expected.

    Args:
        low: lower end.
        high: upper end; NaN ends are undecided.
        expected: greater (than the margin), less (than the margin) or equal (within +-margin).
        margin: in the quantity's unit.

    Raises:
        ValueError: for another expectation.
    """
    if expected not in EXPECTED:
        raise ValueError(f"expected is {expected!r}; one of {', '.join(EXPECTED)}")
    if not (np.isfinite(low) and np.isfinite(high)):
        return "undecided"
    if expected == "equal":
        inside, outside = -margin < low and high < margin, low > margin or high < -margin
    else:
        above, below = low > margin, high < margin
        inside, outside = (above, below) if expected == "greater" else (below, above)
    return "supports" if inside else "contradicts" if outside else "undecided"


def judge(claim: Mapping[str, Any], output: Path, level: float) -> dict[str, Any]:
    """Return the row of one claim: estimate, interval, p, clusters, verdict or "not measured", and why undecided."""
    row = {"id": claim["id"], "insight": claim["insight"], "says": claim["says"], "experiment": claim["experiment"]}
    row |= {"quantity": claim["quantity"], "expected": claim["expected"], "margin": claim["margin"]}
    row["stated"] = claim.get("stated", "before measuring")
    row["unit"] = "px" if claim["quantity"].endswith("px") else "dB"
    path = output / claim["experiment"] / "cells.csv"
    empty = {"estimate": np.nan, "low": np.nan, "high": np.nan, "p": np.nan, "images": 0, "trainings": 0}
    empty |= {"verdict": "not measured", "why": ""}
    if not path.is_file():
        return row | empty
    table = by_training_and_image(read_table(path), claim)
    if table.empty:
        return row | empty
    mean = crossed_mean(table.to_numpy(float), confidence=level)
    low, high = (end if np.isfinite(end) else np.nan for end in (mean.low, mean.high))
    centre = 0.0 if claim["expected"] == "equal" else claim["margin"]
    p = sign_flip(table.mean().to_numpy(float) - centre)
    found = verdict(low, high, claim["expected"], claim["margin"])
    why = "" if found != "undecided" else "too few images" if np.isnan(low) else "the interval holds the margin"
    if found != "undecided" and claim["expected"] != "equal" and p > 1 - level:
        found, why = "undecided", "sign flips of the images do not confirm it"
    if claim.get("about") == "training" and len(table) < 2:
        found, why = "undecided", "one training each: what differs may be training noise"
    counts = {"images": table.shape[1], "trainings": len(table)}
    return row | {"estimate": mean.mean, "low": low, "high": high, "p": p} | counts | {"verdict": found, "why": why}


def write_claims(output: Path) -> list[Path]:
    """Write `claims.csv`, a figure per insight and the page from the tables of the experiments.

    Args:
        output: folder of the results.

    Returns:
        The files written.
    """
    stated = read_conf("claims")
    claims = pd.DataFrame([judge(claim, output, stated["level"]) for claim in stated["claims"]])
    write_atomically(output / "claims.csv", claims.to_csv(index=False, float_format="%.5g").encode())
    figures, insights, folder = [], [], output / "claims"
    for insight in stated["insights"]:
        own = claims[claims["insight"] == insight["id"]]
        stem = f"insight_{insight['id']}"
        if own["images"].any():
            figures += save_figure(curves.forest_plot(own[own["images"] > 0]), folder / stem)
        figure = f"{stem}.png" if own["images"].any() else ""
        insights.append({**insight, "figure": figure, "claims": printed_claims(own)})
    text = render("claims", insights=insights, level=f"{100 * stated['level']:.0f}")
    write_atomically(folder / "README.md", text.encode())
    return [output / "claims.csv", *figures, folder / "README.md"]


def printed_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """Return claims as the page prints them.

    Args:
        claims: rows of `judge`.
    """
    return pd.DataFrame([_printed(row) for row in claims.to_dict("records")])


def _printed(row: Mapping[Any, Any]) -> dict[str, object]:
    stated = "" if row["stated"] == "before measuring" else f" (stated {row['stated']})"
    word = {"greater": ">", "less": "<", "equal": "within ±"}[row["expected"]]
    measured = f"{signed_estimate(row['estimate'], row['low'], row['high'])} {row['unit']}" if row["images"] else "-"
    page = f"[{escaped(row['quantity'])}](../{row['experiment']}/README.md)"
    return {
        "id": row["id"],
        "claim": f"{row['says']}{stated}",
        "number": Markdown(f"{page} {escaped(word)} {row['margin']:g}"),
        "measured": Markdown(measured),
        "p": Markdown(f"{row['p']:.2g}" if np.isfinite(row["p"]) else "-"),
        "images": int(row["images"]),
        "trainings": int(row["trainings"]),
        "verdict": row["verdict"] + (f": {row['why']}" if row["why"] else ""),
    }
