"""The page of a map split by path: along the pixels, through the pools, pool by pool. No torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cem_bench.figures.map import Look, draw_map
from cem_bench.figures.saving import save_figure
from cem_bench.figures.style import style
from cem_bench.inputs.geometry import Rect
from cem_bench.report.columns import in_file, signed, signed_estimate
from cem_bench.report.render import Markdown, render
from cem_bench.stats.blocks import BlockTable, block_table
from cem_bench.stats.decay import decay
from cem_bench.stats.estimates import Estimate, t_interval
from cem_bench.stats.halves import halves
from cem_bench.stats.two_level import two_level
from cem_bench.stats.verdicts import NAMES, decide, p_values
from cem_bench.store.files import write_atomically
from cem_bench.store.maps import EffectMap
from cem_bench.store.outcomes import facts_of
from cem_bench.store.path_effects import Paths
from cem_bench.store.roots import marked

COLOURS = {"total": "0.25", "along the pixels": "#2e5fa3", "through the pools": "#c1272d"}
Z95 = 1.959964
BY_LEVELS = "total, by levels"
RINGS = ("0 to 8", "8 to 16", "16 to 32", "32 to 64", "over 64")


def verdicts_of(paths: Paths) -> dict[str, BlockTable]:
    """Return estimate, interval and verdict of every block, by path."""
    return {
        path: block_table(
            dict(zip(paths.blocks, draws, strict=True)),
            tol=paths.tol,
            correction=paths.correction,  # pyright: ignore[reportArgumentType]
        )
        for path, draws in paths.of_path().items()
    }


def by_levels(paths: Paths) -> tuple[Estimate, np.ndarray] | None:
    """Return the total effects by both levels and their verdicts; None without more cheap draws than real ones."""
    if paths.cheap.shape[1] <= paths.effects.shape[1]:
        return None
    estimate = two_level(paths.effects, paths.cheap)
    return estimate, decide(p_values(estimate, paths.tol), correction=paths.correction)  # pyright: ignore[reportArgumentType]


def blocks_of(paths: Paths) -> pd.DataFrame:
    """Return one row per block and path: effect, interval, verdict, in dB."""
    parts = []
    for path, table in verdicts_of(paths).items():
        columns = {"block": table.block, "distance_px": paths.distance, "path": path, "n": table.n}
        columns |= {"effect_db": table.mean, "effect_db_low": table.low, "effect_db_high": table.high}
        parts.append(pd.DataFrame(columns | {"verdict": [NAMES[int(code)] for code in table.verdict]}))
    if (levels := by_levels(paths)) is not None:
        estimate, verdicts = levels
        columns = {"block": paths.blocks, "distance_px": paths.distance, "path": BY_LEVELS, "n": paths.cheap.shape[1]}
        columns |= {"effect_db": estimate.mean, "effect_db_low": estimate.low, "effect_db_high": estimate.high}
        parts.append(pd.DataFrame(columns | {"verdict": [NAMES[int(code)] for code in verdicts]}))
    return pd.concat(parts, ignore_index=True)


def sums_of(paths: Paths) -> pd.DataFrame:
    """Return one row per path: counts of verdicts, sum of effects with its interval, sum of their sizes, in dB."""
    rows = []
    for path, table in verdicts_of(paths).items():
        draws = paths.of_path()[path]
        error = float(np.sqrt((draws.var(axis=1, ddof=1) / draws.shape[1]).sum()))
        total, sizes = float(table.mean.sum()), halves(dict(enumerate(draws))).size
        row = {"path": path, **table.counts(), "sum_db": total}
        row |= {"sum_db_low": total - Z95 * error, "sum_db_high": total + Z95 * error}
        rows.append(row | {"sizes_db": float(sizes.sum())})
    if (levels := by_levels(paths)) is not None:
        estimate, verdicts = levels
        total, error = float(estimate.mean.sum()), float(np.sqrt(np.square(estimate.error).sum()))
        counts = {name: int((verdicts == code).sum()) for code, name in NAMES.items()}
        row = {"path": BY_LEVELS, **counts, "sum_db": total}
        rows.append(row | {"sum_db_low": total - Z95 * error, "sum_db_high": total + Z95 * error})
    return pd.DataFrame(rows)


def rings_of(paths: Paths) -> pd.DataFrame:
    """Return one row per ring: mean size by path, and of the sampled blocks the interaction with its interval, dB."""
    rows, ring = [], np.digitize(paths.distance, (8, 16, 32, 64), right=True)
    real = paths.effects.shape[1]
    few = paths.alone.shape[1]
    for index, name in enumerate(RINGS):
        inside = ring == index
        if not inside.any():
            continue
        row: dict[str, Any] = {"ring": name, "blocks": int(inside.sum())}
        for path, draws in paths.of_path().items():
            row[f"{path.replace(' ', '_')}_db"] = float(halves(dict(enumerate(draws[inside]))).size.mean())
        row["left_by_pixels"] = _left(paths.effects[inside], paths.pixels[inside][:, :real])
        row["left_by_adjoint"] = _left(paths.effects[inside], paths.cheap[inside][:, :real])
        sampled = ring[paths.sampled] == index
        if sampled.any():
            alone, pooled = paths.alone[sampled], paths.pooled[paths.sampled][sampled][:, :few]
            mean = t_interval((pooled - alone).mean(axis=1))
            row |= {"sampled": int(sampled.sum()), "alone_db": float(alone.mean()), "interaction_db": float(mean.mean)}
            row |= {"interaction_db_low": float(mean.low), "interaction_db_high": float(mean.high)}
        rows.append(row)
    return pd.DataFrame(rows)


def _left(total: np.ndarray, part: np.ndarray) -> float:
    """Return the share of a draw's variance within blocks that a part leaves; NaN where nothing varies."""
    whole = float(total.var(axis=1, ddof=1).mean())
    return float((total - part).var(axis=1, ddof=1).mean()) / whole if whole > 0 else float("nan")


def pools_of(paths: Paths) -> pd.DataFrame:
    """Return one row per pool: sums of effects and of sizes by the adjoint, and its error by forwards, dB."""
    rows, few = [], paths.released.shape[1]
    for index, name in enumerate(paths.pools):
        draws = paths.first_order[..., index]
        error = float(np.sqrt((draws.var(axis=1, ddof=1) / draws.shape[1]).sum()))
        total = float(draws.mean(axis=1).sum())
        sizes = float(halves(dict(enumerate(draws))).size.sum())
        row = {"pool": name, "sum_db": total, "sum_db_low": total - Z95 * error, "sum_db_high": total + Z95 * error}
        forwards = paths.released[..., index]
        off = draws[paths.sampled, :few] - forwards
        row |= {"sizes_db": sizes, "forwards_rms_db": _rms(forwards), "error_rms_db": _rms(off)}
        rows.append(row)
    return pd.DataFrame(rows)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean())) if values.size else float("nan")


def figure_of(paths: Paths, scene: tuple[np.ndarray, Rect], look: Look) -> Figure:
    """Draw the maps of both paths beside the total, their decay, and what each pool carries.

    Args:
        paths: the split.
        scene: image to draw on, (H, W, 3) uint8, and the ROI in its pixels.
        look: colours of the total.
    """
    with style():
        figure = Figure(figsize=(6.9, 4.6))
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.15, 1))  # pyright: ignore[reportGeneralTypeIssues]
        for axis, (path, draws) in zip(top.subplots(1, 3), paths.of_path().items(), strict=True):
            shown = _map_of(paths, draws.mean(axis=1))
            largest = float(np.abs(draws.mean(axis=1)).max(initial=0.0))
            own = path == "through the pools" and largest > 0
            colours = dataclasses.replace(look, bound=largest) if own else look
            draw_map(axis, dataclasses.replace(shown, tol=0.0) if own else shown, *scene, colours)
            axis.set_title(f"{path}\ncolours to ±{colours.bound:.2g} {look.unit}" + ", tol 0" * own, fontsize=8)
        left, right = bottom.subplots(1, 2)
        _curves(left, paths, look)
        _bars(right, paths, look)
    return figure


def _map_of(paths: Paths, means: np.ndarray) -> EffectMap:
    effect = paths.total.effect.copy()
    effect.ravel()[list(paths.blocks)] = means
    return dataclasses.replace(paths.total, effect=effect)


def _curves(axis: Axes, paths: Paths, look: Look) -> None:
    for path, draws in paths.of_path().items():
        rings, size = decay(halves(dict(enumerate(draws))).size, paths.distance)
        shown = size > 0
        axis.plot(rings[shown], size[shown], "o-", ms=3, color=COLOURS[path], label=path)
    axis.axhline(paths.tol, color="0.6", lw=0.8, ls=":")
    axis.set_yscale("log")
    axis.set_xlabel("distance from the ROI, px")
    axis.set_ylabel(f"mean size of an effect, {look.unit}")
    axis.legend(fontsize=6)


def _bars(axis: Axes, paths: Paths, look: Look) -> None:
    table = pools_of(paths)
    if table.empty:
        axis.text(0.5, 0.5, "no op mixes the whole image", ha="center", va="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    middle = table["sum_db"].to_numpy()
    arms = np.stack([middle - table["sum_db_low"].to_numpy(), table["sum_db_high"].to_numpy() - middle])
    axis.bar(np.arange(len(table)), middle, color=COLOURS["through the pools"], yerr=arms, error_kw={"lw": 0.8})
    axis.axhline(0, color="0.4", lw=0.6)
    axis.set_xlabel("pool, in the order in which they run")
    axis.set_ylabel(f"sum of effects over blocks, {look.unit}")


def page_of(paths: Paths, record: Mapping[str, Any], command: str) -> str:
    """Return the page.

    Args:
        paths: the split.
        record: of the map's measurement.
        command: that makes the page again.
    """
    return render(
        "paths",
        model=record["model"],
        scene=record["scene"],
        unit=record["unit"],
        tol=paths.tol,
        sums=_printed(sums_of(paths), "sum_db"),
        rings=_printed(rings_of(paths), "interaction_db"),
        pools=_printed(pools_of(paths), "sum_db"),
        unknown=list(paths.unknown),
        own=f"{paths.own:.3f}",
        under_others=f"{paths.under_others:.3f}" if np.isfinite(paths.under_others) else "",
        others=paths.others,
        draws=paths.effects.shape[1],
        cheap=paths.cheap.shape[1],
        few=paths.alone.shape[1],
        mixes=bool(paths.pools or paths.unknown),
        command=command,
        key=record["key"][:16],
        commit=record["provenance"]["commit"][:10],
        root=marked(record.get("root_sha256", "")),
    )


def _printed(table: pd.DataFrame, estimate: str) -> pd.DataFrame:
    """Return a table as it is printed: one column with its interval, the others to three digits."""
    if table.empty:
        return table
    rows = []
    for row in cast(list[dict[str, Any]], table.to_dict("records")):
        shown = {}
        for name, value in row.items():
            title = str(name).removesuffix("_db").replace("_", " ")
            if name == estimate:
                ends = (row[f"{name}_low"], row[f"{name}_high"])
                shown[title] = Markdown(signed_estimate(value, *ends) if np.isfinite(value) else "-")
            elif not str(name).startswith(f"{estimate}_"):
                shown[title] = _cell(value, with_sign=name == "alone_db")
        rows.append(shown)
    return pd.DataFrame(rows)


def _cell(value: Any, *, with_sign: bool) -> Any:
    if not isinstance(value, float):
        return value
    return Markdown("-" if not np.isfinite(value) else signed(value) if with_sign else f"{value:#.3g}")


def write_paths_page(folder: Path, paths: Paths, figure: Figure, record: Mapping[str, Any], command: str) -> list[Path]:
    """Write page, tables, figure and record of one model and scene.

    Args:
        folder: where to.
        paths: the split.
        figure: of `figure_of`.
        record: of the map's measurement.
        command: that makes the page again.
    """
    written = []
    for name, table in (("blocks", blocks_of), ("sums", sums_of), ("rings", rings_of), ("pools", pools_of)):
        written.append(folder / f"{name}.csv")
        rows = in_file(table(paths), facts_of(record["outcome"]))
        write_atomically(written[-1], rows.to_csv(index=False, float_format="%.6g").encode())
    write_atomically(folder / "record.json", (json.dumps(record, indent=1) + "\n").encode())
    written += [folder / "record.json", *save_figure(figure, folder / "paths", root=record.get("root_sha256", ""))]
    write_atomically(folder / "README.md", page_of(paths, record, command).encode())
    return [*written, folder / "README.md"]
