"""The effects of a map split by path: along the pixels, and through what is pooled over the whole image.

The draws of the real network are those of `measure`. The same donors then go through the network whose mixing ops keep
their clean values (`engine.levels`), and in a sample of blocks through the pools alone and through one pool after the
other. Every number is a row of the store, so a run that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cem_bench.engine.cone import ConeEngine
from cem_bench.engine.levels import Levels
from cem_bench.inputs.geometry import ring_distance
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.cheap_level import DIFFERENTIABLE, LEVEL_VERSION
from cem_bench.measuring.engines import engine_for
from cem_bench.measuring.measure import Measurement, measure
from cem_bench.measuring.opened import store_of
from cem_bench.measuring.outcome import OUTCOMES
from cem_bench.measuring.prepared import Bench, MeasureError, Progress, to_tensor
from cem_bench.measuring.proof import PROOF_DB
from cem_bench.sampling.rules import Request, Uniform
from cem_bench.store.draws import Store
from cem_bench.store.path_effects import Paths

# Blocks a ring and draws a block that forwards split further, and the rings, clean pixels from the ROI.
SAMPLED, FORWARDS, RINGS = 4, 4, (8, 16, 32, 64, np.inf)


@dataclass(frozen=True, eq=False)
class _Split:
    """What the levels of one cell are measured with, and the roots of the runs that they filled."""

    bench: Bench
    levels: Levels
    root: Path | None
    progress: Progress
    roots: dict[str, str] = field(default_factory=dict)


def paths(
    cell: Cell,
    root: Path | None,
    progress: Progress = lambda done, total, text: None,
    *,
    others: Sequence[np.ndarray] = (),
    cheap: int = 0,
) -> tuple[Measurement, Paths]:
    """Measure a cell's map, and split its effects by path.

    Args:
        cell: with a `Uniform` rule of at least 2 draws and an outcome that has a derivative.
        root: folder of the store; None to keep nothing on disk.
        progress: called with draws done, draws wanted, and the stage.
        others: clean images (H, W, 3) uint8; those as large as the scene's give their pooled values, on average, to a
            network whose outcome is set beside its own.
        cheap: draws per block of the levels, of which the first are those of the rule; fewer than these: as many.

    Returns:
        The measurement of the real network, and the split.

    Raises:
        ValueError: for another rule or outcome, a stochastic network, or another precision than fp32.
        MeasureError: as `measure`, and where the network cannot be recorded.
    """
    _check(cell)
    measured = measure(cell, root, progress)
    with cell.model.forwards():
        bench = Bench.of(cell)
    engine = engine_for(cell, bench.tensor, bench.answered, bench.yardstick, kind="cone")
    assert isinstance(engine, ConeEngine)
    compute = OUTCOMES[cell.options.outcome].compute
    levels = Levels.of(engine, lambda rows: compute(rows, bench.target)[0])
    split = _Split(bench, levels, root, progress)
    blocks = [block for block, draws in measured.draws.items() if len(draws)]
    effects = np.stack([measured.draws[block] for block in blocks])
    pixels, first_order = _along_pixels(split, blocks, effects, max(cheap, effects.shape[1]))
    distance = ring_distance(cell.scene.grid, cell.scene.roi)[blocks]
    sampled = _sample(distance, cell.options.seed) if levels.pools else np.empty(0, np.int64)
    alone, released = _by_forwards(split, [blocks[place] for place in sampled], effects.shape[1])
    _check_sum(effects[sampled, : alone.shape[1]], pixels[sampled, : alone.shape[1]], released)
    program = levels.exact.program
    unknown = [step.title for ref, step in program.mixed.items() if ref not in levels.pools and _reads_on(levels, ref)]
    return measured, Paths(
        measured.effect_map,
        blocks,
        distance,
        effects,
        pixels,
        first_order,
        levels.titles,
        unknown,
        sampled,
        alone,
        released,
        *_outcomes(split, others),
        cell.options.threshold,
        cell.options.fdr,
        {measured.store.key: measured.store.root_sha256} | split.roots,
    )


def _outcomes(split: _Split, others: Sequence[np.ndarray]) -> tuple[float, float, int]:
    """Return the outcome of the untouched image, that under the mean pooled values of others, and their number."""
    cell, bench, size = split.bench.cell, split.bench, split.bench.cell.scene.size
    compute = OUTCOMES[cell.options.outcome].compute
    own = float(compute(bench.yardstick.answer[(..., *cell.scene.roi.slices)], bench.target)[0])
    large = [image for image in others if image.shape[0] >= size[0] and image.shape[1] >= size[1]]
    crops = [np.ascontiguousarray(_middle(image, size)) for image in large]
    if not crops or not split.levels.pools:
        return own, float("nan"), 0
    images = torch.stack([to_tensor(cell.degradation(crop)) for crop in crops]).to(bench.target.device)
    answer = split.levels.under_pools_of(images)
    return own, float("nan") if answer is None else float(compute(answer, bench.target)[0]), len(crops)


def _middle(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]]


def _check(cell: Cell) -> None:
    if not isinstance(cell.rule, Uniform) or cell.rule.n < 2:
        raise ValueError(f"got {cell.rule.describe()}; expected sampling=uniform with sampling.n of at least 2")
    if cell.options.outcome not in DIFFERENTIABLE:
        raise ValueError(
            f"paths need an outcome with a derivative, got outcome={cell.options.outcome}; expected one of "
            f"{', '.join(DIFFERENTIABLE)}"
        )
    if cell.options.stochastic or cell.options.precision != "fp32":
        raise ValueError("paths are of networks that draw no random numbers, in fp32: leave stochastic and precision.")


def _check_sum(effects: np.ndarray, pixels: np.ndarray, released: np.ndarray) -> None:
    """Hold the parts made by forwards against the draws of the real network.

    Raises:
        MeasureError: if they do not add to them.
    """
    difference = float(np.abs(pixels + released.sum(axis=-1) - effects).max(initial=0.0))
    if not difference <= PROOF_DB:
        raise MeasureError(
            f"the parts by path miss the draws of the real network by {difference:.2e} dB (allowed {PROOF_DB:g}): "
            "please report this."
        )


def _reads_on(levels: Levels, ref: object) -> bool:
    """Say whether a mixing op is held itself, and not only read by one whose shift is known."""
    return ref in levels.frozen.program.steps


def _along_pixels(split: _Split, blocks: list[int], effects: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return draws along the pixels, (m, draws), and what each pool adds to first order, (m, draws, pools), in dB."""
    levels, many = split.levels, len(blocks)
    if levels.frozen is levels.exact:  # nothing mixes the whole image: the draws are all along the pixels
        return effects, np.zeros((*effects.shape, 0))
    names = [f"pool{index:03d}" for index in range(len(levels.pools))]

    def unit(block: int) -> dict[str, np.ndarray]:
        request, patches = _request(split.bench, block, draws)
        outputs, added = levels.outputs(split.bench.input_rect(block), patches)
        parts = -added[1:].double().cpu().numpy()  # an effect is what the untouched image has more
        return split.bench.unit(request, outputs) | dict(zip(names, parts.T, strict=True))

    store = _filled(split, "adjoint", {"draws_a_block": draws}, blocks, unit, "along the pixels")
    rows = store.rows.sort_values(["block", "k"])
    rows = rows[rows["block"].isin(blocks)]
    pixels = np.stack(list(store.effects(blocks, split.bench.cell.options.outcome).values()))
    return pixels, rows[names].to_numpy().reshape(many, draws, len(names))


def _by_forwards(split: _Split, blocks: list[int], draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the effect of the pools alone, (s, k), and of one pool after the other, (s, k, pools), in dB."""
    levels, count = split.levels, min(draws, FORWARDS)
    outcome, pools = split.bench.cell.options.outcome, len(levels.pools)
    if not blocks:
        return np.zeros((0, count)), np.zeros((0, count, pools))
    engines = [levels.releasing(first) for first in range(pools + 1)]
    names = [f"pool{index:03d}" for index in range(pools)]
    compute = OUTCOMES[outcome].compute

    def unit(block: int) -> dict[str, np.ndarray]:
        request, patches = _request(split.bench, block, count)
        place = split.bench.input_rect(block)

        def effect(outputs: Tensor) -> np.ndarray:
            values = compute(outputs, split.bench.target).cpu().numpy()
            return values[0] - values[1:]

        released = np.stack([effect(engine.outputs(place, patches)) for engine in engines])
        parts = dict(zip(names, released[:-1] - released[1:], strict=True))
        return split.bench.unit(request, levels.by_pools_alone(place, patches)) | parts

    store = _filled(split, "pools", {"draws_a_block": count}, blocks, unit, "pool by pool")
    rows = store.rows.set_index(["block", "k"])[names]
    alone = np.stack(list(store.effects(blocks, outcome).values()))
    return alone, np.stack([rows.loc[block].sort_index().to_numpy() for block in blocks])


def _request(bench: Bench, block: int, draws: int) -> tuple[Request, Tensor]:
    donors, _ = bench.cell.keys.donors(bench.cell.pool, block, 0, draws)
    return Request(block, 0, draws), bench.patches(block, donors, 0)


def _filled(
    split: _Split, level: str, more: dict, blocks: list[int], unit: Callable[[int], dict[str, np.ndarray]], stage: str
) -> Store:
    """Return the store of a level with all blocks in it; what is stored is not made again."""
    store = store_of(split.bench.cell, split.root, level=level, level_version=LEVEL_VERSION, **more)
    with store.claimed(wait=True):
        missing = sorted(set(blocks) - set(store.rows["block"].tolist()))
        try:
            for done, block in enumerate(missing, 1):
                store.append(unit(block))
                split.progress(done, len(missing), stage)
        finally:
            store.flush()
    split.roots[store.key] = store.root_sha256
    return store


def _sample(distance: np.ndarray, seed: int) -> np.ndarray:
    """Return places of blocks, up to `SAMPLED` a ring, chosen by the seed."""
    rng, ring = np.random.Generator(np.random.Philox(seed)), np.digitize(distance, RINGS[:-1], right=True)
    chosen = [rng.permutation(np.flatnonzero(ring == index))[:SAMPLED] for index in range(len(RINGS))]
    return np.sort(np.concatenate(chosen))
