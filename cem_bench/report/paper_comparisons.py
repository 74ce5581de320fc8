"""What the paper compares beside what was measured here, for a reader who looks for its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cem_bench.report.columns import with_unit
from cem_bench.report.earlier import read_table
from cem_bench.report.experiment import read_conf
from cem_bench.report.render import Markdown

NAMES = {
    "psnr_roi_db": "PSNR of the ROI",
    "positive_mass_db": "positive sum",
    "negative_mass_db": "negative sum",
    "far_mass_db": "effect from beyond 16 px",
    "r90_px": "radius of 90 % of the effect",
    "share_effect_paper": "blocks with a mean effect of tol or more",
    "share_negative": "blocks that harm beyond doubt",
    "range": "smallest to largest mean effect",
}


def comparisons(output: Path) -> pd.DataFrame:
    """Return the table that leads from the paper's comparisons to those here.

    Args:
        output: folder of the results.

    Raises:
        ValueError: if `conf/paper_comparisons.yaml` asks for a quantity that has no name here.
    """
    listed = read_conf("paper_comparisons")
    if unknown := {row["quantity"] for row in listed} - set(NAMES):
        raise ValueError(f"conf/paper_comparisons.yaml: got {', '.join(unknown)}; expected one of {', '.join(NAMES)}")
    rows = [
        {
            "the paper": row["paper"],
            "published": row["published"],
            "here": _here(output, row),
            "page": Markdown(f"[{row['experiment']}]({row['experiment']}/README.md)"),
            "added here": row["adds"],
        }
        for row in listed
    ]
    return pd.DataFrame(rows)


def _here(output: Path, row: Mapping[str, Any]) -> str:
    """Return the measured numbers of one comparison with their names; a dash for a cell that nobody measured."""
    summary = read_table(output / row["experiment"] / "summary.csv")
    numbers = "; ".join(f"{name} {_number(summary, rest, row['quantity'])}" for name, *rest in row["measured"])
    return f"{NAMES[row['quantity']]}: {numbers}"


def _number(summary: pd.DataFrame, place: Sequence[str], quantity: str) -> str:
    model, task, variant = (*place, "")[:3]
    if summary.empty or summary.attrs["unit"] != "dB":  # the paper measured PSNR
        return "-"
    rows = summary[(summary["model"] == model) & (summary["task"] == task) & (summary["variant"] == variant)]
    if rows.empty:
        return "-"
    if quantity == "range":
        return f"{rows['min_db'].iloc[0]:+.2f} to {rows['max_db'].iloc[0]:+.2f} dB"
    return with_unit(quantity, float(rows[quantity].iloc[0]))
