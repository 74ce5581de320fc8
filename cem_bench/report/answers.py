"""The answer to an experiment's question: two sentences with numbers, and which hypotheses hang on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cem_bench.report.ablations import SETTINGS, agreement, setting_table, varied
from cem_bench.report.decided import FEW, colours_table
from cem_bench.stats.compare import cluster_mean
from cem_bench.stats.scale import SHARE
from cem_bench.store import maps
from cem_bench.store.quantities import over_images

if TYPE_CHECKING:
    from cem_bench.report.write import Experiment

LEVEL = 0.05
# quantity, its name, decimals, unit; what it is when the first model has more, and less
COMPARED: tuple[tuple[str, str, int, str, str, str], ...] = (
    ("psnr_roi_db", "PSNR of the ROI", 2, "dB", "higher", "lower"),
    ("far_mass_db", "effect from beyond 16 px", 3, "dB", "larger", "smaller"),
    ("r90_px", "radius of 90 % of the effect", 1, "px", "larger", "smaller"),
)


def answer(experiment: Experiment) -> str:
    """Return the answer in two sentences with numbers and clusters, and where its hypotheses are judged."""
    options = experiment.options
    if varied(options):
        found = of_settings(experiment)
    elif options.get("lam_steps"):
        found = of_lam(experiment)
    elif options.get("verdicts"):
        found = of_verdicts(experiment)
    else:
        networks = of_networks(experiment.table) if options.get("networks") else ""
        found = " ".join(filter(None, [of_all(experiment.summary), networks, of_pairs(experiment)]))
    names = experiment.hypotheses
    judged = f" Hypotheses on it, judged in [../claims](../claims/README.md): {', '.join(names)}." if names else ""
    return f"**Answer.** {found.strip()}{judged}"


def of_all(summary: pd.DataFrame) -> str:
    """Say how far from the ROI the effect comes and how much of it harms, over the models."""
    harm = summary["negative_mass_db"].clip(lower=0)
    share = 100 * harm / (harm + summary["positive_mass_db"])
    models, images = summary["label"].nunique(), summary["images"].max()
    return (
        f"In the {models} networks here 90 % of the effect lies within {span(summary['r90_px'], 1)} px of the ROI, and "
        f"{span(share, 0)} % of the sum of |effect| comes from blocks that harm it (means over up to {images} images)."
    )


def of_networks(table: pd.DataFrame) -> str:
    """Say how, over the networks of one task, PSNR and harm rank with the radius of 90 % of the effect on an image."""
    harm = table["negative_mass_db"].clip(lower=0)
    table = table.assign(harm=harm / (harm + table["positive_mass_db"]))
    everywhere = table.groupby("scene")["model"].transform("nunique") == table["model"].nunique()
    columns = ["r90_px", "psnr_roi_db", "harm"]
    means = table[everywhere].groupby(["image", "model"])[columns].mean()
    ranks = means.groupby("image")[columns].corr("spearman")["r90_px"].unstack()
    words = []
    for column in columns[1:]:
        rank, low, high = over_images(ranks[column], ranks.index.to_series())
        words.append(f"{rank:+.2f} [{low:+.2f}, {high:+.2f}]")
    return (
        f"On an image, these networks' radius ranks with their PSNR at Spearman's {words[0]} and with the share of the "
        f"effect that harms at {words[1]} (means over {len(ranks)} images); they differ in more than their radius."
    )


def of_pairs(experiment: Experiment) -> str:
    """Say how the models of the first pair differ; of a multi-task experiment, how the radius of every pair does."""
    rows = experiment.paired
    if rows.empty:
        return ""
    if experiment.options.get("summary_figure"):
        pairs = rows.pivot_table(["estimate", "low", "high"], ["first", "second"], "quantity", sort=False)
        each = "; ".join(_nearer(f"{first} - {second}", row) for (first, second), row in pairs.iterrows())  # pyright: ignore
        return f"Differences in that radius, over up to {rows['images'].max()} images: {each}."
    first, second = rows.iloc[0]["first"], rows.iloc[0]["second"]
    pair = rows[(rows["first"] == first) & (rows["second"] == second)].set_index("quantity").to_dict("index")
    words = [_compared(pair[how[0]], *how[1:]) for how in COMPARED if how[0] in pair]
    images = int(rows.iloc[0]["images"])
    over = f"{images} images" if images > 1 else "a single image"
    return f"Of {first}, compared with {second} over {over}: {'; '.join(words)}."


def _nearer(pair: str, row: pd.Series) -> str:
    radius = {end: row[end, "r90_px"] for end in ("estimate", "low", "high")}
    return f"{pair} {_interval(radius, 1, 'px')} at a PSNR of {row['estimate', 'psnr_roi_db']:+.2f} dB"


def _compared(row: dict[Any, Any], name: str, digits: int, unit: str, more: str, less: str) -> str:
    sure = row["p"] <= LEVEL
    word = more if sure and row["low"] > 0 else less if sure and row["high"] < 0 else "not told apart"
    return f"{name} {word}, {_interval(row, digits, unit)}"


def _interval(row: dict[Any, Any], digits: int, unit: str) -> str:
    if not np.isfinite([row["low"], row["high"]]).all():
        return f"{row['estimate']:+.{digits}f} {unit} (too few images for an interval)"
    ends = f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    return f"{row['estimate']:+.{digits}f} {unit} {ends}"


def span(values: pd.Series | Sequence[float], digits: int) -> str:
    """Return the smallest and the largest of some numbers, or the one."""
    low, high = (f"{end:.{digits}f}" for end in (np.nanmin(values), np.nanmax(values)))
    return low if low == high else f"{low} to {high}"


def of_lam(experiment: Experiment) -> str:
    """Say how much of LAM lies where content harms, and how LAM ranks blocks compared with the effect."""
    table = experiment.lam
    if table.empty:
        return "LAM was not computed."
    shares = []
    for model, rows in table.groupby("model", sort=False):
        mean, low, high = (100 * end for end in over_images(rows["lam_on_harming"], rows["image"]))
        shares.append(f"{model} {mean:.0f} % [{low:.0f}, {high:.0f}]")
    ranks = table.groupby("model")[["rank_size", "rank_effect"]].mean()
    return (
        "LAM has no sign: of its weight on blocks outside the ROI, this much lies on blocks whose content harms the "
        f"ROI by tol or more, over {table['image'].nunique()} images: {', '.join(shares)}. Over the blocks of a map, "
        f"that weight ranks with the size of the effect at Spearman's {span(ranks['rank_size'], 2)}, and with the "
        f"effect itself at {span(ranks['rank_effect'], 2)} (means of the models)."
    )


def of_verdicts(experiment: Experiment) -> str:
    """Say how many blocks are decided and how, by task, and how many colours of few draws hold."""
    summary, colours = experiment.summary, colours_table(experiment.cells)
    decided, spent = 100 * (1 - summary["share_undecided"]), colours["draws"].sum() / colours["draws_at_most"].sum()
    parts, held = [], []
    for task, rows in summary.groupby("task"):
        helping, harming = (span(100 * rows[f"share_{name}"], 1) for name in ("positive", "negative"))
        parts.append(f"{task} {helping} % help and {harming} % harm")
    for task, rows in colours.groupby("task"):
        counts = rows.groupby("image")[["coloured", "held", "faded", "turned"]].sum()
        shares = counts.div(counts["coloured"], axis=0).dropna()
        same = cluster_mean(shares["held"].to_numpy(), shares.index.to_numpy(str), scale=SHARE)
        ends = f" [{100 * same.low:.0f}, {100 * same.high:.0f}]" if np.isfinite([same.low, same.high]).all() else ""
        faded, turned = (f"{100 * shares[name].mean():.0f} %" for name in ("faded", "turned"))
        held.append(f"{task} {100 * same.mean:.0f} %{ends} ({faded} have no effect, {turned} the opposite one)")
    return (
        f"{span(decided, 1)} % of a network's blocks are decided (means over up to {summary['images'].max()} images) "
        f"by {100 * spent:.0f} % of the draws that {experiment.cells[0].rule.worst_case(1)} a block would be; beyond "
        f"doubt {'; '.join(parts)}. Of the blocks that {FEW.n} draws colour (|mean| of tol or more), this share turns "
        f"out to matter beyond doubt with the same sign: {listed(held)}; the rest stays undecided."
    )


def of_settings(experiment: Experiment) -> str:
    """Say how far maps of two settings agree, and what the setting does to the map's numbers."""
    key, table = varied(experiment.options), setting_table(experiment.table)
    name, ordered = SETTINGS[key]
    parts = []
    for model, rows in table.groupby("model", sort=False):
        ends = rows.iloc[[0, -1]] if ordered else rows
        sizes = listed([f"{value:.2f}" for value in ends["size_db"]])
        undecided = listed([f"{100 * value:.1f}" for value in ends["share_undecided"]])
        parts.append(f"{model}'s sum of |effect| is {sizes} dB, {undecided} % of the blocks stay undecided")
    values = [str(value) for value in dict.fromkeys(table["setting"])]
    settings = listed([values[0], values[-1]] if ordered else values)
    images = experiment.table["image"].nunique()
    numbers = f"{name[0].upper()}{name[1:]}: {settings}. Over {images} images, {'; '.join(parts)}."
    return f"{numbers} {_agreeing(experiment, ordered=ordered)}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Return words with commas, and a word before the last."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]


def _agreeing(experiment: Experiment, *, ordered: bool) -> str:
    found = agreement(experiment.cells, ends_only=ordered)
    if found.empty:
        return _left_out(experiment)
    words = []
    for model, rows in found.groupby("model", sort=False):
        r, (flips, low, high) = rows["correlation"].mean(), over_images(rows["flip_rate"], rows["image"])
        share = f"{100 * flips:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
        words.append(f"{model} at {r:.2f}, {share} of the coloured blocks change class")
    which = "these two settings" if ordered or len(experiment.table["variant"].unique()) == 2 else "two of these"
    halves = f" (between halves of one map {span(100 * experiment.summary['flip_rate'], 0)} %)"
    return f"Maps of one scene under {which} correlate: {'; '.join(words)}{'' if ordered else halves}."


def _left_out(experiment: Experiment) -> str:
    """Say why maps of blocks of other sizes are no maps of the same: those with part of the ROI are left out whole."""
    areas: dict[int, list[float]] = {}
    for cell in experiment.cells:
        block = cell.grid.block
        areas.setdefault(block, []).append(float((cell.status == maps.ROI).sum() * block**2))
    least, most = min(areas), max(areas)
    return (
        "Their blocks differ, so that maps cannot be compared block by block: those with part of the ROI, which are "
        f"left out, cover {np.mean(areas[least]):,.0f} px at {least} and {np.mean(areas[most]):,.0f} px at {most}."
    )
