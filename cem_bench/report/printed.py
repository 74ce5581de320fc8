"""Tables as pages and papers print them: numbers with intervals in one cell, heads with units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.report.columns import PSNR, column, estimate, in_unit, number, signed_estimate
from cem_bench.report.render import Markdown
from cem_bench.report.tables import uneven
from cem_bench.store.outcomes import OutcomeFacts
from cem_bench.store.quantities import over_images

LEVEL = 0.05
HEAD = ("label", "task", "images", "cells", "images_better")
# what a table of means shows: on a page, over two columns of a paper, in one; then the same of a page about verdicts
SHOWN = {
    "page": (
        *HEAD,
        "psnr_roi_db",
        "psnr_gain_db",
        "positive_mass_db",
        "negative_mass_db",
        "harm_share",
        "far_share",
        "r90_px",
        "share_effect_paper",
        "share_undecided",
    ),
    "wide": ("label", "task", "images", "psnr_roi_db", "harm_share", "far_share", "r90_px", "share_effect_paper"),
    "narrow": ("label", "task", "psnr_roi_db", "harm_share", "far_share"),
}
VERDICTS = ("psnr_roi_db", "share_positive", "share_negative", "share_undecided", "share_effect_paper", "draws")
SHOWN_VERDICTS = {
    "page": (*HEAD, *VERDICTS),
    "wide": ("label", "task", "images", *VERDICTS),
    "narrow": ("label", "task", "psnr_roi_db", "share_positive", "share_negative"),
}
PAIR = {
    "psnr_roi_db": "PSNR of the ROI, dB",
    "positive_mass_db": "positive sum, dB",
    "negative_mass_db": "negative sum, dB",
    "far_mass_db": "effect from beyond 16 px, dB",
    "harm_share": "harm share, points of 1",
    "far_share": "far share, points of 1",
    "joint_db": "joint effect of all surroundings, dB",
    "joint_far_db": "joint effect from beyond 16 px, dB",
    "r90_px": "radius of 90 % of the effect, px",
}


def summary(
    table: pd.DataFrame, options: Mapping[str, Any], width: str = "page", outcome: OutcomeFacts = PSNR
) -> pd.DataFrame:
    """Return the summary as it is printed: estimate with interval in one cell, gains where scenes differ.

    Args:
        table: `summary.csv`.
        options: the `report` part of the experiment's file.
        width: `page`, `wide` (two columns of a paper) or `narrow` (one).
        outcome: of the effects.
    """
    names = (SHOWN_VERDICTS if options.get("verdicts") else SHOWN)[width]
    left_out = set() if uneven(table) else {"psnr_gain_db"}
    left_out |= {"task"} if width != "page" and table["task"].nunique() == 1 else set()
    left_out |= {"images_better"} if table["images_better"].isna().all() else set()
    shown_names = [name for name in names if name not in left_out]
    heads = {name: column(name, outcome).title for name in shown_names}
    rows = table.to_dict("records")
    return pd.DataFrame([{head: _cell(row, name, outcome) for name, head in heads.items()} for row in rows])


def _cell(row: Mapping[Any, Any], name: str, outcome: OutcomeFacts) -> object:
    if name == "images_better":
        return Markdown("-" if np.isnan(row[name]) else f"{row[name]:.0f}")
    if f"{name}_low" not in row:
        return row[name]
    return Markdown(estimate(name, row[name], row[f"{name}_low"], row[f"{name}_high"], outcome))


def paired(table: pd.DataFrame, outcome: OutcomeFacts = PSNR) -> pd.DataFrame:
    """Return the paired differences as they are printed."""
    rows = [
        {
            "pair": f"{row['first']} - {row['second']}",
            "quantity": in_unit(PAIR[row["quantity"]], outcome),
            "difference": Markdown(signed_estimate(row["estimate"], row["low"], row["high"])),
            "p": Markdown(f"{row['p']:.2g}"),
            "images": row["images"],
        }
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def rings(paired_decay: pd.DataFrame) -> pd.DataFrame:
    """Return at which distances sign flips and the band both tell two decay curves apart, and at which flips alone do.

    Args:
        paired_decay: `decay_paired.csv`.
    """
    rows = []
    for (first, second), part in paired_decay.groupby(["first", "second"], sort=False):
        flips, band = part["p_ring"] <= LEVEL, (part["low"] > 0) | (part["high"] < 0)
        both, alone = (
            ", ".join(f"{at:g}" for at in part.loc[where, "distance_px"]) or "-"
            for where in (flips & band, flips & ~band)
        )
        row = {"pair": f"{first} - {second}", "told apart at": Markdown(both), "by p alone": Markdown(alone)}
        rows.append(
            row | {"p of the curve": Markdown(f"{part['p'].iloc[0]:.2g}"), "images": int(part["images"].iloc[0])}
        )
    return pd.DataFrame(rows)


def halves(table: pd.DataFrame) -> str:
    """Return how far the halves of the draws agree, over the rows of a summary; "" where that is unknown."""
    flips, icc = table["flip_rate"].dropna(), table["icc"].dropna()
    if flips.empty or icc.empty:
        return ""
    changes, agree = (_span(name, values) for name, values in (("flip_rate", flips), ("icc", icc)))
    return f"{changes} % of the coloured blocks change class, ICC {agree} (half the draws each: a bound for all)"


def _span(name: str, values: pd.Series) -> str:
    least, most = number(name, values.min()), number(name, values.max())
    return least if least == most else f"{least} to {most}"


def coloured(table: pd.DataFrame) -> pd.DataFrame:
    """Return, by task, what becomes of the blocks that few draws colour, as it is printed.

    Args:
        table: of `coloured.coloured_table`.
    """
    rows = []
    for task, part in table.groupby("task"):
        counts = part.groupby("image")[["coloured", "held", "faded", "turned", "undecided"]].sum()
        shares = counts.div(counts["coloured"].where(counts["coloured"] > 0), axis=0).dropna()
        row: dict[str, object] = {"task": task, "cells": len(part), "coloured": int(counts["coloured"].sum())}
        for name in ("held", "faded", "turned", "undecided"):
            values = shares[name].rename("share_positive")  # any share: its range and scale
            mean, low, high = over_images(values, shares.index.to_series()) if len(shares) else (np.nan,) * 3
            row[f"{name}, %"] = Markdown(estimate("share_positive", mean, low, high))
        spent = part["draws"].sum() / part["draws_at_most"].sum()
        rows.append(row | {"draws, %": Markdown(f"{100 * spent:.0f}")})
    return pd.DataFrame(rows)


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Return how far maps of one scene under two settings agree, by model, as it is printed.

    Args:
        table: of `ablations.agreement`.
    """
    if table.empty:
        return table
    rows = []
    for model, part in table.groupby("model", sort=False):
        pairs = list(dict.fromkeys(zip(part["first"], part["second"], strict=True)))
        settings = " and ".join(pairs[0]) if len(pairs) == 1 else f"{len(pairs)} pairs"
        flips = over_images(part["flip_rate"], part["image"])
        row = {"model": model, "settings": settings, "images": part["image"].nunique()}
        row |= {column("correlation").title: Markdown(number("correlation", part["correlation"].mean()))}
        rows.append(row | {column("flip_rate").title: Markdown(estimate("flip_rate", *flips))})
    return pd.DataFrame(rows)


def areas(table: pd.DataFrame) -> pd.DataFrame:
    """Return the area that blocks with part of the ROI cover, by the side of a block.

    Args:
        table: `block` and `area`, px, a row a cell.
    """
    means = table.groupby("block")["area"].mean()
    return pd.DataFrame({"block, px": means.index, "area left out, px": [Markdown(f"{area:,.0f}") for area in means]})


def ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Return how, over the networks on an image, PSNR and harm rank with the radius of 90 % of the effect.

    Args:
        table: `cells.csv` of networks of one task.
    """
    harm = table["negative_mass_db"].clip(lower=0)
    table = table.assign(harm=harm / (harm + table["positive_mass_db"]))
    everywhere = table.groupby("scene")["model"].transform("nunique") == table["model"].nunique()
    columns = ["r90_px", "psnr_roi_db", "harm"]
    means = table[everywhere].groupby(["image", "model"])[columns].mean()
    correlations = means.groupby("image")[columns].corr("spearman")["r90_px"].unstack()
    rows = []
    for name, title in (("psnr_roi_db", "PSNR of the ROI"), ("harm", "share of the effect that harms")):
        interval = over_images(correlations[name].rename("rank"), correlations.index.to_series())
        spread = [f"{end:+.2f}" for end in interval]
        text = Markdown(f"{spread[0]} [{spread[1]}, {spread[2]}]")
        rows.append({"quantity": title, "Spearman's r": text, "networks": means.index.get_level_values(1).nunique()})
    return pd.DataFrame(rows).assign(images=len(correlations))


def lam(table: pd.DataFrame) -> pd.DataFrame:
    """Return, by model, how LAM lies to the effect, as it is printed.

    Args:
        table: `lam.csv`.
    """
    rows = []
    for model, part in table.groupby("model", sort=False) if len(table) else ():
        row: dict[str, object] = {"model": model, "images": part["image"].nunique()}
        for name in ("lam_on_harming", "rank_size", "rank_effect"):
            row[column(name).title] = Markdown(estimate(name, *over_images(part[name], part["image"])))
        rows.append(row)
    return pd.DataFrame(rows)
