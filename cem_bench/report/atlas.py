"""An experiment as one page to look around in: `atlas.html`, which opens from disk and asks no other host.

A table of cells to sort and filter, maps whose blocks say their effect, interval, verdict and draws, a block's donors
with what each did, the claims, and where every number comes from. Photographs are those that scikit-image ships.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import Colormap
from PIL import Image

from cem_bench.figures.map import GAMMA, PALETTES, Look
from cem_bench.inputs.degradations import kinds
from cem_bench.inputs.images import locate, read_rgb, sha256_of
from cem_bench.report.columns import column, signed_estimate
from cem_bench.report.earlier import read_table
from cem_bench.report.experiment import CONF, Experiment
from cem_bench.report.packed import pack, steps
from cem_bench.report.render import asset, embedded, render_html
from cem_bench.store.cells import StoredCell
from cem_bench.store.manifest import read_identity
from cem_bench.store.outcomes import OutcomeFacts
from cem_bench.store.roots import marked, run_root

LIMIT_BYTES = 5_000_000
FINE = 100  # steps per tol: a draw is shown to a hundredth of what counts as none
JPEG_QUALITY = 82
COLUMNS = (
    "psnr_roi_db",
    "min_db",
    "max_db",
    "share_positive",
    "share_negative",
    "share_undecided",
    "r90_px",
    "draws",
)
NAMES = ("model", "task", "scene", "seed", "variant")  # of a cell
NAMED = ("image_sha256", "donors_sha256", "seed", "block")  # of the identity: what names the donors of a draw


def atlas(experiment: Experiment, output: Path) -> str:
    """Return the page: self-contained HTML of at most 5 MB.

    Where all draws are more than that, those of the last cells are left out, and their panels say so.

    Args:
        experiment: tables and cells.
        output: folder of the results, which may hold `claims.csv`.
    """
    keep = len(experiment.cells)
    while True:
        page = _page(experiment, output, keep)
        size = len(page.encode())
        if size <= LIMIT_BYTES or keep == 0:
            return page
        keep = min(keep - 1, int(keep * 0.98 * LIMIT_BYTES / size))


def _page(experiment: Experiment, output: Path, keep: int) -> str:
    cells, outcome = experiment.cells, experiment.outcome
    donors = Donors()
    drawn = [_cell(cell, outcome, donors if at < keep else None) for at, cell in enumerate(_shipped_first(cells))]
    content = {
        "outcome": {"unit": outcome.unit, "digits": outcome.digits + 2, "step": outcome.tol / FINE},
        "look": looks(outcome.tol),
        "columns": [{"name": name, "title": column(name, outcome).title} for name in COLUMNS],
        "rows": _rows(experiment, drawn, outcome),
        "cells": drawn,
        "donors": donors.packed(),
        "pictures": _pictures(cells),
    }
    return render_html(
        "atlas",
        name=experiment.name,
        question=experiment.settings["question"],
        root=marked(experiment.root_sha256),
        runs=len({cell["facts"]["run key"] for cell in drawn}),
        draws=sum(cell["draws"] for cell in drawn),
        without=len(experiment.earlier),
        left_out=len(cells) - keep,
        claims=_claims(output / "claims.csv", experiment.name),
        content=embedded(content),
        style=asset("page.css"),
        script=asset("panel.js") + asset("atlas.js"),
    )


def _shipped_first(cells: Sequence[StoredCell]) -> list[StoredCell]:
    return sorted(cells, key=lambda cell: not cell.shipped)


def looks(tol: float) -> dict[str, Any]:
    """Return how maps are coloured: palettes as hexadecimal text of 256 colours, gamma, and the bound by task.

    Args:
        tol: of the outcome; bounds of other outcomes than PSNR are as many times their tol.
    """
    colours = {name: _hexadecimal(Look(palette=name).cmap) for name in PALETTES}
    bounds = {kind.task: kind.bound_db * tol / 0.01 for kind in kinds()}
    return {"palettes": colours, "gamma": GAMMA, "bounds": bounds, "bound": tol / 0.01}


def _hexadecimal(cmap: Colormap) -> str:
    return (cmap(np.arange(256), bytes=True)[:, :3]).astype(np.uint8).tobytes().hex()  # pyright: ignore[reportIndexIssue]


class Donors:
    """Which donor each draw got: the same for every network, so once per scene, seed and pool."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._tables: list[dict[int, np.ndarray]] = []

    def add(self, cell: StoredCell, taken: Mapping[int, int]) -> int:
        """Enter the donors of a cell's draws.

        Args:
            cell: the cell.
            taken: number of draws from k = 0 on, by block.

        Returns:
            The number of the table that holds them.
        """
        name = json.dumps([read_identity(cell.folder).get(part) for part in NAMED])
        donors, starts = _donors_by_block(cell)
        own = {block: donors[starts[block] : starts[block] + count] for block, count in taken.items() if count}
        for at, known in enumerate(self._names):
            if known == name and _agree(self._tables[at], own):
                break
        else:
            at = len(self._tables)
            self._names.append(name)
            self._tables.append({})
        table = self._tables[at]
        table |= {block: rows for block, rows in own.items() if len(rows) > len(table.get(block, ()))}
        return at

    def packed(self) -> list[dict[str, Any]]:
        """Return the tables: number of draws by block, then all donors, as text."""
        tables = []
        for table in self._tables:
            blocks = sorted(table)
            counts = [len(table[block]) for block in blocks]
            tables.append({"blocks": len(blocks), "packed": pack(blocks, counts, *(table[block] for block in blocks))})
        return tables


def _donors_by_block(cell: StoredCell) -> tuple[np.ndarray, dict[int, int]]:
    """Return the donors of all stored draws and where those of each block start."""
    blocks, starts = np.unique(cell.draws["block"].to_numpy(), return_index=True)
    return cell.draws["donor"].to_numpy(), dict(zip(blocks.tolist(), starts.tolist(), strict=True))


def _agree(table: Mapping[int, np.ndarray], own: Mapping[int, np.ndarray]) -> bool:
    pairs = [(rows, table[block]) for block, rows in own.items() if block in table]
    return all(np.array_equal(a[: len(b)], b[: len(a)]) for a, b in pairs)


def _cell(cell: StoredCell, outcome: OutcomeFacts, donors: Donors | None) -> dict[str, Any]:
    """Return a cell as the page's script takes it: numbers per block, then the draws that count, packed.

    Args:
        cell: the cell.
        outcome: whose effects it has.
        donors: table of donors to enter its own into; None to leave its draws out.
    """
    table, total, step = cell.table, len(cell.grid), outcome.tol / FINE
    columns = {name: np.zeros(total, np.int32) for name in ("n", "first", "verdict")}
    numbers = {name: np.full(total, np.nan) for name in ("mean", "low", "high")}
    columns["n"][table.block], columns["verdict"][table.block] = table.n, table.verdict
    gate = cell.gate_draws
    columns["first"][table.block] = [gate[int(block)] for block in table.block]
    for name, values in numbers.items():
        values[table.block] = getattr(table, name)
    taken = {block: len(draws) + gate[block] for block, draws in cell.effects.items()}
    effects = [np.concatenate([np.empty(0), *cell.effects.values()])] if donors else []
    return {
        "model": cell.model,
        "task": cell.entry["task"],
        "scene": cell.scene,
        "variant": cell.variant,
        "seed": cell.entry["seed"],
        "shape": cell.grid.shape,
        "block": cell.grid.block,
        "roi": [cell.roi.top, cell.roi.left, cell.roi.height, cell.roi.width],
        "tol": cell.entry["tol"],
        "donors": donors.add(cell, taken) if donors else None,
        "draws": int(table.n.sum()),
        "packed": pack(cell.status, *columns.values(), *(steps(part, step) for part in [*numbers.values(), *effects])),
        "facts": _facts(cell),
    }


def _facts(cell: StoredCell) -> dict[str, str]:
    """Return where the numbers of a cell come from."""
    entry = cell.entry
    made, engine, proof = entry["provenance"], entry["engine"], entry["proof"]
    proven = f"{proof['draws']} draws" if proof["draws"] else proof["reason"]
    proven += f", at most {proof['max_abs_db']:.1e} dB apart" if "max_abs_db" in proof else ""
    return {
        "run key": entry["key"],
        "root hash of its draws": run_root(cell.draws, {entry["outcome"]}),
        "sampling": cell.rule.describe(),
        "donors": entry["donors"]["source"],
        "engine": f"{engine['kind']}: {engine['reason']}" if engine["reason"] else engine["kind"],
        "proof by the full network": proven,
        "measured at": f"{made['commit']}, torch {made['torch']}, {made['machine']}",
    }


def _rows(experiment: Experiment, drawn: Sequence[Mapping[str, Any]], outcome: OutcomeFacts) -> list[dict[str, Any]]:
    """Return the table: what names a cell, its numbers as text and to sort by, and its place among the cells."""
    places = {tuple(cell[name] for name in NAMES): at for at, cell in enumerate(drawn)}
    rows = []
    for row in experiment.table.to_dict("records"):
        values = [float(row[name]) for name in COLUMNS]
        printed = []
        for name, value in zip(COLUMNS, values, strict=True):
            how = column(name, outcome)
            printed.append(f"{value * how.factor:,.{how.digits}f}" if np.isfinite(value) else "")
        known = [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
        place = places.get(tuple(row[name] for name in NAMES))
        rows.append({name: row[name] for name in NAMES} | {"printed": printed, "values": known, "cell": place})
    return rows


def _pictures(cells: Sequence[StoredCell]) -> dict[str, str]:
    """Return the clean photographs of the shipped scenes, as data URLs."""
    pictures = {}
    for cell in cells:
        if cell.shipped and cell.scene not in pictures and (clean := _clean(cell)) is not None:
            content = io.BytesIO()
            Image.fromarray(clean).save(content, "JPEG", quality=JPEG_QUALITY, optimize=True)
            pictures[cell.scene] = "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
    return pictures


def _clean(cell: StoredCell) -> np.ndarray | None:
    """Return the clean image of a shipped scene; None where it cannot be cut out again as it was measured."""
    scenes = _scene_table()
    if cell.scene not in scenes.index:
        return None
    row: Any = scenes.loc[cell.scene]
    top, left, side = int(row["crop_top"]), int(row["crop_left"]), int(row["crop_side"])
    clean = np.ascontiguousarray(read_rgb(locate(row["source"]))[top : top + side, left : left + side])
    return clean if sha256_of(clean) == read_identity(cell.folder).get("image_sha256") else None


@cache
def _scene_table() -> pd.DataFrame:
    return pd.read_csv(CONF / "scene_table.csv", dtype={"image": str}).set_index("name")


def _claims(path: Path, experiment: str) -> list[dict[str, str]]:
    """Return the claims that were stated on an experiment, with their evidence."""
    table = read_table(path)
    if table.empty:
        return []
    rows = []
    for row in table[table["experiment"] == experiment].to_dict("records"):
        word = {"greater": ">", "less": "<", "equal": "within ±"}[row["expected"]]
        unit = row["unit"] if isinstance(row["unit"], str) else ""
        measured = signed_estimate(row["estimate"], row["low"], row["high"]) if row["images"] else "not measured"
        why = row["why"] if isinstance(row["why"], str) else ""
        holm = f"Holm's p {row['p_holm']:.2g}" if np.isfinite(row["p_holm"]) else ""
        rows.append(
            {
                "id": str(row["id"]),
                "says": row["says"],
                "expected": f"{row['quantity']} {word} {row['margin']:g} {unit}".strip(),
                "measured": f"{measured} {unit}".strip(),
                "of": ", ".join(filter(None, [f"{row['images']} images, {row['trainings']} trainings", holm])),
                "verdict": row["verdict"] + (f": {why}" if why else ""),
            }
        )
    return rows
