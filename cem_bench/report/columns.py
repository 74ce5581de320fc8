"""How the columns of tables are called, printed and explained: one entry per column, for every page and script."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cem_bench.store.outcomes import FACTS, OutcomeFacts, facts_of

UNKNOWN = "?"  # an end that the images cannot tell
SIGNED_DIGITS = 3
ENDS = ("_low", "_high")


@dataclass(frozen=True)
class Column:
    """How one column is printed.

    Attributes:
        title: head of the column, with the unit of what is printed.
        digits: decimals.
        factor: what a value is multiplied with before it is printed: 100 for a share that is printed in percent.
        unit: of the printed number; empty for counts and names.
    """

    title: str
    digits: int = 0
    factor: float = 1.0
    unit: str = ""


def _db(name: str) -> Column:
    return Column(f"{name}, dB", 2, unit="dB")


def _px(name: str) -> Column:
    return Column(f"{name}, px", 1, unit="px")


def _percent(name: str) -> Column:
    return Column(f"{name}, %", 1, 100.0, "%")


PRINTED = {
    "label": Column("model"),
    "model": Column("model"),
    "task": Column("task"),
    "images": Column("images"),
    "cells": Column("cells"),
    "images_better": Column("images better than input"),
    "draws": Column("draws"),
    "psnr_roi_db": _db("PSNR of ROI"),
    "psnr_gain_db": _db("above the others there"),
    "min_db": _db("smallest mean effect"),
    "max_db": _db("largest mean effect"),
    "positive_mass_db": _db("positive sum"),
    "negative_mass_db": _db("negative sum"),
    "net_mass_db": _db("net sum"),
    "size_db": _db("sum of |effect|"),
    "far_mass_db": _db("effect from beyond 16 px"),
    "harm_share": _percent("harm share"),
    "far_share": _percent("far share"),
    "joint_db": _db("joint effect of all surroundings"),
    "joint_far_db": _db("joint effect from beyond 16 px"),
    "interaction_db": _db("joint effect minus sum"),
    "r50_px": _px("radius of 50 % of the effect"),
    "r90_px": _px("radius of 90 % of the effect"),
    "share_positive": _percent("blocks that help"),
    "share_negative": _percent("blocks that harm"),
    "share_undecided": _percent("blocks undecided"),
    "share_effect_paper": _percent("blocks with effect"),
    "flip_rate": _percent("blocks that change class"),
    "icc": Column("ICC", 3),
    "correlation": Column("correlation", 2),
    "lam_on_harming": _percent("LAM on blocks that harm"),
    "rank_size": Column("rank with the size of the effect", 2),
    "rank_effect": Column("rank with the effect", 2),
}


PSNR = facts_of("psnr")


def column(name: str, outcome: OutcomeFacts = PSNR) -> Column:
    """Return how a column is printed; one without an entry under its own name, in three digits.

    Args:
        name: of the column; those of effects end in `_db` whatever the outcome.
        outcome: whose unit the effects have.
    """
    how = PRINTED.get(name, Column(name, 3))
    if how.unit != PSNR.unit or name.startswith("psnr"):
        return how
    digits = how.digits + outcome.digits - PSNR.digits
    return replace(how, title=in_unit(how.title, outcome), unit=outcome.unit, digits=digits)


def in_unit(title: str, outcome: OutcomeFacts) -> str:
    """Return a title that ends in dB with the unit of an outcome; that of a PSNR as it is."""
    text = title.removesuffix(f", {PSNR.unit}")
    return title if text == title or text.startswith("PSNR") else f"{text}, {outcome.unit}"


IN_DB = re.compile(r"(?!psnr|observed_psnr)(\w+?)_db(_low|_high|)")
# columns of effects in tables of a report, by their names without `_db`
OF_SETS = ("joint", "joint_far", "interaction", "far_mass", "net_mass", "positive_mass", "negative_mass")
EFFECTS = (*OF_SETS, "min", "max", "size", "peak", "first", "second")
LONGEST_FIRST = sorted(EFFECTS, key=len, reverse=True)  # `joint_far_db` is no `joint` in the unit `far_db`
IN_UNIT = re.compile(rf"({'|'.join(LONGEST_FIRST)})(_[a-z0-9_]+?)(_low|_high|)")


def in_file(table: pd.DataFrame, outcome: OutcomeFacts) -> pd.DataFrame:
    """Return a table as files hold it: columns of effects (and names of them) end in the outcome's unit.

    Args:
        table: of a report, in which columns of effects end in `_db` whatever the outcome.
        outcome: whose unit they have.
    """
    return _renamed(table, IN_DB, lambda match: f"{match[1]}{outcome.suffix}{match[2]}")


def from_file(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of a report's file as `in_file` took it, with the unit of its effects in `attrs`."""
    ends = {match[2] for match in map(IN_UNIT.fullmatch, map(str, table)) if match}
    units = {facts.suffix: facts.unit for facts in FACTS.values()}
    table = _renamed(table, IN_UNIT, lambda match: f"{match[1]}{PSNR.suffix}{match[3]}")
    named = table["unit"].iloc[0] if "unit" in table and len(table) else None  # in cells.csv, where it is not dB
    table.attrs["unit"] = named or " or ".join(units.get(end, end.strip("_")) for end in sorted(ends)) or PSNR.unit
    return table


def _renamed(table: pd.DataFrame, pattern: re.Pattern[str], name_of: Callable[[re.Match[str]], str]) -> pd.DataFrame:
    def renamed(name: object) -> str:
        match = pattern.fullmatch(str(name))
        return name_of(match) if match else str(name)

    table = table.rename(columns=renamed)
    return table.assign(quantity=table["quantity"].map(renamed)) if "quantity" in table else table


def number(name: str, value: float, outcome: OutcomeFacts = PSNR) -> str:
    """Return a value of a column as it is printed, without its unit; UNKNOWN where it is not finite."""
    how = column(name, outcome)
    return f"{value * how.factor:.{how.digits}f}" if np.isfinite(value) else UNKNOWN


def with_unit(name: str, value: float) -> str:
    """Return a value of a column with its unit."""
    unit = column(name).unit
    return f"{number(name, value)} {unit}" if unit else number(name, value)


def estimate(name: str, value: float, low: float, high: float, outcome: OutcomeFacts = PSNR) -> str:
    """Return a value with its interval, "1.20 [0.90, 1.50]"; alone where no end differs from it."""
    middle, *ends = (number(name, at, outcome) for at in (value, low, high))
    return f"{middle} [{', '.join(ends)}]" if set(ends) - {middle, UNKNOWN} else middle


def signed(value: float) -> str:
    """Return a number with its sign and three decimals, or one digit where that would print as 0."""
    if not np.isfinite(value):
        return UNKNOWN
    small = value != 0 and abs(value) < 0.5 * 10**-SIGNED_DIGITS
    return f"{value:+.0e}" if small else f"{value:+.{SIGNED_DIGITS}f}"


def signed_estimate(value: float, low: float, high: float) -> str:
    """Return a signed value with its interval; alone where there is none."""
    ends = f" [{signed(low)}, {signed(high)}]" if np.isfinite([low, high]).any() else ""
    return signed(value) + ends


MEANING = {
    "model": "name in the zoo (`python -m model_zoo info NAME`)",
    "scene": "name in `conf/scene_table.csv`",
    "image": "the image the scene was cut from: the cluster of every claim",
    "variant": "what the sweep varied beside model, scene, seed and task, as key=value; empty where nothing",
    "task": "SR, DN, DR, LL, CAR or restore",
    "seed": "names the draws",
    "label": "model and variant, as in the figures",
    "unit": "of the effects, where it is not dB: then columns of effects end in it (`size_ssim`), not in `_db`",
    "psnr_roi_db": "PSNR of the ROI under the untouched observation: RGB, float output clipped to 0..1, dB",
    "psnr_gain_db": "psnr_roi_db minus the mean, on the same scene and task, of the models that have most scenes, dB",
    "psnr_image_db": "the same PSNR over the whole image, dB",
    "observed_psnr_roi_db": "PSNR of the observation's ROI before restoring, dB; empty where it has another size",
    "min_db": "smallest mean effect of a block, dB; ends: its robust 95 % interval, not widened for having been chosen",
    "max_db": "largest mean effect of a block, dB; ends as above",
    "positive_mass_db": "sum over blocks of positive effects, cross-fit (each half of the draws signed by the other)",
    "negative_mass_db": "sum over blocks of negative effects, cross-fit, as a positive number, dB",
    "net_mass_db": "sum over blocks of the effects, dB",
    "size_db": "sum over blocks of |effect|, cross-fit, dB",
    "far_mass_db": "the part of size_db from blocks more than 16 px from the ROI, dB",
    "harm_share": "the part of the sum of |effect| that harms, 0 to 1: the middle of a floor and a ceiling "
    "(`stats.shares`), whose intervals `_low` and `_high` hold; empty where the sum does not exceed its noise",
    "far_share": "the part of the sum of |effect| from blocks more than 16 px from the ROI, 0 to 1; the same",
    "joint_db": "effect of replacing all blocks outside the ROI at once, dB; empty where it was not drawn",
    "joint_far_db": "the same of the blocks more than 16 px from the ROI",
    "interaction_db": "joint_db minus net_mass_db, the sum of the single effects, dB",
    "peak_db": "|effect| of the largest block: chosen by one half of the draws, measured by the other, dB",
    "gini": "Gini coefficient of |effect| over all blocks outside the ROI (ranks of one half, sizes of the other)",
    "di": "diffusion index (1 - gini) x 100, %",
    "share_outside_reach": "share of size_db from blocks beyond reach_px: 0 for a sound instrument",
    "flip_rate": "share of the blocks coloured in either half of the draws whose side of tol differs between them",
    "blocks_flippable": "blocks coloured in either half of the draws",
    "icc": "intraclass correlation ICC(1,1) of the two halves' means over blocks",
    "halves_r": "Pearson correlation of the two halves' means over blocks; never to be read without flip_rate",
    "r50_px": "distance to the ROI that holds 50 % of size_db, linear between rings, clean px",
    "r90_px": "the same for 90 %",
    "blocks_positive": "blocks with verdict positive: effect above tol, false discovery rate 5 % (`fdr`)",
    "blocks_negative": "blocks with verdict negative",
    "blocks_none": "blocks with verdict none: |effect| below tol (equivalence)",
    "blocks_undecided": "blocks the draws cannot decide",
    "blocks_all_equal": "of blocks_undecided, those whose draws are all equal and under tol: no spread to test by",
    "blocks_unreachable": "blocks that provably cannot touch the ROI: effect exactly 0, not tested",
    "share_positive": "blocks_positive over all blocks outside the ROI, 0 to 1",
    "share_negative": "blocks_negative over all blocks outside the ROI",
    "share_undecided": "blocks_undecided over all blocks outside the ROI",
    "share_all_equal": "blocks_all_equal over all blocks outside the ROI",
    "share_effect_paper": "blocks with |mean effect| >= tol over all outside the ROI, no test: the paper's count",
    "share_harm_paper": "of share_effect_paper, the blocks that harm; empty in rows of before it was kept",
    "draws": "draws that enter the averages",
    "reach_px": "theoretical reach: of the card, or the farthest block not ruled out by the engine; empty: whole image",
    "global_statistics": "the kind of statistics over the whole image, empty where none",
    "engine": "cone, crop or full",
    "precision": "fp32 or bf16",
    "run_key": "first 16 digits of the run key: the folder in the store",
    "images": "number of images (clusters)",
    "cells": "number of cells",
    "images_better": "images on which the ROI is restored better than it was observed; empty where sizes differ",
    "commit": "of this repository, at which the cell was measured",
    "seconds": "of wall clock that measuring the cell took; draws that the store held already take none",
    "lam_on_helping": "in `lam.csv`: share of |LAM| outside the ROI that lies on blocks of mean effect >= tol",
    "lam_on_harming": "the same for blocks of mean effect <= -tol",
    "rank_size": "Spearman's r, over the blocks outside the ROI, of their share of |LAM| and |mean effect|",
    "rank_effect": "the same with the mean effect itself, by which harm ranks lowest",
    "first": "the difference is first minus second",
    "second": "see first",
    "quantity": "a column of cells.csv",
    "estimate": "mean over images, in the quantity's unit",
    "low": "lower end of the 95 % interval",
    "high": "upper end of the 95 % interval",
    "distance_px": "distance of a ring of blocks to the ROI: it holds the pixels from one block less to this, clean px",
    "set": "in `joint.csv`: the blocks that are replaced at once",
    "blocks": "in `joint.csv`: blocks of the set, mean over cells",
    "p_ring": "the p of one ring, corrected for the number of rings (largest over the rings)",
    "p_holm": "p corrected by Holm over all judged claims",
    "p": "two-sided p by sign flips of whole images",
}


def meaning(name: str) -> str:
    """Return what a column of a table means; "" if it is not in the dictionary."""
    for end, word in zip(ENDS, ("lower", "upper"), strict=True):
        base = name.removesuffix(end)
        if name not in MEANING and base != name:
            return f"{word} end of {base}" if base in MEANING else ""
    return MEANING.get(name, "")
