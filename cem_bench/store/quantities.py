"""The numbers of one cell, collected from its stored draws; what they mean is in `cem_bench.stats`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cem_bench.inputs.geometry import ring_distance
from cem_bench.inputs.sets import FAR, SURROUNDINGS
from cem_bench.stats.blocks import BlockTable
from cem_bench.stats.compare import cluster_mean
from cem_bench.stats.halves import halves
from cem_bench.stats.repeat import repeatability
from cem_bench.stats.scale import ANY, PERCENT, SHARE, SIZE
from cem_bench.stats.shares import map_shares
from cem_bench.stats.summaries import map_summary
from cem_bench.stats.verdicts import UNDECIDED
from cem_bench.store import maps
from cem_bench.store.cells import StoredCell
from cem_bench.store.joint_runs import joint_rows
from cem_bench.store.outcomes import facts_of

SHARES = (
    "share_positive",
    "share_negative",
    "share_undecided",
    "share_all_equal",
    "share_effect_paper",
    "flip_rate",
)
EFFECT_SHARES = ("harm_share", "far_share")  # of the sum of |effect|
# column: of which set, which number
JOINT = {
    "joint_db": (SURROUNDINGS, "effect"),
    "joint_far_db": (FAR, "effect"),
    "interaction_db": (SURROUNDINGS, "interaction"),
}
SIZES = ("positive_mass_db", "negative_mass_db", "size_db", "far_mass_db", "r50_px", "r90_px")
# Ranges of the numbers that have one: an interval over images stays inside.
SCALES = {"di": PERCENT} | dict.fromkeys((*SHARES, *EFFECT_SHARES), SHARE) | dict.fromkeys(SIZES, SIZE)


def measure_cell(cell: StoredCell) -> dict[str, object]:
    """Return the row of one cell: every number with `_low` and `_high` where it is an estimate."""
    return _facts(cell) | _range(cell) | _summary(cell) | _repeated(cell) | _together(cell)


def _summary(cell: StoredCell) -> dict[str, object]:
    reach, block = reach_px(cell), cell.grid.block
    # A block of ring d holds pixels from d - block away: the reach ends within a ring.
    farthest = None if np.isnan(reach) else float(np.ceil(reach / block) * block)
    quantities = map_summary(cell.effects, distances(cell), reach=farthest)
    shares = map_shares(cell.effects, distances(cell))
    quantities |= {name: shares[name] for name in EFFECT_SHARES}
    row: dict[str, object] = {}
    for name, estimate in quantities.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def _together(cell: StoredCell) -> dict[str, object]:
    """Return the joint effects that a table of cells has; nothing where none was drawn."""
    rows = {row["set"]: row for row in joint_rows(cell)}
    row: dict[str, object] = {}
    for column, (name, number) in JOINT.items():
        if name in rows:
            row |= {f"{column}{end}": rows[name][f"{number}{end}"] for end in ("", "_low", "_high")}
    return row


def _repeated(cell: StoredCell) -> dict[str, object]:
    pair = halves(cell.effects)
    repeat = repeatability(np.stack([pair.first, pair.second], axis=1), tol=cell.entry["tol"])
    row: dict[str, object] = {"flip_rate": repeat.flip_rate, "blocks_flippable": repeat.coloured, "icc": repeat.icc}
    return row | {"halves_r": repeat.correlation, "halves_r_low": repeat.low, "halves_r_high": repeat.high}


def distances(cell: StoredCell) -> dict[int, float]:
    """Return the distance of every block outside the ROI from it, clean pixels (`geometry.ring_distance`)."""
    outside = np.flatnonzero(cell.status.ravel() != maps.ROI)
    far = ring_distance(cell.grid, cell.roi)
    return {int(block): float(far[block]) for block in outside}


def ring_sizes(cell: StoredCell) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-fit |effect| (dB) and the distance (clean px) of every block outside the ROI."""
    far = distances(cell)
    sizes = dict.fromkeys(far, 0.0) | dict(zip(cell.effects, halves(cell.effects).size, strict=True))
    return np.array([sizes[block] for block in far]), np.array(list(far.values()))


def _facts(cell: StoredCell) -> dict[str, object]:
    entry = cell.entry
    names = ("task", "seed", "psnr_roi_db", "psnr_image_db", "observed_psnr_roi_db")
    head = {"model": cell.model, "scene": cell.scene, "image": cell.image, "variant": cell.variant}
    outcome = facts_of(entry["outcome"])
    head |= {} if outcome.unit == "dB" else {"unit": outcome.unit}  # of the columns of effects, whatever their names
    tail = {"engine": entry["engine"]["kind"], "precision": entry["engine"]["precision"], "run_key": entry["key"][:16]}
    tail |= {"commit": entry["provenance"]["commit"][:10], "seconds": entry["session"]["seconds"]}
    facts = {"reach_px": reach_px(cell), "global_statistics": entry["facts"]["global_statistics"] or ""}
    return head | {name: entry[name] for name in names} | tail | facts


def reach_px(cell: StoredCell) -> float:
    """Return how far a block may be seen in clean pixels: the network's reach, and what the degradation adds to it.

    NaN for the whole image.
    """
    reach = cell.entry["facts"]["reach"]
    scale = cell.entry["degradation"].get("factor", 1) if not cell.entry["degradation"].get("restore_size") else 1
    spread = cell.entry.get("spread_px", 0)  # entries have it where content is seen beyond its block
    return float(reach) * scale + spread if reach is not None else _seen_reach(cell)


def _seen_reach(cell: StoredCell) -> float:
    """Without a figure on the card: the farthest block that the engine could not rule out; NaN if it is all."""
    dead = cell.status.ravel() == maps.UNREACHABLE
    return float(ring_distance(cell.grid, cell.roi)[~dead].max()) if dead.any() else float("nan")


def _range(cell: StoredCell) -> dict[str, object]:
    table = cell.table
    shown = np.nan_to_num(table.mean)
    lowest, highest = int(shown.argmin()), int(shown.argmax())
    counts = table.counts() | {"all_equal": int(all_equal(table).sum())}
    total = int((cell.status != maps.ROI).sum())
    row: dict[str, object] = {}
    for name, index in (("min_db", lowest), ("max_db", highest)):
        row |= {name: shown[index], f"{name}_low": table.robust_low[index], f"{name}_high": table.robust_high[index]}
    row |= {f"blocks_{name}": count for name, count in counts.items()}
    row["blocks_unreachable"] = total - len(table.block)
    row |= {f"share_{name}": counts[name] / total for name in ("positive", "negative", "undecided", "all_equal")}
    row["share_effect_paper"] = float((np.abs(shown) >= table.tol).sum() / total)
    row["share_harm_paper"] = float((shown <= -table.tol).sum() / total)
    row["draws"] = int(table.n.sum())
    return row


def all_equal(table: BlockTable) -> np.ndarray:
    """Return which blocks are undecided only because their draws, all under tol, have no spread to test by, (m,)."""
    spread = table.error > 0  # NaN is not
    still = table.below_resolution & ~spread & (table.n > 1) & (np.abs(table.mean) < table.tol)
    return (table.verdict == UNDECIDED) & still


def over_images(values: pd.Series, images: pd.Series, *, recentred: bool = False) -> tuple[float, float, float]:
    """Return the mean over images of a cell's number with its interval (`stats.compare.cluster_mean`).

    Args:
        values: one a cell, named after its column (SCALES); cells without the number (NaN) are left out.
        images: the cluster of each cell.
        recentred: whether the values come from `within_images`.

    Returns:
        Mean, low, high; the ends are NaN where the images cannot tell, as where taking out the images' levels leaves
        values far outside the range.
    """
    known = values.notna().to_numpy()
    scale = SCALES.get(str(values.name), ANY)
    mean = cluster_mean(values.to_numpy(float)[known], images.to_numpy(str)[known], scale=scale)
    if recentred and (mean.low < scale.low or mean.high > scale.high):
        return mean.mean, np.nan, np.nan
    low, high = (end if np.isfinite(end) else np.nan for end in (mean.low, mean.high))
    return mean.mean, low, high


def within_images(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the table of an ablation with the differences between images taken out of some columns.

    Sizes (masses, radii) lose them in proportion: a setting that doubles them does so in every image, however large it
    is there. All else loses them by subtraction.

    Args:
        table: from `cells_table`; every image under every variant of a model and task.
        columns: quantities; their means over images stay as they are.

    Returns:
        The same rows; what is left to vary between images is how much the setting changes there.

    Source: within-subject intervals, Cousineau 2005, doi 10.20982/tqmp.01.1.p042; in proportion: the residuals of a
    ratio of means, Cochran 1977, 6.4.
    """
    lines, names = ["model", "task"], list(columns)
    own = table.groupby([*lines, "image"])[names].transform("mean")
    level = own - table.groupby(lines)[names].transform("mean")
    sizes = [name for name in names if SCALES.get(name) == SIZE]
    settings = [table[name] for name in (*lines, "variant")]
    mean, of_images = (part[sizes].groupby(settings).transform("mean") for part in (table, own))
    level[sizes] = own[sizes] * (mean / of_images.where(of_images > 0, mean)).fillna(1.0) - mean
    return table.assign(**(table[names] - level))  # pyright: ignore[reportArgumentType]
