"""What the paper compares beside what was measured here, for a reader who looks for its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from cem_bench.report import pages
from cem_bench.report.earlier import read_table
from cem_bench.report.write import CONF

INTRO = (
    "What the paper compares, with the numbers of its figures where they could be read off. They were measured on "
    "other images with other networks and are not to be met; here: means over images, with intervals in `summary.csv`."
)
NAMES = {name: words for name, (words, _) in pages.QUANTITIES.items()} | {
    "share_effect_paper": "blocks with a mean effect of tol or more",
    "share_negative": "blocks that harm beyond doubt",
    "range": "smallest to largest mean effect",
}


def comparisons(output: Path) -> str:
    """Return the section that leads from the paper's comparisons to those here.

    Args:
        output: folder of the results.

    Raises:
        ValueError: if `conf/paper_comparisons.yaml` asks for a quantity that has no name here.
    """
    said: Any = OmegaConf.to_container(OmegaConf.load(CONF / "paper_comparisons.yaml"))
    if unknown := {one["quantity"] for one in said} - set(NAMES):
        raise ValueError(f"conf/paper_comparisons.yaml: got {', '.join(unknown)}; expected one of {', '.join(NAMES)}")
    rows = [
        {
            "the paper": one["paper"],
            "published": one["published"],
            "here": _here(output, one),
            "page": f"[{one['experiment']}]({one['experiment']}/README.md)",
            "added here": one["adds"],
        }
        for one in said
    ]
    return f"## The paper's comparisons\n\n{INTRO}\n\n{pages.markdown(pd.DataFrame(rows))}"


def _here(output: Path, one: Mapping[str, Any]) -> str:
    """Return the measured numbers of one comparison with their names; a dash for a cell that nobody measured."""
    summary = read_table(output / one["experiment"] / "summary.csv")
    numbers = "; ".join(f"{name} {_number(summary, rest, one['quantity'])}" for name, *rest in one["measured"])
    return f"{NAMES[one['quantity']]}: {numbers}"


def _number(summary: pd.DataFrame, of: Sequence[str], quantity: str) -> str:
    model, task, variant = (*of, "")[:3]
    if summary.empty:
        return "-"
    row = summary[(summary["model"] == model) & (summary["task"] == task) & (summary["variant"] == variant)]
    if row.empty:
        return "-"
    if quantity == "range":
        return f"{row['min_db'].iloc[0]:+.2f} to {row['max_db'].iloc[0]:+.2f} dB"
    value = float(row[quantity].iloc[0])
    if quantity.startswith("share"):
        return f"{100 * value:.1f} %"
    return f"{value:.1f} px" if quantity.endswith("px") else f"{value:.2f} dB"
