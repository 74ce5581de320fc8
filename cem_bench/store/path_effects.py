"""What was measured to split the effects of a map by path: arrays that the instrument leaves for its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cem_bench.store.maps import EffectMap


@dataclass(frozen=True, eq=False)
class Paths:
    """The effects of one map, split by path; effects of a draw are paired, all of the same donor.

    Attributes:
        total: map of the real network.
        blocks: (m,) flat index of those that can reach the ROI.
        distance: (m,) of each of them to the ROI, clean pixels.
        effects: (m, n) draws of the real network, dB.
        pixels: (m, N) the same draws with every mixing op at its clean value, and more of them, dB.
        first_order: (m, N, pools) what each pool adds, by the adjoint, dB.
        pools: name of each pool, in the order in which they run.
        unknown: mixing ops without an adjoint part.
        sampled: (s,) places in `blocks` where the following were measured by forwards.
        alone: (s, k) effect of the pools alone, the pixels of the untouched image, dB.
        released: (s, k, pools) effect of one pool, later ones running and earlier ones held, by forwards, dB.
        own: outcome of the untouched image, dB.
        under_others: the same with the pooled values at their mean over other images; NaN where it was not measured.
        others: number of those images.
        tol: an |effect| under it counts as none, dB.
        correction: of the verdicts for the number of blocks.
        roots: key to root of every run that this was read from.
    """

    total: EffectMap
    blocks: Sequence[int]
    distance: np.ndarray
    effects: np.ndarray
    pixels: np.ndarray
    first_order: np.ndarray
    pools: Sequence[str]
    unknown: Sequence[str]
    sampled: np.ndarray
    alone: np.ndarray
    released: np.ndarray
    own: float
    under_others: float
    others: int
    tol: float
    correction: str
    roots: Mapping[str, str]

    @property
    def pooled(self) -> np.ndarray:
        """(m, n) what goes through the pools: the real network's draw less the one along the pixels, dB."""
        return self.effects - self.pixels[:, : self.effects.shape[1]]

    @property
    def cheap(self) -> np.ndarray:
        """(m, N) draws by the adjoint level, dB: along the pixels, and every pool to first order."""
        return self.pixels + self.first_order.sum(axis=2)

    def of_path(self) -> Mapping[str, np.ndarray]:
        """Return the draws by path, (m, n) dB each, (m, N) along the pixels."""
        return {"total": self.effects, "along the pixels": self.pixels, "through the pools": self.pooled}
