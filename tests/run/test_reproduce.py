"""The plan of the whole paper: which cells there are, which are left, and what they take."""

from pathlib import Path

import pandas as pd
import pytest

from cem_bench.__main__ import main
from cem_bench.run.build import register, wanted
from cem_bench.run.commands.reproduce import GUESS_SECONDS, line, not_stored, seconds_a_cell
from cem_bench.run.sweep import Sweep, plan


@pytest.fixture
def sweep() -> Sweep:
    register()
    given = ["+experiment=multitask", "model=RCAN_DN_ca,SRResNet_mix_light", "scene=shipped_rocket_1,shipped_rocket_2"]
    found = plan(given, {})
    assert found
    return found


def test_only_the_tasks_a_network_was_trained_for_are_cells(sweep: Sweep) -> None:
    tasks = {(cell["model"], cell["task"]) for cell in wanted(sweep)}
    mixed = {("SRResNet_mix_light", task) for task in ("sr_x4_same_size", "dn50", "rain_medium")}
    assert tasks == {("RCAN_DN_ca", "dn50")} | mixed
    assert len(wanted(sweep)) == 2 * len(tasks)
    everything = plan(["+experiment=multitask", "model=RCAN_DN_ca", "seed=0,1", "trained_tasks_only=false"], {})
    assert everything and wanted(everything) == everything.cells


def test_stored_cells_are_not_left_and_the_rest_takes_what_the_table_says(sweep: Sweep, tmp_path: Path) -> None:
    cells = wanted(sweep)
    words, seconds = line("multitask", sweep, tmp_path)
    assert seconds == len(cells) * GUESS_SECONDS
    assert "8 cells,    8 to measure" in words
    entries = tmp_path / "store" / "experiments" / "multitask"
    entries.mkdir(parents=True)
    (entries / "model=RCAN_DN_ca,scene=shipped_rocket_1,seed=0,task=dn50.json").write_text("{}")
    (tmp_path / "multitask").mkdir()
    names = ["RCAN_DN_ca", "RCAN_DN_ca", "SRResNet_mix_light", "of before it was kept"]
    took = {"model": names, "seconds": [30.0, 10.0, 5.0, None]}
    pd.DataFrame(took).to_csv(tmp_path / "multitask" / "cells.csv", index=False)
    words, seconds = line("multitask", sweep, tmp_path)
    assert "8 cells,    7 to measure" in words
    assert seconds == 20.0 + 6 * 5.0
    assert "of before it was kept" not in seconds_a_cell("multitask", tmp_path)


def test_what_a_sweep_measured_is_not_left(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ["model=SRResNet_mix_light", "task=dn50", "scene=shipped_rocket_1", "sampling.n=2"]
    monkeypatch.setattr("sys.argv", ["cem_bench", "+experiment=multitask", *chosen, f"output={tmp_path}"])
    main()
    left = not_stored("multitask", wanted(sweep), tmp_path)
    assert len(left) == 7
    assert {"model": "SRResNet_mix_light", "task": "dn50", "scene": "shipped_rocket_1", "seed": "0"} not in left
    assert seconds_a_cell("multitask", tmp_path)["SRResNet_mix_light"] > 0


def test_a_sweep_over_tasks_runs_what_is_trained_for_them_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["model=SRResNet_DN_light,SRResNet_DR_light", "task=dn50,rain_medium", "scene=shipped_rocket_1"]
    monkeypatch.setattr("sys.argv", ["cem_bench", "+experiment=verdict_maps", *chosen, f"output={tmp_path}"])
    main()
    assert "2 cells; what is stored" in capsys.readouterr().out
    entries = [path.stem for path in (tmp_path / "store" / "experiments" / "verdict_maps").glob("*.json")]
    assert sorted(entries) == [
        "model=SRResNet_DN_light,scene=shipped_rocket_1,seed=0,task=dn50",
        "model=SRResNet_DR_light,scene=shipped_rocket_1,seed=0,task=rain_medium",
    ]
    page = (tmp_path / "verdict_maps" / "README.md").read_text()
    assert "the sweep that ran here asks for" not in page
    assert "## What becomes of the blocks that 3 draws colour" in page
    assert "blocks that help, % |" in page
