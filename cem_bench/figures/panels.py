"""Figures of scenes in the published look: inputs, restored images, maps with pie and bar, verdicts, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from cem_bench.figures.map import ROI_GREEN, Look, NotebookFigure, draw_bar, draw_map, draw_pie
from cem_bench.figures.series import task_of, title_of, training_of
from cem_bench.figures.style import ALL_EQUAL, OF_ROI, WIDTH, style, verdict_key
from cem_bench.stats.blocks import BlockTable
from cem_bench.stats.compare import difference_table
from cem_bench.stats.verdicts import NAMES, NONE
from cem_bench.store import maps
from cem_bench.store.cells import StoredCell
from cem_bench.store.quantities import all_equal

CELL = 1.38  # inches of a panel where there is room
MOST = 6  # models beside each other
LETTER = 0.057  # inches of a letter over a panel
VERDICT_NAMES = NAMES | {NONE: "no effect"}


def look_of(cells: Sequence[StoredCell], palette: str) -> Look:
    """Return the published bound of the cells' task in the palette asked for."""
    return Look.of(cells[0].entry["task"], cells[0].entry["outcome"], palette)


def scene_figure(cells: Sequence[StoredCell], palette: str = "paper", width: float = WIDTH) -> Figure:
    """Draw one scene under several models: restored images, maps and verdicts, one column a model.

    Args:
        cells: cells of one scene, at least one; up to `MOST` fit the width of a page.
        palette: `paper` or `safe`.
        width: at most so many inches: two columns of an article, or `style.COLUMN`.
    """
    look = look_of(cells, palette)
    columns = len(cells) + 1
    side = min(CELL, width / columns)
    with style():
        figure = NotebookFigure(figsize=(side * columns, side * 3.13 + 1.0))
        axes = figure.subplots(4, columns, height_ratios=(1, 1, 0.13, 1), squeeze=False)
        _inputs(axes[:, 0], cells[0])
        for column, cell in zip(axes.T[1:], cells, strict=True):
            names = [
                folded(name, side) for name in (title_of(cell.model), training_of(cell.model), cell.variant) if name
            ]
            show(column[0], cell.picture("restored"), cell, "\n".join([*names, f"{cell.entry['psnr_roi_db']:.2f} dB"]))
            draw_map(column[1], cell.effect_map, cell.picture("clean"), cell.roi, look)
            bare(column[1])
            bar(column[2], cell.effect_map, look)
            draw_verdicts(column[3], cell.table, cell, look)
        for axis, title in zip(axes[1:, 0], (f"effect map,\nrange in {look.unit}", "", "verdicts"), strict=True):
            axis.text(0.98, 0.5, title, ha="right", va="center", transform=axis.transAxes, fontsize=7.5)
        legend(figure, look)
    return figure


def folded(name: str, inches: float) -> str:
    """Break a name wider than its panel after the last underscore, dot or space that leaves a first line that fits."""
    most = int(inches / LETTER)
    if len(name) <= most:
        return name
    at = max(name.rfind(mark, 0, most) for mark in "_. ")
    return f"{name[: at + 1]}\n{name[at + 1 :]}" if at > 0 else name


def legend(figure: Figure, look: Look) -> None:
    """Say below a figure what the colours of verdicts mean."""
    handles = [Patch(**patch) for patch in verdict_key(look)]
    # square images shift within their cells, and titles with them: leave room above
    figure.set_layout_engine("constrained", h_pad=0.06, rect=(0, 0, 1, 0.97))
    columns = max(1, round(figure.get_figwidth() / 1.7))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=6.5, handlelength=1.6)


def _inputs(column: np.ndarray, cell: StoredCell) -> None:
    observed = cell.entry["observed_psnr_roi_db"]
    show(column[0], cell.picture("observation"), cell, "input" + (f"\n{observed:.2f} dB" if observed else "\n"))
    for axis in column[1:]:
        axis.set_axis_off()


def show(axes: Axes, image: np.ndarray, cell: StoredCell, title: str) -> None:
    """Show an image at any scale with the ROI framed."""
    ratio, roi = image.shape[0] / cell.entry["size"][0], cell.roi
    axes.imshow(image, interpolation="nearest")
    corner = (roi.left * ratio - 0.5, roi.top * ratio - 0.5)
    frame = Rectangle(corner, roi.width * ratio, roi.height * ratio, fill=False, edgecolor=ROI_GREEN, linewidth=1.2)
    axes.add_patch(frame)
    bare(axes, title)


def bare(axes: Axes, title: str = "") -> None:
    """Remove ticks and grid and write a title."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=6.5, pad=2)


def bar(axes: Axes, effect_map: maps.EffectMap, look: Look) -> None:
    """Draw the bar of a map with its extremes, whose unit stands elsewhere."""
    inside = axes.inset_axes((0.27, 0.1, 0.46, 0.8))
    draw_bar(inside, effect_map, look)
    for text in inside.texts:
        text.set_fontsize(6)
        text.set_text(text.get_text().removesuffix(f" {look.unit}"))
    axes.set_axis_off()


def draw_verdicts(
    axes: Axes, table: BlockTable, cell: StoredCell, look: Look, status: np.ndarray | None = None
) -> None:
    """Paint every block by its verdict, with the looks of `style.verdict_key`; the ROI itself is framed.

    Args:
        axes: to draw in.
        table: the tested blocks.
        cell: gives the extent, the ROI, and the blocks' status.
        look: colours.
        status: (rows, columns) int8, see `maps.STATUS`, where it is not that of the cell.
    """
    codes = cell.status if status is None else status
    height, width = cell.entry["size"]
    kinds = np.where(codes == maps.UNREACHABLE, "out of reach", "no effect").astype(object).ravel()
    kinds[table.block] = [VERDICT_NAMES[int(code)] for code in table.verdict]
    kinds[table.block[all_equal(table)]] = ALL_EQUAL
    kinds[codes.ravel() == maps.ROI] = OF_ROI
    patches = {patch["label"]: patch for patch in verdict_key(look)}
    colours = np.array([to_rgb(patches[kind]["facecolor"]) for kind in kinds]).reshape(*codes.shape, 3)
    axes.imshow(colours, interpolation="nearest", extent=(0, width, height, 0))
    block = height // codes.shape[0]
    for row, column in np.argwhere((kinds == "undecided").reshape(codes.shape)):
        hatch: Any = patches["undecided"] | {"linewidth": 0}
        axes.add_patch(Rectangle((column * block, row * block), block, block, **hatch))
    counts = table.counts()
    bare(axes, f"+{counts['positive']}  −{counts['negative']}  ?{counts['undecided']}")
    axes.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor="0.5", linewidth=0.6))
    corner = (cell.roi.left, cell.roi.top)
    axes.add_patch(Rectangle(corner, cell.roi.width, cell.roi.height, fill=False, edgecolor="0.2", linewidth=0.6))


def pair_figure(first: StoredCell, second: StoredCell, palette: str = "paper") -> Figure:
    """Draw two models' maps of one scene, their paired difference and its verdicts.

    Args:
        first: a cell.
        second: the cell of another model with the same scene, donors and noise.
        palette: `paper` or `safe`.
    """
    look = look_of([first], palette)
    difference = maps.EffectMap(
        first.effect_map.effect - second.effect_map.effect,
        np.maximum(first.effect_map.status * (first.effect_map.status == second.effect_map.status), 0).astype(np.int8),
        np.minimum(first.effect_map.n, second.effect_map.n),
        first.entry["tol"],
    )
    shown = [(folded(title_of(cell.model), WIDTH / 5), cell.effect_map) for cell in (first, second)]
    shown.append(("first minus second,\ncolours as of the maps", difference))
    with style():
        figure = Figure(figsize=(WIDTH, WIDTH / 5 + 0.95))
        axes = figure.subplots(2, 5, height_ratios=(1, 0.13))
        show(axes[0, 0], first.picture("clean"), first, "clean")
        table, status = difference_verdicts(first, second)
        draw_verdicts(axes[0, 4], table, first, look, status)
        bare(axes[0, 4], f"its verdicts\n{axes[0, 4].get_title()}")
        for axis in axes[1, ::4]:
            axis.set_axis_off()
        for column, (name, effect_map) in zip(axes.T[1:4], shown, strict=True):
            draw_map(column[0], effect_map, first.picture("clean"), first.roi, look)
            bare(column[0], name)
            bar(column[1], effect_map, look)
        legend(figure, look)
    return figure


def difference_verdicts(first: StoredCell, second: StoredCell) -> tuple[BlockTable, np.ndarray]:
    """Return the verdicts of first minus second on the blocks that can reach the ROI in either, and the blocks' status.

    Of a block that provably cannot reach the ROI in one model, that model's effects are exactly 0.
    """
    pair = first.paired_effects, second.paired_effects
    either = {**pair[1], **pair[0]}
    effects_first, effects_second = (
        {block: effects.get(block, np.zeros(len(draws))) for block, draws in either.items()} for effects in pair
    )
    status = np.minimum(first.status, second.status)
    return difference_table(effects_first, effects_second, tol=first.entry["tol"]), status


def multitask_figure(
    table: pd.DataFrame, layout: Mapping[str, Any], palette: str = "paper", outcome: str = "psnr"
) -> Figure:
    """Draw the published summary: pie, PSNR and bar by task and architecture (rows) and training (columns).

    Args:
        table: `cells.csv` of any number of tasks and models.
        layout: `columns`, names of trainings; `rows`, for every architecture and column a model, or a list of models of
            which each is of another task.
        palette: `paper` or `safe`.
        outcome: of the effects.
    """
    of = {(str(task), str(model)): part for (task, model), part in table.groupby(["task", "model"])}  # pyright: ignore
    rows = [[[names] if isinstance(names, str) else names for names in row] for row in layout["rows"]]
    tasks = list(dict.fromkeys(table["task"]))
    lines = []
    for task, row in product(tasks, rows):
        models = [next((name for name in names if (task, name) in of), "") for names in row]
        lines += [(task, models)] if any(models) else []
    columns = layout["columns"]
    with style():
        figure = Figure(figsize=(WIDTH, 0.8 * len(lines) + 0.3))
        axes = figure.subplots(len(lines), len(columns), squeeze=False)
        for column, name in zip(axes[0], columns, strict=True):
            column.set_title(name, fontsize=8)
        for line, (task, models) in zip(axes, lines, strict=True):
            for axis, model in zip(line, models, strict=True):
                axis.set_axis_off()
                if model:
                    _pie_with_bar(axis, model, of[task, model], Look.of(task, outcome, palette))
            at = {"va": "center", "ha": "center", "fontsize": 6.5, "transform": line[0].transAxes}
            line[0].text(-0.1, 0.5, _of_line(task, [of[task, name] for name in models if name]), rotation=90, **at)
    return figure


def _of_line(task: str, rows: Sequence[pd.DataFrame]) -> str:
    """Return the name of a line: the task, and the PSNR of the inputs that its networks got, where it is known."""
    images = pd.concat(rows).drop_duplicates(["scene", "seed"])
    psnr = float(images["observed_psnr_roi_db"].mean()) if "observed_psnr_roi_db" in images else np.nan
    return task_of(task) + ("" if np.isnan(psnr) else f"\ninput {psnr:.2f} dB")


def shares_of(rows: pd.DataFrame) -> dict[str, float]:
    """Return the mean shares of blocks for a pie; unsigned where a row of an earlier report has no signs.

    Args:
        rows: of `cells.csv`.
    """
    either = rows["share_effect_paper"].mean()
    harm = rows["share_harm_paper"].mean(skipna=False) if "share_harm_paper" in rows else np.nan
    none = {"none": float(1 - either)}
    if np.isnan(harm):
        return none | {"unsigned": float(either)}
    return none | {"positive": float(either - harm), "negative": float(harm)}


def _pie_with_bar(axes: Axes, model: str, rows: pd.DataFrame, look: Look) -> None:
    draw_pie(axes.inset_axes((0.0, 0.1, 0.4, 0.8)), shares_of(rows), look)
    lowest, highest, psnr = (float(rows[name].mean()) for name in ("min_db", "max_db", "psnr_roi_db"))
    text = {"transform": axes.transAxes, "va": "center", "fontsize": 6.5}
    axes.text(0.42, 0.76, f"{psnr:.2f} dB ({rows['image'].nunique()} images)\n{title_of(model)}", **text)
    strip = axes.inset_axes((0.42, 0.34, 0.56, 0.2))
    bounds = maps.EffectMap(np.array([[lowest, highest]]), np.zeros((1, 2), np.int8), np.ones((1, 2), int), 0.01)
    draw_bar(strip, bounds, look)
    for label in strip.texts:
        label.remove()
    axes.text(0.42, 0.2, f"{lowest:+.{look.digits}f} to {highest:+.{look.digits}f} {look.unit}", **text)
