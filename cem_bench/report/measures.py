"""The numbers of one cell, from its stored draws.

Sums of sizes are cross-fit: the draws of a block are split into two halves, each taking its sign from the other, so
that noise adds nothing on average. Intervals of a cell resample its draws within every block (they say how well this
map is known); intervals over cells take the images as the sample (they say what holds beyond these images).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cem_bench import maps
from cem_bench.geometry import Rect
from cem_bench.report.collect import StoredCell
from cem_bench.stats.estimates import t_interval

RESAMPLES, SEED = 100, 0
BAND = (2.5, 97.5)
Halves = tuple[np.ndarray, np.ndarray]


def ring_distance(cell: StoredCell) -> np.ndarray:
    """Return every block's distance to the ROI, clean pixels: 0 where it touches, else the gap plus one block.

    Returns:
        (blocks,) Chebyshev distance in multiples of the block.
    """
    grid, roi = cell.grid, cell.roi

    def gap(block: Rect) -> int:
        rows = max(block.top - roi.bottom, roi.top - block.bottom, -grid.block)
        columns = max(block.left - roi.right, roi.left - block.right, -grid.block)
        return max(rows, columns) + grid.block

    return np.array([max(gap(grid.rect(index)), 0) for index in range(len(grid))])


def halves(effects: Mapping[int, np.ndarray], rng: np.random.Generator | None = None) -> Halves:
    """Return the mean of the even and of the odd draws of every block, of a resample of each if `rng` is given."""
    counts = np.array([len(draws) for draws in effects.values()])
    found = np.full((2, len(counts)), np.nan)
    for count in np.unique(counts):
        members = np.flatnonzero(counts == count)
        draws = np.stack([one for one, n in zip(effects.values(), counts, strict=True) if n == count])
        for half, part in enumerate((draws[:, 0::2], draws[:, 1::2])):
            if part.shape[1]:
                chosen = np.arange(part.shape[1]) if rng is None else rng.integers(part.shape[1], size=part.shape)
                picked = part[:, chosen] if rng is None else np.take_along_axis(part, chosen, axis=1)
                found[half, members] = picked.mean(axis=1)
    return found[0], found[1]


def sizes(pair: Halves) -> np.ndarray:
    """Return the cross-fit |effect| of every block, dB; unbiased by noise, so that single values may be negative."""
    first, second = pair
    return np.nan_to_num(0.5 * (first * np.sign(second) + second * np.sign(first)))


def _masses(pair: Halves, distance: np.ndarray) -> dict[str, float]:
    first, second = (np.nan_to_num(half) for half in pair)
    positive = 0.5 * (first * (second > 0) + second * (first > 0)).sum()
    negative = -0.5 * (first * (second < 0) + second * (first < 0)).sum()
    size = sizes(pair)
    return {
        "positive_mass_db": float(positive),
        "negative_mass_db": float(negative),
        "net_mass_db": float(0.5 * (first + second).sum()),
        "size_db": float(size.sum()),
        "far_mass_db": float(size[distance > 16].sum()),
        "r50_px": radius(size, distance, 0.5),
        "r90_px": radius(size, distance, 0.9),
    }


def radius(size: np.ndarray, distance: np.ndarray, share: float) -> float:
    """Return the distance to the ROI within which `share` of the effect lies, clean pixels, linear between rings.

    Args:
        size: (blocks,) cross-fit |effect|, dB.
        distance: (blocks,) from `ring_distance`.
        share: 0 to 1.

    Returns:
        NaN where no effect can be told from noise.
    """
    rings, index = np.unique(distance, return_inverse=True)
    by_ring = np.clip(np.bincount(index, size, len(rings)), 0, None)
    if by_ring.sum() <= 0:
        return float("nan")
    reached = np.cumsum(by_ring) / by_ring.sum()
    return float(np.interp(share, np.concatenate([[0], reached]), np.concatenate([[0], rings])))


def measure_cell(cell: StoredCell) -> dict[str, object]:
    """Return the row of one cell: every number with `_low` and `_high` where it is an estimate."""
    live = np.array(list(cell.effects))
    distance = ring_distance(cell)[live]
    point = _masses(halves(cell.effects), distance)
    rng = np.random.Generator(np.random.Philox(SEED))
    again = pd.DataFrame([_masses(halves(cell.effects, rng), distance) for _ in range(RESAMPLES)])
    row: dict[str, object] = {}
    for name, value in point.items():
        low, high = np.nanpercentile(again[name], BAND) if again[name].notna().any() else (np.nan, np.nan)
        # A resample of halves is noisier than the halves: the interval is moved onto the estimate.
        shift = value - float(again[name].mean())
        row |= {name: value, f"{name}_low": low + shift, f"{name}_high": high + shift}
    return _facts(cell) | _range(cell) | row


def _facts(cell: StoredCell) -> dict[str, object]:
    said = cell.entry
    names = ("task", "seed", "psnr_roi_db", "psnr_image_db", "observed_psnr_roi_db")
    head = {"model": cell.model, "scene": cell.scene, "image": cell.image, "variant": cell.variant}
    tail = {"engine": said["engine"]["kind"], "precision": said["engine"]["precision"], "run_key": said["key"][:16]}
    facts = {"reach_px": reach_px(cell), "global_statistics": said["facts"]["global_statistics"] or ""}
    return head | {name: said[name] for name in names} | tail | facts


def reach_px(cell: StoredCell) -> float:
    """Return the network's theoretical reach in clean pixels; NaN for the whole image."""
    reach = cell.entry["facts"]["reach"]
    scale = cell.entry["degradation"].get("factor", 1) if not cell.entry["degradation"].get("restore_size") else 1
    return float(reach) * scale if reach is not None else _seen_reach(cell)


def _seen_reach(cell: StoredCell) -> float:
    """Without a figure on the card: the farthest block that the engine could not rule out; NaN if it is all."""
    dead = cell.status.ravel() == maps.UNREACHABLE
    return float(ring_distance(cell)[~dead].max()) if dead.any() else float("nan")


def _range(cell: StoredCell) -> dict[str, object]:
    table = cell.table
    shown = np.nan_to_num(table.mean)
    lowest, highest = int(shown.argmin()), int(shown.argmax())
    counts = table.counts()
    total = int((cell.status != maps.ROI).sum())
    row: dict[str, object] = {}
    for name, index in (("min_db", lowest), ("max_db", highest)):
        row |= {name: shown[index], f"{name}_low": table.robust_low[index], f"{name}_high": table.robust_high[index]}
    row |= {f"blocks_{name}": count for name, count in counts.items()}
    row["blocks_unreachable"] = total - len(table.block)
    row |= {f"share_{name}": counts[name] / total for name in ("positive", "negative", "undecided")}
    row["share_effect_paper"] = float((np.abs(shown) >= table.tol).sum() / total)
    row["draws"] = int(table.n.sum())
    return row


def over_images(values: pd.Series, images: pd.Series) -> tuple[float, float, float]:
    """Return the mean over images of the mean within an image, with Student's 95 % interval over images.

    Args:
        values: one a cell.
        images: the cluster of each cell.

    Returns:
        Mean, low, high; the ends are NaN for fewer than two images.
    """
    by_image = values.groupby(images.to_numpy()).mean().dropna().to_numpy(float)
    found = t_interval(by_image)
    ends = (float(found.low), float(found.high))
    if len(by_image) > 1 and np.ptp(by_image) == 0:
        ends = (float(found.mean), float(found.mean))  # equal images are equal, not unresolved draws
    low, high = (end if np.isfinite(end) else np.nan for end in ends)
    return float(found.mean), low, high
