"""Figures of scenes in the published look: inputs, restored images, maps with pie and bar, verdicts, differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cem_bench import maps
from cem_bench.figures import BOUND_DB, ROI_GREEN, Look, draw_bar, draw_map, draw_pie
from cem_bench.report.collect import StoredCell
from cem_bench.report.style import style
from cem_bench.stats.blocks import BlockTable
from cem_bench.stats.compare import difference_table
from cem_bench.stats.verdicts import NEGATIVE, NONE, POSITIVE, UNDECIDED

CELL = 1.38  # inches a panel
DEAD_GREY = 0.86
Painter = Callable[[Axes, StoredCell, Look], None]


def look_of(cells: Sequence[StoredCell], palette: str) -> Look:
    """Return the published bound of the cells' task in the palette asked for."""
    return Look(BOUND_DB.get(cells[0].entry["task"], 1.0), palette)


def scene_figure(cells: Sequence[StoredCell], palette: str = "paper") -> Figure:
    """Draw one scene under several models: restored images, maps and verdicts, one column a model.

    Args:
        cells: cells of one scene, at least one.
        palette: `paper` or `safe`.
    """
    look = look_of(cells, palette)
    columns = len(cells) + 1
    with style():
        figure = Figure(figsize=(CELL * columns, CELL * 2.75 + 0.75))
        axes = figure.subplots(4, columns, height_ratios=(1, 1, 0.13, 1), squeeze=False)
        _inputs(axes[:, 0], cells[0])
        for column, cell in zip(axes.T[1:], cells, strict=True):
            name = f"{cell.model}\n{cell.variant}" if cell.variant else cell.model
            show(column[0], cell.picture("restored"), cell, f"{name}\n{cell.entry['psnr_roi_db']:.2f} dB")
            draw_map(column[1], cell.effect_map, cell.picture("clean"), cell.roi, look)
            bare(column[1])
            bar(column[2], cell.effect_map, look)
            draw_verdicts(column[3], cell.table, cell.status, cell.entry["size"], look)
        for axis, title in zip(axes[1:, 0], ("effect map", "", "verdicts\n(hatched:\nundecided)"), strict=True):
            axis.text(0.98, 0.5, title, ha="right", va="center", transform=axis.transAxes, fontsize=8)
    return figure


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
        axes.set_title(title, fontsize=7.5, pad=2)


def bar(axes: Axes, effect_map: maps.EffectMap, look: Look) -> None:
    """Draw the bar of a map with its extremes in dB."""
    inside = axes.inset_axes((0.27, 0.1, 0.46, 0.8))
    draw_bar(inside, effect_map, look)
    for text in inside.texts:
        text.set_fontsize(6.5)
    axes.set_axis_off()


def draw_verdicts(axes: Axes, table: BlockTable, status: np.ndarray, size: tuple[int, int], look: Look) -> None:
    """Paint every block by its verdict: positive, negative, none (white), undecided (hatched), out of reach (grey).

    Args:
        axes: to draw in.
        table: the tested blocks.
        status: (rows, columns) int8, see `maps.STATUS`.
        size: height and width of the clean image, px.
        look: colours.
    """
    shape, block = status.shape, size[0] // status.shape[0]
    colours = np.ones((*shape, 3))
    colours[status == maps.UNREACHABLE] = DEAD_GREY
    verdict = np.full(shape[0] * shape[1], NONE)
    verdict[table.block] = table.verdict
    verdict = verdict.reshape(shape)
    colours[verdict == POSITIVE] = look.cmap(0.85)[:3]
    colours[verdict == NEGATIVE] = look.cmap(0.15)[:3]
    colours[status == maps.ROI] = ROI_GREEN
    height, width = size
    axes.imshow(colours, interpolation="nearest", extent=(0, width, height, 0))
    for row, column in np.argwhere(verdict == UNDECIDED):
        place = (column * block, row * block)
        axes.add_patch(Rectangle(place, block, block, facecolor="0.97", hatch="////////", edgecolor="0.4", linewidth=0))
    counts = table.counts()
    bare(axes, f"+{counts['positive']}  −{counts['negative']}  ?{counts['undecided']}")
    axes.add_patch(Rectangle((0, 0), width, height, fill=False, edgecolor="0.5", linewidth=0.6))


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
    shown = ((first.model, first.effect_map), (second.model, second.effect_map), ("difference", difference))
    with style():
        figure = Figure(figsize=(CELL * 5.4, CELL * 1.35))
        axes = figure.subplots(2, 5, height_ratios=(1, 0.13))
        show(axes[0, 0], first.picture("clean"), first, "clean")
        draw_verdicts(axes[0, 4], *difference_verdicts(first, second), first.entry["size"], look)
        axes[0, 4].set_title(f"its verdicts: {axes[0, 4].get_title()}", fontsize=7.5, pad=2)
        for axis in axes[1, ::4]:
            axis.set_axis_off()
        for column, (title, effect_map) in zip(axes.T[1:4], shown, strict=True):
            draw_map(column[0], effect_map, first.picture("clean"), first.roi, look)
            bare(column[0], title)
            bar(column[1], effect_map, look)
    return figure


def difference_verdicts(first: StoredCell, second: StoredCell) -> tuple[BlockTable, np.ndarray]:
    """Return the verdicts of first minus second on the blocks that can reach the ROI in either, and the blocks' status.

    Of a block that provably cannot reach the ROI in one model, that model's effects are exactly 0.
    """
    pair = first.paired_effects, second.paired_effects
    either = {**pair[1], **pair[0]}
    one, two = (
        {block: effects.get(block, np.zeros(len(draws))) for block, draws in either.items()} for effects in pair
    )
    status = np.minimum(first.status, second.status)
    return difference_table(one, two, tol=first.entry["tol"]), status


def multitask_figure(rows: Sequence[tuple[str, str, Sequence[StoredCell]]], palette: str = "paper") -> Figure:
    """Draw the summary in the published form: a pie, the mean PSNR and a bar for every task (rows) and model.

    Args:
        rows: task, model and the cells of that model under that task.
        palette: `paper` or `safe`.
    """
    tasks = list(dict.fromkeys(task for task, _, _ in rows))
    most = max(sum(task == other for other, _, _ in rows) for task in tasks)
    with style():
        figure = Figure(figsize=(min(1.5 * most + 0.6, 12), 1.25 * len(tasks) + 0.2))
        axes = figure.subplots(len(tasks), most, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for line, task in zip(axes, tasks, strict=True):
            shown = [(model, cells) for other, model, cells in rows if other == task]
            for axis, (model, cells) in zip(line, shown, strict=False):
                _pie_with_bar(axis, model, cells, Look(BOUND_DB.get(task, 1.0), palette))
            line[0].text(-0.12, 0.5, task, rotation=90, va="center", fontsize=11, transform=line[0].transAxes)
    return figure


def _pie_with_bar(axes: Axes, model: str, cells: Sequence[StoredCell], look: Look) -> None:
    shares = [cell.effect_map.shares() for cell in cells]
    mean = {name: float(np.mean([share[name] for share in shares])) for name in ("positive", "negative", "none")}
    draw_pie(axes.inset_axes((0.0, 0.2, 0.42, 0.7)), mean, look)
    lowest = float(np.mean([cell.effect_map.summary()["min_db"] for cell in cells]))
    highest = float(np.mean([cell.effect_map.summary()["max_db"] for cell in cells]))
    psnr = float(np.mean([cell.entry["psnr_roi_db"] for cell in cells]))
    axes.text(0.46, 0.78, f"{psnr:.2f} dB\n{model}", transform=axes.transAxes, va="center", fontsize=6.5)
    strip = axes.inset_axes((0.46, 0.32, 0.5, 0.22))
    bounds = maps.EffectMap(np.array([[lowest, highest]]), np.zeros((1, 2), np.int8), np.ones((1, 2), int), 0.01)
    draw_bar(strip, bounds, look)
    for text in strip.texts:
        text.remove()
    axes.text(0.46, 0.2, f"{lowest:+.2f} to {highest:+.2f}", transform=axes.transAxes, va="center", fontsize=6)
