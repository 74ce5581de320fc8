"""Prove the statistics by simulation from the gold maps: coverage, error rates, draws.

    python benchmarks/prove_statistics.py [--runs 1000] [--page]

Reads results/statistics/gold_*.npz and writes table.csv, blocks.csv (coverage by block), sums.csv, rounded.csv,
simulations.png and README.md beside them; with --page figure and page alone, from the tables.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from cem_bench.figures.saving import save_figure
from cem_bench.figures.style import WIDTH, colours_of, markers_of, style
from cem_bench.report.render import render
from cem_bench.sampling.sequential import Sequential
from cem_bench.stats.estimates import robust_interval, skew_interval, t_interval
from cem_bench.stats.looks import DOUBT_SHARE
from cem_bench.stats.simulate import (
    Gold,
    Outcome,
    draw,
    load_gold,
    replay_fixed,
    replay_paper,
    replay_sequential,
    score,
)
from cem_bench.stats.summaries import map_summary
from cem_bench.store.files import write_atomically
from cem_bench.store.roots import marked, tables_root

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "statistics"
TABLES = ("table", "blocks", "sums", "rounded")
IN_GIT = ("table.csv", "sums.csv", "rounded.csv")
COARSE, FINE, PART = 3, 50, 100
MASS_DRAWS, MASS_RUNS = 10, 200
# Sums of a map, and the part of each block's effect that they sum.
MASSES = {"size_db": np.abs, "positive_mass_db": lambda effect: np.maximum(effect, 0), "net_mass_db": np.array}
# Most draws a block with 25 strata: what `sampling=stratified` takes.
STRATIFIED = OmegaConf.load(ROOT / "conf" / "sampling" / "stratified.yaml").sampling.maximum
# Most draws a block under the rule that may spend what the paper rule spends; the largest affordable is taken.
GENEROUS = (50, 80, 128, 200, 320)


def joined(parts: list[Outcome]) -> Outcome:
    """Return the runs of several outcomes as one."""
    names = ("draws", "mean", "covered", "verdict")
    return Outcome(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def replay(gold: Gold, rule: Sequential | int | None, runs: int, *, stratified: bool) -> Outcome:
    """Replay a sequential rule, a fixed number of draws, or (None) the paper rule, in parts that fit in memory."""
    parts = []
    for first in range(0, runs, PART):
        rng = np.random.default_rng([first, runs])
        count = COARSE + FINE if rule is None else rule if isinstance(rule, int) else rule.maximum
        draws, labels = draw(gold.effects, min(PART, runs - first), count, rng, gold.strata if stratified else None)
        if rule is None:
            parts.append(replay_paper(draws, gold.truth, coarse=COARSE))
        elif isinstance(rule, int):
            parts.append(replay_fixed(draws, gold.truth, labels))
        else:
            parts.append(replay_sequential(draws, gold.truth, rule.looks, labels))
    return joined(parts)


def generous(gold: Gold, paper_draws: float, *, stratified: bool) -> Sequential:
    """Return the sequential rule of the largest allowance that spends no more than the paper rule."""
    best = Sequential(maximum=GENEROUS[0])
    for maximum in GENEROUS[1:]:
        rule = Sequential(maximum=maximum)
        if replay(gold, rule, 20, stratified=stratified).draws.sum(1).mean() > paper_draws:
            break
        best = rule
    return best


def outcomes(gold: Gold, runs: int) -> dict[str, Outcome]:
    """Return every rule's runs on one gold map."""
    paper = replay(gold, None, runs, stratified=False)
    spent = float(paper.draws.sum(1).mean())
    rules = {
        "uniform 50": (FINE, False),
        "uniform 50, stratified": (FINE, True),
        "sequential": (Sequential(), False),
        "sequential, stratified": (Sequential(maximum=STRATIFIED), True),
        "sequential, paper's draws": (generous(gold, spent, stratified=False), False),
        "sequential, stratified, paper's draws": (generous(gold, spent, stratified=True), True),
    }
    return {"paper": paper} | {
        name: replay(gold, rule, runs, stratified=stratified) for name, (rule, stratified) in rules.items()
    }


def rounded_coverage(gold: Gold, runs: int) -> pd.DataFrame:
    """Return the coverage of three intervals for 50 draws of the 8-bit outcome."""
    truth = gold.effects_8bit.mean(axis=1)
    draws, _ = draw(gold.effects_8bit, runs, FINE, np.random.default_rng([8, runs]))
    rows = []
    for name, make in (("t", t_interval), ("skew", skew_interval), ("robust", robust_interval)):
        estimates = make(draws)
        covered = ((estimates.low <= truth) & (truth <= estimates.high)).mean(axis=0)
        rows.append({"interval": name, "coverage": covered.mean(), "coverage_worst": covered.min()})
    return pd.DataFrame(rows)


def figure(table: pd.DataFrame, per_block: pd.DataFrame, folder: Path) -> None:
    """Draw coverage of every block, errors against draws, and contradictory verdicts."""
    order = list(dict.fromkeys(table["rule"]))
    colours = colours_of(order)
    with style():
        drawing = Figure(figsize=(WIDTH, 5.6))
        axes = drawing.subplot_mosaic([["coverage", "verdicts"], ["errors"] * 2], width_ratios=[1.4, 1])
        sns.stripplot(
            per_block, x="coverage", y="rule", hue="rule", palette=colours, order=order, size=2, ax=axes["coverage"]
        )
        axes["coverage"].axvspan(0.93, 0.97, color="0.85", zorder=0)
        axes["coverage"].axvline(0.95, color="0.3", lw=0.8)
        axes["coverage"].set(xlabel="coverage of a block's 95 % interval\n(grey: asked of all)", ylabel="")
        errors_panel(axes["errors"], table, colours)
        bars = table.assign(contradictory=table["contradictory"] * 100)
        look = {"palette": "Greys", "edgecolor": "0.2", "linewidth": 0.5, "ax": axes["verdicts"]}
        sns.barplot(bars, y="rule", x="contradictory", hue="map", order=order, **look)
        axes["verdicts"].axvline(3, color="0.3", lw=0.8, ls="--")
        axes["verdicts"].set(xlabel="contradictory verdicts,\n% of coloured blocks", ylabel="")
        axes["verdicts"].tick_params(axis="y", labelleft=False)
        axes["verdicts"].legend(title="", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        save_figure(drawing, folder / "simulations", root=tables_root(folder, IN_GIT))


def errors_panel(axis: Axes, table: pd.DataFrame, colours: Mapping[str, Any]) -> None:
    """Draw wrong blocks against draws, a colour per rule and a marker per map."""
    names = list(dict.fromkeys(table["map"]))
    markers = markers_of(names)
    for row in table.to_dict("records"):
        look = {"marker": markers[row["map"]], "color": colours[row["rule"]], "markersize": 4}
        axis.plot(row["draws_of_paper"], row["missed"] + row["false"], linestyle="none", **look)
    for name in names:
        axis.plot([], [], linestyle="none", marker=markers[name], color="0.3", markersize=4, label=name)
    axis.axvline(0.5, color="0.3", lw=0.8, ls="--")
    axis.set(xlabel="draws / draws of the paper rule", ylabel="missed + falsely coloured\nblocks per run", xscale="log")
    axis.set_xticks([0.5, 1, 2, 5], labels=["0.5", "1", "2", "5"])
    axis.minorticks_off()
    axis.set_ylim(0, None)
    axis.margins(0.08)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def mass_coverage(gold: Gold, runs: int) -> pd.DataFrame:
    """Return bias and coverage of the summed |effect| and the positive mass, cross-fit, beside the plain sum.

    Once of as many draws of every block, once of all the draws that the sequential rule by stratum asked for.
    """
    rng, rule, every = np.random.default_rng([9, runs]), Sequential(maximum=STRATIFIED), range(len(gold.blocks))
    fixed, _ = draw(gold.effects, runs, MASS_DRAWS, rng)
    asked, labels = draw(gold.effects, runs, rule.maximum, rng, gold.strata)
    spent = replay_sequential(asked, gold.truth, rule.looks, labels).draws
    rows = []
    for of, draws, counts in (
        (f"{MASS_DRAWS} draws", fixed, np.full(spent.shape, MASS_DRAWS)),
        ("sequential, stratified", asked, spent),
    ):
        maps = [{block: run[block, : n[block]] for block in every} for run, n in zip(draws, counts, strict=True)]
        summaries = [map_summary(run, dict.fromkeys(run, 8.0), resample_seed=at) for at, run in enumerate(maps)]
        means = np.array([[effects.mean() for effects in run.values()] for run in maps])
        for name, part in MASSES.items():
            ends, truth = np.array([vars(summary[name]) for summary in summaries]), part(gold.truth).sum()
            value, low, high = (np.array([interval[end] for interval in ends]) for end in ("value", "low", "high"))
            head = {"of": of, "quantity": name, "truth": truth, "cross_fit": value.mean()}
            plain, covered = part(means).sum(axis=1).mean(), ((low <= truth) & (truth <= high)).mean()
            rows.append(head | {"plain": plain, "coverage": covered})
    return pd.DataFrame(rows)


def simulated(golds: dict[str, Gold], runs: int) -> dict[str, pd.DataFrame]:
    """Return the tables of all gold maps: every rule, its coverage by block, sums, and rounded outcomes."""
    tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for name, gold in golds.items():
        results = outcomes(gold, runs)
        scores = {rule: score(outcome, gold) for rule, outcome in results.items()}
        paper = scores["paper"]["draws"]
        rows = [
            {"map": name, "rule": rule, "runs": runs, **numbers, "draws_of_paper": numbers["draws"] / paper}
            for rule, numbers in scores.items()
        ]
        blocks = [
            pd.DataFrame({"map": name, "rule": rule, "coverage": outcome.covered[:, gold.resolved].mean(axis=0)})
            for rule, outcome in results.items()
        ]
        few = min(runs, MASS_RUNS)
        tables["table"].append(pd.DataFrame(rows))
        tables["blocks"] += blocks
        tables["rounded"].append(rounded_coverage(gold, runs).assign(map=name))
        tables["sums"].append(mass_coverage(gold, few).assign(map=name, runs=few))
        print(f"{name}: done", flush=True)
    return {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}


def missed(table: pd.DataFrame) -> pd.DataFrame | None:
    """Return which of the marks our rules miss, each with its number; the paper rule is not held to them."""
    paper = table[table["rule"] == "paper"].set_index("map")
    lines = []
    for row in table[table["rule"] != "paper"].to_dict("records"):
        errors, allowed = row["missed"] + row["false"], paper.loc[row["map"], ["missed", "false"]].sum()
        sparing = str(row["rule"]).startswith("sequential") and not str(row["rule"]).endswith("paper's draws")
        marks = {
            f"coverage {row['coverage']:.1%}": not 0.93 <= row["coverage"] <= 0.97,
            f"blocks under 90 %: {row['below_90']:.0f}, the least {row['coverage_worst']:.1%}": row["below_90"] > 0,
            f"{row['draws_of_paper']:.2f} of the paper rule's draws": sparing and row["draws_of_paper"] > 0.5,
            f"{errors:.2f} wrong blocks against {allowed:.2f}": errors > allowed,
            f"{row['contradictory']:.1%} contradictory": row["contradictory"] > 0.03,
        }
        reasons = "; ".join(reason for reason, failed in marks.items() if failed)
        lines += [{"map": row["map"], "rule": row["rule"], "not reached": reasons}] if reasons else []
    return pd.DataFrame(lines) if lines else None


def page(tables: dict[str, pd.DataFrame], golds: dict[str, Gold], root: str) -> str:
    """Return the page of the tables, whose root it names."""
    table, sums, rounded = (tables[name] for name in ("table", "sums", "rounded"))
    of = list(dict.fromkeys(table["map"]))
    about = [
        {
            "map": f"gold_{name}.npz",
            "network": golds[name].about["model"],
            "scene": golds[name].about["scene"],
            "degradation": golds[name].about["degradation"],
            "blocks": len(golds[name].blocks),
            "donors": golds[name].effects.shape[1],
            "true |effect| >= 0.01 dB": int((np.abs(golds[name].truth) >= 0.01).sum()),
        }
        for name in of
    ]
    shown = sums.assign(coverage=sums["coverage"].map("{:.1%}".format))
    return render(
        "statistics",
        maps=pd.DataFrame(about),
        runs=table["runs"].max(),
        rules=table.drop(columns="runs").map(printed),
        doubt=f"{DOUBT_SHARE:.0%}",
        missed=missed(table),
        sum_runs=sums["runs"].max(),
        sums=shown[["map", "of", "quantity", "truth", "cross_fit", "plain", "coverage"]].map(printed),
        root=root,
        rounded=rounded[["map", "interval", "coverage", "coverage_worst"]].map(printed),
    )


def printed(value: object) -> object:
    """Return a number as it is printed."""
    return f"{value:.4g}" if isinstance(value, float) else value


def main() -> None:
    """Simulate, and write tables, figure and page; or the last two alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="an even number of runs per rule")
    parser.add_argument("--gold", type=Path, default=RESULTS, help="folder of gold_*.npz")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of what is written")
    parser.add_argument("--page", action="store_true", help="write page and figure alone, of the tables in --out")
    arguments = parser.parse_args()
    golds = {path.stem.removeprefix("gold_"): load_gold(path) for path in sorted(arguments.gold.glob("gold_*.npz"))}
    if not golds:
        parser.error(f"no gold_*.npz in {arguments.gold}; write them with benchmarks/gold_maps.py")
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.page:
        for name, table in simulated(golds, arguments.runs).items():
            write_atomically(arguments.out / f"{name}.csv", table.to_csv(index=False, float_format="%.6g").encode())
    tables = {
        path.stem: pd.read_csv(path) for path in (arguments.out / f"{name}.csv" for name in TABLES) if path.is_file()
    }
    if "blocks" in tables:  # a run of before kept no coverage by block: its figure stays as it is
        figure(tables["table"], tables["blocks"], arguments.out)
    write_atomically(
        arguments.out / "README.md", page(tables, golds, marked(tables_root(arguments.out, IN_GIT))).encode()
    )
    print(arguments.out / "README.md")


if __name__ == "__main__":
    main()
