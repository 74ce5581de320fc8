"""LAM beside CEM: attribution above, causal effect below, and how far the two agree."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from cem_bench.figures import panels
from cem_bench.figures.map import draw_map
from cem_bench.figures.series import looks_of, title_of
from cem_bench.figures.style import WIDTH, style
from cem_bench.stats.summaries import diffusion_index
from cem_bench.store.cells import StoredCell
from cem_bench.store.manifest import read_beside

LAM_TOP = 99.5  # percentile that is drawn in full red


def lam_of(cell: StoredCell) -> np.ndarray | None:
    """Return |LAM| summed over channels, (h, w) of the observation; None where it was not computed."""
    content = read_beside(cell.folder, "lam.npz")
    if content is None:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return np.abs(stored["attribution"]).sum(axis=0)


def by_block(cell: StoredCell, attribution: np.ndarray) -> np.ndarray:
    """Return the sum of the attribution in every block, (blocks,)."""
    rows, columns = cell.grid.shape
    parts = attribution.reshape(rows, attribution.shape[0] // rows, columns, attribution.shape[1] // columns)
    return parts.sum(axis=(1, 3)).ravel()


def lam_figure(cells: Sequence[StoredCell], palette: str = "paper") -> Figure:
    """Draw one scene: LAM above CEM, a column a model.

    Args:
        cells: cells of one scene.
        palette: `paper` or `safe`.
    """
    look = panels.look_of(cells, palette)
    with style():
        side = min(panels.CELL, WIDTH / (len(cells) + 0.3))
        figure = Figure(figsize=(side * (len(cells) + 0.3), side * 2 + 0.5))
        axes = figure.subplots(3, len(cells), height_ratios=(1, 1, 0.13), squeeze=False)
        for column, cell in zip(axes.T, cells, strict=True):
            _lam(column[0], cell)
            panels.bare(column[0], panels.folded(cell.model, side))
            draw_map(column[1], cell.effect_map, cell.picture("clean"), cell.roi, look)
            panels.bare(column[1])
            panels.bar(column[2], cell.effect_map, look)
        for axis, name in ((axes[0, 0], "LAM"), (axes[1, 0], "CEM")):
            axis.set_ylabel(name, fontsize=9)
    return figure


def _lam(axes: Axes, cell: StoredCell) -> None:
    attribution = lam_of(cell)
    if attribution is None:
        axes.text(0.5, 0.5, "not computed", ha="center", transform=axes.transAxes)
        return
    grey = cell.picture("observation").mean(axis=2) / 255.0
    level = np.clip(attribution / max(np.percentile(attribution, LAM_TOP), 1e-12), 0, 1)[..., None]
    shown = (1 - level) * (0.85 + 0.15 * grey[..., None]) + level * np.array([0.7, 0.0, 0.0])
    panels.show(axes, shown, cell, "")
    axes.text(0.02, 0.02, f"DI {diffusion_index(attribution):.1f}", transform=axes.transAxes, fontsize=6.5)


def agreement_table(cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return one row a cell: DI of LAM, the part of LAM on blocks that help or harm, its rank correlation with effects.

    All but DI are over the blocks outside the ROI that can reach it; ranks of |effect| and of the effect.
    """
    names = ["model", "image", "scene", "di", "lam_on_helping", "lam_on_harming", "rank_size", "rank_effect"]
    rows = []
    for cell in cells:
        attribution = lam_of(cell)
        if attribution is None:
            continue
        share, table = by_block(cell, attribution)[cell.table.block], cell.table
        total = max(float(share.sum()), 1e-12)
        places = {"helping": table.mean >= table.tol, "harming": table.mean <= -table.tol}
        row = {f"lam_on_{name}": float(share[where].sum()) / total for name, where in places.items()}
        row["rank_size"], row["rank_effect"] = (rank_r(share, size) for size in (np.abs(table.mean), table.mean))
        head = {"model": cell.model, "image": cell.image, "scene": cell.scene, "di": diffusion_index(attribution)}
        rows.append(head | row)
    return pd.DataFrame(rows, columns=names)


def rank_r(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation; NaN without spread."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


def agreement_plot(table: pd.DataFrame) -> Figure:
    """Draw for every cell the diffusion index against the share of LAM that lies on blocks which harm the ROI.

    Args:
        table: from `agreement_table`.
    """
    models = list(dict.fromkeys(table["model"]))
    looks = looks_of(models)
    with style():
        figure = Figure(figsize=(WIDTH, 2.7))
        axis = figure.subplots()
        for model in models:
            rows = table[table["model"] == model]
            look = {**looks[model], "linestyle": "none", "label": title_of(model), "alpha": 0.8}
            axis.plot(rows["di"], rows["lam_on_harming"] * 100, **look)
        axis.set_xlabel("diffusion index of LAM")
        axis.set_ylabel("LAM outside the ROI that lies\non blocks which harm it, %")
        figure.legend(loc="outside right upper")
    return figure
