"""The proof of reach: all blocks that an engine calls unreachable are replaced at once, and the ROI must not move.

A forward proves two things where there are draws: it is made under a stored draw, and the ROI must be what the store
says of that draw alone. Only where it is not are the two told apart, by forwards of their own. The network is then
known to answer as before the draws; where no block is unreachable, the untouched image is asked for again instead.

Each block is replaced by a bright and by a dark donor. Where time is short, one forward of the network serves: on the
strongest whole image the engine's record was held against the network already, everything replaced, and the forward is
bright where that image is dark, and dark where it is bright. The record itself is given the other donor of every block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from cem_bench.measuring.outcome import psnr
from cem_bench.measuring.prepared import Bench, to_tensor
from cem_bench.measuring.refusals import KeepsStateError, Name, Refuted
from cem_bench.measuring.replacing import replaced
from cem_bench.measuring.stochastic import states_of
from cem_bench.measuring.window import TOLERANCE as EXACT
from cem_bench.measuring.yardstick import TOLERANCE, answer, answer_under, apart_of
from cem_bench.store import maps

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

REACH_DB = 1e-4


def forwards_of(bench: Bench, *, short: bool = False) -> int:
    """Return how many plain forwards the proof takes: none, one or two."""
    if not (bench.status() == maps.UNREACHABLE).any():
        return 0
    return 1 if short and bench.engine.elsewhere <= EXACT else 2


def prove_reach(
    bench: Bench, stored: pd.DataFrame, names: Sequence[Name], *, short: bool = False
) -> tuple[dict[str, Any], list[Name]]:
    """Replace all blocks that the engine calls unreachable at once, by two plain forwards.

    Donors are drawn from the brightest and from the darkest tenth of the pool: what depends on a mean or an extreme of
    the image moves one way or the other.

    Args:
        bench: of the cell.
        stored: draws, by block and k.
        names: some of them, under which it is done, as many as there are forwards.
        short: one forward, where the trial of the engine on the strongest image stands for the other.

    Returns:
        What the record says: blocks, forwards, and the largest difference, in dB and of the answer's largest value
        (`elsewhere`: on the strongest image); and the draws that were proven with it.

    Raises:
        Refuted: if the ROI moves.
        KeepsStateError: if the network keeps state between calls.
    """
    blocks = np.flatnonzero(bench.status().ravel() == maps.UNREACHABLE)
    if not len(blocks):
        prove_untouched(bench)
        return {"blocks": 0, "forwards": 0, "reason": "every block may reach the ROI"}, []
    worst_db = worst = 0.0
    forwards = forwards_of(bench, short=short)
    names = list(names[:forwards])
    for apart_db, apart in _all_moved(bench, blocks, stored, names, forwards):
        if apart_db <= REACH_DB and apart <= TOLERANCE:
            worst_db, worst = max(worst_db, apart_db), max(worst, apart)
            continue
        prove_untouched(bench)
        if names:
            return prove_reach(bench, stored, [], short=short)
        raise Refuted(
            f"Engine {bench.engine.kind} calls {len(blocks)} blocks unreachable, but replacing them all at once "
            f"moves the ROI by {apart_db:.2e} dB and {apart:.1e} of its largest value (allowed {REACH_DB:g} dB and "
            f"{TOLERANCE:g}).",
            bench.engine.kind,
            apart_db,
        )
    told = {"blocks": len(blocks), "forwards": forwards, "max_abs_db": worst_db, "max_abs": worst}
    return told | ({"elsewhere": bench.engine.elsewhere} if forwards == 1 else {}), names


def _all_moved(
    bench: Bench, blocks: np.ndarray, stored: pd.DataFrame, names: Sequence[Name], forwards: int
) -> Iterator[tuple[float, float]]:
    """Yield how far the ROI moves, as `_moved`, under a bright and under a dark donor in every block."""
    choices = bright, dark = _donors_for_all(bench, blocks)
    if forwards == 1:
        white = _white_elsewhere(bench, blocks)
        yield _moved(bench, blocks, np.where(white, bright, dark), stored, None, by_record=True)
        choices = [np.where(white, dark, bright)]
    for donors, name in zip_longest(choices, names):
        yield _moved(bench, blocks, donors, stored, name)


def _moved(
    bench: Bench,
    blocks: np.ndarray,
    donors: np.ndarray,
    stored: pd.DataFrame,
    name: Name | None,
    *,
    by_record: bool = False,
) -> tuple[float, float]:
    """Return how far the ROI moves when all blocks are replaced at once: in dB and in its largest value."""
    expected = bench.yardstick.answer[(..., *bench.cell.scene.roi.slices)]
    expected_db = float(psnr(expected, bench.target)[0])
    rows = to_tensor(replaced(bench, blocks, donors))[None].to(bench.target.device)
    if name is not None:
        row: Any = stored.loc[name]
        patch = bench.patches(name[0], np.array([int(row["donor"])]), name[1])
        rows[(..., *bench.input_rect(name[0]).slices)] = patch
        expected, expected_db = bench.engine_roi(name[0], patch), float(row["psnr"])
    after = bench.record_roi(rows) if by_record else bench.plain_roi(rows)
    return abs(float(psnr(after, bench.target)[0]) - expected_db), apart_of(after, expected)


def _donors_for_all(bench: Bench, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a bright and a dark donor for every block, each (blocks,) int."""
    rng = np.random.Generator(np.random.Philox(bench.cell.options.seed))
    patches = bench.cell.pool.patches
    order = patches.reshape(len(patches), -1).mean(axis=1).argsort()
    tenth = max(1, len(order) // 10)
    return rng.choice(order[-tenth:], len(blocks)), rng.choice(order[:tenth], len(blocks))


def _white_elsewhere(bench: Bench, blocks: np.ndarray) -> np.ndarray:
    """Say of every block, (blocks,) bool, whether it is more white than black in the strongest image."""
    elsewhere = bench.yardstick.elsewhere
    assert elsewhere is not None
    grey = elsewhere.image.mean(0).cpu().numpy()
    return np.array([grey[bench.input_rect(int(block)).slices].mean() > 0.5 for block in blocks])


def prove_untouched(bench: Bench) -> None:
    """Ask for the untouched image again, of the plain network and of the engine: nothing may have changed meanwhile.

    Raises:
        KeepsStateError: if an answer changed: the network keeps state between calls.
    """
    cell = bench.cell
    first = bench.yardstick.answer
    size, states = (first.shape[-2], first.shape[-1]), states_of(cell.options)
    if states:
        again = answer_under(cell.model, bench.tensor, size, states)
    else:
        again = answer(cell.model, bench.tensor[None], size)
    difference, drift = apart_of(again, first), 0.0
    if not states and bench.engine.kind != "cone":  # a record of calls has no state; its draws are proven
        drift = _drift(bench)
    if not max(difference, drift) <= TOLERANCE:
        raise KeepsStateError(
            f"{cell.model.name} answers the untouched image differently after the draws than before (by "
            f"{max(difference, drift):.1e} of its largest value): it keeps state between calls; this session's draws "
            "were removed. Hand over a function that starts afresh: as_model(lambda x: copy.deepcopy(network)(x), ...)."
        )


def _drift(bench: Bench) -> float:
    """Return how far the engine's answer to the untouched image moved, in its largest value."""
    cell = bench.cell
    block = bench.input_rect(next(cell.scene.grid.overlapping(cell.scene.roi)))
    own: Tensor = bench.tensor[(slice(None), *block.slices)][None]
    untouched, again = bench.engine.outputs(block, own)
    return apart_of(again, untouched)
