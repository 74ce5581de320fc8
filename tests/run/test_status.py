"""How far a sweep is, read from the store alone."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from cem_bench.run.progress import Timing, eta_s, status
from cem_bench.store.draws import Store
from cem_bench.store.entries import entry_stem
from cem_bench.store.failures import note_failure
from cem_bench.store.files import write_atomically

CELLS = [{"model": model, "scene": scene, "seed": "0"} for model in ("A", "B") for scene in ("one", "two", "three")]


def measured(output: Path, cell: dict[str, str], seconds: float, new_draws: int = 60) -> None:
    entry = {"session": {"seconds": seconds, "new_draws": new_draws}}
    path = output / "store" / "experiments" / "made" / f"{entry_stem(cell)}.json"
    write_atomically(path, json.dumps(entry).encode())


def test_cells_are_counted_and_the_rest_is_foretold(tmp_path: Path) -> None:
    assert status(tmp_path, "made", CELLS).eta_s is None
    measured(tmp_path, CELLS[0], 10.0)
    measured(tmp_path, CELLS[3] | {"sampling.n": "4", "output": "elsewhere"}, 40.0)  # how much, where: the same cell
    measured(tmp_path, {"model": "another", "scene": "one", "seed": "0"}, 999.0)
    found = status(tmp_path, "made", CELLS)
    assert (found.planned, found.done, found.running, found.failed) == (6, 2, (), ())
    assert found.eta_s == pytest.approx(2 * 10 + 2 * 40)
    for cell in CELLS:
        measured(tmp_path, cell, 0.1, new_draws=0)
    assert status(tmp_path, "made", CELLS).eta_s == 0.0


def test_who_measures_and_what_failed_is_named(tmp_path: Path) -> None:
    note_failure(tmp_path, ["+experiment=made", "model=A", "scene=two"], "it broke")
    note_failure(tmp_path, ["+experiment=other", "model=A", "scene=two"], "not ours")
    with Store(tmp_path / "store", {"model": "A"}).claimed():
        found = status(tmp_path, "made", CELLS)
        assert len(found.running) == 1 and found.running[0].startswith("A: process ")
    assert [failure.command for failure in found.failed] == ["python -m cem_bench +experiment=made model=A scene=two"]
    assert status(tmp_path, "made", CELLS).running == ()


def test_the_time_left_knows_settings_workers_and_what_runs() -> None:
    one, two = {"model": "A", "scene": "x"}, {"model": "A", "scene": "y"}
    slow = {"model": "A", "scene": "y", "sampling.n": "50"}
    assert eta_s([Timing(one), Timing(two)], 1) is None
    assert eta_s([Timing(one, 10.0, ended=True), Timing(two)], 1) == 10.0
    assert eta_s([Timing(one, 10.0, ended=True), Timing(two, spent=4.0)], 1) == 6.0
    assert eta_s([Timing(one, 10.0, ended=True), Timing(two, spent=99.0)], 1) == pytest.approx(1.0)
    known = [Timing(one, 10.0, ended=True), Timing(slow | {"scene": "x"}, 90.0, ended=True)]
    assert eta_s([*known, Timing(slow)], 1) == 90.0, "by its setting, not by its model"
    assert eta_s([*known, Timing(two | {"task": "sr_x4"})], 1) == 50.0, "an unknown setting: as the model on average"
    assert eta_s([*known, Timing({"model": "B", "scene": "x"})], 1) == 50.0
    assert eta_s([*known, Timing(slow), *[Timing(two)] * 3], 2) == 90.0, "no earlier than its longest cell"
    assert eta_s([*known, *[Timing(two)] * 4], 2) == 20.0


def test_recorded_costs_of_a_real_sweep_foretell_its_end() -> None:
    """Within a factor of 1.5 once a cell of each model has ended: `benchmarks/time_left.py`, by its recorded costs."""
    rows = pd.read_csv(Path(__file__).resolve().parents[2] / "results" / "scaling" / "time_left.csv").to_dict("records")
    cells = [Timing({"model": row["model"], "scene": row["scene"]}) for row in rows]
    factors = []
    for at, row in enumerate(rows):
        cells[at] = Timing(cells[at].choices, row["seconds"], ended=True)
        assert eta_s(cells, 1) == pytest.approx(row["eta_s"], rel=0.01), "what the sweep showed then"
        if len({before["model"] for before in rows[: at + 1]}) == 3 and row["left_s"]:
            factors.append(row["eta_s"] / row["left_s"])
    assert len(factors) == len(rows) - 3 and max(factors) <= 1.5 and min(factors) >= 1 / 1.5
