"""Tables of an experiment: one row a cell, one row a model, decay by distance, paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from cem_bench.report.collect import StoredCell
from cem_bench.report.measures import halves, measure_cell, over_images, ring_distance, sizes

GROUP = ["model", "variant", "task"]
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
    "r50_px",
    "r90_px",
    "share_positive",
    "share_negative",
    "share_undecided",
    "share_effect_paper",
)


def cells_table(cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return one row a cell, sorted by task, model, variant and scene."""
    table = pd.DataFrame([measure_cell(cell) for cell in cells])
    table.insert(0, "psnr_gain_db", table["psnr_roi_db"] - beside(table))
    return table.sort_values(["task", "model", "variant", "scene", "seed"], ignore_index=True)


def beside(table: pd.DataFrame) -> pd.Series:
    """Return for every cell the mean PSNR, on its scene and task, of the models that have most scenes of that task."""
    counts = table.groupby(["task", "model"])["scene"].transform("nunique")
    everywhere = counts == counts.groupby(table["task"]).transform("max")
    keys = ["scene", "task"]
    means = table[everywhere].groupby(keys)["psnr_roi_db"].mean().rename("beside")
    return table[keys].join(means, on=keys)["beside"]


def summary_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row a model, variant and task: means over images with 95 % intervals over images."""
    rows = []
    for key, part in table.groupby(GROUP, sort=False):
        row: dict[str, object] = dict(zip(GROUP, key, strict=True))  # pyright: ignore[reportArgumentType]
        row |= {"label": label(str(row["model"]), str(row["variant"])), "images": part["image"].nunique()}
        row |= {"cells": len(part), "draws": int(part["draws"].sum()), "reach_px": float(part["reach_px"].max())}
        for name in AVERAGED:
            row |= _spread(name, over_images(part[name], part["image"]))
        rows.append(row)
    return pd.DataFrame(rows)


def label(model: str, variant: str) -> str:
    """Name a line of a plot."""
    return f"{model} ({variant})" if variant else model


def _spread(name: str, interval: tuple[float, float, float]) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def decay_table(cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return the cross-fit |effect| of a block by its distance to the ROI, a model and variant, with intervals."""
    rows = []
    for cell in cells:
        live = np.array(list(cell.effects))
        distance, size = ring_distance(cell), np.zeros(len(cell.grid))
        size[live] = sizes(halves(cell.effects))
        outside = cell.status.ravel() != 1
        ring = pd.Series(size[outside]).groupby(distance[outside]).mean()
        name = label(cell.model, cell.variant)
        rows += [
            {"label": name, "image": cell.image, "distance_px": int(at), "size_db": value}
            for at, value in zip(ring.index.to_numpy(), ring.to_numpy(), strict=True)
        ]
    found = []
    for (name, at), part in pd.DataFrame(rows).groupby(["label", "distance_px"], sort=False):
        interval = over_images(part["size_db"], part["image"])
        found.append(
            {"label": name, "distance_px": at, "images": part["image"].nunique(), **_spread("size_db", interval)}
        )
    return pd.DataFrame(found)


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
            found = difference(table, first, second, column)
            if found:
                rows.append({"first": first, "second": second, "quantity": column, **found})
    return pd.DataFrame(rows, columns=["first", "second", "quantity", "estimate", "low", "high", "p", "images"])


def difference(table: pd.DataFrame, first: str, second: str, column: str) -> dict[str, float]:
    """Return estimate, interval, p and number of images of one paired difference; empty without a common cell."""
    keys = ["scene", "seed", "variant", "image", "task"]
    one, other = (table[table["model"] == name].set_index(keys)[column] for name in (first, second))
    gap = (one - other).dropna()
    if gap.empty:
        return {}
    images = pd.Series(gap.index.get_level_values("image"))
    estimate, low, high = over_images(gap.reset_index(drop=True), images)
    by_image = gap.groupby("image").mean().to_numpy(float)
    return {"estimate": estimate, "low": low, "high": high, "p": sign_flip_p(by_image), "images": len(by_image)}


def sign_flip_p(values: np.ndarray) -> float:
    """Return the two-sided p of "differences are symmetric about 0" by sign flips of whole images.

    Args:
        values: (images,) differences; every flip up to 14 images, 20,000 random ones above.

    Returns:
        At least 2 / 2^images; 1 for fewer than two images.
    """
    if len(values) < 2:
        return 1.0
    rng = np.random.Generator(np.random.Philox(0))
    found = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=20_000, rng=rng)
    return float(found.pvalue)
