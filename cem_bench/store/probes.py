"""What was measured to judge whether a map is valid at all: arrays that the instrument leaves for its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cem_bench.store.maps import EffectMap


@dataclass(frozen=True, eq=False)
class Probes:
    """What was measured to judge one map.

    Attributes:
        blocks: (blocks,) flat index of those that can reach the ROI.
        effects: (blocks, n) draws of the map, dB.
        donors: (blocks, n) donor of each draw.
        pool: donors in the pool.
        randomised: name of each stage to the map under weights randomised that far.
        steps: numbers of blocks intervened on together.
        joint: order to joint effects, (steps, draws of half B) dB.
        fields: (blocks, fields, n) effects under several noise fields, dB, or None where nothing is drawn.
        tol: a mean colours a block where its size is at least tol, dB.
        roots: key to root of every run that this was read from.
    """

    blocks: Sequence[int]
    effects: np.ndarray
    donors: np.ndarray
    pool: int
    randomised: Mapping[str, EffectMap]
    steps: Sequence[int]
    joint: Mapping[str, np.ndarray]
    fields: np.ndarray | None
    tol: float
    roots: Mapping[str, str]
