"""Measure every trained network on every test of its tasks: `python scripts/measure_trained.py [DATA] [RESULTS]`.

Writes trained.csv (one row a network and test), trained_members.csv (mean and range over seeds), trained_reach.png
(PSNR against reach and against the tasks trained for) and the page README.md into RESULTS, from the weights in
model_zoo. A network that trained.csv already holds with the same weights is not measured again.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

import model_zoo
from cem_bench.figures.saving import save_figure
from cem_bench.figures.style import WIDTH, colours_of, markers_of, style
from cem_bench.store.files import write_atomically
from cem_bench.store.roots import marked, tables_root
from model_zoo.training import every_test, measure
from scripts.trained_page import page

TABLE = "trained.csv"
WEIGHTS = Path(model_zoo.__file__).parent / "weights"
KEY = ["name", "test", "sha256"]
MULTI = "multi-task"  # how the names of families that differ in their tasks end
TRAINED = ("one task", "three", "seven")


class Enlarged(torch.nn.Module):
    """The observation itself, enlarged bicubically where the test asks for it: what a network has to beat."""

    def __init__(self, scale: int) -> None:
        """Keep the scale, output pixels per input pixel."""
        super().__init__()
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) to (B, 3, h * scale, w * scale)."""
        if self.scale == 1:
            return x
        return torch.nn.functional.interpolate(x, scale_factor=self.scale, mode="bicubic", antialias=True)  # a = -0.5


def wanted() -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the record of every trained network with every test of its tasks and scale."""
    for path in sorted(WEIGHTS.glob("*.json")):
        record = json.loads(path.read_text())
        for name, test in every_test().items():
            if test.task in record["card"]["tasks"] and test.get("scale", 1) == record["card"].get("scale", 1):
                yield record, name


def row(record: dict[str, Any], name: str, root: Path) -> dict[str, Any]:
    """Measure one network on one test; a row of trained.csv."""
    scores = measure(model_zoo.load(record["name"]), name, root)
    facts = {key: record[key] for key in ("name", "family", "member", "seed", "parameters", "reach")}
    trained = {"iterations": record["training_step"], "training_seconds": record["training_seconds"]}
    return {**facts, **trained, "test": name, **scores}


def input_psnr(name: str, root: Path) -> float:
    """PSNR of a test's observations, enlarged where its networks enlarge, dB."""
    return measure(Enlarged(every_test()[name].get("scale", 1)), name, root)["psnr"]


def figure(table: pd.DataFrame, path: Path) -> None:
    """Draw PSNR against reach, a panel a family that differs in it; below, against the tasks trained for, one a test.

    A point is a training; networks of global statistics stand right.

    Args:
        table: the rows of trained.csv.
        path: of the picture.
    """
    made_for = table.merge(table.loc[table.recorded_psnr.notna(), ["family", "test"]].drop_duplicates())
    families = [
        (f"{family}\n{test}", reach_panel, rows)
        for (family, test), rows in made_for.groupby(["family", "test"])
        if rows.reach.nunique(dropna=False) > 1
    ]
    tests = [
        (str(test), tasks_panel, rows)
        for test, rows in tasks_trained(table).groupby("test")
        if test in set(made_for["test"]) and rows["trained"].nunique() == len(TRAINED)
    ]
    with style():
        drawing = Figure(figsize=(WIDTH, 6.4))
        axes = drawing.subplots(2, max(len(families), len(tests)), squeeze=False)
        for line, panels in zip(axes, (families, tests), strict=True):
            for axis in line[len(panels) :]:
                axis.set_axis_off()
            for axis, (title, draw, rows) in zip(line, panels, strict=False):
                draw(axis, rows)
                axis.set_title(title)
        save_figure(drawing, path.with_suffix(""), root=tables_root(path.parent, [TABLE]))


def tasks_trained(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the multi-task families with what they were trained for, and the architecture as `network`.

    The light RCAN's member for denoising alone is that of the RCAN DN family with attention everywhere.
    """
    alone = (table["family"] == "RCAN DN") & (table["member"] == "attention everywhere") & (table["seed"] == 0)
    rows = table[table["family"].str.endswith(MULTI) | alone]
    trained = rows["member"].map({"mix": TRAINED[1], "MIO": TRAINED[2]}).fillna(TRAINED[0])
    return rows.assign(trained=trained, network=rows["family"].str.split().str[0])


def tasks_panel(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw PSNR on one test against the tasks trained for, a line an architecture."""
    networks = sorted(rows["network"].unique())
    colours, markers = colours_of(networks), markers_of(networks)
    for network in networks:
        mine = rows[rows["network"] == network].set_index("trained")["psnr"].reindex(TRAINED)
        axis.plot(TRAINED, mine, marker=markers[network], color=colours[network], label=network)
    axis.set(xlabel="trained for", ylabel="PSNR, dB")
    axis.margins(x=0.15)
    axis.legend(fontsize=6, handlelength=1.4, loc="upper center", bbox_to_anchor=(0.5, -0.3))


def reach_panel(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw the trainings of one family on one test, members in the order of their reach."""
    reach = rows.reach.astype(float)
    widest = np.nanmax(reach) if reach.notna().any() else 0.0
    whole = 1.3 * widest or 1.0
    ordered = list(rows.assign(reach=reach.fillna(np.inf)).sort_values(["reach", "member"])["member"].unique())
    colours, markers = colours_of(ordered), markers_of(ordered)
    for variant in ordered:
        mine = rows.member == variant
        look = {"marker": markers[variant], "color": colours[variant], "label": variant}
        axis.plot(reach[mine].fillna(whole), rows.psnr[mine], linestyle="none", **look)
    ticks = [tick for tick in MaxNLocator(4).tick_values(0, widest) if 0 <= tick <= widest]
    named = ["whole\nimage"] if reach.isna().any() else []
    axis.set_xticks([*ticks, *[whole] * len(named)], labels=[*[f"{tick:g}" for tick in ticks], *named])
    axis.set_xlim(-0.1 * whole, 1.1 * whole)
    axis.set(xlabel="reach, input px", ylabel="PSNR, dB")
    axis.margins(y=0.15)
    axis.legend(fontsize=6, handletextpad=0.2, labelspacing=0.3, loc="upper center", bbox_to_anchor=(0.5, -0.3))


def with_record(measured: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Add what the training wrote down: `difference_db` has to stay within 0.02 dB."""
    recorded = record["psnr"] if measured["test"] == record["check"] else None
    gap = None if recorded is None else measured["psnr"] - recorded
    return {**measured, "recorded_psnr": recorded, "difference_db": gap, "sha256": record["sha256"]}


def write(rows: list[dict[str, Any]], results: Path) -> pd.DataFrame:
    """Write both tables and return the first."""
    table = pd.DataFrame(rows)
    columns = [column for column in table.columns if column != "sha256"] + ["sha256"]
    table = table[columns].sort_values(["family", "member", "seed", "test"])
    write_atomically(results / TABLE, table.to_csv(index=False).encode())
    groups = table.groupby(["family", "member", "test"])
    seeds = groups.psnr.agg(seeds="count", psnr_mean="mean", psnr_min="min", psnr_max="max")
    members = seeds.join(groups.ssim.mean().rename("ssim_mean")).reset_index()
    write_atomically(results / "trained_members.csv", members.to_csv(index=False).encode())
    return table


def main(data: Path, results: Path) -> None:
    """Bring the tables and the figure up to date; what is measured is written at once."""
    results.mkdir(parents=True, exist_ok=True)
    path = results / TABLE
    stored: list[Any] = pd.read_csv(path).to_dict("records") if path.exists() else []
    known = {tuple(measured[key] for key in KEY): measured for measured in stored}
    inputs = {measured["test"]: measured["input_psnr"] for measured in stored}
    keyed = [((record["name"], name, record["sha256"]), record) for record, name in wanted()]
    rows = [with_record(known[key], record) for key, record in keyed if key in known]
    left = [(key, record) for key, record in keyed if key not in known]
    report(rows, left, results)
    for number, ((_, name, _), record) in enumerate(tqdm(left, desc="measuring"), 1):
        if name not in inputs:
            inputs[name] = input_psnr(name, data)
        rows.append(with_record(row(record, name, data) | {"input_psnr": inputs[name]}, record))
        report(rows, left[number:], results)


def report(rows: list[dict[str, Any]], left: list[tuple[tuple[str, str, str], Any]], results: Path) -> None:
    """Write tables, figure and page of what is measured so far."""
    if rows:
        table = write(rows, results)
        figure(table, results / "trained_reach.png")
        text = page(table, [key[:2] for key, _ in left], marked(tables_root(results, [TABLE])))
        write_atomically(results / "README.md", text.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path("../shared/data"), help="folder of the test sets")
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/zoo"), help="folder of the tables")
    arguments = parser.parse_args()
    main(arguments.data, arguments.results)
