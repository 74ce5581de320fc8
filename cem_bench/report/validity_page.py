"""The validity page of a model and scene: is the map the network's, repeatable, and better than its nulls? No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cem_bench.figures.map import Look, draw_map
from cem_bench.figures.saving import save_figure
from cem_bench.figures.style import style
from cem_bench.inputs.geometry import Rect
from cem_bench.report.columns import signed_estimate
from cem_bench.report.render import Markdown, render
from cem_bench.stats.repeat import Repeatability, repeatability
from cem_bench.stats.sanity import (
    DeletionCurve,
    DeletionGap,
    NoiseShare,
    Randomisation,
    deletion_curve,
    deletion_gap,
    noise_share,
    pool_halves,
    randomisation,
)
from cem_bench.store.draws import write_atomically
from cem_bench.store.maps import EffectMap
from cem_bench.store.probes import Probes
from cem_bench.store.roots import marked

COLOURS = {"map": "#c1272d", "random": "0.55", "nearest": "#2e5fa3", "contrast": "#d59a1e"}
MAPS_SHOWN = 4


@dataclass(frozen=True, eq=False)
class Findings:
    """What the probes of one map came to.

    Attributes:
        weights: likeness to maps under randomised weights.
        curves: order to its joint deletion curve.
        gaps: null order to the paired advantage of the map's order.
        halves: what was halved (donor pool, draws, noise fields) to how far the two maps agree.
        noise: share of the noise field, or None where nothing is drawn.
    """

    weights: Randomisation
    curves: Mapping[str, DeletionCurve]
    gaps: Mapping[str, DeletionGap]
    halves: Mapping[str, Repeatability]
    noise: NoiseShare | None


def judge(probes: Probes) -> Findings:
    """Return the statistics of a map's validity."""
    effects, tol, joint = probes.effects, probes.tol, probes.joint
    draws = np.stack([effects[:, ::2].mean(axis=1), effects[:, 1::2].mean(axis=1)], axis=1)
    pool = pool_halves(dict(enumerate(effects)), dict(enumerate(probes.donors)), probes.pool)
    pairs = {"donor pool": pool, "draws": draws}
    if probes.fields is not None:
        pairs["noise fields"] = probes.fields[:, :2].mean(axis=2)
    randomised = {
        name: effect_map.effect.ravel()[list(probes.blocks)] for name, effect_map in probes.randomised.items()
    }
    return Findings(
        randomisation(effects.mean(axis=1), draws, randomised, tol=tol),
        {name: deletion_curve(probes.steps, effects) for name, effects in joint.items()},
        {name: deletion_gap(joint["map"], effects) for name, effects in joint.items() if name != "map"},
        {name: repeatability(pair, tol=tol) for name, pair in pairs.items()},
        None if probes.fields is None else noise_share(probes.fields),
    )


def table_of(findings: Findings) -> pd.DataFrame:
    """Return every number of the page: part, item, quantity, value, low, high, p; NaN where there is none."""
    rows: list[dict[str, Any]] = []

    def add(part: str, item: str, quantity: str, value: float, *ends: float, p: float = np.nan) -> None:
        low, high = ends or (np.nan, np.nan)
        head = {"part": part, "item": item, "quantity": quantity}
        rows.append(head | {"value": value, "low": low, "high": high, "p": p})

    weights = findings.weights
    for index, stage in enumerate(weights.stages):
        ends = (weights.low[index], weights.high[index])
        add("random weights", stage, "rank correlation", weights.spearman[index], *ends)
        add("random weights", stage, "class agreement", weights.agreement[index])
    for name, curve in findings.curves.items():
        for step, count in enumerate(curve.blocks):
            effect = curve.effect
            ends = (float(effect.low[step]), float(effect.high[step]))
            add("blocks together", name, f"effect of {count} blocks, dB", float(effect.mean[step]), *ends)
        add("blocks together", name, "mean over steps, dB", *(float(x) for x in _estimate(curve.area)))
    for name, gap in findings.gaps.items():
        add("blocks together", f"map - {name}", "mean over steps, dB", gap.mean, gap.low, gap.high, p=gap.p)
    for part, half in findings.halves.items():
        add(part, "two halves", "class flips", half.flip_rate)
        add(part, "two halves", "ICC", half.icc)
        add(part, "two halves", "correlation", half.correlation, half.low, half.high)
    noise = findings.noise
    if noise is not None:
        add("noise fields", f"{len(noise.by_block)} blocks", "share of variance", noise.whole, noise.low, noise.high)
    return pd.DataFrame(rows)


def _estimate(interval: Any) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def figure_of(
    findings: Findings, probes: Probes, truth: EffectMap, scene: tuple[np.ndarray, Rect], look: Look
) -> Figure:
    """Draw the maps under randomised weights, their likeness, the joint deletion curves, and the advantage over nulls.

    Args:
        findings: of `judge`.
        probes: what it was judged by.
        truth: the map itself.
        scene: image to draw on, (H, W, 3) uint8, and the ROI in its pixels.
        look: colours of the maps.
    """
    names = list(probes.randomised)
    shown = [names[i] for i in sorted({round(i) for i in np.linspace(0, len(names) - 1, MAPS_SHOWN)})]
    with style():
        figure = Figure(figsize=(6.9, 5.0))
        top, bottom = figure.subfigures(2, 1, height_ratios=(1, 1.25))  # pyright: ignore[reportGeneralTypeIssues]
        panels = top.subplots(1, len(shown) + 1)
        titled = [("true weights", truth), *((f"{name}\nshuffled", probes.randomised[name]) for name in shown)]
        for axis, (title, effect_map) in zip(panels, titled, strict=True):
            draw_map(axis, effect_map, *scene, look)
            axis.set_title(title, fontsize=8)
        left, right = bottom.subplots(1, 2)
        _likeness(left, findings.weights)
        _curves(right, findings.curves)
    return figure


def _likeness(axis: Axes, weights: Randomisation) -> None:
    at = np.arange(len(weights.stages) - 1)
    arms = np.abs(np.stack([weights.spearman - weights.low, weights.high - weights.spearman]))
    axis.errorbar(at, weights.spearman[:-1], arms[:, :-1], fmt="o-", color=COLOURS["map"], capsize=2, label="rank r")
    axis.plot(at, weights.agreement[:-1], "s--", color="0.3", label="same class, share of coloured blocks")
    axis.axhline(weights.spearman[-1], color=COLOURS["map"], lw=0.8, ls=":", label="rank r of two halves, true weights")
    axis.axhline(0, color="0.6", lw=0.6)
    axis.set_xticks(at, [stage.split(" ")[0] for stage in weights.stages[:-1]])
    axis.set_xlabel("last layers with shuffled weights")
    axis.set_ylabel("likeness to the true map")
    axis.set_ylim(None, 1.45)  # room for the legend
    axis.legend(fontsize=6, loc="upper right")


def _curves(axis: Axes, curves: Mapping[str, DeletionCurve]) -> None:
    for name, curve in curves.items():
        axis.plot(curve.blocks, curve.effect.mean, "o-", ms=3, color=COLOURS[name], label=f"{name} order")
        axis.fill_between(curve.blocks, curve.effect.low, curve.effect.high, color=COLOURS[name], alpha=0.15, lw=0)
    axis.set_xscale("log", base=2)
    counts = [int(count) for count in next(iter(curves.values())).blocks]
    axis.set_xticks(counts, labels=[str(count) for count in counts])
    axis.minorticks_off()
    axis.set_xlabel("blocks intervened on together")
    axis.set_ylabel("joint effect on the ROI, dB")
    axis.legend(fontsize=6)


# part and quantity of `validity.csv` -> what it answers, in the order of the page
ANSWERS = {
    ("random weights", "rank correlation"): "likeness to the true map, rank r",
    ("blocks together", "mean over steps, dB"): "joint effect over the steps, dB: the map's order above another",
    ("donor pool", "correlation"): "two halves of the donor pool, r",
    ("draws", "correlation"): "two halves of the draws, r",
    ("noise fields", "correlation"): "two halves of the noise fields, r",
    ("noise fields", "share of variance"): "share of one draw's variance that is the noise field's",
}


def answers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that answer the page's questions, as they are printed.

    Args:
        table: `validity.csv`.
    """
    rows = []
    last = table.loc[table["item"].str.endswith("layers"), "item"].iloc[-1]  # all of them shuffled
    for (part, quantity), question in ANSWERS.items():
        same = table[(table["part"] == part) & (table["quantity"] == quantity)]
        if part == "random weights":
            same = same[same["item"].isin([last, "halves of the true map"])]
        elif part == "blocks together":
            same = same[same["item"].str.startswith("map - ")]
        for row in same.to_dict("records"):
            p = f"{row['p']:.2g}" if np.isfinite(row["p"]) else "-"
            number = Markdown(signed_estimate(row["value"], row["low"], row["high"]))
            rows.append({"question": question, "of": row["item"], "number": number, "p": Markdown(p)})
    return pd.DataFrame(rows)


def page_of(table: pd.DataFrame, record: Mapping[str, Any], command: str) -> str:
    """Return the page.

    Args:
        table: `validity.csv`.
        record: of the map's measurement.
        command: that makes the page again.
    """
    return render(
        "validity",
        model=record["model"],
        scene=record["scene"],
        answers=answers(table),
        numbers=table[~table["quantity"].str.startswith("effect of")].round(4).astype(object).fillna(""),
        sampling=record["sampling"],
        command=command,
        key=record["key"][:16],
        commit=record["provenance"]["commit"][:10],
        root=marked(record.get("root_sha256", "")),
    )


def write_page(folder: Path, findings: Findings, figure: Figure, record: Mapping[str, Any], command: str) -> list[Path]:
    """Write page, table, figure and record of one model and scene.

    Args:
        folder: where to.
        findings: of `judge`.
        figure: of `figure_of`.
        record: of the map's measurement.
        command: that makes the page again.
    """
    table = table_of(findings)
    write_atomically(folder / "validity.csv", table.to_csv(index=False, float_format="%.6g").encode())
    write_atomically(folder / "record.json", (json.dumps(record, indent=1) + "\n").encode())
    figures = save_figure(figure, folder / "validity", root=record.get("root_sha256", ""))
    write_atomically(folder / "README.md", page_of(table, record, command).encode())
    return [folder / "validity.csv", folder / "record.json", *figures, folder / "README.md"]
