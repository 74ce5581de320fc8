"""The page of an experiment: question, setting, answer, table, figures, and how to make them again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cem_bench.report import answers
from cem_bench.report.tables import is_ablation
from cem_bench.stats.verdicts import CORRECTIONS

if TYPE_CHECKING:
    from cem_bench.report.write import Experiment

CAPTIONS = {
    "masses": "PSNR of the ROI above the models' mean on the scene against the two masses; bars: 95 % over images.",
    "radius": "Radius of 90 % of the effect against theoretical reach, equal ones side by side; bars: 95 %.",
    "decay": "Mean |effect| of a block by its distance to the ROI (cross-fit); bands: 95 % over images; dotted: tol.",
    "decay_paired": "Pairs on the scenes both have: curves, and first minus second; band: 95 % for the whole curve.",
    "verdicts": "Mean share of blocks of each verdict; plain grey: undecided because all draws of a block are equal.",
    "setting": "The map's numbers against the varied setting; bands: 95 %, differences between images taken out.",
    "multitask": "Shares of blocks with a mean effect of tol or more (pie; grey: sign not kept), PSNR, mean range.",
    "lam_against_cem": "Diffusion index of LAM against the share of LAM on blocks that harm the ROI.",
}
UNKNOWN = "?"  # an end that the images cannot tell
COLUMNS = {
    "label": "model",
    "task": "task",
    "images": "images",
    "cells": "cells",
    "psnr_roi_db": "PSNR of ROI, dB",
    "psnr_gain_db": "above the others there, dB",
    "positive_mass_db": "positive mass, dB",
    "negative_mass_db": "negative mass, dB",
    "r90_px": "r90, px",
    "share_effect_paper": "blocks with effect, %",
    "share_undecided": "undecided, %",
}
VERDICT_COLUMNS = {name: COLUMNS[name] for name in ("label", "task", "images", "cells", "psnr_roi_db")} | {
    "share_positive": "help, %",
    "share_negative": "harm, %",
    "share_undecided": "undecided, %",
    "share_effect_paper": "blocks with effect, %",
    "draws": "draws",
}
QUANTITIES = {
    "psnr_roi_db": ("PSNR of the ROI", "dB"),
    "positive_mass_db": ("positive mass", "dB"),
    "negative_mass_db": ("negative mass", "dB"),
    "far_mass_db": ("effect from beyond 16 px", "dB"),
    "r90_px": ("radius of 90 % of the effect", "px"),
}


def columns_of(options: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the columns of an experiment's table, and their titles."""
    return VERDICT_COLUMNS if options.get("verdicts") else COLUMNS


def shown(summary: pd.DataFrame, columns: Mapping[str, str] = COLUMNS) -> pd.DataFrame:
    """Return the summary as it is printed: estimate with interval in one cell, gains where scenes differ."""
    rows, left_out = [], () if uneven(summary) else ("psnr_gain_db",)
    for row in summary.to_dict("records"):
        text = {}
        for column, title in columns.items():
            if column in left_out:
                continue
            value = row[column]
            if f"{column}_low" not in row:
                text[title] = value
                continue
            factor, digits = (100, 1) if column.startswith("share") else (1, 1 if column.endswith("px") else 2)
            ends = [row[f"{column}_{end}"] * factor for end in ("low", "high")]
            words = [f"{end:.{digits}f}" if np.isfinite(end) else UNKNOWN for end in ends]
            middle = f"{value * factor:.{digits}f}"
            told = set(words) - {middle, UNKNOWN}  # what no setting changes has no interval
            text[title] = f"{middle} [{', '.join(words)}]" if told else middle
        rows.append(text)
    return pd.DataFrame(rows)


def uneven(summary: pd.DataFrame) -> bool:
    """Say whether rows of a task are means over unequal numbers of scenes."""
    return bool((summary.groupby("task")["cells"].nunique() > 1).any())


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    lines += ["| " + " | ".join(str(value) for value in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join(lines)


def page(experiment: Experiment, figures: Sequence[Path], stay: Sequence[str]) -> str:
    """Return the Markdown of an experiment's page.

    Args:
        experiment: tables and cells.
        figures: files beside the page.
        stay: names of those that an earlier report drew.
    """
    parts = [f"# {experiment.name}: {experiment.said['question']}", answers.answer(experiment), setting(experiment)]
    table = markdown(shown(experiment.summary, columns_of(experiment.options)))
    parts += [f"## Table\n\n{table}\n\n{table_note(experiment)}"]
    if len(experiment.paired):
        parts.append("## Paired differences\n\n" + markdown(differences(experiment.paired)) + "\n\n" + PAIRED_NOTE)
        parts.append("\n".join(decay_lines(experiment.paired_decay)))
    halves = "" if experiment.options.get("verdicts") else repeated(experiment.summary)
    parts += [halves, missing(experiment), elsewhere(experiment.kept, stay)]
    parts += [pictures(figures), again(experiment)]
    note = "Written by `python -m cem_bench.report`; not edited by hand. Columns: [../README.md](../README.md)."
    return "\n\n".join(part for part in [*parts, note] if part) + "\n"


PAIRED_NOTE = (
    "Same scenes, donors and noise for both models; 95 % intervals over images (cluster bootstrap, below ten "
    "Student's); p flips signs of whole images and cannot be smaller than 2 / 2^images."
)


def decay_lines(paired_decay: pd.DataFrame) -> list[str]:
    """Return a line a pair: at which distances sign flips and the band both tell the curves apart."""
    lines = []
    for (first, second), part in paired_decay.groupby(["first", "second"], sort=False):
        flips = part["p_ring"] <= answers.LEVEL
        band = (part["low"] > 0) | (part["high"] < 0)
        both, alone = (
            ", ".join(f"{at:g}" for at in part.loc[where, "distance_px"]) for where in (flips & band, flips & ~band)
        )
        text = f"told apart at {both} px" if both else "told apart at no distance"
        text += f"; at {alone} px only sign flips say so, the band does not" if alone else ""
        p, images = part["p"].iloc[0], part["images"].iloc[0]
        lines.append(f"- Decay curves, {first} - {second}, over {images} images: {text} (p {p:.2g}, whole curve).")
    if not lines:
        return []
    return [*lines, "- Bands and p a ring are in `decay_paired.csv`; p is corrected for the number of rings."]


def repeated(summary: pd.DataFrame) -> str:
    """Return how far the halves of the draws agree."""
    flips, icc = summary["flip_rate"].dropna() * 100, summary["icc"].dropna()
    if flips.empty or icc.empty:
        return ""
    return (
        f"**Repeatability.** Between even and odd draws of a map, {answers.span(flips, 1)} % of the blocks coloured in "
        f"either change class (ICC {answers.span(icc, 3)}; means of a row): half the draws, so an upper bound for all."
    )


def setting(experiment: Experiment) -> str:
    """Return what was measured on what, in one paragraph."""
    entry, table = experiment.cells[0].entry, experiment.table
    models, scenes, images = (table[name].nunique() for name in ("model", "scene", "image"))
    tasks = ", ".join(dict.fromkeys(table["task"]))
    rules = joined_rules([cell.rule.describe() for cell in experiment.cells])
    donors = ", ".join(dict.fromkeys(str(cell.entry["donors"]["source"]) for cell in experiment.cells))
    engines = ", ".join(f"{kind} {count}" for kind, count in table["engine"].value_counts().items())
    proof = max((cell.entry["proof"].get("max_abs_db", 0.0) for cell in experiment.cells), default=0.0)
    note = f" {experiment.options['note']}" if "note" in experiment.options else ""
    corrections = {cell.table.correction for cell in experiment.cells} - {"bh"}
    verdicts = f", verdicts of some cells by {CORRECTIONS[corrections.pop()]}" if corrections else ""
    return (
        f"**Setting.** {_count(models, 'model')}, {_count(scenes, 'scene')} of {_count(images, 'image')} (the "
        f"clusters), task {tasks}; image {entry['size'][0]}x{entry['size'][1]}, ROI {entry['roi'][2]}x"
        f"{entry['roi'][3]}, its blocks left as they are; {rules}; donors: {donors}; tol "
        f"{entry['tol']:g} dB{verdicts}; cells by engine: {engines}; "
        f"largest difference between engine and full forward on the proof draws {proof:.1e} dB.{note}"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def joined_rules(rules: Sequence[str]) -> str:
    """Return each sampling rule once; those that differ in one number as one, with their numbers in rising order."""
    by_form: dict[str, set[str]] = {}
    for rule in rules:
        by_form.setdefault(re.sub(r"\d+", "#", rule), set()).add(rule)
    found = []
    for form, same in by_form.items():
        if form.count("#") != 1:
            found += sorted(same)
            continue
        numbers = sorted(int(re.findall(r"\d+", rule)[0]) for rule in same)
        found.append(form.replace("#", answers.listed([str(number) for number in numbers], "or")))
    return "; ".join(found)


def table_note(experiment: Experiment) -> str:
    """Return what the table's intervals mean."""
    verdicts = experiment.options.get("verdicts")
    within = ", differences between images taken out" if is_ablation(experiment.table) else ""
    scenes = (
        " Rows of fewer cells are means over fewer scenes: compare them in 'above the others there' (minus the mean, "
        "scene by scene, of the models that have most) and in paired differences, not in PSNR."
        if uneven(experiment.summary) and not verdicts
        else ""
    )
    what = (
        "Shares are of all blocks outside the ROI: 'help' and 'harm' have an effect beyond tol at a false discovery "
        "rate of 5 % a map, all others that are not undecided have none;"
        if verdicts
        else "Masses are cross-fit sums over blocks;"
    )
    return (
        f"Means over images with 95 % intervals over them (cluster bootstrap, below ten images Student's){within}. "
        f"{what} 'blocks with effect' is |mean| >= tol without a test, as the paper counts; {UNKNOWN}: the images "
        f"cannot tell; verdict counts are in `cells.csv`.{scenes}"
    )


def differences(paired: pd.DataFrame) -> pd.DataFrame:
    """Return the paired differences as they are printed."""
    rows = []
    for row in paired.to_dict("records"):
        name, unit = QUANTITIES[row["quantity"]]
        ends = f" [{signed(row['low'])}, {signed(row['high'])}]" if row["low"] == row["low"] else ""
        pair = f"{row['first']} - {row['second']}"
        rows.append(
            {
                "pair": pair,
                "quantity": f"{name}, {unit}",
                "difference": f"{signed(row['estimate'])}{ends}",
                "p": f"{row['p']:.2g}",
                "images": row["images"],
            }
        )
    return pd.DataFrame(rows)


def signed(value: float) -> str:
    """Return a number with its sign and three decimals, or one digit where that would print as 0."""
    if not np.isfinite(value):
        return UNKNOWN
    return f"{value:+.3f}" if value == 0 or abs(value) >= 5e-4 else f"{value:+.0e}"


def missing(experiment: Experiment) -> str:
    """Return the list of what the sweep asks for and this table does not hold."""
    stored = {"model": set(experiment.table["model"]), "scene": set(experiment.table["scene"])}
    lines = absent(experiment.plan, stored)
    expected = experiment.plan.get("cells", 0)
    if expected > len(experiment.table):
        lines.append(f"- {len(experiment.table)} cells are in the table; the sweep that ran here asks for {expected}")
    return "## Not in this table\n\n" + "\n".join(lines) if lines else ""


def elsewhere(kept: pd.DataFrame, stay: Sequence[str]) -> str:
    """Say which rows and figures come from an earlier report: this store lacks their draws.

    Args:
        kept: rows of the earlier report.
        stay: names of the figures that it drew.
    """
    if kept.empty:
        return ""
    cells = "1 row is" if len(kept) == 1 else f"{len(kept)} rows are"
    whole = [stem for stem in stay if "_shipped_" not in stem]
    words = [*whole, *([f"{len(stay) - len(whole)} of scenes"] if len(stay) > len(whole) else [])]
    figures = f" So are the figures that need their draws: {answers.listed(words)}." if words else ""
    return (
        f"**Measured elsewhere.** {cells} of an earlier report (`run_key` and `commit` in `cells.csv` say of what): "
        f"the draws behind them are neither in the store that this one was written from nor in `../draws`.{figures}"
    )


def absent(plan: Mapping[str, Any], stored: Mapping[str, set[str]]) -> list[str]:
    """Return a line for what is asked for and not stored, by key and reason, and for every failure."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for key, reasons in plan.get("missing", {}).items():
        for value, reason in reasons.items():
            by_reason.setdefault((key, reason), []).append(value)
    for key, values in plan.get("left_out", {}).items():
        here = [value for value in values if value not in stored.get(key, set())]
        by_reason[key, f"could run here, left out of the last command; add `{key}={','.join(here)}`"] = here
    lines = []
    for (key, reason), values in by_reason.items():
        left = [f"`{value}`" for value in values if value not in stored.get(key, set())]
        lines += [f"- {key if len(left) == 1 else key + 's'} {', '.join(left)}: {reason}"] if left else []
    return lines + [f"- failed: {text}" for text in plan.get("failed", [])]


def page_without_cells(name: str, question: str, plan: Mapping[str, Any]) -> str:
    """Return the page of an experiment of which nothing could run."""
    lines = "\n".join(absent(plan, {}))
    command = f"    python -m cem_bench +experiment={name}"
    return f"# {name}: {question}\n\n**Not measured yet.** What it needs is not here:\n\n{lines}\n\n{command}\n"


def pictures(figures: Sequence[Path]) -> str:
    """Return the figures with their captions."""
    shown_here = [path for path in figures if path.suffix == ".png"]
    lines = [f"![{_caption(path.stem)}]({path.name})\n*{_caption(path.stem)}*" for path in shown_here]
    return "## Figures\n\n" + "\n\n".join(lines)


def _caption(stem: str) -> str:
    kind, _, scene = stem.partition("_shipped_")
    named = {
        "scene": "restored images, effect maps (pie: positive, negative, none; bar: range, dB), verdicts and counts",
        "difference": "two models and their paired difference",
        "lam": "LAM above CEM",
    }
    if kind not in named or not scene:
        return CAPTIONS.get(stem, stem)
    return f"{scene.replace('_part', ', part ')}: {named[kind]}."


def again(experiment: Experiment) -> str:
    """Return the commands that make the page again, and what it took."""
    seconds = experiment.table.drop_duplicates("run_key")["seconds"].sum()
    commits = set(experiment.table["commit"])
    named = ", ".join(commits) if len(commits) == 1 else f"{len(commits)} commits (column `commit` of `cells.csv`)"
    machine = sorted(
        {
            f"{cell.entry['provenance']['machine']}, torch {cell.entry['provenance']['torch']}"
            for cell in experiment.cells
        }
    )
    return (
        f"## Again\n\n    python -m cem_bench +experiment={experiment.name}  # measures what is missing, writes this\n"
        f"    python -m cem_bench.report experiment={experiment.name}  # redraws from stored draws\n\n"
        f"Measured in {seconds:.0f} s ({seconds / 3600:.1f} h) in all at {named} on {'; '.join(machine)}."
    )
