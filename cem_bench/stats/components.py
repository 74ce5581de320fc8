"""Two variances of an effect: over donors, and over a network's own random numbers. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["components", "of_block"]

RESAMPLES, LEVEL = 2000, 0.95


def of_block(effects: NDArray[np.float64]) -> tuple[float, float]:
    """Split the variance of one block's effects.

    Args:
        effects: (draws, states) dB, at least 2 of each.

    Returns:
        The variance over donors of the effect averaged over all states that there are, and the variance over states of
        the effect of one donor, both dB^2. Unbiased, so that they may come out below 0 where there is none.

    Estimand: variances (dB^2) of this block's effect over the donor pool and over the network's random states.
    Assumes: every draw is measured in every state; donors and states are independent samples.

    Source: two-way random effects without replication, Searle, Casella and McCulloch 1992, section 4.
    """
    draws, states = effects.shape
    by_donor, by_state = effects.mean(axis=1), effects.mean(axis=0)
    rest = effects - by_donor[:, None] - by_state + effects.mean()
    of_rest = float((rest**2).sum() / ((draws - 1) * (states - 1)))
    donors = float(by_donor.var(ddof=1)) - of_rest / states
    network = float(by_state.var(ddof=1)) - of_rest / draws + of_rest
    return donors, network


def components(effects: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Average both variances over blocks, with intervals that resample blocks.

    Args:
        effects: of every block, (draws, states) dB.

    Returns:
        `donors_db2` and `network_db2`, each with its 95 % interval; None where no block has two draws.

    Estimand: means over this map's blocks of both variances, dB^2.
    Assumes: as `of_block`; blocks are exchangeable, for the interval.

    Source: `of_block`; percentile bootstrap, Efron and Tibshirani 1993, ch. 13.
    """
    pairs = np.array([of_block(block) for block in effects if min(block.shape) >= 2])
    if not len(pairs):
        return {"donors_db2": None, "network_db2": None, "blocks": 0}
    rng = np.random.Generator(np.random.Philox(0))
    means = np.stack([pairs[rng.integers(len(pairs), size=len(pairs))].mean(axis=0) for _ in range(RESAMPLES)])
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    facts: dict[str, Any] = {"blocks": len(pairs)}
    for place, name in enumerate(("donors", "network")):
        facts[f"{name}_db2"] = float(pairs[:, place].mean())
        facts[f"{name}_db2_interval_95"] = [float(low[place]), float(high[place])]
    return facts
