"""What the ablations look at: maps against a varied setting, and how far two maps of one scene agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from cem_bench.figures.series import looks_of, title_of
from cem_bench.figures.style import TICKS, WIDTH, style
from cem_bench.sampling.rules import Uniform
from cem_bench.stats.repeat import repeatability
from cem_bench.store import maps
from cem_bench.store.cells import StoredCell
from cem_bench.store.outcomes import facts_of
from cem_bench.store.quantities import over_images, within_images

SHOWN = (
    ("size_db", "sum of |effect|, {unit}"),
    ("share_effect_paper", "share of blocks\nwith |mean| ≥ tol"),
    ("share_undecided", "share of blocks\nundecided"),
)
WIDE = 4.0  # times from the smallest to the largest number, from where an axis in dB is logarithmic
# What a varied key is called, and whether its values are sizes; one that is not here keeps its name, no size.
SETTINGS = {
    "draws": ("draws per block", True),
    "scene.block": ("side of a block, px", True),
    "donors": ("pool of donors", False),
    "task.degradation.field_seed": ("seed of the noise field", False),
}


def seen(cells: Sequence[StoredCell], draws: Sequence[int]) -> list[StoredCell]:
    """Return the cells, or, where numbers of draws are given, every cell seen at its first n draws."""
    if not draws:
        return list(cells)
    seen_cells = []
    for cell in cells:
        for n in draws:
            entry = dict(cell.entry) | {"variant": {"draws": n}}
            seen_cells.append(StoredCell(entry, cell.folder, Uniform(n)))
    return seen_cells


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
    settings = pd.DataFrame(rows)
    numbers = pd.to_numeric(settings["setting"], errors="coerce")
    return settings.assign(setting=numbers) if numbers.notna().all() else settings


def figure(table: pd.DataFrame, options: Mapping[str, Any], outcome: str = "psnr") -> Figure:
    """Draw the ablation's quantities against its setting."""
    shown = [(column, label.format(unit=facts_of(outcome).unit)) for column, label in SHOWN]
    key = varied(options)
    name, ordered = SETTINGS.get(key, (key, False))
    settings = setting_table(table).rename(columns={"setting": name})
    return series_plot(settings, name, shown, ordered=ordered)


def varied(options: Mapping[str, Any]) -> str:
    """Return the key that an ablation varies; "" where the experiment is none."""
    return "draws" if options.get("draws") else str(options.get("setting", ""))


def is_by_size(options: Mapping[str, Any]) -> bool:
    """Return whether the settings that an ablation varies are sizes; False where the experiment is none."""
    return varied(options) in SETTINGS and SETTINGS[varied(options)][1]


def series_plot(table: pd.DataFrame, x: str, columns: Sequence[tuple[str, str]], *, ordered: bool) -> Figure:
    """Draw quantities against a varied setting, one panel a quantity and one line a model, with intervals over images.

    Args:
        table: one row a model and setting: `model`, `x`, every quantity with `_low`, `_high`.
        x: column of the setting.
        columns: quantity and axis label; dB that span much are drawn on a logarithmic scale.
        ordered: whether the settings are sizes, on a logarithmic axis and joined by lines; else each stands alone.
    """
    with style():
        figure = Figure(figsize=(WIDTH, 2.5))
        axes = figure.subplots(1, len(columns), squeeze=False)[0]
        for axis, (column, label) in zip(axes, columns, strict=True):
            (_joined if ordered else _apart)(axis, table, x, column)
            axis.set_xlabel(x)
            axis.set_ylabel(label)
            if column.endswith("_db") and table[column].max() > WIDE * table[column].min() > 0:
                _logarithmic(axis, table[[f"{column}_low", column, f"{column}_high"]].to_numpy(float))
        models = list(dict.fromkeys(table["model"]))
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(models))
    return figure


def _logarithmic(axis: Axes, shown: np.ndarray) -> None:
    """Give an axis a logarithmic scale; an interval that ends far below all estimates runs out of it."""
    least, most = np.nanmin(shown[shown > 0]), np.nanmax(shown)
    axis.set_yscale("log")
    axis.set_yticks(TICKS, labels=[f"{tick:g}" for tick in TICKS], minor=False)
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylim(0.8 * max(least, shown[:, 1].min() / 10), 1.25 * most)


def _joined(axis: Axes, table: pd.DataFrame, x: str, column: str) -> None:
    models = list(dict.fromkeys(table["model"]))
    looks = looks_of(models)
    for model in models:
        rows = table[table["model"] == model].sort_values(x)
        axis.plot(rows[x], rows[column], **looks[model], label=title_of(model), markersize=3.5)
        ends = rows[f"{column}_low"], rows[f"{column}_high"]
        axis.fill_between(rows[x], *ends, color=looks[model]["color"], alpha=0.15, linewidth=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sorted(table[x].unique()), labels=[f"{value:g}" for value in sorted(table[x].unique())])
    axis.minorticks_off()


def _apart(axis: Axes, table: pd.DataFrame, x: str, column: str) -> None:
    models, values = (list(dict.fromkeys(table[name])) for name in ("model", x))
    looks = looks_of(models)
    for number, model in enumerate(models):
        rows = table[table["model"] == model].set_index(x).reindex(values)
        arms = np.array([rows[column] - rows[f"{column}_low"], rows[f"{column}_high"] - rows[column]])
        at = np.arange(len(values)) + 0.16 * (number - (len(models) - 1) / 2)
        look = {**looks[model], "label": title_of(model), "linestyle": "none", "elinewidth": 0.8, "capsize": 1.5}
        axis.errorbar(at, rows[column], yerr=np.maximum(arms, 0), markersize=3.5, **look)
    axis.set_xticks(range(len(values)), labels=[f"{value}" for value in values])
    axis.set_xlim(-0.5, len(values) - 0.5)


def agreement(cells: Sequence[StoredCell], *, ends_only: bool) -> pd.DataFrame:
    """Return how far the maps of one model and scene agree under two settings, one row a model, scene and pair.

    Args:
        cells: of an ablation, in any order.
        ends_only: compare only the first and the last setting by value; else every pair.

    Returns:
        `model`, `image`, `first` and `second` (the settings), `correlation` and `flip_rate` (see `stats.repeat`); no
        row where the grids differ.
    """
    by_scene: dict[tuple[str, str, str, int], list[StoredCell]] = {}
    for cell in cells:
        by_scene.setdefault((cell.model, cell.scene, cell.entry["task"], cell.entry["seed"]), []).append(cell)
    rows = []
    for group in by_scene.values():
        ordered = sorted(group, key=lambda cell: by_value(setting_of(cell.variant)))
        for left, right in [(ordered[0], ordered[-1])] if ends_only else combinations(ordered, 2):
            if left is right or left.grid != right.grid:
                continue
            live = left.status == maps.MEASURED
            pairs = np.stack([left.effect_map.effect[live], right.effect_map.effect[live]], axis=1)
            repeat = repeatability(pairs, tol=left.entry["tol"])
            row = {"model": left.model, "image": left.image}
            row |= {"first": setting_of(left.variant), "second": setting_of(right.variant)}
            rows.append(row | {"correlation": repeat.correlation, "flip_rate": repeat.flip_rate})
    return pd.DataFrame(rows)


def by_value(setting: str) -> tuple[float, str]:
    """Return the key that sorts settings: numbers by size, before words by letters."""
    return (float(setting), "") if setting.replace(".", "", 1).isdigit() else (np.inf, setting)
