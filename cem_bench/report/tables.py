"""Tables of an experiment: one row a cell, one row a model, decay by distance, paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cem_bench.stats.claim_verdicts import restores
from cem_bench.stats.compare import cluster_test
from cem_bench.stats.decay import compare_decay, decay
from cem_bench.store.cells import StoredCell
from cem_bench.store.quantities import JOINT, SHARES, measure_cell, over_images, ring_sizes, within_images

GROUP = ["model", "variant", "task"]
RING_COLUMNS = ("distance_px", "first_db", "second_db", "estimate", "low", "high", "p_ring")
KEYS = ["scene", "seed", "variant", "image", "task"]
AVERAGED = (
    "psnr_roi_db",
    "psnr_gain_db",
    "min_db",
    "max_db",
    "positive_mass_db",
    "negative_mass_db",
    "net_mass_db",
    "size_db",
    "far_mass_db",
    "harm_share",
    "far_share",
    *JOINT,
    "di",
    "r50_px",
    "r90_px",
    *SHARES,
    "icc",
)


def cells_table(
    cells: Sequence[StoredCell], earlier_rows: pd.DataFrame | None = None, listed: Sequence[str] = ()
) -> pd.DataFrame:
    """Return one row a cell, sorted by task, model, variant (numbers by value) and scene.

    Args:
        cells: of the store.
        earlier_rows: rows of further cells, see `earlier.rows_lacking`.
        listed: order of the models; others come behind, as they first appear.
    """
    table = pd.DataFrame([measure_cell(cell) for cell in cells])
    if earlier_rows is not None and len(earlier_rows):
        table = pd.concat([table, earlier_rows.drop(columns="psnr_gain_db")], ignore_index=True)
    table.insert(0, "psnr_gain_db", table["psnr_roi_db"] - beside(table))
    rank = {model: at for at, model in enumerate(dict.fromkeys([*listed, *table["model"]]))}

    def key(column: pd.Series) -> pd.Series:
        if column.name == "model":
            return column.map(rank)
        # numbers of variants padded, so that 5 draws come before 10
        padded = column.name == "variant"
        return column.str.replace(r"\d+", lambda n: n.group().zfill(6), regex=True) if padded else column

    return table.sort_values(["task", "model", "variant", "scene", "seed"], key=key, ignore_index=True)


def beside(table: pd.DataFrame) -> pd.Series:
    """Return for every cell the mean PSNR, on its scene and task, of the models that have most scenes of that task."""
    counts = table.groupby(["task", "model"])["scene"].transform("nunique")
    everywhere = counts == counts.groupby(table["task"]).transform("max")
    keys = ["scene", "task"]
    means = table[everywhere].groupby(keys)["psnr_roi_db"].mean().rename("beside")
    return table[keys].join(means, on=keys)["beside"]


def summary_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a model, variant and task: means over images with 95 % intervals.

    The intervals are for images of the same kind; of an ablation (several variants) they are of what the setting
    changes within an image.
    """
    recentred, averaged = is_ablation(table), [name for name in AVERAGED if name in table]
    rows, compared = [], within_images(table, averaged) if recentred else table
    better = admission(table).set_index(["model", "task"])["better"]
    for key, part in compared.groupby(GROUP, sort=False):
        row: dict[str, object] = dict(zip(GROUP, key, strict=True))  # pyright: ignore[reportArgumentType]
        row |= {"label": label(str(row["model"]), str(row["variant"])), "images": part["image"].nunique()}
        row["images_better"] = better.get((row["model"], row["task"]), np.nan)
        row |= {"cells": len(part), "draws": int(part["draws"].sum()), "reach_px": float(part["reach_px"].max())}
        for name in averaged:
            row |= _spread(name, over_images(part[name], part["image"], recentred=recentred))
        rows.append(row)
    return pd.DataFrame(rows)


def admission(table: pd.DataFrame) -> pd.DataFrame:
    """Return which networks restore better than their input, by model and task.

    Args:
        table: from `cells_table`; cells whose observation has another size than the output are left out.

    Returns:
        One row per model and task: model, task, images, better (images on which the ROI's PSNR, mean of its scenes, is
        above the observation's), admitted (`stats.claim_verdicts.restores`: 16 of 17 images).
    """
    names = ["model", "task", "images", "better", "admitted"]
    if table.empty:
        return pd.DataFrame(columns=names)
    known = table.assign(gain=table["psnr_roi_db"] - table["observed_psnr_roi_db"]).dropna(subset=["gain"])
    rows = []
    for (model, task), part in known.groupby(["model", "task"], sort=False):
        by_image = part.groupby("image")["gain"].mean()
        admitted = restores(part["gain"].to_numpy(float), part["image"].to_numpy(str))
        rows.append((model, task, len(by_image), int((by_image > 0).sum()), admitted))
    return pd.DataFrame(rows, columns=names)


def uneven(summary: pd.DataFrame) -> bool:
    """Return whether rows of a task are means over unequal numbers of scenes."""
    return bool((summary.groupby("task")["cells"].nunique() > 1).any())


def is_ablation(table: pd.DataFrame) -> bool:
    """Say whether rows differ in a setting besides model, task and scene."""
    return table["variant"].nunique() > 1


def label(model: str, variant: str) -> str:
    """Name a line of a plot."""
    return f"{model} ({variant})" if variant else model


def _spread(name: str, interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def decay_table(cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return the cross-fit |effect| of a block by its distance to the ROI, by model, variant and task."""
    curves = decay_curves(cells).sort_values("task", kind="stable")  # as in the summary: labels keep their colours
    curves["label"] = [label(model, variant) for model, variant in zip(curves["model"], curves["variant"], strict=True)]
    rows = []
    for (task, name, at), part in curves.groupby(["task", "label", "distance_px"], sort=False):
        row = {"label": name, "task": task, "distance_px": at, "images": part["image"].nunique()}
        rows.append(row | _spread("size_db", over_images(part["size_db"], part["image"])))
    return pd.DataFrame(rows)


def decay_curves(cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return one row a cell and ring: mean cross-fit |effect| of the ring's blocks, dB."""
    rows = []
    for cell in cells:
        head = {"model": cell.model, "scene": cell.scene, "seed": cell.entry["seed"], "variant": cell.variant}
        head |= {"image": cell.image, "task": cell.entry["task"]}
        curve = zip(*decay(*ring_sizes(cell)), strict=True)
        rows += [{**head, "distance_px": int(at), "size_db": float(size)} for at, size in curve]
    return pd.DataFrame(rows)


def paired_decay_table(cells: Sequence[StoredCell], pairs: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return the differences of the decay curves of pairs of models over the cells that both have.

    Args:
        cells: of one experiment.
        pairs: (first, second) names of models; the difference is first minus second.

    Returns:
        One row a pair and ring: first_db and second_db (the curves, means over images), estimate, low, high (a band
        that holds the whole curve), p_ring (corrected for the rings), p (of the whole curve), images. Rings that some
        of the scenes lack are left out.
    """
    curves, rows = decay_curves(cells), []
    for first, second in pairs:
        curves_first, curves_second = (
            curves[curves["model"] == name].pivot_table("size_db", KEYS, "distance_px") for name in (first, second)
        )
        both = curves_first.index.intersection(curves_second.index)
        rings = (
            curves_first.loc[both].dropna(axis=1).columns.intersection(curves_second.loc[both].dropna(axis=1).columns)
        )
        if not len(both) or not len(rings):
            continue
        images = both.get_level_values("image").to_numpy(str)
        gaps = compare_decay(curves_first.loc[both, rings], curves_second.loc[both, rings], images)
        ends = np.where(np.isfinite([gaps.low, gaps.high]), [gaps.low, gaps.high], np.nan)
        means = [
            part.loc[both, rings].groupby(images).mean().mean().to_numpy() for part in (curves_first, curves_second)
        ]
        head = {"first": first, "second": second, "p": gaps.p, "images": gaps.clusters}
        values = zip(rings.astype(int), *means, gaps.gap, *ends, gaps.p_ring, strict=True)
        rows += [head | dict(zip(RING_COLUMNS, row, strict=True)) for row in values]
    return pd.DataFrame(rows, columns=["first", "second", *RING_COLUMNS, "p", "images"])


def paired_table(table: pd.DataFrame, pairs: Sequence[Sequence[str]], columns: Sequence[str]) -> pd.DataFrame:
    """Return the differences of pairs of models over the cells that both have, with intervals over images.

    Args:
        table: from `cells_table`.
        pairs: (first, second) names of models; the difference is first minus second.
        columns: quantities.

    Returns:
        One row a pair and quantity: estimate, low, high, p (sign flips of images), images. Pairs without a common
        cell have no row.
    """
    rows = []
    for first, second in pairs:
        for column in columns:
            estimate = difference(table, first, second, column)
            if estimate:
                rows.append({"first": first, "second": second, "quantity": column, **estimate})
    return pd.DataFrame(rows, columns=["first", "second", "quantity", "estimate", "low", "high", "p", "images"])


def difference(table: pd.DataFrame, first: str, second: str, column: str) -> dict[str, float]:
    """Return estimate, interval, p and number of images of one paired difference; empty without a common cell."""
    values_first, values_second = (table[table["model"] == name].set_index(KEYS)[column] for name in (first, second))
    gap = (values_first - values_second).dropna()
    if gap.empty:
        return {}
    test = cluster_test(gap.to_numpy(float), gap.index.get_level_values("image").to_numpy(str))
    low, high = (end if np.isfinite(end) else np.nan for end in (test.low, test.high))
    return {"estimate": test.mean, "low": low, "high": high, "p": test.p, "images": test.clusters}
