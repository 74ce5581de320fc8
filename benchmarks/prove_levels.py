"""Prove the estimate of two levels on a gold map: coverage, errors and cost, against draws of the real network alone.

    python benchmarks/prove_levels.py

Gives every block and donor of results/statistics/gold_rcan_dn_ca.npz its effect by the adjoint level (kept beside it,
in cheap_rcan_dn_ca.npz), and draws from both with the truth known: the estimate of two levels with fixed numbers
of draws, and whole maps by `sampling=levels` beside the published and the sequential rule. Writes
results/statistics/levels.csv.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gold_maps
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import model_zoo
from cem_bench.engine import prepare
from cem_bench.engine.cone import ConeEngine
from cem_bench.engine.full import FullEngine
from cem_bench.engine.levels import Levels
from cem_bench.inputs.donors import pool_from_images
from cem_bench.inputs.geometry import Grid, Rect, ring_distance
from cem_bench.inputs.images import locate, read_rgb
from cem_bench.inputs.interventions import true_patches
from cem_bench.measuring.outcome import psnr
from cem_bench.sampling.judged import Judged
from cem_bench.sampling.level_draws import RINGS, LevelDraws, asked_by_level
from cem_bench.sampling.level_table import level_table
from cem_bench.sampling.multilevel import Multilevel
from cem_bench.sampling.sequential import Sequential
from cem_bench.stats.simulate import (
    Gold,
    Outcome,
    draw,
    load_gold,
    replay_estimate,
    replay_fixed,
    replay_paper,
    replay_sequential,
    score,
)
from cem_bench.stats.two_level import two_level
from cem_bench.store.files import npz, write_atomically


def cheap_effects(gold: Gold, name: str) -> tuple[NDArray[np.float64], float, float]:
    """Return the effects by the adjoint level, (blocks, donors) dB, and CPU seconds a draw of it and of a forward."""
    plan = gold_maps.GOLD[name]
    photograph = read_rgb(locate(f"skimage:data/{plan.photograph}"))
    clean = np.ascontiguousarray(photograph[plan.crop.slices])
    others = [f"skimage:data/{each}" for each in gold_maps.PHOTOGRAPHS if each != plan.photograph]
    pool = pool_from_images(others, gold_maps.BLOCK, count=plan.donors, pool_seed=0)
    observation = gold_maps.to_tensor(plan.degradation(clean))
    target = gold_maps.to_tensor(clean[plan.roi.slices]).double()
    network = model_zoo.load(plan.model)
    engine = prepare(network, observation, plan.roi, kind="cone")
    full = prepare(network, observation, plan.roi, kind="full")
    assert isinstance(engine, ConeEngine)
    assert isinstance(full, FullEngine)
    levels = Levels.of(engine, lambda rows: psnr(rows, target)[0])
    effects, spent, forwards = [], 0.0, 0.0
    for index in gold.blocks.tolist():
        block = Rect(index // (plan.crop.width // 8) * 8, index % (plan.crop.width // 8) * 8, 8, 8)
        patches = gold_maps.to_tensor(true_patches(clean, plan.degradation, block, pool.patches))
        begun, parts = time.process_time(), []
        for part in patches.split(gold_maps.BATCH):
            outputs, added = levels.outputs(block, part)
            values = psnr(outputs, target)
            parts.append((values[:1] - values[1:] - added[1:].sum(dim=1)).numpy())
        spent += time.process_time() - begun
        effects.append(np.concatenate(parts))
        begun = time.process_time()
        full.outputs(block, patches[:4])
        forwards += time.process_time() - begun
    count = len(gold.blocks)
    return np.stack(effects), spent / (count * len(pool)), forwards / (count * 4)


def cheap_of(gold: Gold, name: str) -> tuple[NDArray[np.float64], float]:
    """Return the effects by the adjoint level and their cost in forwards, from the file beside the gold map.

    Written where it lacks: the file is `cheap_NAME.npz`.
    """
    path = gold_maps.RESULTS / f"cheap_{name}.npz"
    if not path.exists():
        effects, level_s, forward_s = cheap_effects(gold, name)
        write_atomically(path, npz(effects=effects.astype(np.float32), cost=np.array(level_s / forward_s)))
    with np.load(path, allow_pickle=False) as stored:
        return stored["effects"].astype(np.float64), float(stored["cost"])


def replay_levels(
    rule: Multilevel, gold: Gold, cheap: NDArray[np.float64], cost: float, runs: int
) -> tuple[Outcome, float, float]:
    """Return what the rule by levels came to, its draws the real ones; the cheap draws; the share of audits failed."""
    many, plan = len(gold.blocks), gold_maps.GOLD["rcan_dn_ca"]
    grid = Grid(plan.crop.height, plan.crop.width, gold_maps.BLOCK)
    ring = np.digitize(ring_distance(grid, plan.roi)[gold.blocks], RINGS[:-1], right=True)
    parts, cheap_draws, failed = [], [], []
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        picks, rows = rng.integers(0, gold.effects.shape[1], (many, rule.maximum)), np.arange(many)[:, None]
        draws = LevelDraws(
            dict(enumerate(cheap[rows, picks])),
            dict(enumerate(gold.effects[rows, picks])),
            dict.fromkeys(range(many), cost),
            dict(enumerate(ring.tolist())),
            rng.permutation(many).tolist(),
        )
        judged = Judged(rule, asked_by_level(rule, draws)[0])
        table = level_table(judged)
        covered = (table.low <= gold.truth) & (gold.truth <= table.high)
        parts.append((judged.counts[1], table.mean, covered, table.verdict))
        cheap_draws.append(judged.counts[0].sum())
        failed.append(judged.audit_failed)
    return (
        Outcome(*(np.stack(column) for column in zip(*parts, strict=True))),
        float(np.mean(cheap_draws)),
        float(np.mean(failed)),
    )


def by_rule(gold: Gold, cheap: NDArray[np.float64], cost: float, runs: int) -> list[dict[str, Any]]:
    """Return a row for each rule: the published, the sequential, by stratum, and by levels, good and bad."""
    rng, looks, rows = np.random.default_rng(1), Sequential().looks, []
    draws, _ = draw(gold.effects, runs, looks[-1], rng)
    by_stratum, labels = draw(gold.effects, runs, looks[-1], rng, gold.strata)
    plain = {
        "sequential": replay_sequential(draws, gold.truth, looks),
        "sequential, stratified": replay_sequential(by_stratum, gold.truth, looks, labels),
    }
    for name, outcome in plain.items():
        numbers = score(outcome, gold)
        rows.append({"rule": name, **numbers, "cheap_draws": 0, "cost_forwards": numbers["draws"]})
    spread = gold.effects.std(axis=1, keepdims=True)
    levels = {
        "levels": (Multilevel(), cheap),
        "levels, audit=all": (Multilevel(audit="all"), cheap),
        "levels, with noise as large as the effects": (Multilevel(), cheap + spread * rng.normal(size=cheap.shape)),
        "levels, shifted by 0.02 dB": (Multilevel(), cheap + 0.02),
    }
    for name, (rule, level) in levels.items():
        outcome, cheap_draws, failed = replay_levels(rule, gold, level, cost, runs)
        numbers = score(outcome, gold)
        spent = {"cheap_draws": cheap_draws, "cost_forwards": numbers["draws"] + cost * cheap_draws}
        rows.append({"rule": name, **numbers, **spent, "audits_failed": failed})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--rule-runs", type=int, default=60, help="of whole maps by rule")
    parser.add_argument("--out", type=Path, default=gold_maps.RESULTS / "levels.csv")
    given = parser.parse_args()
    torch.set_num_threads(1)
    gold = load_gold(gold_maps.RESULTS / "gold_rcan_dn_ca.npz")
    cheap, ratio = cheap_of(gold, "rcan_dn_ca")
    rng = np.random.default_rng(0)
    both = np.stack([gold.effects, cheap], axis=-1)
    rows = []

    def add(rule: str, outcome: Outcome, forwards: float, cheap_draws: int) -> None:
        numbers = score(outcome, gold)
        cost = forwards + ratio * cheap_draws * len(gold.blocks)
        rows.append({"rule": rule, **numbers, "cheap_draws": cheap_draws * len(gold.blocks), "cost_forwards": cost})

    paper, _ = draw(gold.effects, given.runs, 53, rng)
    outcome = replay_paper(paper, gold.truth)
    add("paper", outcome, float(outcome.draws.sum(1).mean()), 0)
    for n in (2, 4, 16, 50):
        real, _ = draw(gold.effects, given.runs, n, rng)
        add(f"{n} draws", replay_fixed(real, gold.truth), n * len(gold.blocks), 0)
    for n, many in ((2, 16), (2, 50), (4, 16), (4, 50), (4, 100)):
        picks = rng.integers(0, gold.effects.shape[1], (given.runs, len(gold.blocks), many))
        pairs = both[np.arange(len(gold.blocks))[None, :, None], picks]
        estimate = two_level(pairs[..., :n, 0], pairs[..., 1])
        add(f"{n} draws, {many} by levels", replay_estimate(estimate, gold.truth), n * len(gold.blocks), many)
    rows += by_rule(gold, cheap, ratio, given.rule_runs)
    table = pd.DataFrame(rows)
    rest = gold.effects - cheap
    left = float((rest.var(axis=1) / gold.effects.var(axis=1)).mean())
    print(json.dumps({"cost of a level draw, forwards": round(ratio, 4), "variance left, mean": left}))
    print(table.round(3).to_string())
    write_atomically(given.out, table.to_csv(index=False, float_format="%.5g").encode())


if __name__ == "__main__":
    main()
