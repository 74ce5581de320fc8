"""Plots of an experiment's tables: PSNR against masses, decay with bands, radius against receptive field, verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cem_bench.figures import Look
from cem_bench.report.style import WIDTH, colours_of, markers_of, sign_colours, style

FAR = 1.08  # networks whose reach is the whole image stand this much right of the widest finite one


def mass_plot(summary: pd.DataFrame, look: Look) -> Figure:
    """Draw PSNR above the models' mean against positive and against negative mass, one point a model.

    Args:
        summary: one row a model with `label`, `psnr_gain_db`, `positive_mass_db`, `negative_mass_db` and their
            `_low`, `_high`.
        look: gives the colours of the two signs.
    """
    positive, negative = sign_colours(look)
    labels = list(summary["label"])
    markers = markers_of(labels)
    with style():
        figure = Figure(figsize=(WIDTH, 2.9))
        axes = figure.subplots(1, 2, sharey=True)
        sides = zip(axes, ("positive_mass_db", "negative_mass_db"), (positive, negative), strict=True)
        for axis, column, colour in sides:
            for row in summary.to_dict("records"):
                _point(axis, row, column, "psnr_gain_db", markers[row["label"]], colour)
            axis.set_xlabel(column.replace("_mass_db", " mass: sum over blocks, dB"))
        axes[0].set_ylabel("PSNR of the ROI above the\nmodels' mean on the scene, dB")
        handles = [axes[1].plot([], [], markers[name], color="0.3", label=name)[0] for name in labels]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def _point(axis: Axes, row: dict, x: str, y: str, marker: str, colour: object) -> None:
    def arms(at: str) -> list[list[float]]:
        return [[max(row[at] - row[f"{at}_low"], 0.0)], [max(row[f"{at}_high"] - row[at], 0.0)]]

    axis.errorbar(row[x], row[y], xerr=arms(x), yerr=arms(y), fmt=marker, color=colour, elinewidth=0.7, capsize=1.5)


def decay_plot(decay: pd.DataFrame) -> Figure:
    """Draw how the size of an effect falls with the block's distance to the ROI, with bands over images.

    Args:
        decay: one row a label and ring: `label`, `distance_px`, `size_db` and `_low`, `_high`.
    """
    labels = list(dict.fromkeys(decay["label"]))
    colours, markers = colours_of(labels), markers_of(labels)
    floor = 1e-5
    with style():
        figure = Figure(figsize=(WIDTH, 2.9))
        axis = figure.subplots()
        for label in labels:
            rows = decay[decay["label"] == label].sort_values("distance_px")
            at = rows["distance_px"].to_numpy(float)
            middle = rows["size_db"].where(rows["size_db"] > floor)  # what cannot reach is exactly 0: no line there
            low, high = (rows[name].clip(lower=floor).where(middle.notna()) for name in ("size_db_low", "size_db_high"))
            axis.plot(at, middle, marker=markers[label], color=colours[label], label=label, markersize=3.5)
            axis.fill_between(at, low, high, color=colours[label], alpha=0.15, linewidth=0)
        axis.set_yscale("log")
        axis.axhline(0.01, color="0.4", linewidth=0.7, linestyle=":")
        axis.set_xlabel("distance of the block to the ROI, px")
        axis.set_ylabel("mean |effect| of a block, dB")
        axis.set_xlim(0, float(decay["distance_px"].max()) + 2)
        figure.legend(loc="outside right upper")
    return figure


def paired_decay_plot(paired: pd.DataFrame) -> Figure:
    """Draw for every pair of models both decay curves over the scenes they share, and their difference with its band.

    Args:
        paired: of `tables.paired_decay_table`; a ring without a band (NaN) has no spread between images.
    """
    pairs = list(paired.groupby(["first", "second"], sort=False))
    floor, linear = 1e-5, 1e-3  # dB; curves end at the first, differences below the second are on a linear scale
    with style():
        figure = Figure(figsize=(WIDTH, 2.2 * len(pairs)))
        rows = figure.subplots(len(pairs), 2, squeeze=False)
        for (left, right), (pair, rings) in zip(rows, pairs, strict=True):
            names = [str(name) for name in pair]
            colours, markers = colours_of(names), markers_of(names)
            at = rings["distance_px"].to_numpy(float)
            for name, column in zip(names, ("first_db", "second_db"), strict=True):
                sizes = rings[column].where(rings[column] > floor)
                left.plot(at, sizes, marker=markers[name], color=colours[name], label=name, markersize=3.5)
            left.set_yscale("log")
            left.axhline(0.01, color="0.4", linewidth=0.7, linestyle=":")
            left.set_ylabel("mean |effect| of a block, dB")
            left.legend()
            right.plot(at, rings["estimate"], "o-", color="0.2", markersize=3.5)
            right.fill_between(at, rings["low"], rings["high"], color="0.2", alpha=0.15, linewidth=0)
            right.set_yscale("symlog", linthresh=linear)
            right.axhline(0, color="0.4", linewidth=0.7)
            right.set_ylabel("first - second, dB")
            right.set_title(f"{rings['images'].iloc[0]} images, p {rings['p'].iloc[0]:.2g} for the whole curve", size=8)
        for axis in rows[-1]:
            axis.set_xlabel("distance of the block to the ROI, px")
    return figure


def radius_plot(summary: pd.DataFrame) -> Figure:
    """Draw the radius that holds 90 % of the effect against what the network's structure lets it reach.

    Args:
        summary: one row a model with `label`, `reach_px` (NaN: the whole image), `r90_px` and its `_low`, `_high`.
    """
    rows = summary.dropna(subset=["r90_px"])
    finite = rows["reach_px"].dropna()
    far = FAR * float(finite.max()) + 8 if len(finite) else 64.0
    labels = list(rows["label"])
    colours, markers = colours_of(labels), markers_of(labels)
    with style():
        figure = Figure(figsize=(WIDTH, 2.9))
        axis = figure.subplots()
        for row in rows.to_dict("records"):
            placed = row | {"reach_px": far if np.isnan(row["reach_px"]) else row["reach_px"]}
            placed |= {"reach_px_low": placed["reach_px"], "reach_px_high": placed["reach_px"]}
            _point(axis, placed, "reach_px", "r90_px", markers[row["label"]], colours[row["label"]])
        if rows["reach_px"].isna().any():
            axis.axvline(far, color="0.6", linewidth=0.6, linestyle="--", zorder=0)
            axis.text(far, axis.get_ylim()[1], "whole image ", ha="right", va="top", fontsize=7, color="0.4")
        axis.set_xlabel("theoretical reach, clean px")
        axis.set_ylabel("r90: radius of 90 % of the effect, px")
        handles = [axis.plot([], [], markers[name], color=colours[name], label=name)[0] for name in labels]
        figure.legend(handles=handles, loc="outside right upper")
    return figure


def verdict_plot(summary: pd.DataFrame, look: Look) -> Figure:
    """Draw for every model the mean share of blocks of each verdict among all blocks outside the ROI.

    Args:
        summary: one row a model with `label` and `share_positive`, `share_negative`, `share_undecided`.
        look: gives the colours of the two signs.
    """
    positive, negative = sign_colours(look)
    parts = (
        ("share_positive", positive, ""),
        ("share_negative", negative, ""),
        ("share_undecided", (0.93,) * 3, "////"),
    )
    with style():
        figure = Figure(figsize=(WIDTH, 0.24 * len(summary) + 0.8))
        axis = figure.subplots()
        left = np.zeros(len(summary))
        for column, colour, hatch in parts:
            share = summary[column].to_numpy(float) * 100
            name = column.removeprefix("share_")
            axis.barh(
                summary["label"], share, left=left, color=colour, hatch=hatch, edgecolor="0.4", lw=0.4, label=name
            )
            left += share
        axis.invert_yaxis()
        axis.set_xlabel("blocks outside the ROI, % (the rest: no effect, or out of reach)")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    return figure


def series_plot(table: pd.DataFrame, x: str, columns: Sequence[tuple[str, str]], *, log: bool = False) -> Figure:
    """Draw quantities against a varied setting, one panel a quantity and one line a model, with bands over images.

    Args:
        table: one row a model and setting: `model`, `x`, every quantity with `_low`, `_high`.
        x: column of the setting.
        columns: quantity and axis label.
        log: whether the setting's axis is logarithmic.
    """
    models = list(dict.fromkeys(table["model"]))
    colours, markers = colours_of(models), markers_of(models)
    with style():
        figure = Figure(figsize=(WIDTH, 2.5))
        axes = figure.subplots(1, len(columns), squeeze=False)[0]
        for axis, (column, label) in zip(axes, columns, strict=True):
            for model in models:
                rows = table[table["model"] == model].sort_values(x)
                axis.plot(
                    rows[x], rows[column], marker=markers[model], color=colours[model], label=model, markersize=3.5
                )
                bands = rows[f"{column}_low"], rows[f"{column}_high"]
                axis.fill_between(rows[x], *bands, color=colours[model], alpha=0.15, linewidth=0)
            axis.set_xlabel(x.replace("_", " "))
            axis.set_ylabel(label)
            if log:
                axis.set_xscale("log", base=2)
                axis.set_xticks(sorted(table[x].unique()), labels=[f"{value:g}" for value in sorted(table[x].unique())])
                axis.minorticks_off()
        axes[-1].legend()
    return figure


def forest_plot(claims: pd.DataFrame) -> Figure:
    """Draw every claim's estimate and interval against its margin, coloured by verdict.

    Args:
        claims: one row a claim: `id`, `estimate`, `low`, `high`, `margin`, `unit`, `verdict`.
    """
    colours = {"supports": "#0173b2", "contradicts": "#d55e00", "undecided": "0.5"}
    rows = claims.dropna(subset=["estimate"])
    with style():
        figure = Figure(figsize=(WIDTH, 0.42 * max(len(rows), 1) + 0.5))
        axes = figure.subplots(max(len(rows), 1), 1, squeeze=False)[:, 0]
        for axis, row in zip(axes, rows.to_dict("records"), strict=False):
            colour = colours[row["verdict"]]
            axis.plot([row["low"], row["high"]], [0, 0], color=colour)
            axis.plot(row["estimate"], 0, "o", color=colour)
            axis.axvline(0, color="0.3", linewidth=0.7)
            if row["margin"]:
                axis.axvspan(-row["margin"], row["margin"], color="0.9", zorder=0)
            axis.set_yticks([0], [f"{row['id']}\n({row['verdict']}; {row['unit']})"])
            axis.set_ylim(-1, 1)
            axis.tick_params(axis="x", pad=1)
    return figure
