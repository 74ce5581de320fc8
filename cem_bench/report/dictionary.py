"""The page `results/README.md`: which pages there are, what their columns mean, where the images come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from cem_bench.report import pages
from cem_bench.report.paper_comparisons import comparisons
from cem_bench.report.write import CONF
from cem_bench.store.draws import write_atomically

ENDS = ("_low", "_high")
COLUMNS = {
    "model": "name in the zoo (`python -m model_zoo info NAME`)",
    "scene": "name in `conf/scene_table.csv`",
    "image": "the image the scene was cut from: the cluster of every claim",
    "variant": "what the sweep varied beside model, scene, seed and task, as key=value; empty where nothing",
    "task": "SR, DN, DR, LL or restore",
    "seed": "names the draws",
    "label": "model and variant, as in the figures",
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
    "blocks_positive": "blocks with verdict positive: effect above tol, false discovery rate 5 % (`stats.fdr`)",
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
    "p_ring": "the p of one ring, corrected for the number of rings (largest over the rings)",
    "p": "two-sided p by sign flips of whole images",
}
HEAD = """# Results

Written by commands, never by hand: `python -m cem_bench +experiment=NAME` measures what is missing and writes
`NAME/`; `python -m cem_bench.report experiment=NAME` redraws it from stored draws; `scripts/reproduce.py` does all.
Draws, records and pictures of every cell lie in `store/`, pictures of scenes that may not be shown in `private/`; git
ignores both. `draws/` holds draws for other machines: `python -m cem_bench.report restore` brings them into the store,
`keep` writes the store's. Rows whose draws are in neither stay as the report had them that measured them.
`NAME/plan.json` says what the last sweep could not run."""
OF_COLUMNS = """## Columns

In `cells.csv` (a row a cell), `summary.csv` (a row a model: means over images), `paired.csv` (differences of pairs of
models), `decay.csv` (size of effects by distance), `decay_paired.csv` (differences of these curves). `X_low` and
`X_high` are the ends of X's 95 % interval: in `cells.csv` from resampling the draws of every block (how well this map
is known), in the others over images (what holds beyond these images): by cluster bootstrap, below ten images Student's,
on a logarithmic or logit scale where the number has a range, and empty below four images. Where a few images hold most
of a sum its upper end is far, and rightly: simulated sums whose logarithms spread by 1 (by 1.5) are held by 90 % (86 %)
of such intervals over 17 images, where 95 % are asked; Student's on that scale, narrower, hold 90 % (81 %)."""


def meaning(column: str) -> str:
    """Return what a column means; "" if it is not in the dictionary."""
    for end, word in zip(ENDS, ("lower", "upper"), strict=True):
        if column not in COLUMNS and column.endswith(end):
            return f"{word} end of {column.removesuffix(end)}" if column.removesuffix(end) in COLUMNS else ""
    return COLUMNS.get(column, "")


def index(output: Path) -> str:
    """Return a line for every page below a folder of results: its link and its heading."""
    lines = []
    for page in sorted(page for page in output.glob("**/README.md") if page.parent != output):
        name = page.parent.relative_to(output).as_posix()
        heading = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").removeprefix(f"{name}: ")
        lines.append(f"- [{name}]({name}/README.md): {heading}")
    return "\n".join(["## Pages", "", *lines])


def write_dictionary(output: Path) -> Path:
    """Write the page of pages, columns and images.

    Args:
        output: folder of the results.
    """
    columns = pd.DataFrame([{"column": f"`{name}`", "meaning": words} for name, words in COLUMNS.items()])
    said: Any = OmegaConf.to_container(OmegaConf.load(CONF / "image_sources.yaml"))
    sources = pd.DataFrame([{"below CEM_DATA": f"`{folder}`", **facts} for folder, facts in said.items()])
    table = pd.read_csv(CONF / "scene_table.csv", dtype={"image": str}).drop_duplicates("image")
    table["file"] = table["source"].str.replace(r"^\$\{[^}]*\}/", "", regex=True)
    images = table[["file", "sha256"]]
    tables = [pages.markdown(columns), "## Images\n\n" + IMAGES, pages.markdown(sources), pages.markdown(images)]
    parts = [HEAD, index(output), comparisons(output), OF_COLUMNS, *tables]
    path = output / "README.md"
    write_atomically(path, ("\n\n".join(parts) + "\n").encode())
    return path


IMAGES = (
    "The scenes were chosen by a seed before anything was measured: the rule is in `scripts/choose_scenes.py`, the "
    "result in `conf/scene_table.csv`. Photographs of scikit-image (`skimage:`) come with it: astronaut (NASA) and "
    "rocket (SpaceX) public domain, chelsea and coffee CC0, motorcycle from the Middlebury stereo set 2014. The others "
    "are not shipped; put them below the folder that CEM_DATA names:"
)
