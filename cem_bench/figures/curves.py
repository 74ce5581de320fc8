"""Plots of an experiment's tables: PSNR against masses, decay with bands, radius against receptive field, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from cem_bench.figures.map import Look
from cem_bench.figures.series import by_panel, by_task, key_beside, looks_of, panel_grid, task_of, title_of
from cem_bench.figures.style import TICKS, WIDTH, sign_colours, style, verdict_key
from cem_bench.store.outcomes import facts_of

FAR = 1.6  # networks whose reach is the whole image stand this many times right of the widest finite one
APART = 1.05  # models of one reach stand this many times right of each other
LEAST_MASS = 0.01  # dB; below it masses are on a linear scale
FLOOR = 1e-5  # dB; curves of sizes end there
LEAST_DIFFERENCE = 1e-3  # dB; differences below are on a linear scale
PAIRS_PER_ROW = 3


def mass_plot(summary: pd.DataFrame, look: Look, inputs: Mapping[str, float] | None = None) -> Figure:
    """Draw PSNR above the models' mean against positive and against negative mass: a point per model.

    Args:
        summary: one row per model and task with `label`, `task`, `psnr_gain_db`, `positive_mass_db`, `negative_mass_db`
            and their `_low`, `_high`.
        look: gives the colours of the two signs, and the unit of effects.
        inputs: task to the PSNR of the unrestored input above the models' mean, dB, mean over images: a line.
    """
    rows, columns = list(by_panel(summary)), ("positive_mass_db", "negative_mass_db")
    several = len({task for task, _ in rows}) > 1
    with style():
        figure = Figure(figsize=(WIDTH, 1.9 * len(rows) + 0.5))
        grid = figure.subplots(len(rows), 2, squeeze=False, sharey="row", sharex="col")
        for line, (task, models) in zip(grid, rows, strict=True):
            looks = looks_of(list(models["label"]))
            for axis, column in zip(line, columns, strict=True):
                for row in models.to_dict("records"):
                    _point(axis, row, (column, "psnr_gain_db"), looks[row["label"]])
                _input(axis, (inputs or {}).get(task))
            line[0].set_ylabel("PSNR of the ROI above\nthe models' mean, dB")
            line[0].set_title(task_of(task) if several else "", loc="left")
            key_beside(line[1], looks)
        for axis, column, colour in zip(grid[-1], columns, sign_colours(look), strict=True):
            words = column.replace("_mass_db", f" mass: sum over blocks, {look.unit}")
            axis.set_xlabel(f"{words}\n(logarithmic; linear below {LEAST_MASS} {look.unit})".rstrip(), color=colour)
            _mass_axis(axis, summary, column)
    return figure


def _mass_axis(axis: Axes, summary: pd.DataFrame, column: str) -> None:
    axis.set_xscale("symlog", linthresh=LEAST_MASS)
    if not np.isfinite(summary[column]).any():  # one draw per block: no estimate of a sum
        axis.annotate("needs 2 draws per block", (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=6)
        return
    # what has no mass is estimated on either side of 0: an interval far below it runs out of the axis
    least = float(max(np.nanmin(summary[[column, f"{column}_low"]]), min(1.5 * summary[column].min(), 0.0)))
    ticks = TICKS if least > 0 else TICKS[::2]
    axis.set_xticks((0, *ticks), labels=["0", *(f"{tick:g}" for tick in ticks)])
    most = float(np.nanmax([summary[column].max(), summary[f"{column}_high"].max()]))
    axis.set_xlim(0.8 * least if least > LEAST_MASS else min(least, 0.0), 1.2 * max(most, LEAST_MASS))


def _input(axis: Axes, gain: float | None) -> None:
    """Draw the input's PSNR as a line, or say how far below the panel it lies."""
    if gain is None or not np.isfinite(gain):
        return
    low, high = axis.get_ylim()
    if gain > low - 0.5 * (high - low):
        axis.axhline(gain, color="0.3", linewidth=0.8, linestyle="--", zorder=1)
        axis.set_ylim(min(low, gain - 0.05 * (high - low)), max(high, gain + 0.05 * (high - low)))
    text = "input" if gain > low - 0.5 * (high - low) else f"input at {gain:.1f} dB, below the panel"
    at = (0.02, gain) if text == "input" else (0.02, axis.get_ylim()[0])
    axis.annotate(text, at, (0, 2), ("axes fraction", "data"), textcoords="offset points", fontsize=6, color="0.3")


def _point(axis: Axes, row: dict, at: tuple[str, str], look: dict[str, Any]) -> None:
    def arms(name: str) -> list[list[float]]:
        return [[max(row[name] - row[f"{name}_low"], 0.0)], [max(row[f"{name}_high"] - row[name], 0.0)]]

    x, y = at
    # bars pale, points on top of all bars: intervals of many models cross
    bars = {"elinewidth": 0.8, "ecolor": (look["color"], 0.5), "linestyle": "none"}
    axis.errorbar(row[x], row[y], xerr=arms(x), yerr=arms(y), zorder=2, **bars)
    axis.plot(row[x], row[y], zorder=3, **{**look, "linestyle": "none"})


def decay_plot(decay: pd.DataFrame, outcome: str = "psnr", width: float = WIDTH) -> Figure:
    """Draw how the size of an effect falls with the block's distance to the ROI, with bands over images.

    Args:
        decay: one row a label, task and ring: `label`, `task`, `distance_px`, `size_db` and `_low`, `_high`.
        outcome: of the effects.
        width: of the figure, inches: two columns of an article, or `style.COLUMN`.
    """
    facts = facts_of(outcome)
    with style():
        figure, axes, panels = panel_grid(decay, 2.4, width)
        for line, shown in zip(axes, panels, strict=True):
            for axis, curves in zip(line, shown, strict=False):
                looks = looks_of(list(curves["label"]))
                for label, rows in curves.groupby("label", sort=False):
                    _decaying(axis, rows.sort_values("distance_px"), looks[str(label)])
                if (curves["size_db"] > FLOOR).any():
                    axis.set_yscale("log")
                axis.axhline(facts.tol, color="0.4", linewidth=0.7, linestyle=":")
            line[0].set_ylabel(f"mean |effect| of a block, {facts.unit}")
        for axis in axes[-1]:
            axis.set_xlabel("distance to the ROI, px")
        reached = decay.loc[decay["size_db"] > FLOOR, "distance_px"]
        axes[0, 0].set_xlim(0, float((reached if len(reached) else decay["distance_px"]).max()) + 2)
    return figure


def _decaying(axis: Axes, rows: pd.DataFrame, look: dict[str, Any]) -> None:
    at = rows["distance_px"].to_numpy(float)
    middle = rows["size_db"].where(rows["size_db"] > FLOOR)  # what cannot reach is exactly 0: no line there
    low, high = (rows[name].clip(lower=FLOOR).where(middle.notna()) for name in ("size_db_low", "size_db_high"))
    axis.plot(at, middle, markersize=3.5, **look)
    axis.fill_between(at, low, high, color=look["color"], alpha=0.12, linewidth=0)


def paired_decay_plot(paired: pd.DataFrame, outcome: str = "psnr") -> Figure:
    """Draw for every pair of models both decay curves over the scenes they share, and their difference with its band.

    The p of a pair is that of its whole curve.

    Args:
        paired: of `tables.paired_decay_table`; a ring without a band (NaN) has no spread between images.
        outcome: of the effects.
    """
    unit = facts_of(outcome).unit
    pairs = list(paired.groupby(["first", "second"], sort=False))
    columns = min(len(pairs), PAIRS_PER_ROW)
    lines = -(-len(pairs) // columns)
    with style():
        figure = Figure(figsize=(WIDTH, 2.35 * lines))
        parts = figure.subfigures(lines, columns, squeeze=False)
        for number, (pair, rings) in enumerate(pairs):
            at = divmod(number, columns)
            curves, difference = _paired_decay(parts[at], [str(name) for name in pair], rings)
            if not at[1]:
                curves.set_ylabel(f"mean |effect|\nof a block, {unit}")
                difference.set_ylabel(f"first minus second,\n{unit} (linear within\n±{LEAST_DIFFERENCE:g})", size=6.5)
    return figure


def _paired_decay(part: SubFigure, names: list[str], rings: pd.DataFrame) -> tuple[Axes, Axes]:
    """Draw one pair and return its axes: both curves, below them the first minus the second."""
    curves, difference = part.subplots(2, 1, sharex=True)
    looks = looks_of(names)
    at = rings["distance_px"].to_numpy(float)
    for name, column in zip(names, ("first_db", "second_db"), strict=True):
        sizes = rings[column].where(rings[column] > FLOOR)
        curves.plot(at, sizes, **looks[name], label=title_of(name), markersize=3)
    curves.set_yscale("log")
    curves.axhline(0.01, color="0.4", linewidth=0.7, linestyle=":")
    above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "borderpad": 0}
    curves.legend(fontsize=6, handlelength=1.2, labelspacing=0.2, **above)
    low, high = (rings[name].to_numpy(float) for name in ("low", "high"))
    difference.plot(at, rings["estimate"], "o-", color="0.2", markersize=3)
    difference.fill_between(at, low, high, color="0.2", alpha=0.15, linewidth=0)
    difference.set_yscale("symlog", linthresh=LEAST_DIFFERENCE)
    ends = np.nan_to_num(np.abs([*low, *high, *rings["estimate"]]))
    powers = [power for power in (-2, -1, 0, 1) if 10.0**power <= max(ends)]
    # every second power: the labels of neighbours would touch
    ticks = [0.0, *(sign * 10.0**power for power in powers[::-2] for sign in (1, -1))]
    difference.set_yticks(ticks, labels=[f"{tick:+g}" if tick else "0" for tick in ticks])
    difference.axhline(0, color="0.4", linewidth=0.7)
    difference.set_title(f"{rings['images'].iloc[0]} images, p {rings['p'].iloc[0]:.2g}", size=6.5, pad=2)
    difference.set_xlabel("distance to the ROI, px", size=7, labelpad=1)
    return curves, difference


def radius_plot(summary: pd.DataFrame) -> Figure:
    """Draw the radius that holds 90 % of the effect against what the network's structure lets it reach, by task.

    Args:
        summary: one row a model and task with `label`, `task`, `reach_px` (NaN: the whole image), `r90_px` and its
            `_low`, `_high`.
    """
    rows = summary.dropna(subset=["r90_px"])
    finite = rows["reach_px"].dropna()
    far = FAR * float(finite.max()) if len(finite) else 64.0
    with style():
        figure, axes, panels = panel_grid(rows, 2.5)
        for line, shown in zip(axes, panels, strict=True):
            for axis, models in zip(line, shown, strict=False):
                looks = looks_of(list(models["label"]))
                for row in beside_each_other(models, far).to_dict("records"):
                    _point(axis, row, ("reach_px", "r90_px"), looks[row["label"]])
                if rows["reach_px"].isna().any():
                    axis.axvline(far, color="0.6", linewidth=0.6, linestyle="--", zorder=0)
            line[0].set_ylabel("r90: radius of 90 %\nof the effect, px")
        for axis in axes[-1]:
            axis.set_xlabel("reach by structure, clean px")
        _powers_of_two(axes[0, 0], rows, far)
    return figure


def beside_each_other(models: pd.DataFrame, far: float) -> pd.DataFrame:
    """Return the rows placed for a logarithmic axis: the whole image at `far`, models of one reach side by side."""
    reach = models["reach_px"].fillna(far)
    step = models.assign(reach=reach).groupby("reach").cumcount() - (reach.map(reach.value_counts()) - 1) / 2
    placed = reach * APART**step
    return models.assign(reach_px=placed, reach_px_low=placed, reach_px_high=placed)


def _powers_of_two(axis: Axes, rows: pd.DataFrame, far: float) -> None:
    """Give both axes the scale on which radii are compared; an interval far beyond all radii runs out of the axis."""
    whole = rows["reach_px"].isna().any()
    most = {"x": far if whole else rows["reach_px"].max(), "y": 2 * rows["r90_px"].max()}
    least = {"x": rows["reach_px"].fillna(far).min(), "y": rows["r90_px"].min()}
    for name in ("x", "y"):
        steps = (1, 1.5) if most[name] < 8 * least[name] else (1,)
        ticks = sorted(2**power * step for power in range(2, 11) for step in steps)
        ticks = [round(tick) for tick in ticks if least[name] / 1.3 < tick < most[name] * 1.25]
        labels = [str(tick) for tick in ticks]
        if name == "x" and whole:
            ticks = [tick for tick in ticks if tick < far / 1.25]
            ticks, labels = [*ticks, far], [*(str(tick) for tick in ticks), "whole\nimage"]
        getattr(axis, f"set_{name}scale")("log", base=2)
        getattr(axis, f"set_{name}ticks")(ticks, labels=labels)
    axis.set_xlim(least["x"] / 1.3, most["x"] * 1.3)
    axis.set_ylim(least["y"] / 1.3, most["y"])


def verdict_plot(summary: pd.DataFrame, look: Look) -> Figure:
    """Draw for every task and model the mean share of blocks of each verdict among all blocks outside the ROI.

    Args:
        summary: one row a model and task with `label`, `task` and the shares of `VERDICTS`.
        look: gives the colours of the two signs, and the unit of effects.
    """
    tasks = by_task(summary)
    with style():
        figure = Figure(figsize=(WIDTH, 0.24 * len(summary) + 0.25 * len(tasks) + 0.6))
        heights = [len(rows) + 1 for _, rows in tasks]
        axes = figure.subplots(len(tasks), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axis, (task, rows) in zip(axes, tasks, strict=True):
            left = np.zeros(len(rows))
            alike = rows["share_all_equal"].to_numpy(float) * 100
            shares = [rows[f"share_{name}"].to_numpy(float) * 100 for name in ("positive", "negative", "undecided")]
            shares = [*shares[:2], shares[2] - alike, alike]
            for share, patch in zip(shares, verdict_key(look)[:4], strict=True):
                axis.barh([title_of(label) + _seed(label) for label in rows["label"]], share, left=left, **patch)
                left += share
            axis.invert_yaxis()
            axis.set_title(task_of(task) if len(tasks) > 1 else "", loc="left")
        coloured = summary[["share_positive", "share_negative", "share_undecided"]].sum(axis=1)
        axes[-1].set_xlim(0, max(103 * float(coloured.max()), 1))
        axes[-1].set_xlabel("blocks outside the ROI, % (the rest: no effect, or out of reach)")
        handles = [Patch(**patch) for patch in verdict_key(look)[:4]]
        figure.legend(handles=handles, loc="outside upper right", ncols=4)
    return figure


def _seed(label: str) -> str:
    """Return what tells trainings of one network apart."""
    return f", seed {label.rsplit('_seed', 1)[1]}" if "_seed" in label else ""


def forest_plot(claims: pd.DataFrame) -> Figure:
    """Draw every claim's estimate and interval over the range in which the hypothesis puts it, coloured by verdict.

    Args:
        claims: one row a claim: `id`, `says`, `estimate`, `low`, `high`, `expected`, `margin`, `unit`, `verdict`; at
            least one measured.
    """
    rows = claims.dropna(subset=["estimate"])
    with style():
        figure = Figure(figsize=(WIDTH, 0.47 * len(rows) + 0.3))
        for axis, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.to_dict("records"), strict=True):
            _claim(axis, row)
    return figure


VERDICT_COLOURS = {
    "exceeds the margin": "#0173b2",
    "present": "#56b4e9",
    "negligible": "black",
    "opposite": "#d55e00",
    "unknown": "0.4",
    "not judged": "0.65",
}


def _claim(axis: Axes, row: dict[Any, Any]) -> None:
    colour = VERDICT_COLOURS[row["verdict"]]
    margin = row["margin"]
    ends = [end for end in (row["low"], row["high"], row["estimate"], 0.0) if np.isfinite(end)]
    edges = [-margin, margin] if row["expected"] == "equal" else [margin]
    room = 0.06 * (max(ends + edges) - min(ends + edges))
    axis.set_xlim(min(ends + edges) - room, max(ends + edges) + room)
    left, right = axis.get_xlim()
    expected = {"equal": (-margin, margin), "greater": (margin, right), "less": (left, margin)}[row["expected"]]
    axis.axvspan(*expected, color="#cfe6f5", linewidth=0, zorder=0)
    axis.axvline(0, color="0.3", linewidth=0.7)
    axis.plot([row["low"], row["high"]], [0, 0], color=colour)
    axis.plot(row["estimate"], 0, "o", color=colour, markersize=4)
    axis.set_yticks([0], [f"{row['verdict']}\n({row['unit']})"], color=colour)
    axis.set_ylim(-1, 1)
    axis.grid(visible=False)
    axis.tick_params(axis="both", pad=1, labelsize=6, length=2)
    axis.set_title(f"{row['id']}  {row['says']}", loc="left", fontsize=6.5, pad=1.5)
