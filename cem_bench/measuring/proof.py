"""The proof: what an engine claims is held against the plain network, before and after the draws.

A sample of the draws goes through the plain network again, drawn where errors would be (the largest and the smallest
cone, the edge of reach, borders of the image, the largest and the smallest effects) and at random. Two of them are made
with all blocks replaced that are called unreachable (`reach`), the others on the window that holds all blocks in reach
(`window`), or on whole images where there is none. What is refuted leaves the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cem_bench.inputs.geometry import ring_distance
from cem_bench.measuring.outcome import psnr, psnr_by_block
from cem_bench.measuring.reach import forwards_of, prove_reach
from cem_bench.measuring.refusals import Name, Refuted
from cem_bench.measuring.window import window_of
from cem_bench.sampling.rules import Request

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from cem_bench.measuring.prepared import Bench, Progress

PROOF_DB = 1e-3
# Random draws: this share of them, or what costs this share of the draws' own work, but no fewer than the least, unless
# the checks then take more than their share of the processor's time; never fewer than the fewest.
SHARE, WORK_SHARE, LEAST, FEWEST = 0.01, 0.01, 8, 4
CHECKS_S, CHECKS_SHARE = 2.0, 0.03  # what all checks may take, seconds or share of the draws, whichever is more
AIM = 0.85  # of that: what a check will take is foretold by the first forward, and a busy machine takes longer
CONFIDENCE = 0.95


def detects(random: int) -> float:
    """Return the share of wrong draws that a random sample finds with 95 % probability; 1 where there is no sample."""
    return 1.0 if random == 0 else 1 - (1 - CONFIDENCE) ** (1 / random)


def prove_draws(
    bench: Bench, rows: pd.DataFrame, drawn: list[Name], progress: Progress, seconds: float = math.inf
) -> dict[str, Any]:
    """Prove the engine's reach, and send a sample of stored draws through the plain network.

    Args:
        bench: of the cell.
        rows: of the store.
        drawn: block and k of every draw that the proof stands for; none where nothing new was drawn.
        progress: called with draws done and wanted.
        seconds: of the processor that it should take; for it, the random draws go down to `FEWEST`, and one forward
            stands for two in the proof of reach.

    Returns:
        What the record says: draws, how many of them at random and on a window, and the largest difference, dB.

    Raises:
        Refuted: if the reach is refuted, or a draw of an fp32 engine differs by more than `PROOF_DB`, naming the first
            op that does.
        KeepsStateError: if the network keeps state between calls.
    """
    if not drawn:
        return {"draws": 0, "reason": "no new draw", "reach": prove_reach(bench, rows, [])[0]}
    stored = rows.set_index(["block", "k"]).loc[drawn]
    _require_same_untouched(bench, stored["psnr_untouched"].to_numpy(), drawn)
    effects, window = stored["psnr_untouched"] - stored["psnr"], window_of(bench)
    whole = bench.yardstick.first.cpu_seconds
    forward = max(whole * (window.share if window else 1.0), 1e-9)
    short = seconds < 2 * whole + LEAST * forward
    left = seconds - forwards_of(bench, short=short) * whole
    chosen, random = sample(bench, drawn, effects.to_numpy(), left / forward)
    largest = sorted(chosen, key=lambda name: -abs(effects[name]))
    reach, proven = prove_reach(bench, stored, largest, short=short)

    def difference(block: int, k: int) -> tuple[float, Tensor]:
        row: Any = stored.loc[(block, k)]
        patch = bench.patches(block, np.array([int(row["donor"])]), k)
        if bench.cell.options.stochastic:
            request = Request(block, k, k + 1)
            again = float(bench.unit(request, bench.run(request))["psnr"][0])
        else:
            again = float(psnr((window or bench).plain_roi(bench.under(block, patch)), bench.target)[0])
        return abs(again - float(row["psnr"])), patch

    worst = _worst(bench, [name for name in chosen if name not in proven], difference, progress)
    where = {"window": None} if window is None else {"window": [window.rect.height, window.rect.width]}
    worst = max(worst, reach["max_abs_db"] if proven else 0.0)
    return {**_counts(len(chosen), random, worst), **where, "reach": reach}


def _require_same_untouched(bench: Bench, stored: np.ndarray, drawn: list[Name]) -> None:
    """Refuse draws whose untouched ROI is not what the plain network answered before the first draw."""
    untouched = float(psnr(bench.yardstick.answer[(..., *bench.cell.scene.roi.slices)], bench.target)[0])
    differences = np.abs(stored - untouched)
    apart = float(differences.max())
    options = bench.cell.options  # a mean of PSNRs over states is no PSNR of their mean
    if not apart <= PROOF_DB and options.precision == "fp32" and not options.stochastic:
        raise Refuted(
            f"Engine {bench.engine.kind} differs from the full forward by {apart:.2e} dB (allowed {PROOF_DB:g}) on the "
            "untouched observation.",
            bench.engine.kind,
            apart,
            drawn[int(differences.argmax())],
        )


def prove_draws_on_all(bench: Bench, drawn: list[Name], progress: Progress) -> dict[str, Any]:
    """Make a sample of draws again, by the engine and by the plain network, and compare every output block.

    Args:
        bench: of the cell, the whole image as its ROI.
        drawn: as `prove_draws`.
        progress: as `prove_draws`.

    Raises:
        Refuted: as `prove_draws`.
    """

    def difference(block: int, k: int) -> tuple[float, Tensor]:
        donors, _ = bench.cell.keys.donors(bench.cell.pool, block, k, k + 1)
        patch, side = bench.patches(block, donors, k), bench.cell.scene.block
        of_engine = psnr_by_block(bench.engine.outputs(bench.input_rect(block), patch)[1:], bench.target, side)
        plain = psnr_by_block(bench.plain_roi(bench.under(block, patch)), bench.target, side)
        return float((of_engine - plain).abs().max()), patch

    chosen, random = sample(bench, drawn, None)
    return _counts(len(chosen), random, _worst(bench, chosen, difference, progress))


def _worst(
    bench: Bench, names: list[Name], difference: Callable[[int, int], tuple[float, Tensor]], progress: Progress
) -> float:
    """Return the largest difference of draws, dB, or refute the engine by the first that is too large."""
    worst = 0.0
    for done, (block, k) in enumerate(names, 1):
        apart, patch = difference(block, k)
        worst = max(worst, apart)
        if not apart <= PROOF_DB and bench.cell.options.precision == "fp32":
            first = bench.engine.first_difference(bench.input_rect(block), patch)
            raise Refuted(
                f"Engine {bench.engine.kind} differs from the full forward by {apart:.2e} dB (allowed {PROOF_DB:g}) at "
                f"block {block}, draw {k}; first op that differs: {first}.",
                bench.engine.kind,
                apart,
                (block, k),
            )
        progress(done, len(names), "proving")
    return worst


def _counts(draws: int, random: int, worst: float) -> dict[str, Any]:
    return {"draws": draws, "random": random, "finds_share_95": round(detects(random), 4), "max_abs_db": worst}


def sample(
    bench: Bench, drawn: list[Name], effects: np.ndarray | None, most: float = math.inf
) -> tuple[list[Name], int]:
    """Choose the draws of a proof: some where errors would be, the others at random.

    Args:
        bench: of the cell.
        drawn: block and k of the draws to choose from.
        effects: of these draws, dB; None where there is no single effect.
        most: draws that should be enough, all together.

    Returns:
        The draws, each once, in order; and how many were drawn at random.
    """
    rng = np.random.Generator(np.random.Philox(bench.cell.options.seed))
    blocks = np.array([block for block, _ in drawn])
    work = np.array([bench.engine.work(bench.input_rect(int(block))) for block in np.unique(blocks)])
    spent = work[np.searchsorted(np.unique(blocks), blocks)]
    suspects = [] if bench.engine.kind == "full" else _suspects(bench, blocks, spent)
    if effects is not None:
        suspects += [int(effects.argmax()), int(effects.argmin()), int(np.abs(effects).argmin())]
    size = max(int(min(SHARE * len(drawn), WORK_SHARE * spent.sum())), LEAST)
    size = min(max(int(min(size, most - len(set(suspects)))), FEWEST), len(drawn))
    random = rng.choice(len(drawn), size, replace=False)
    return [drawn[index] for index in sorted({*random.tolist(), *suspects})], size


def _suspects(bench: Bench, blocks: np.ndarray, work: np.ndarray) -> list[int]:
    """Return the draws (by place) with the smallest and largest cone, at the edge of reach and at borders."""
    grid = bench.cell.scene.grid
    far = ring_distance(grid, bench.cell.scene.roi)[blocks]
    rows, columns = np.divmod(blocks, grid.shape[1])
    border = np.minimum.reduce([rows, columns, grid.shape[0] - 1 - rows, grid.shape[1] - 1 - columns])
    chosen = [int(work.argmin()), int(work.argmax()), int(far.argmax()), int(np.lexsort((far, border))[0])]
    return [*chosen, int(np.lexsort((-far, border))[0])]
