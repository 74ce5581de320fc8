"""What the ablations look at: maps against a varied setting, and how far two maps of one scene agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cem_bench.report import plots
from cem_bench.report.collect import StoredCell
from cem_bench.report.measures import over_images, within_images
from cem_bench.sampling import Uniform

SHOWN = (
    ("size_db", "sum of |effect|, dB"),
    ("share_effect_paper", "share with |mean| ≥ tol"),
    ("share_undecided", "share undecided"),
)


def seen(cells: Sequence[StoredCell], draws: Sequence[int]) -> list[StoredCell]:
    """Return the cells, or, where numbers of draws are given, every cell seen at its first n draws."""
    if not draws:
        return list(cells)
    found = []
    for cell in cells:
        for n in draws:
            entry = dict(cell.entry) | {"variant": {"draws": n}}
            found.append(StoredCell(entry, cell.folder, Uniform(n)))
    return found


def setting_of(variant: str) -> str:
    """Return the value in "key=value"."""
    return variant.partition("=")[2]


def setting_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a model and setting: means over images with intervals of what the setting changes within an image.

    Args:
        table: from `cells_table`, with a `variant` of one key in every row.

    Returns:
        Differences between images are taken out before the intervals: only the setting's effect is compared.

    """
    rows, compared = [], within_images(table, [column for column, _ in SHOWN])
    for (model, variant), part in compared.groupby(["model", "variant"], sort=False):
        row: dict[str, Any] = {"model": model, "setting": setting_of(str(variant))}
        for column, _ in SHOWN:
            names = (column, f"{column}_low", f"{column}_high")
            row |= dict(zip(names, over_images(part[column], part["image"], recentred=True), strict=True))
        rows.append(row)
    found = pd.DataFrame(rows)
    numbers = pd.to_numeric(found["setting"], errors="coerce")
    return found.assign(setting=numbers) if numbers.notna().all() else found


def figure(table: pd.DataFrame, options: Mapping[str, Any]) -> Figure:
    """Draw the ablation's quantities against its setting."""
    name = "draws" if options.get("draws") else str(options["setting"]).replace(".", " ")
    found = setting_table(table).rename(columns={"setting": name})
    return plots.series_plot(found, name, SHOWN, log=bool(options.get("draws")) or name.endswith("block"))
