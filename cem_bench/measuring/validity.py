"""Is a map valid? What has to be measured again to say so: other weights, blocks together, other noise fields.

Every number is a draw in the store, so a run that was stopped goes on, and the page can be redrawn.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cem_bench.inputs.geometry import ring_distance
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.joint import draw_set, refusal
from cem_bench.measuring.measure import Measurement, measure
from cem_bench.measuring.opened import store_of
from cem_bench.measuring.prepared import Bench, Progress, to_tensor
from cem_bench.models.model import Model
from cem_bench.sampling.rules import Uniform
from cem_bench.stats.sanity import orders
from cem_bench.store import maps
from cem_bench.store.draws import Store
from cem_bench.store.probes import Probes

FIELDS = 5  # noise fields, the scene's own among them


class Work:
    """Adds up the draws of many measurements for one progress bar."""

    def __init__(self, progress: Progress, total: int) -> None:
        """Take the bar and the draws of all stages together."""
        self._progress, self._total, self._begun = progress, total, 0

    def stage(self, text: str, draws: int) -> Progress:
        """Return the progress of the next stage, which takes so many draws."""
        before = self._begun
        self._begun += draws

        def update(done: int, total: int, doing: str) -> None:
            if doing == "drawing":  # the proof's draws are no new ones
                self._progress(before + min(done, draws), self._total, text)

        return update


def probe(cell: Cell, root: Path, progress: Progress = lambda done, total, text: None) -> tuple[Measurement, Probes]:
    """Measure a cell's map and all that its validity page needs.

    Args:
        cell: with a `Uniform` rule of an even number of draws, at least 4, and interventions of form `true`.
        root: folder of the store.
        progress: called with draws done, draws wanted, and the stage.

    Raises:
        ValueError: for another rule or form, or a map of fewer than four blocks that can reach the ROI.
        MeasureError: as `measure`.
    """
    few = _half(cell)
    if cell.options.facts.unit != "dB":
        raise ValueError(f"validity pages are drawn in dB, got outcome={cell.options.outcome}; use outcome=psnr")
    bench, outcome = Bench.of(cell), cell.options.outcome
    blocks = np.flatnonzero(bench.status().ravel() == maps.MEASURED).tolist()
    if len(blocks) < 4:
        raise ValueError(f"only {len(blocks)} blocks can reach the ROI: choose a larger image or smaller blocks")
    steps, models, others = steps_of(len(blocks)), cascade(cell, bench), other_fields(cell)
    unit = few.n * len(blocks)
    work = Work(progress, 2 * unit + 4 * len(steps) * few.n + (len(models) + len(others)) * unit)

    def again(changed: Cell, text: str) -> Measurement:
        return measure(dataclasses.replace(changed, rule=few), root, work.stage(text, unit))

    measured = measure(cell, root, work.stage("map", 2 * unit))
    effects = np.stack([draws[: 2 * few.n] for draws in measured.store.effects(blocks, outcome).values()])
    donors = measured.store.rows.pivot(index="block", columns="k", values="donor").loc[blocks].to_numpy()
    together = work.stage("blocks together", 4 * len(steps) * few.n)
    joint, stores = _all_joint(bench, root, (blocks, effects, steps), together)
    shuffled = {name: again(dataclasses.replace(cell, model=model), f"{name} random") for name, model in models.items()}
    # What cannot reach the ROI under one field cannot under another: the network's structure says so.
    drawn = [again(field, "other noise fields").store for field in others]
    under = [store.effects(blocks, outcome).values() for store in drawn]
    fields = [effects[:, : few.n], *(np.stack([draws[: few.n] for draws in field]) for field in under)]
    stores += [measured.store, *drawn, *(random.store for random in shuffled.values())]
    stacked = np.stack(fields, axis=1) if others else None
    taken, pool, tol = donors[:, : 2 * few.n], len(cell.pool), cell.options.threshold
    randomised = {name: random.effect_map for name, random in shuffled.items()}
    roots = {store.key: store.root_sha256 for store in stores}
    return measured, Probes(blocks, effects, taken, pool, randomised, steps, joint, stacked, tol, roots)


def _half(cell: Cell) -> Uniform:
    """Return the rule of half as many draws, having checked that the cell can be judged."""
    if cell.options.stochastic:
        raise ValueError("a validity page is of a network that draws no random numbers: leave stochastic=0.")
    if not isinstance(cell.rule, Uniform) or cell.rule.n < 4 or cell.rule.n % 2:
        raise ValueError(f"got {cell.rule.describe()}; expected sampling=uniform with an even sampling.n of at least 4")
    if why := refusal(cell):
        raise ValueError(why)
    return Uniform(cell.rule.n // 2)


def steps_of(count: int) -> list[int]:
    """Return the numbers of blocks to intervene on together: 1, 2, 4, ..., all."""
    return [2**power for power in range(count.bit_length()) if 2**power < count] + [count]


def other_fields(cell: Cell) -> list[Cell]:
    """Return the cell under other noise fields (rain layers) of the same degradation, donors alike; none without."""
    first = getattr(cell.degradation, "field_seed", None)
    if first is None:
        return []
    fields = [dataclasses.replace(cell.degradation, field_seed=first + i) for i in range(1, FIELDS)]  # pyright: ignore
    return [dataclasses.replace(cell, degradation=field) for field in fields]


def cascade(cell: Cell, bench: Bench) -> dict[str, Model]:
    """Return the model with the weights of its last 1, 2, 4, ..., all layers randomised, from the output backwards.

    The values of every weight tensor are shuffled: what was learnt is lost, the scale that keeps the output finite is
    not. A layer is a module that holds weights of its own; layers are ordered by when the network first runs them.

    Args:
        cell: whose model.
        bench: of the cell, for one forward that shows the order.

    Source: cascading randomisation, Adebayo et al. 2018, arXiv 1810.03292.
    """
    names = order_of_layers(cell.model.restorer, to_tensor(bench.observation)[None].to(bench.target.device))
    stages: dict[str, Model] = {}
    for count in steps_of(len(names)):
        network = copy.deepcopy(cell.model.restorer)
        for name in names[len(names) - count :]:
            shuffle(network.get_submodule(name), f"{cell.options.seed}:{name}")
        title = f"{count} of {len(names)} layers"
        stages[title] = cell.model.altered(network, f"{title} random")
    return stages


def order_of_layers(network: nn.Module, rows: torch.Tensor) -> list[str]:
    """Return the names of the modules with weights of their own, in the order in which a forward first runs them."""
    order: list[str] = []
    own = {name: part for name, part in network.named_modules() if any(True for _ in part.parameters(recurse=False))}
    handles = [
        part.register_forward_pre_hook(lambda *_, name=name: None if name in order else order.append(name))
        for name, part in own.items()
    ]
    try:
        with torch.inference_mode():
            network(rows)
    finally:
        for handle in handles:
            handle.remove()
    return order


def shuffle(layer: nn.Module, name: str) -> None:
    """Shuffle the values of every weight tensor of a layer in place; the order is named by `name`."""
    entropy = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    rng = np.random.Generator(np.random.Philox(entropy))
    with torch.no_grad():
        for tensor in layer.parameters(recurse=False):
            order = torch.from_numpy(rng.permutation(tensor.numel())).to(tensor.device)
            tensor.copy_(tensor.reshape(-1)[order].reshape(tensor.shape))


def _all_joint(
    bench: Bench, root: Path, ranked_by: tuple[list[int], np.ndarray, list[int]], progress: Progress
) -> tuple[dict[str, np.ndarray], list[Store]]:
    """Measure the joint effects of every order, ranked on the even draws, with the donors of the odd ones.

    Args:
        bench: of the cell.
        root: folder of the store.
        ranked_by: the blocks, their effects (blocks, n) in dB, and the numbers of blocks to take together.
        progress: of this stage.

    Returns:
        Order to effects, (steps, draws) dB, and the stores that hold them.
    """
    blocks, effects, steps = ranked_by
    cell = bench.cell
    half_a = dict(zip(blocks, effects[:, ::2].mean(axis=1).tolist(), strict=True))
    far = ring_distance(cell.scene.grid, cell.scene.roi)
    near = {block: float(far[block]) for block in blocks}
    grey = bench.observation.mean(axis=2)
    contrast = {block: float(grey[bench.input_rect(block).slices].std()) for block in blocks}
    draws = range(1, effects.shape[1], 2)
    joint, stores, done = {}, [], 0
    for name in orders(half_a, near, contrast):
        # every draw of the random order is another random order: its interval covers them all
        ranked = [orders(half_a, near, contrast, resample_seed=k)[name] for k in draws]
        facts = {"order": name, "ranked": hashlib.sha256(repr(ranked).encode()).hexdigest(), "draws": list(draws)}
        store = store_of(cell, root, joint=facts)
        try:
            for count in steps:
                if not len(store.effects([count], cell.options.outcome)[count]):
                    bench, _ = draw_set(bench, store, count, [order[:count] for order in ranked], draws)
                done += len(draws)
                progress(done, 4 * len(steps) * len(draws), "drawing")
        finally:
            store.flush()
        joint[name] = np.stack([store.effects(steps, cell.options.outcome)[count] for count in steps])
        stores.append(store)
    return joint, stores
