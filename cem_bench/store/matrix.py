"""All regions of interest at once: the effect of every block on every output block. No torch.

One full forward holds the effect of one block on every part of the output. Kept, it gives a block x block matrix for
the price of one map, and with it how far effects carry over the whole image, not around one hand-picked ROI alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from cem_bench.inputs.geometry import Grid
from cem_bench.stats.halves import Halves
from cem_bench.stats.summaries import radius


def unit_of(block: int, effects: np.ndarray) -> dict[str, np.ndarray]:
    """Reduce the effects of one block's draws to the rows kept: targets that any draw moved, and the block itself.

    Args:
        block: flat index of the block intervened on.
        effects: (n, targets) dB, untouched minus intervened PSNR of every output block; n at least 2.

    Returns:
        Columns block, target, n, half_a_db, half_b_db (means over the draws of even and odd k) and variance.
    """
    if len(effects) < 2:
        raise ValueError(f"A block needs at least 2 draws, got {len(effects)}: its noise would be unknown.")
    moved = np.any(effects != 0, axis=0)
    moved[block] = True
    moved_effects, targets = effects[:, moved], np.flatnonzero(moved)
    return {
        "block": np.full(len(targets), block, dtype=np.int32),
        "target": targets.astype(np.int32),
        "n": np.full(len(targets), len(effects), dtype=np.int32),
        "half_a_db": moved_effects[::2].mean(axis=0),
        "half_b_db": moved_effects[1::2].mean(axis=0),
        "variance": moved_effects.var(axis=0, ddof=1),
    }


@dataclass(frozen=True, eq=False)
class EffectMatrix:
    """The effect of every block (rows) on every output block (columns).

    Attributes:
        grid: the blocks.
        rows: the stored table: block, target, n, half_a_db, half_b_db, variance.
    """

    grid: Grid
    rows: pd.DataFrame

    @property
    def mean_db(self) -> sparse.csr_matrix:
        """Average effects, (blocks, blocks) sparse, dB; what is not stored is exactly 0."""
        size = len(self.grid)
        index = self.rows["block"].to_numpy(), self.rows["target"].to_numpy()
        return sparse.csr_matrix((self.halves.mean, index), shape=(size, size))

    @property
    def halves(self) -> Halves:
        """Half means of every stored row: its mean, and its absolute effect without the upward push of noise."""
        return Halves(*(self.rows[name].to_numpy(float) for name in ("half_a_db", "half_b_db", "n")))

    def distance_px(self) -> np.ndarray:
        """Distance between block and target of every row, in clean pixels: 0 for itself, one block size next to it."""
        columns = self.grid.shape[1]
        apart = [
            abs(self.rows["block"].to_numpy(int) // columns - self.rows["target"].to_numpy(int) // columns),
            abs(self.rows["block"].to_numpy(int) % columns - self.rows["target"].to_numpy(int) % columns),
        ]
        return np.maximum(*apart) * self.grid.block

    def decay(self) -> pd.DataFrame:
        """Return what a block carries to its surroundings, by ring of distance.

        Returns:
            One row a distance: distance_px, pairs (of blocks at that distance in the grid), mass_db (cross-fit absolute
            effect), positive_db and negative_db (its two parts, both as positive numbers), each averaged over all
            pairs, zeros included.
        """
        table = pd.DataFrame({"distance_px": self.distance_px(), "mass_db": self.halves.size})
        table["positive_db"], table["negative_db"] = self.halves.positive, self.halves.negative
        sums = table.groupby("distance_px")[["mass_db", "positive_db", "negative_db"]].sum()
        pairs = pd.Series(_pairs(self.grid.shape), name="pairs")
        pairs.index = pairs.index * self.grid.block
        decay = sums.div(pairs, axis=0).join(pairs).fillna(0.0)
        return decay.rename_axis("distance_px").reset_index()[
            ["distance_px", "pairs", "mass_db", "positive_db", "negative_db"]
        ]

    def radius_px(self, share: float) -> float:
        """Return the distance within which `share` of the effect on other blocks lies, in clean pixels.

        Args:
            share: 0 to 1, as 0.5 for r50; the block's effect on itself is left out.

        Returns:
            That distance, linear between rings; NaN where no effect on other blocks can be told from noise.
        """
        distance = self.distance_px()
        elsewhere = distance > 0
        return radius(self.halves.size[elsewhere], distance[elsewhere], share)


def _pairs(shape: tuple[int, int]) -> dict[int, int]:
    """Count the ordered pairs of blocks at every Chebyshev distance (in blocks)."""
    rows, columns = shape
    vertical = np.array([rows] + [2 * (rows - d) for d in range(1, rows)])
    horizontal = np.array([columns] + [2 * (columns - d) for d in range(1, columns)])
    counts = np.outer(vertical, horizontal)
    apart = np.maximum(*np.indices(counts.shape))
    return {int(d): int(counts[apart == d].sum()) for d in np.unique(apart)}
