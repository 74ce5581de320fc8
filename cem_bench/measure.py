"""The straight line from a cell to its map.

clean -> observation -> engine -> rounds of draws -> store -> proof -> map -> record
"""

from __future__ import annotations

import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cem_bench import maps
from cem_bench.bench import Bench, Progress, to_tensor
from cem_bench.cell import Cell
from cem_bench.outcome import to_measure
from cem_bench.store import Store


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a cell came to: the map, where its draws are, the images, and the record."""

    effect_map: maps.EffectMap
    store: Store
    observation: np.ndarray
    restored: np.ndarray
    record: dict[str, Any]


def measure(cell: Cell, root: Path, progress: Progress = lambda done, total, text: None) -> Measurement:
    """Measure one cell, or what is missing of it.

    Args:
        cell: what to measure.
        root: folder of the store.
        progress: called with draws done, draws known to be wanted, and a word on the stage.

    Returns:
        Map, store, images and record. Draws that are stored already are not made again.

    Raises:
        MeasureError: if the network cannot take the observation, answers something else than an image of the right
            size, or the engine's numbers differ from the full forward's.
        OSError: if the store cannot be written.
    """
    started = time.perf_counter()
    bench = Bench.of(cell)
    store = Store(root, cell.identity())
    status = bench.status()
    live = np.flatnonzero(status.ravel() == maps.MEASURED).tolist()
    fresh = _draw_rounds(bench, store, live, progress)
    proof = bench.prove(store, fresh, progress)
    effects = store.effects(live, cell.options.outcome)
    effect_map = maps.build_map(cell.scene.grid.shape, effects, cell.rule, status, tol=cell.options.tol)
    record = _record(bench, effect_map, proof, fresh=len(fresh), seconds=time.perf_counter() - started)
    store.write_record(record)
    return Measurement(effect_map, store, bench.observation, bench.restored, {"key": store.key, **record})


def _draw_rounds(bench: Bench, store: Store, live: list[int], progress: Progress) -> list[tuple[int, int]]:
    """Ask the rule for draws until it is satisfied; whatever happens, what was measured is written."""
    cell, fresh = bench.cell, []
    known = done = len(store.draws)
    try:
        while requests := cell.rule.next_round(store.effects(live, cell.options.outcome)):
            known += sum(request.last - request.first for request in requests)
            for request in requests:
                store.append(bench.run(request))
                fresh += [(request.block, k) for k in range(request.first, request.last)]
                done += request.last - request.first
                progress(done, known, "drawing")
    finally:
        store.flush()
    return fresh


def _record(
    bench: Bench, effect_map: maps.EffectMap, proof: dict[str, Any], *, fresh: int, seconds: float
) -> dict[str, Any]:
    cell = bench.cell
    draws_a_second = round(fresh / seconds, 1) if fresh else None
    target = to_tensor(cell.scene.clean)[None].double()
    restored = to_tensor(bench.restored)[None]
    roi = (..., *cell.scene.roi.slices)
    psnr = to_measure("psnr")[0].compute
    return {
        "model": cell.model.name,
        "model_facts": dict(cell.model.facts),
        "scene": cell.scene.name,
        "scene_source": cell.scene.source,
        "identity": cell.identity(),
        "degradation_parameters": _drawn_parameters(cell),
        "donors": cell.pool.manifest,
        "sampling": cell.rule.describe(),
        "tol": cell.options.tol,
        "outcome": cell.options.outcome,
        "psnr_image_db": float(psnr(restored, target[0])[0]),
        "psnr_roi_db": float(psnr(restored[roi], target[0][roi])[0]),
        "summary": effect_map.summary(),
        "engine": {"kind": bench.engine.kind, "reason": bench.engine.reason, "precision": cell.options.precision},
        "proof": proof,
        "session": {"new_draws": fresh, "seconds": round(seconds, 3), "draws_a_second": draws_a_second},
        "provenance": provenance(),
    }


def _drawn_parameters(cell: Cell) -> dict[str, float]:
    parameters = getattr(cell.degradation, "parameters", None)
    return parameters(*cell.scene.size) if parameters else {}


def provenance() -> dict[str, Any]:
    """Return commit, versions and machine of this session."""
    here = Path(__file__).resolve().parent
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=here, capture_output=True, text=True, check=False
    )
    return {
        "commit": git.stdout.strip() or "not a git checkout",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads",
    }
