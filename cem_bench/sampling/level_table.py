"""The table of a map by two levels, and what its record says of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem_bench.sampling.judged import Judged
from cem_bench.sampling.level_draws import RINGS
from cem_bench.stats.blocks import ESTIMATED, BlockTable
from cem_bench.stats.estimates import RESOLUTION, Estimate
from cem_bench.stats.looks import interval, strata_count
from cem_bench.stats.residual import AUDIT_RISK, escape
from cem_bench.stats.two_level import two_level

__all__ = ["carried", "facts", "level_table"]


def level_table(judged: Judged) -> BlockTable:
    """Return estimate, interval and verdict of every block.

    A block with two real draws or more has its estimate by both levels, without bias for the real network. One that is
    called none unseen has the cheap level's, its interval widened by the bound that the audit shows. One that the level
    does not serve has that of its real draws.

    Estimand: mean effect (dB) over the donor pool, of this image, ROI, block, degradation and noise field.
    Assumes: as `two_level.two_level`, `looks.interval` and `residual.Evidence`.

    Source: `two_level.two_level`.
    """
    rule, draws = judged.rule, judged.draws
    rows = {name: np.full(len(judged.blocks), np.nan) for name in ESTIMATED}
    for (led, n_cheap, n_real), places in _alike(judged).items():
        blocks = [judged.blocks[place] for place in places]
        ends, wider = _estimates(judged, blocks, led=led, n_cheap=n_cheap, n_real=n_real)
        values = (ends.mean, ends.error, ends.low - wider, ends.high + wider)
        for name, column in zip(ESTIMATED, (*values, *values[2:]), strict=True):
            rows[name][places] = column
    shown = [(draws.cheap if led else draws.real)[at] for at, led in zip(judged.blocks, judged.served, strict=True)]
    cheap, real = judged.counts
    return BlockTable(
        np.array(judged.blocks, dtype=np.int64),
        np.where(judged.served, cheap, real),
        **rows,
        verdict=judged.verdict,
        below_resolution=np.array([len(part) > 0 and np.abs(part).max() < RESOLUTION for part in shown], dtype=bool),
        tol=rule.region,
        level=1 - rule.confidence,
        correction=rule.correction,
    )


def _alike(judged: Judged) -> Mapping[tuple[bool, int, int], list[int]]:
    """Return places of blocks by whether the level serves them and by their numbers of draws."""
    groups: defaultdict[tuple[bool, int, int], list[int]] = defaultdict(list)
    for place, (led, cheap, real) in enumerate(zip(judged.served, *judged.counts, strict=True)):
        groups[bool(led), int(cheap), int(real)].append(place)
    return groups


def _estimates(judged: Judged, blocks: list[int], *, led: bool, n_cheap: int, n_real: int) -> tuple[Estimate, float]:
    """Return the estimates of blocks that have the same numbers of draws, and what their intervals lack."""
    rule, draws, count = judged.rule, judged.draws, strata_count(judged.draws.labels)
    n = n_cheap if led else n_real
    level = np.stack([(draws.cheap if led else draws.real)[block] for block in blocks])
    labels = None if draws.labels is None else np.stack([draws.labels[block][:n] for block in blocks])
    looks = rule.cheap_looks if led else rule.looks
    base = interval(level, labels, rule.confidence, looks=looks, tol=rule.region, count=count)
    if not led:
        return base, 0.0
    if n_real < 2:
        return base, max(judged.limits.values(), default=judged.bound)
    real = np.stack([draws.real[block] for block in blocks])
    return two_level(real, level, rule.confidence, base), 0.0


def carried(judged: Judged, table: BlockTable) -> dict[int, NDArray[np.float64]]:
    """Return for every block draws with the mean and the standard error of its estimate: its cheap draws, moved.

    What takes draws, as the sum over a map, so gets the two levels' estimate and its error. Blocks without a level
    keep their real draws.
    """
    out = {}
    for place, (block, led) in enumerate(zip(judged.blocks, judged.served, strict=True)):
        level = judged.draws.cheap[block] if led else judged.draws.real[block]
        own = float(level.std(ddof=1)) / len(level) ** 0.5 if len(level) > 1 else 0.0
        known = bool(led) and own > 0 and np.isfinite(table.error[place])
        stretch = float(table.error[place]) / own if known else 1.0
        out[block] = table.mean[place] + (level - level.mean()) * stretch if led else level
    return out


def facts(judged: Judged) -> dict[str, Any]:
    """Return what the record says of the levels: draws of each, variance left and cost by ring, and the audit."""
    rule, (cheap, real) = judged.rule, judged.counts
    place = {block: at for at, block in enumerate(judged.blocks)}
    rings = []
    for ring in judged.rings:
        inside = np.array([at for block, at in place.items() if judged.draws.ring[block] == ring.ring])
        rings.append(
            {
                "up_to_px": RINGS[ring.ring] if np.isfinite(RINGS[ring.ring]) else None,
                "blocks": ring.blocks,
                "variance_left": float(f"{ring.left:.4g}"),
                "mean_left": float(f"{ring.mean:.4g}"),
                "cost_forwards": float(f"{ring.cost:.4g}"),
                "level_used": ring.serves,
                "cheap_draws": int(cheap[inside].sum()),
                "real_draws": int(real[inside].sum()),
            }
        )
    unseen = judged.unneeded & (real < rule.minimum) & (not judged.audit_failed)
    sample = len(judged.limits)
    audit = {
        "kind": rule.audit,
        "blocks": sample,
        "failed": judged.audit_failed,
        "called_none_unseen": int(unseen.sum()),
        "rest_limit": max(judged.limits.values(), default=None),
        "bound": judged.bound,
        "share_beyond_at_95": round((1 - 0.05 ** (1 / sample)) / (1 - AUDIT_RISK), 4) if sample else None,
        "part_of_fdr": round(escape(sample), 4) if sample and unseen.any() else 0.0,
    }
    return {"cheap_draws": int(cheap.sum()), "real_draws": int(real.sum()), "rings": rings, "audit": audit}
