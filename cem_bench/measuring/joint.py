"""Joint effects: what replacing a whole set of blocks at once does to the ROI.

Draw k of a set replaces every block of it by the donor that draw k of this block has alone: the joint effect of one
block is its single effect, and the joint effect minus the sum of singles is the blocks' interaction. Joint draws lie in
stores of their own, beside the map's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cem_bench.inputs.geometry import Rect, hull
from cem_bench.inputs.sets import SURROUNDINGS, BlockSets, by_distance
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.opened import record_of, store_of
from cem_bench.measuring.outcome import psnr
from cem_bench.measuring.prepared import Bench, Progress, to_tensor
from cem_bench.measuring.proof import PROOF_DB
from cem_bench.measuring.provenance import provenance
from cem_bench.measuring.reach import prove_reach
from cem_bench.measuring.refusals import MeasureError, Refuted
from cem_bench.measuring.replacing import replaced
from cem_bench.stats.interaction import interaction
from cem_bench.store.draws import Store


def joint_store(cell: Cell, root: Path | None, sets: BlockSets) -> Store:
    """Return where the joint draws of sets of blocks of a cell are kept."""
    return store_of(cell, root, joint=dict(sets.spec))


def refusal(cell: Cell) -> str:
    """Say why blocks of a cell cannot be replaced together; "" if they can."""
    if cell.options.form != "true":
        return "the reference form degrades each donor alone: blocks are replaced together with intervention=lv only"
    return ""


def draw_sets(
    bench: Bench,
    store: Store,
    sets: BlockSets,
    draws: int,
    progress: Progress = lambda done, total, text: None,
    *,
    names: Sequence[str] = (),
) -> Bench:
    """Draw what a store lacks of the joint effects of sets of blocks.

    Args:
        bench: of the cell.
        store: of the sets, claimed.
        sets: what is replaced together.
        draws: per set.
        progress: called with draws done and wanted.
        names: of the sets to draw; empty for all. One without a block that can reach the ROI has no draws.

    Returns:
        The bench, with the engine that did it.

    Raises:
        MeasureError: as `draw_set`.
    """
    wanted = [name for name in sets.blocks if (not names or name in names) and reaching(bench, sets.blocks[name])]
    worst, drawn = float("nan"), 0
    try:
        for done, name in enumerate(wanted):
            progress(done * draws, len(wanted) * draws, "drawing sets")
            place = list(sets.blocks).index(name)
            here = len(store.effects([place], bench.cell.options.outcome)[place])
            if here < draws:
                chosen, ks = [sets.blocks[name]] * (draws - here), range(sets.first + here, sets.first + draws)
                bench, apart = draw_set(bench, store, place, chosen, ks)
                worst, drawn = float(np.fmax(worst, apart)), drawn + draws - here
        progress(len(wanted) * draws, len(wanted) * draws, "drawing sets")
    finally:
        store.flush()
    if drawn:
        store.write_record(joint_record(bench, store, worst))
    return bench


def proven_bench(cell: Cell) -> Bench:
    """Return a cell set up to run whose engine's reach is proven, on plain forwards where it was refuted.

    Raises:
        MeasureError: as `Bench.of`, or if the network keeps state between calls.
    """
    bench = Bench.of(cell)
    try:
        prove_reach(bench, pd.DataFrame(), [])
    except Refuted as error:
        return bench.without(error)
    return bench


def reaching(bench: Bench, blocks: Sequence[int]) -> bool:
    """Say whether any block of a set can reach the ROI: else replacing them all has an effect of exactly 0."""
    return any(bench.engine.reaches(bench.input_rect(block), bench.cell.scene.roi) for block in blocks)


def draw_set(
    bench: Bench, store: Store, place: int, chosen: Sequence[Sequence[int]], draws: Sequence[int]
) -> tuple[Bench, float]:
    """Draw the joint effect of a set of blocks into a store; one draw goes through the plain network first.

    Args:
        bench: of the cell.
        store: gets the rows once they are proven.
        place: of the set in the store.
        chosen: for every draw, the blocks to replace.
        draws: k of the donors, one per draw.

    Returns:
        The bench, on plain forwards where its engine failed or was refuted; the difference of the proof, dB.

    Raises:
        MeasureError: if the network fails on plain forwards, or an engine that was asked for by name fails.
    """
    first = len(store.effects([place], bench.cell.options.outcome)[place])
    while True:
        try:
            unit = joint_unit(bench, (place, first), chosen, draws)
            apart = _proven(bench, unit, chosen, draws)
        except MeasureError as error:
            if not isinstance(error, Refuted):
                raise
            bench = bench.without(error)
        except Exception as error:  # noqa: BLE001 - a network may raise anything; the last engine makes it a refusal
            bench = bench.without(error)
        else:
            store.append(unit)
            return bench, apart


def joint_unit(
    bench: Bench, name: tuple[int, int], chosen: Sequence[Sequence[int]], draws: Sequence[int]
) -> dict[str, np.ndarray]:
    """Replace several blocks at once, each by the donor of its own draw, and measure the outcomes.

    Args:
        bench: of the cell, interventions of form `true`.
        name: place of the set in the store, and the number of its first row.
        chosen: for every draw, the blocks to replace.
        draws: k of the donors, one per draw.

    Returns:
        Columns of the store: `block` (the set's place), `k` (first, first + 1, ...), and every outcome.
    """
    place, first = name
    region = _hull([bench.input_rect(block) for block in sorted(set().union(*chosen))])
    rows = [to_tensor(row[region.slices]) for row in map(lambda blocks, k: _row(bench, blocks, k), chosen, draws)]
    outputs = bench.outputs(region, torch.stack(rows).to(bench.target.device))
    unit = {"block": np.full(len(rows), place, np.int64), "k": np.arange(first, first + len(rows), dtype=np.int64)}
    return unit | bench.outcomes(outputs, f"{len(chosen[0])} blocks together, draws {draws[0]} to {draws[-1]}")


def _hull(parts: Sequence[Rect]) -> Rect:
    whole = parts[0]
    for part in parts[1:]:
        whole = hull(whole, part) or part
    return whole


def _row(bench: Bench, blocks: Sequence[int], k: int) -> np.ndarray:
    """Return the observation with every block of a set under its draw k, (h, w, 3) uint8."""
    cell = bench.cell
    donors = [int(cell.keys.donors(cell.pool, block, k, k + 1)[0][0]) for block in blocks]
    return replaced(bench, blocks, donors)


def _proven(
    bench: Bench, unit: Mapping[str, np.ndarray], chosen: Sequence[Sequence[int]], draws: Sequence[int]
) -> float:
    """Send one draw, chosen by the seed, and the untouched observation through the plain network.

    Returns:
        The larger difference, dB; NaN where draws are plain forwards already or no PSNR of the fp32 network.

    Raises:
        Refuted: if it is more than `PROOF_DB`.
    """
    options = bench.cell.options
    if bench.engine.kind == "full" or options.stochastic or options.precision != "fp32":
        return float("nan")
    at = int(np.random.Generator(np.random.Philox(options.seed)).integers(len(draws)))
    answers = (
        bench.yardstick.answer[(..., *bench.cell.scene.roi.slices)],
        bench.plain_roi(to_tensor(_row(bench, chosen[at], draws[at]))[None].to(bench.target.device)),
    )
    plain = [float(psnr(answer, bench.target)[0]) for answer in answers]
    apart = max(abs(plain[0] - float(unit["psnr_untouched"][at])), abs(plain[1] - float(unit["psnr"][at])))
    if not apart <= PROOF_DB:
        raise Refuted(
            f"Engine {bench.engine.kind} differs from the full forward by {apart:.2e} dB (allowed {PROOF_DB:g}) with "
            f"{len(chosen[at])} blocks replaced together, draw {draws[at]}.",
            bench.engine.kind,
            apart,
        )
    return apart


def joint_of_map(bench: Bench, store: Store | None, taken: Mapping[int, np.ndarray], draws: int) -> dict[str, Any]:
    """Measure the joint effect of all surroundings of a map's ROI, and hold it against the sum of its single effects.

    Args:
        bench: of the cell.
        store: of the sets by distance, claimed; None where blocks cannot be replaced together.
        taken: block to the draws that its mean is of, in the outcome's unit.
        draws: of the joint effect.

    Returns:
        What the record says: blocks, draws, `effect`, `sum_of_singles` and `interaction` with `_low` and `_high` (None
        where the draws cannot tell), in the outcome's unit; the run key; the proof. Or the reason why there is none.
    """
    cell = bench.cell
    if store is None:
        return {"reason": refusal(cell) or "joint=0"}
    sets = by_distance(cell.scene.grid, cell.scene.roi)
    blocks = sets.blocks.get(SURROUNDINGS, ())
    bench = draw_sets(bench, store, sets, draws, names=[SURROUNDINGS])
    joint = store.effects([0], cell.options.outcome)[0][:draws]
    inside = set(blocks)
    singles = {block: values for block, values in taken.items() if block in inside}
    reached = reaching(bench, blocks)
    estimates = interaction(joint if reached else None, singles).named()
    numbers = {name: value if np.isfinite(value) else None for name, value in estimates.items()}
    proof = record_of(store).get("proof", {}).get("max_abs_db")
    head = {"set": SURROUNDINGS, "blocks": len(blocks), "draws": len(joint), "unit": cell.options.facts.unit}
    return {**head, **numbers, "run_key": store.key, "proof_db": proof}


def joint_record(bench: Bench, store: Store, apart: float) -> dict[str, Any]:
    """Return the record of a store of joint draws.

    Args:
        bench: of the cell.
        store: of the draws.
        apart: largest difference of the proofs, dB.
    """
    cell = bench.cell
    return {
        "model": cell.model.name,
        "scene": cell.scene.name,
        "identity": store.identity,
        "donors": cell.pool.manifest,
        "outcome": cell.options.outcome,
        **bench.facts(),
        "proof": {"max_abs_db": apart if np.isfinite(apart) else None},
        "provenance": provenance(),
    }
