"""Every insight as hypotheses with margins: estimate, interval, p, images, trainings, and the word on each."""

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
from cem_bench.report.tables import KEYS, admission
from cem_bench.stats.claim_verdicts import NOT_JUDGED, ClaimVerdict, Evidence, claim_p, claim_verdict, holm
from cem_bench.stats.compare import crossed_mean
from cem_bench.store.draws import write_atomically
from cem_bench.store.roots import marked, page_root, root_over

NOT_MEASURED = "not measured"
FLOORED = ("_db", "_share", "_px")  # ends of the names of quantities that cannot fall below 0, those of SIGNED aside
SIGNED = ("joint", "interaction")  # beginnings of the names of effects that may have either sign
EMPTY = {"estimate": np.nan, "low": np.nan, "high": np.nan, "p": np.nan, "images": 0, "trainings": 0}


def trainings(named: str | Sequence[str] | None) -> list[str]:
    """Return the checkpoints of one architecture; none where none is named."""
    return [] if named is None else [named] if isinstance(named, str) else list(named)


def by_training_and_image(table: pd.DataFrame, claim: Mapping[str, Any]) -> pd.DataFrame:
    """Return the claim's number by training (rows) and image (columns), of the images that every training has.

    Args:
        table: `cells.csv` of the claim's experiment.
        claim: from `conf/claims.yaml`.
    """
    first, second = trainings(claim["first"]), trainings(claim.get("second"))
    rows = {}
    for number, (model, rival) in enumerate(zip(first, second or [None] * len(first), strict=True)):
        values = _values(table, model, claim["quantity"])
        gap = values if rival is None else values - _values(table, rival, claim["quantity"])
        if gap.notna().any():
            rows[number] = gap.dropna().groupby(level="image").mean()
    return pd.DataFrame(rows).T.dropna(axis=1)


def _values(table: pd.DataFrame, model: str, quantity: str) -> pd.Series:
    return table[table["model"] == model].set_index(KEYS)[quantity]


def judge(claim: Mapping[str, Any], output: Path, level: float) -> dict[str, Any]:
    """Return the row of one claim: estimate, interval, p, images, trainings, the word on it and why no stronger one.

    Args:
        claim: from `conf/claims.yaml`.
        output: folder of the results.
        level: of the interval.
    """
    names = ("id", "insight", "says", "experiment", "quantity", "expected", "margin")
    row: dict[str, Any] = {name: claim[name] for name in names}
    table = read_table(output / claim["experiment"] / "cells.csv")
    row |= {"stated": claim.get("stated", "before measuring"), "unit": unit_of(claim["quantity"], table.attrs["unit"])}
    if claim["quantity"] not in table:
        return row | EMPTY | {"verdict": NOT_MEASURED, "why": ""}
    if claim.get("task"):
        table = table[table["task"] == claim["task"]]
    values = by_training_and_image(table, claim)
    if values.empty:
        return row | EMPTY | {"verdict": NOT_MEASURED, "why": ""}
    mean = crossed_mean(values.to_numpy(float), confidence=level)
    low, high = (end if np.isfinite(end) else np.nan for end in (mean.low, mean.high))
    by_image = values.mean().to_numpy(float) - threshold(claim)
    p = claim_p(by_image, values.columns.to_numpy(str), claim["expected"])
    row |= {"estimate": mean.mean, "low": low, "high": high, "p": p}
    verdict = _verdict(claim, table, Evidence(low, high, p, len(values)), level)
    if verdict.word == NOT_JUDGED:
        row["p"] = np.nan
    counts = {"images": values.shape[1], "trainings": len(values)}
    return row | counts | {"verdict": verdict.word, "why": verdict.why}


def unit_of(quantity: str, effects: str = "dB") -> str:
    """Return the unit of a quantity, given that of effects; "" of a share."""
    if quantity.startswith("psnr"):
        return "dB"
    return "px" if quantity.endswith("px") else "" if quantity.endswith("share") else effects


def threshold(claim: Mapping[str, Any]) -> float:
    """Return what a quantity is held against: 0 where it may have either sign, as a difference or a joint effect may.

    Else it is the margin of a claim that compares no two networks.
    """
    return 0.0 if claim.get("second") or claim["quantity"].startswith(SIGNED) else float(claim["margin"])


def _verdict(claim: Mapping[str, Any], table: pd.DataFrame, evidence: Evidence, level: float) -> ClaimVerdict:
    """Return the word, or that the claim is not judged: a sum, a margin out of reach, or what `claim_verdict` says."""
    if claim["quantity"].endswith("_mass_db"):
        return ClaimVerdict(NOT_JUDGED, "a sum: too low at few draws, and not the effect of all blocks together")
    if why := out_of_reach(table, claim):
        return ClaimVerdict(NOT_JUDGED, why)
    admitted = admission(table)
    named = [*trainings(claim["first"]), *trainings(claim.get("second"))]
    failed = admitted.loc[admitted["model"].isin(named) & ~admitted["admitted"], "model"]
    shift, about = threshold(claim), claim.get("about") == "training"
    shifted = Evidence(evidence.low - shift, evidence.high - shift, evidence.p, evidence.trainings, failed.empty)
    margin = 0.0 if shift else claim["margin"]
    verdict = claim_verdict(shifted, claim["expected"], margin, about_training=about, level=1 - level)
    return (
        verdict if failed.empty else ClaimVerdict(verdict.word, f"restores worse than its input: {', '.join(failed)}")
    )


def out_of_reach(table: pd.DataFrame, claim: Mapping[str, Any]) -> str:
    """Return why no difference of the claim's networks could reach its margin; "" where one could.

    A quantity that cannot fall below 0 differs by at most the larger of its two means, and exceeds by at most the
    first's.

    Args:
        table: `cells.csv` of the claim's experiment and task.
        claim: from `conf/claims.yaml`.
    """
    quantity = claim["quantity"]
    if not claim.get("second") or quantity.startswith((*SIGNED, "psnr")) or not quantity.endswith(FLOORED):
        return ""
    sides = [trainings(claim[name]) for name in ("first", "second")]
    means = [float(table.loc[table["model"].isin(side), quantity].mean()) for side in sides]
    largest = {"greater": means[0], "less": means[1], "equal": max(means)}[claim["expected"]]
    unit = unit_of(quantity, table.attrs.get("unit", "dB"))
    return f"margin out of reach: the quantity is {largest:.2g} {unit}".rstrip() if largest < claim["margin"] else ""


def judged(output: Path) -> pd.DataFrame:
    """Return all claims of `conf/claims.yaml`, one row each, with Holm's p over those that are judged.

    Args:
        output: folder of the results.
    """
    stated = read_conf("claims")
    claims = pd.DataFrame([judge(claim, output, stated["level"]) for claim in stated["claims"]])
    claims.insert(claims.columns.get_loc("p") + 1, "p_holm", holm(claims["p"].to_numpy(float)))  # pyright: ignore
    return claims


def write_claims(output: Path) -> list[Path]:
    """Write `claims.csv`, a figure per insight of its judged claims, and the page, from the tables of the experiments.

    Args:
        output: folder of the results.

    Returns:
        The files written.
    """
    stated, claims = read_conf("claims"), judged(output)
    write_atomically(output / "claims.csv", claims.to_csv(index=False, float_format="%.5g").encode())
    experiments = {claim["experiment"] for claim in stated["claims"]}
    roots = {name: root for name in sorted(experiments) if (root := page_root(output / name))}
    figures, insights, folder, root = [], [], output / "claims", root_over(roots)
    for insight in stated["insights"]:
        own = claims[claims["insight"] == insight["id"]]
        shown, stem = own[~own["verdict"].isin([NOT_MEASURED, NOT_JUDGED])], f"insight_{insight['id']}"
        if len(shown):
            units = shown["unit"].where(shown["unit"] != "", "share")
            figures += save_figure(curves.forest_plot(shown.assign(unit=units)), folder / stem, root=root)
        figure = f"{stem}.png" if len(shown) else ""
        insights.append({**insight, "figure": figure, "claims": printed_claims(own)})
    for path in set(folder.glob("insight_*.*")) - set(figures):
        path.unlink()
    failed = refused(output, experiments)
    text = render(
        "claims",
        insights=insights,
        level=f"{100 * stated['level']:.0f}",
        refused=failed if len(failed) else None,
        root=marked(root),
        roots=_listed_roots(roots) if roots else None,
    )
    write_atomically(folder / "README.md", text.encode())
    return [output / "claims.csv", *figures, folder / "README.md"]


def _listed_roots(roots: Mapping[str, str]) -> pd.DataFrame:
    rows = [{"experiment": name, "root of its draws": Markdown(f"`{root}`")} for name, root in roots.items()]
    return pd.DataFrame(rows)


def refused(output: Path, experiments: set[str]) -> pd.DataFrame:
    """Return the networks that have no verdict in a task, since they restore worse than their input there.

    Args:
        output: folder of the results.
        experiments: of the claims.
    """
    tables = [read_table(output / name / "cells.csv") for name in sorted(experiments)]
    rows = pd.concat([admission(table) for table in tables if len(table)] or [admission(pd.DataFrame())])
    failed = rows[~rows["admitted"].astype(bool)].drop_duplicates(["model", "task"])
    better = [f"{row['better']} of {row['images']}" for row in failed.to_dict("records")]
    return pd.DataFrame({"network": failed["model"], "task": failed["task"], "images better than the input": better})


def printed_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """Return claims as the page prints them.

    Args:
        claims: rows of `judged`.
    """
    return pd.DataFrame([_printed(row) for row in claims.to_dict("records")])


def _printed(row: Mapping[Any, Any]) -> dict[str, object]:
    stated = "" if row["stated"] == "before measuring" else f" (stated {row['stated']})"
    word = {"greater": ">", "less": "<", "equal": "within ±"}[row["expected"]]
    measured = f"{signed_estimate(row['estimate'], row['low'], row['high'])} {row['unit']}" if row["images"] else "-"
    page = f"[{escaped(row['quantity'])}](../{row['experiment']}/README.md)"
    p, adjusted = (Markdown(f"{row[name]:.2g}" if np.isfinite(row[name]) else "-") for name in ("p", "p_holm"))
    return {
        "id": row["id"],
        "claim": f"{row['says']}{stated}",
        "number": Markdown(f"{page} {escaped(word)} {row['margin']:g}"),
        "measured": Markdown(measured.strip()),
        "p": p,
        "Holm": adjusted,
        "images": int(row["images"]),
        "trainings": int(row["trainings"]),
        "verdict": row["verdict"] + (f": {row['why']}" if row["why"] else ""),
    }
