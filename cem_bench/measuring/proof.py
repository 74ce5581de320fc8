"""The proof: what an engine claims is held against the plain network, before and after the draws.

Out of reach: all blocks that an engine calls unreachable are replaced at once, and the ROI must not move. Draws: a
sample goes through the plain network again, drawn where errors would be (the largest and the smallest cone, the edge of
reach, borders of the image, the largest and the smallest effects) and at random. The untouched image is asked for once
more at the end. What is refuted leaves the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cem_bench.inputs.geometry import ring_distance
from cem_bench.measuring.outcome import psnr, psnr_by_block
from cem_bench.measuring.refusals import MeasureError
from cem_bench.measuring.stochastic import states_of
from cem_bench.measuring.yardstick import TOLERANCE, answer, answer_under
from cem_bench.sampling.rules import Request
from cem_bench.store import maps

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from cem_bench.measuring.prepared import Bench, Progress

PROOF_DB, REACH_DB = 1e-3, 1e-4
# Random draws: this share of them, or what costs this share of the draws' own work, never fewer than the least.
SHARE, WORK_SHARE, LEAST = 0.01, 0.01, 8
CONFIDENCE = 0.95
Name = tuple[int, int]


class Refuted(MeasureError):
    """The plain network contradicts an engine.

    Attributes:
        kind: of the engine.
        difference: in dB.
        name: block and k of the draw that was refuted; None where it was no draw.
    """

    def __init__(self, text: str, kind: str, difference: float, name: Name | None = None) -> None:
        super().__init__(text)
        self.kind, self.difference, self.name = kind, difference, name


def detects(random: int) -> float:
    """Return the share of wrong draws that a random sample finds with 95 % probability; 1 where there is no sample."""
    return 1.0 if random == 0 else 1 - (1 - CONFIDENCE) ** (1 / random)


def prove_reach(bench: Bench) -> dict[str, Any]:
    """Replace all blocks that the engine calls unreachable at once, by plain forwards: the ROI must not move.

    Donors are drawn as for draws, then from the brightest and from the darkest tenth of the pool: what depends on a
    mean or an extreme of the image moves one way or the other.

    Returns:
        Blocks, forwards, and the largest difference found, in dB and of the answer's largest value.

    Raises:
        Refuted: if the ROI moves.
    """
    begun = time.perf_counter()
    blocks = np.flatnonzero(bench.status().ravel() == maps.UNREACHABLE)
    if not len(blocks):
        return {"blocks": 0, "forwards": 0, "reason": "every block may reach the ROI"}
    untouched = bench.yardstick.answer[(..., *bench.cell.scene.roi.slices)]
    before, scale = float(psnr(untouched, bench.target)[0]), float(untouched.abs().max().clamp_min(1e-12))
    worst_db = worst = 0.0
    for donors in _donors_for_all(bench, blocks):
        after = bench.plain_roi(_replaced(bench, blocks, donors))
        worst_db = max(worst_db, abs(float(psnr(after, bench.target)[0]) - before))
        worst = max(worst, float((after - untouched).abs().max()) / scale)
        if not (worst_db <= REACH_DB and worst <= TOLERANCE):
            raise Refuted(
                f"Engine {bench.engine.kind} calls {len(blocks)} blocks unreachable, but replacing them all at once "
                f"moves the ROI by {worst_db:.2e} dB and {worst:.1e} of its largest value (allowed {REACH_DB:g} dB and "
                f"{TOLERANCE:g}).",
                bench.engine.kind,
                worst_db,
            )
    seconds = round(time.perf_counter() - begun, 3)
    return {"blocks": len(blocks), "forwards": 3, "max_abs_db": worst_db, "max_abs": worst, "seconds": seconds}


def _donors_for_all(bench: Bench, blocks: np.ndarray) -> list[np.ndarray]:
    """Return three choices of a donor for every block, each (blocks,) int."""
    rng = np.random.Generator(np.random.Philox(bench.cell.options.seed))
    patches = bench.cell.pool.patches
    order = patches.reshape(len(patches), -1).mean(axis=1).argsort()
    tenth = max(1, len(order) // 10)
    return [rng.choice(chosen, len(blocks)) for chosen in (order, order[-tenth:], order[:tenth])]


def _replaced(bench: Bench, blocks: Sequence[int] | np.ndarray, donors: np.ndarray) -> np.ndarray:
    """Return the observation with blocks replaced by donors under the scene's degradation, (h, w, 3) uint8."""
    cell = bench.cell
    clean, observed = cell.scene.clean.copy(), bench.observation.copy()
    for block, donor in zip(blocks, donors, strict=True):
        clean[cell.scene.grid.rect(int(block)).slices] = cell.pool.patches[donor]
    degraded = cell.degradation(clean)
    for block in blocks:
        place = bench.input_rect(int(block)).slices
        observed[place] = degraded[place]
    return observed


def prove_draws(bench: Bench, rows: pd.DataFrame, drawn: list[Name], progress: Progress) -> dict[str, Any]:
    """Send a sample of stored draws through the plain network.

    Args:
        bench: of the cell.
        rows: of the store.
        drawn: block and k of every draw that the proof stands for.
        progress: called with draws done and wanted.

    Raises:
        Refuted: if a draw of an fp32 engine differs by more than `PROOF_DB`, naming the first op that does.
    """
    stored = rows.set_index(["block", "k"]).loc[drawn]
    _require_same_untouched(bench, stored["psnr_untouched"].to_numpy(), drawn)
    effects = (stored["psnr_untouched"] - stored["psnr"]).to_numpy()

    def difference(block: int, k: int) -> tuple[float, Tensor]:
        row: Any = stored.loc[(block, k)]
        if bench.cell.options.stochastic:
            request = Request(block, k, k + 1)
            again = bench.unit(request, bench.run(request))["psnr"][0]
            return abs(float(again) - float(row["psnr"])), bench.patches(block, np.array([int(row["donor"])]), k)
        patch = bench.patches(block, np.array([int(row["donor"])]), k)
        output = bench.plain_under(block, patch)
        return abs(float(psnr(output, bench.target)[0]) - float(row["psnr"])), patch

    return _proof(bench, drawn, effects, difference, progress)


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
        psnr = psnr_by_block(bench.engine.outputs(bench.input_rect(block), patch)[1:], bench.target, side)
        plain = psnr_by_block(bench.plain_under(block, patch), bench.target, side)
        return float((psnr - plain).abs().max()), patch

    return _proof(bench, drawn, None, difference, progress)


def _proof(
    bench: Bench,
    drawn: list[Name],
    effects: np.ndarray | None,
    difference: Callable[[int, int], tuple[float, Tensor]],
    progress: Progress,
) -> dict[str, Any]:
    chosen, random = sample(bench, drawn, effects)
    worst = 0.0
    for done, (block, k) in enumerate(chosen, 1):
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
        progress(done, len(chosen), "proving")
    return {"draws": len(chosen), "random": random, "finds_share_95": round(detects(random), 4), "max_abs_db": worst}


def sample(bench: Bench, drawn: list[Name], effects: np.ndarray | None) -> tuple[list[Name], int]:
    """Choose the draws of a proof: some where errors would be, the others at random.

    Args:
        bench: of the cell.
        drawn: block and k of the draws to choose from.
        effects: of these draws, dB; None where there is no single effect.

    Returns:
        The draws, each once, in order; and how many were drawn at random.
    """
    rng = np.random.Generator(np.random.Philox(bench.cell.options.seed))
    blocks = np.array([block for block, _ in drawn])
    work = np.array([bench.engine.work(bench.input_rect(int(block))) for block in np.unique(blocks)])
    spent = work[np.searchsorted(np.unique(blocks), blocks)]
    size = min(max(int(min(SHARE * len(drawn), WORK_SHARE * spent.sum())), LEAST), len(drawn))
    random = rng.choice(len(drawn), size, replace=False)
    suspects = [] if bench.engine.kind == "full" else _suspects(bench, blocks, spent)
    if effects is not None:
        suspects += [int(effects.argmax()), int(effects.argmin()), int(np.abs(effects).argmin())]
    return [drawn[index] for index in sorted({*random.tolist(), *suspects})], size


def _suspects(bench: Bench, blocks: np.ndarray, work: np.ndarray) -> list[int]:
    """Return the draws (by place) with the smallest and largest cone, at the edge of reach and at borders."""
    grid = bench.cell.scene.grid
    far = ring_distance(grid, bench.cell.scene.roi)[blocks]
    rows, columns = np.divmod(blocks, grid.shape[1])
    border = np.minimum.reduce([rows, columns, grid.shape[0] - 1 - rows, grid.shape[1] - 1 - columns])
    chosen = [int(work.argmin()), int(work.argmax()), int(far.argmax()), int(np.lexsort((far, border))[0])]
    return [*chosen, int(np.lexsort((-far, border))[0])]


def prove_untouched(bench: Bench) -> None:
    """Ask for the untouched image again, of the plain network and of the engine: nothing may have changed meanwhile.

    Raises:
        MeasureError: if an answer changed: the network keeps state between calls.
    """
    cell = bench.cell
    first = bench.yardstick.answer
    size, states = (first.shape[-2], first.shape[-1]), states_of(cell.options)
    if states:
        again = answer_under(cell.model, bench.tensor, size, states)
    else:
        again = answer(cell.model, bench.tensor[None], size)
    difference = float((again - first).abs().max() / first.abs().max().clamp_min(1e-12))
    drift = 0.0 if states else _drift(bench)
    if not max(difference, drift) <= TOLERANCE:
        raise MeasureError(
            f"{cell.model.name} answers the untouched image differently after the draws than before (by "
            f"{max(difference, drift):.1e} of its largest value): it keeps state between calls; this session's draws "
            "were removed. Hand over a function that starts afresh: as_model(lambda x: copy.deepcopy(network)(x), ...)."
        )


def _drift(bench: Bench) -> float:
    """Return how far the engine's answer to the untouched image moved, in its largest value."""
    cell = bench.cell
    block = bench.input_rect(next(cell.scene.grid.overlapping(cell.scene.roi)))
    own = bench.tensor[(slice(None), *block.slices)][None]
    outputs = bench.engine.outputs(block, own)
    return float((outputs[1] - outputs[0]).abs().max() / outputs[0].abs().max().clamp_min(1e-12))
