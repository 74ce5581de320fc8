"""Prove sums and shares of a map on the gold maps: bias and coverage at the numbers of draws used.

    python benchmarks/prove_shares.py [--runs 120] [--resampled 20]

Reads results/statistics/gold_*.npz, of which the truth is known, and writes shares.csv and, of it, the page shares.md
beside them (`--page`: the page alone, of the table that is there). The table has a row per map,
rule of drawing, quantity and estimator. Columns: map; draws (per block, or "sequential" for as many as the sequential
rule asks for, "stratified" for the same with donors by stratum); draws_mean (per block); quantity; far_px (what counts
as far); estimator ("bracket": `stats.shares.map_shares`; "halves": `stats.summaries.map_summary`, whose intervals take
200 resamples per map, hence fewer runs); runs; known (share of the runs with a value); truth; mean, bias (mean - truth)
and sd (over runs) of the estimate; floor and ceiling (means; of the bracket); coverage (share of the runs whose 95 %
interval holds the truth; an unknown interval is the whole range and holds it) and width (median) of the intervals.
Sums are in dB, shares in 0..1.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from cem_bench.inputs.geometry import Grid, Rect, ring_distance
from cem_bench.report.render import render
from cem_bench.sampling.sequential import Sequential
from cem_bench.stats.shares import map_shares
from cem_bench.stats.simulate import Gold, draw, load_gold, replay_sequential
from cem_bench.stats.summaries import map_summary
from cem_bench.store.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "statistics"
DRAWS = (4, 6, 10, 20, 50, "sequential", "stratified")
BLOCK = 8
STRATIFIED = OmegaConf.load(ROOT / "conf" / "sampling" / "stratified.yaml").sampling.maximum
# What `map_summary` calls the same quantities; its far mass begins at 16 px.
HALVES = {"positive_mass_db": "positive_sum_db", "negative_mass_db": "negative_sum_db", "size_db": "size_sum_db"}


def distances(gold: Gold) -> np.ndarray:
    """Return the distance of every enumerated block from the ROI, (m,) px."""
    crop, roi = (Rect(**gold.about[name]) for name in ("crop", "roi"))
    return ring_distance(Grid(crop.height, crop.width, BLOCK), roi)[gold.blocks].astype(np.float64)


def truths(gold: Gold, distance: np.ndarray, far_px: float) -> dict[str, float]:
    """Return the numbers of the enumerated map: sums in dB, shares in 0..1."""
    effect = gold.truth
    size, negative = np.abs(effect).sum(), -np.minimum(effect, 0).sum()
    far = np.abs(effect)[distance > far_px].sum()
    sums = {"positive_sum_db": np.maximum(effect, 0).sum(), "negative_sum_db": negative, "size_sum_db": size}
    return sums | {"far_sum_db": far, "harm_share": negative / size, "far_share": far / size}


def far_limit(gold: Gold, distance: np.ndarray) -> float:
    """Return 16 px where at least 1 % of the map's size lies beyond, else 8: a share of nothing proves nothing."""
    return next((at for at in (16.0, 8.0) if truths(gold, distance, at)["far_share"] >= 0.01), 8.0)


def sampled(gold: Gold, count: int | str, runs: int) -> list[dict[int, np.ndarray]]:
    """Return the draws of every block in every run, by a fixed number per block or by a sequential rule."""
    rng = np.random.default_rng([24, runs])
    if isinstance(count, int):
        return [dict(enumerate(effects)) for effects in draw(gold.effects, runs, count, rng)[0]]
    rule = Sequential(maximum=STRATIFIED) if count == "stratified" else Sequential()
    draws, labels = draw(gold.effects, runs, rule.maximum, rng, gold.strata if count == "stratified" else None)
    spent = replay_sequential(draws, gold.truth, rule.looks, labels).draws
    return [
        {block: effects[: counts[block]] for block, effects in enumerate(run)}
        for run, counts in zip(draws, spent, strict=True)
    ]


def rows(
    maps: list[dict[int, np.ndarray]],
    estimate: Callable[[dict[int, np.ndarray]], Mapping[str, Any]],
    truth: dict[str, float],
) -> Iterator[dict[str, Any]]:
    """Yield a row per quantity for one estimator at one rule of drawing."""
    estimates = [estimate(effects) for effects in maps]
    spent = float(np.mean([len(draws) for effects in maps for draws in effects.values()]))
    for name in estimates[0]:
        yield {"draws_mean": spent, "quantity": name, **scored([run[name] for run in estimates], truth[name])}


def scored(runs: Sequence[Any], truth: float) -> dict[str, Any]:
    """Return bias and coverage of one quantity over runs, each with value, low, high, and maybe floor and ceiling."""
    value, low, high = (np.array([getattr(run, end) for run in runs]) for end in ("value", "low", "high"))
    known, mean = np.isfinite(value), float(np.nanmean(value)) if np.isfinite(value).any() else np.nan
    bracket = {
        side: float(np.nanmean([getattr(run, side, np.nan) for run in runs])) if hasattr(runs[0], side) else np.nan
        for side in ("floor", "ceiling")
    }
    covered = ~known | ((low <= truth) & (truth <= high))
    return {
        "runs": len(runs),
        "known": known.mean(),
        "truth": truth,
        "mean": mean,
        "bias": mean - truth,
        "sd": float(np.nanstd(value)),
        **bracket,
        "coverage": covered.mean(),
        "width": float(np.median((high - low)[known])) if known.any() else np.nan,
    }


def prove(name: str, gold: Gold, runs: int, resampled: int) -> pd.DataFrame:
    """Return the rows of one gold map, both estimators at every rule of drawing."""
    distance = distances(gold)
    far_px = far_limit(gold, distance)
    of, truth = dict(enumerate(distance)), truths(gold, distance, far_px)
    renamed = {ours: truth[theirs] for ours, theirs in HALVES.items()}

    def halves(effects: dict[int, np.ndarray]) -> Mapping[str, Any]:
        summary = map_summary(effects, of)
        return {ours: summary[ours] for ours in HALVES}

    def bracket(effects: dict[int, np.ndarray]) -> Mapping[str, Any]:
        return map_shares(effects, of, far_px=far_px)

    parts = []
    for count in DRAWS:
        for estimator, estimate, many, known in (
            ("bracket", bracket, runs, truth),
            ("halves", halves, resampled, renamed),
        ):
            part = pd.DataFrame(rows(sampled(gold, count, many), estimate, known))
            parts.append(part.assign(map=name, draws=count, far_px=far_px, estimator=estimator))
    print(f"{name}: done", flush=True)
    first = ["map", "draws", "draws_mean", "quantity", "far_px", "estimator"]
    table = pd.concat(parts)
    return table[[*first, *(column for column in table if column not in first)]]


def page(rows: pd.DataFrame) -> str:
    """Return the page: the farthest bias and the lowest coverage over the maps, by quantity and rule of drawing."""
    runs = rows.groupby("estimator")["runs"].max()
    rows = rows.assign(relative=100 * rows["bias"] / rows["truth"], covered=100 * rows["coverage"])
    return render(
        "shares",
        maps=rows["map"].nunique(),
        runs=runs,
        bias=worst(rows, "relative", lambda values: values.loc[values.abs().idxmax()], "+.0f"),
        coverage=worst(rows, "covered", lambda values: values.min(), ".0f"),
    )


def worst(rows: pd.DataFrame, column: str, choose: Callable[[pd.Series], float], form: str) -> pd.DataFrame:
    """Return a row per estimator and quantity, a column per number of draws: of the map where it is worst."""
    of_map = rows.assign(draws=rows["draws"].astype(str)).groupby(["estimator", "quantity", "draws"])[column]
    wide = of_map.agg(choose).unstack("draws")[[str(count) for count in DRAWS]]
    return wide.map(lambda value: format(value, form)).reset_index()


def main() -> None:
    """Simulate on every gold map, and write table and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=120, help="runs of the bracket per map and number of draws")
    parser.add_argument("--resampled", type=int, default=20, help="runs of the halves")
    parser.add_argument("--gold", type=Path, default=RESULTS, help="folder of gold_*.npz")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="write the page alone, of the table in --out")
    arguments = parser.parse_args()
    written = arguments.out / "shares.csv"
    if not arguments.page:
        write_atomically(written, simulate(parser, arguments).to_csv(index=False, float_format="%.5g").encode())
    text = page(pd.read_csv(written))
    write_atomically(arguments.out / "shares.md", text.encode())
    print(text)


def simulate(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> pd.DataFrame:
    """Return the table of all gold maps in the folder that the command names."""
    golds = {path.stem.removeprefix("gold_"): load_gold(path) for path in sorted(arguments.gold.glob("gold_*.npz"))}
    if not golds:
        parser.error(f"no gold_*.npz in {arguments.gold}; write them with benchmarks/gold_maps.py")
    arguments.out.mkdir(parents=True, exist_ok=True)
    return pd.concat([prove(name, gold, arguments.runs, arguments.resampled) for name, gold in golds.items()])


if __name__ == "__main__":
    main()
