"""What the explorer's page is sent: maps as lists of numbers, pictures as data URLs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image

from cem_bench.figures.map import Look
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.drawing import Drawing
from cem_bench.measuring.prepared import Bench, to_tensor
from cem_bench.sampling.rules import Effects, asked
from cem_bench.stats.blocks import BlockTable, block_table
from cem_bench.stats.compare import difference_table
from cem_bench.store import maps

ERROR_GAIN = 4.0  # of the picture of restored minus clean
EVERYWHERE_DRAWS = 12  # of a block's effect on the whole image
DECADES = 4.0  # of the picture of an effective receptive field


def png(image: np.ndarray) -> str:
    """Return (h, w, 3) uint8 as a data URL."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def taken_of(drawing: Drawing) -> dict[int, Effects]:
    """Return the draws that count so far, by block."""
    cell, live = drawing.bench.cell, np.flatnonzero(drawing.bench.status().ravel() == maps.MEASURED).tolist()
    stored = drawing.store.effects(live, cell.options.outcome)
    rule = cell.sampling
    return {block: rule.estimate(draws) for block, draws in asked(rule, stored)[0].items()}


def map_of(cell: Cell, status: np.ndarray, effects: Mapping[int, Effects]) -> dict[str, Any]:
    """Return a map as the page's script takes it.

    Args:
        cell: gives grid, ROI, tol and rule.
        status: (rows, columns) int8.
        effects: draws that count, by block.
    """
    drawn = {block: draws for block, draws in effects.items() if len(draws)}
    options = cell.options
    table = block_table(drawn, tol=options.threshold, looks=cell.sampling.looks, correction=options.fdr)  # pyright: ignore[reportArgumentType]
    return map_of_table(cell, status, table)


def map_of_table(cell: Cell, status: np.ndarray, table: BlockTable) -> dict[str, Any]:
    """Return a table of blocks as the page's script takes it."""
    total, facts, roi = len(cell.scene.grid), cell.options.facts, cell.scene.roi
    columns: dict[str, list[Any]] = {"n": [0] * total, "verdict": [0] * total}
    columns |= {name: [None] * total for name in ("mean", "low", "high")}
    for at, block in enumerate(table.block.tolist()):
        columns["n"][block], columns["verdict"][block] = int(table.n[at]), int(table.verdict[at])
        for name in ("mean", "low", "high"):
            value = float(getattr(table, name)[at])
            columns[name][block] = value if np.isfinite(value) else None
    return {
        "shape": cell.scene.grid.shape,
        "block": cell.scene.block,
        "roi": [roi.top, roi.left, roi.height, roi.width],
        "tol": cell.options.threshold,
        "unit": facts.unit,
        "digits": facts.digits + 2,
        "bound": Look.of(cell.degradation.task, cell.options.outcome).bound,
        "status": status.ravel().tolist(),
        **columns,
    }


def difference_of(first: tuple[Cell, np.ndarray, Mapping[int, Effects]], second: Any) -> dict[str, Any]:
    """Return the map of the first network's effects minus the second's, over the draws that both have.

    Args:
        first: cell, status and draws that count.
        second: the same of the other network; the rule must draw the same number of every block.
    """
    cell, status, effects = first
    pairs = effects, second[2]
    either = {**pairs[1], **pairs[0]}
    # of a block that provably cannot reach the ROI in one network, that network's effects are exactly 0
    full = [{block: draws.get(block, np.zeros(len(either[block]))) for block in either} for draws in pairs]
    both = [block for block in either if all(len(part[block]) for part in full)]
    drawn = [{block: part[block] for block in both} for part in full]
    table = difference_table(drawn[0], drawn[1], tol=cell.options.threshold)
    return map_of_table(cell, np.minimum(status, second[1]), table)


def donors_of(drawing: Drawing, block: int) -> list[dict[str, Any]]:
    """Return the donors of a block's draws so far, with what each did."""
    cell = drawing.bench.cell
    rows = drawing.store.rows
    rows = rows[rows["block"] == block]
    effects = drawing.store.effects([block], cell.options.outcome)[block]
    return [
        {"k": int(k), "donor": int(donor), "effect": float(effect), "picture": png(cell.pool.patches[donor])}
        for k, donor, effect in zip(rows["k"], rows["donor"], effects, strict=True)
    ]


def intervened(bench: Bench, block: int, k: int) -> dict[str, str]:
    """Return input, restored image and what is left of the error (times ERROR_GAIN, grey is none) under one draw.

    Args:
        bench: of the cell.
        block: that is replaced.
        k: of the draw.
    """
    donors, _ = bench.cell.keys.donors(bench.cell.pool, block, k, k + 1)
    rows = bench.tensor[None].clone()
    rows[(..., *bench.input_rect(block).slices)] = bench.patches(block, donors, k)
    return _pictures(bench.cell, rows, bench.full_forward(bench.cell, rows))


def untouched(bench: Bench) -> dict[str, str]:
    """Return the same three pictures without an intervention."""
    return _pictures(bench.cell, bench.tensor[None], bench.yardstick.answer)


def _pictures(cell: Cell, rows: torch.Tensor, answer: torch.Tensor) -> dict[str, str]:
    error = answer[0].cpu() - to_tensor(cell.scene.clean)
    images = {"input": rows[0], "restored": answer[0], "residual": 0.5 + ERROR_GAIN * error}
    return {name: png(_bytes(image)) for name, image in images.items()}


def _bytes(image: torch.Tensor) -> np.ndarray:
    return (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy().transpose(1, 2, 0)


def everywhere(bench: Bench, block: int) -> dict[str, Any]:
    """Return the map of one block's effect on every output block.

    Args:
        bench: whose engine answers the whole output.
        block: that is replaced.
    """
    whole = bench.beside(Rect(0, 0, *bench.cell.scene.size))
    grid = bench.cell.scene.grid
    effects = whole.run_on_all(block, EVERYWHERE_DRAWS)
    reached = [whole.engine.reaches(bench.input_rect(block), grid.rect(target)) for target in range(len(grid))]
    status = np.where(reached, maps.MEASURED, maps.UNREACHABLE).astype(np.int8).reshape(grid.shape)
    live = {target: effects[:, target] for target in np.flatnonzero(reached).tolist()}
    return map_of(bench.cell, status, live) | {"source": block}


def heat(values: np.ndarray) -> str:
    """Return (h, w) from 0 to 1 in colours, as a data URL."""
    return png((mpl.colormaps["magma"](np.clip(values, 0, 1))[..., :3] * 255).round().astype(np.uint8))


def lam_picture(attribution: torch.Tensor) -> str:
    """Return the picture of a LAM (3, h, w): its size, the square root of the share of the largest."""
    size = attribution.abs().sum(0).cpu().numpy()
    return heat(np.sqrt(size / max(float(size.max()), 1e-30)))


def field_picture(gradient: torch.Tensor) -> str:
    """Return the picture of an effective receptive field (3, h, w): its size on a logarithmic scale."""
    size = gradient.abs().sum(0).cpu().numpy()
    shares = size / max(float(size.max()), 1e-30)
    return heat(1 + np.log10(np.maximum(shares, 10**-DECADES)) / DECADES)
