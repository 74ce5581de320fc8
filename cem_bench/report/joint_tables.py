"""Joint effects in an experiment's tables: of all surroundings, of what lies far, of rings, of blocks by verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cem_bench.inputs.sets import FAR, SURROUNDINGS
from cem_bench.report.columns import PSNR, in_unit, signed_estimate
from cem_bench.report.render import Markdown
from cem_bench.report.tables import label
from cem_bench.store.cells import StoredCell
from cem_bench.store.joint_runs import VERDICTS, joint_rows
from cem_bench.store.outcomes import OutcomeFacts
from cem_bench.store.quantities import over_images

NUMBERS = {"effect": "joint_db", "sum_of_singles": "net_mass_db", "interaction": "interaction_db"}
RINGS_SHOWN = 6  # of the page; all are in `joint.csv`


def joint_table(cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return joint effects as means over images with intervals.

    Returns:
        One row per model, task and set, in the order of the cells: label, task, set, distance_px (of a ring), images,
        cells, blocks (mean), draws, and joint_db, net_mass_db (sum of the single effects of the same blocks),
        interaction_db with `_low` and `_high`. Empty where no cell has joint draws.
    """
    rows = [
        {"label": label(cell.model, cell.variant), "task": cell.entry["task"], "image": cell.image, **row}
        for cell in cells
        for row in joint_rows(cell)
    ]
    means = []
    for (name, task, group), part in pd.DataFrame(rows).groupby(["label", "task", "set"], sort=False) if rows else ():
        ring = str(group).removeprefix("ring ").removesuffix(" px") if str(group).startswith("ring ") else ""
        row = {"label": name, "task": task, "set": group, "distance_px": int(ring) if ring else np.nan}
        row |= {"images": part["image"].nunique(), "cells": len(part), "blocks": float(part["blocks"].mean())}
        row |= {"draws": int(part["draws"].sum())}
        for number, column in NUMBERS.items():
            ends = over_images(part[number].rename(column), part["image"])
            row |= dict(zip((column, f"{column}_low", f"{column}_high"), ends, strict=True))
        means.append(row)
    return pd.DataFrame(means)


def printed_sets(table: pd.DataFrame, outcome: OutcomeFacts = PSNR) -> pd.DataFrame:
    """Return joint effect, sum of singles and interaction by model, as a page prints them; empty without any.

    Args:
        table: `joint.csv`.
        outcome: of the effects.
    """
    rows = []
    for (name, task), part in table.groupby(["label", "task"], sort=False) if len(table) else ():
        of = {str(row["set"]): row for row in part.to_dict("records")}
        whole = of.get(SURROUNDINGS)
        row: dict[str, object] = {"model": name, "task": task, "images": int(part["images"].max())}
        row[in_unit("all surroundings at once, dB", outcome)] = _estimate(whole, "joint_db")
        row[in_unit("sum of single effects, dB", outcome)] = _estimate(whole, "net_mass_db")
        row[in_unit("joint minus sum, dB", outcome)] = _estimate(whole, "interaction_db")
        row[in_unit(f"{FAR} at once, dB", outcome)] = _estimate(of.get(FAR), "joint_db")
        for verdict in VERDICTS:
            if verdict in set(table["set"]):
                row[in_unit(f"{verdict}, at once, dB", outcome)] = _estimate(of.get(verdict), "joint_db")
        rows.append(row)
    return pd.DataFrame(rows)


def printed_rings(table: pd.DataFrame, outcome: OutcomeFacts = PSNR) -> pd.DataFrame:
    """Return the joint effect of every ring by model, a column per ring of the nearest ones, as a page prints them.

    Args:
        table: `joint.csv`.
        outcome: of the effects.
    """
    rings = table.dropna(subset=["distance_px"]) if len(table) else table
    if rings.empty:
        return pd.DataFrame()
    shown = sorted(rings["distance_px"].unique())[:RINGS_SHOWN]
    rows = []
    for (name, task), part in rings.groupby(["label", "task"], sort=False):
        of = {row["distance_px"]: row for row in part.to_dict("records")}
        numbers = {in_unit(f"ring {ring:g} px, dB", outcome): _estimate(of.get(ring), "joint_db") for ring in shown}
        rows.append({"model": name, "task": task, **numbers})
    return pd.DataFrame(rows)


def _estimate(row: dict | None, column: str) -> Markdown:
    if row is None or not np.isfinite(row[column]):
        return Markdown("-")
    return Markdown(signed_estimate(*(row[f"{column}{end}"] for end in ("", "_low", "_high"))))
