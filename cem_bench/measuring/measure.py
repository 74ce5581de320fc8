"""The straight line from a cell to its map.

clean -> observation -> engine -> rounds of draws -> store -> proof -> map -> record
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cem_bench.engine.cost import Cost
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring import fingerprint
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.drawing import Drawing, draw_matrix
from cem_bench.measuring.joint import joint_of_map
from cem_bench.measuring.leasing import Stores, claimed
from cem_bench.measuring.level_drawing import drawing_of
from cem_bench.measuring.measurement import Measurement
from cem_bench.measuring.opened import store_of
from cem_bench.measuring.outcome import psnr
from cem_bench.measuring.prepared import Bench, MeasureError, Progress, to_tensor
from cem_bench.measuring.provenance import provenance
from cem_bench.measuring.ready import Ready
from cem_bench.measuring.stochastic import split
from cem_bench.store import maps
from cem_bench.store.draws import Store
from cem_bench.store.matrix import EffectMatrix


def measure(
    cell: Cell,
    root: Path | None = None,
    progress: Progress = lambda done, total, text: None,
    *,
    also: Sequence[Rect] = (),
    wait: bool = True,
    ready: Ready | None = None,
    watch: Callable[[Drawing], None] = lambda drawing: None,
) -> Measurement:
    """Measure one cell, or what is missing of it.

    Args:
        cell: what to measure.
        root: folder of the store; None to keep nothing on disk.
        progress: called with draws done, draws known to be wanted, and a word on the stage.
        also: further ROIs whose outcome every forward made here gives as well, for networks that compute the whole
            image anyway; their draws are kept under their own keys and proven when they are measured themselves.
        wait: where another process measures this cell, until it is done.
        ready: the cell's network, set up on its image already.
        watch: called once, before the first draw, with what the draws can be looked at through while they are made.

    Returns:
        Map, store, images and record. Draws that are stored already are not made again.

    Raises:
        BusyError: if another process measures this cell and `wait` is false.
        MeasureError: if the network cannot take the observation, answers something else than an image of the right
            size, or the engine's numbers differ from the full forward's.
        OSError: if the store cannot be written.
    """
    with claimed(cell, root, also, wait=wait) as stores:
        return _measure(cell, stores, root, progress, ready, watch)


def _measure(
    cell: Cell,
    stores: Stores,
    root: Path | None,
    progress: Progress,
    ready: Ready | None,
    watch: Callable[[Drawing], None],
) -> Measurement:
    """Measure a cell whose stores are claimed."""
    store, whole = stores.own, Cost()
    with whole.counted():
        with cell.model.forwards():
            drawing = drawing_of(cell, store, stores.beside, root, progress, ready and ready.at(cell))
        beside = [(drawn.bench, drawn.store) for drawn in drawing.beside]
        together = [] if stores.joint is None else [(drawing.bench, stores.joint)]
        with drawing.fingerprint.counted():
            written = [(drawing.bench, store), *beside, *together, *drawing.stores]
            compared = fingerprint.compare(drawing.bench, written)
        watch(drawing)
        taken, proof = drawing.until_proven()
    bench, tol = drawing.bench, cell.options.threshold
    effect_map = maps.build_map(cell.scene.grid.shape, taken, cell.sampling, bench.status(), tol=tol)
    record = _record(drawing, effect_map, proof, whole)
    record["fingerprint"] = compared
    effects = {block: cell.sampling.estimate(draws) for block, draws in taken.items()}
    record["joint"] = joint_of_map(bench, stores.joint, effects, cell.options.joint)
    if cell.options.stochastic:
        record["stochastic"] = split(store.rows)
    record |= drawing.facts()
    store.write_record(record)
    images = bench.observation, bench.restored
    return Measurement(cell, effect_map, taken, store, *images, {"key": store.key, **record}, drawing.table)


def measure_matrix(
    cell: Cell,
    root: Path | None,
    draws: int,
    progress: Progress = lambda done, total, text: None,
    *,
    wait: bool = True,
) -> tuple[EffectMatrix, Store, dict[str, Any]]:
    """Measure the effect of every block on every output block: all regions of interest at once.

    Args:
        cell: what to measure; its scene's ROI and rule play no part.
        root: folder of the store; None to keep nothing on disk.
        draws: draws a block, at least 2.
        progress: called with blocks done, blocks wanted, and a word on the stage.
        wait: as `measure`.

    Returns:
        The matrix, its store, and the record. Blocks that are stored already are not measured again.

    Raises:
        MeasureError: as `measure`.
        OSError: if the store cannot be written.
    """
    if cell.options.stochastic:
        raise ValueError("roi=grid measures networks that draw no random numbers: leave stochastic=0, or choose a ROI.")
    whole = dataclasses.replace(cell.scene, roi=Rect(0, 0, *cell.scene.size))
    cell = dataclasses.replace(cell, scene=whole)
    if cell.options.outcomes != ("psnr",):
        asked = ", ".join(cell.options.outcomes)
        raise MeasureError(f"roi=grid measures the PSNR of every output block, got outcome={asked}.")
    store = store_of(cell, root, "matrix", draws_a_block=draws)
    with store.claimed(wait=wait):
        return _measure_matrix(cell, store, draws, progress)


def _measure_matrix(
    cell: Cell, store: Store, draws: int, progress: Progress
) -> tuple[EffectMatrix, Store, dict[str, Any]]:
    """Measure a matrix whose store is claimed."""
    started = time.perf_counter()
    whole = cell.scene
    with cell.model.forwards():
        bench = Bench.of(cell)
    compared = fingerprint.compare(bench, [(bench, store)])
    bench, new_blocks, proof = draw_matrix(bench, store, draws, progress)
    matrix = EffectMatrix(whole.grid, store.rows)
    record = {
        "model": cell.model.name,
        "scene": whole.name,
        "identity": store.identity,
        "r50_px": matrix.radius_px(0.5),
        "r90_px": matrix.radius_px(0.9),
        "stored_pairs": len(store.rows),
        **bench.facts(),
        "proof": proof,
        "fingerprint": compared,
        "session": {"new_blocks": new_blocks, "seconds": round(time.perf_counter() - started, 3)},
        "provenance": provenance(),
    }
    store.write_record(record)
    return matrix, store, {"key": store.key, **record}


def _record(drawing: Drawing, effect_map: maps.EffectMap, proof: dict[str, Any], whole: Cost) -> dict[str, Any]:
    bench, fresh = drawing.bench, len(drawing.fresh)
    cell = bench.cell
    draws_a_second = round(fresh / whole.seconds, 1) if fresh else None
    target = to_tensor(cell.scene.clean)[None].double()
    restored = to_tensor(bench.restored)[None]
    roi = (..., *cell.scene.roi.slices)
    return {
        "model": cell.model.name,
        "model_facts": dict(cell.model.facts),
        "trained_for": list(cell.model.tasks),
        "scene": cell.scene.name,
        "scene_source": cell.scene.source,
        "identity": drawing.store.identity,
        "degradation_parameters": _drawn_parameters(cell),
        "donors": cell.pool.manifest,
        "sampling": cell.sampling.describe(),
        "tol": cell.options.threshold,
        "unit": cell.options.facts.unit,
        "fdr": cell.options.fdr,
        "outcome": cell.options.outcome,
        "also_outcomes": list(cell.options.outcomes[1:]),
        "psnr_image_db": float(psnr(restored, target[0])[0]),
        "psnr_roi_db": float(psnr(restored[roi], target[0][roi])[0]),
        "summary": effect_map.summary(),
        **bench.facts(),
        "engines": drawing.engines,
        "proof": proof,
        "refuted": drawing.refuted,
        "checks": _checks(drawing, whole),
        "session": {"new_draws": fresh, "seconds": round(whole.seconds, 3), "draws_a_second": draws_a_second},
        "provenance": provenance(),
    }


def _checks(drawing: Drawing, whole: Cost) -> dict[str, Any]:
    """Return what the checks of a session cost: all together, and each in seconds of the processor."""
    costs = drawing.costs
    cpu_seconds = sum(cost.cpu_seconds for cost in costs.values())
    return {
        "seconds": round(sum(cost.seconds for cost in costs.values()), 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "share": round(cpu_seconds / whole.cpu_seconds, 4),
        "of_cpu_seconds": round(whole.cpu_seconds, 3),
        **{f"{name}_cpu_seconds": round(cost.cpu_seconds, 3) for name, cost in costs.items()},
    }


def _drawn_parameters(cell: Cell) -> dict[str, float]:
    parameters = getattr(cell.degradation, "parameters", None)
    return parameters(*cell.scene.size) if parameters else {}
