"""A sweep on a real SLURM of one node: array, requeue, scancel, launcher; the same bits as one worker."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cem_bench.run.launch import run
from cem_bench.run.slurm import script
from cem_bench.store.draws import read_rows
from cem_bench.store.states import all_states

ROOT = Path(__file__).resolve().parents[2]
NETWORK = """
import time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, seconds=0.0):
        super().__init__()
        torch.manual_seed(0)
        self.seconds = seconds
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, x):
        time.sleep(self.seconds)
        return x + 0.2 * self.body(x)
"""
SWEEP = (
    "--multirun",
    "model=custom",
    "model._target_=slurmnet.Net",
    "model.tasks=[DN]",
    "model.identity=slurmnet",
    "task=dn25",
    "scene=coffee",
    "scene.crop=[0,100,64,64]",
    "scene.roi=[24,24,16,16]",
    "donors.count=50",
    "sampling=uniform",
    "sampling.n=4",
    "joint=0",
    "seed=0,1,2",
)
SLOW = ("+model.options.seconds=0.03", "engine=full", "memory_gb=0.001")
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the network, where jobs are submitted."""
    (tmp_path / "slurmnet.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), str(tmp_path))))
    return tmp_path


def draws_of(output: Path) -> dict[str, pd.DataFrame]:
    return {path.parent.name: read_rows(path.parent) for path in sorted((output / "store").glob("*/manifest.json"))}


def until(condition: Callable[[], bool], seconds: float = 400.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.3)


def submitted(cluster, folder: Path, *overrides: str, tasks: int) -> str:
    """Submit the printed script as it is; return the array's number."""
    environment = {**cluster.environment, "PYTHONPATH": os.environ["PYTHONPATH"]}
    text = script([*SWEEP, *overrides], tasks=tasks, cpus=1, gpus=0, minutes=60)
    (folder / "sweep.sh").write_text(text)
    cluster.environment.update(environment)
    return cluster.command("sbatch", "--parsable", "sweep.sh", cwd=folder)


def ended(cluster, job: str) -> bool:
    return {*cluster.states(job).values()} <= OVER


def test_an_array_with_a_requeued_and_a_cancelled_worker_measures_what_one_measures(cluster, folder: Path) -> None:
    output = folder / "many"
    job = submitted(cluster, folder, *SLOW, f"output={output}", tasks=3)
    until(lambda: any(output.glob("store/*/*.journal")))
    assert [*cluster.states(job).values()].count("RUNNING") >= 2
    holders = [state for state in all_states(output) if state.ended is None]
    assert holders and {state.sweep for state in holders} == {job}
    cluster.command("scancel", "--signal=USR1", "--batch", f"{job}_1")  # what SLURM sends before the time limit
    cluster.command("scancel", f"{job}_2")
    until(lambda: ended(cluster, job))
    states = cluster.states(job)
    assert states == {"1": "COMPLETED", "2": "CANCELLED", "3": "COMPLETED"}, logs(folder)
    assert "Restarts=1" in cluster.command("scontrol", "show", "job", f"{job}_1")
    assert "stopped by SIGTERM; everything measured so far is kept" in logs(folder)
    assert "Traceback" not in logs(folder)
    alone = folder / "alone"
    assert run([*SWEEP, *SLOW, f"output={alone}"]) == 0
    found, expected = draws_of(output), draws_of(alone)
    assert found.keys() == expected.keys() and len(found) == 3
    assert all(found[key].equals(expected[key]) for key in found)
    assert not list(output.rglob("lease")) and not list(output.rglob("*.tmp"))


def test_a_failed_cell_fails_the_workers_that_know_of_it(cluster, folder: Path) -> None:
    output = folder / "failing"
    job = submitted(cluster, folder, "scene.block=8,7", f"output={output}", tasks=2)
    until(lambda: ended(cluster, job))
    assert {*cluster.states(job).values()} == {"FAILED"}, logs(folder)
    assert "3 of 6 cells failed; each again by" in logs(folder)
    assert len(draws_of(output)) == 3
    assert len({state.begun for state in all_states(output)}) == 6, "each cell was tried once"


def test_the_launcher_of_hydra(cluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, cluster.environment[name])
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=10", "hydra.launcher.cpus_per_task=1"]
    output = folder / "launched"
    assert run([*SWEEP, "scene.block=8,7", *launcher, f"output={output}"]) == 1
    assert run([*SWEEP, f"output={folder / 'alone'}"]) == 0
    found, expected = draws_of(output), draws_of(folder / "alone")
    assert found.keys() == expected.keys() and all(found[key].equals(expected[key]) for key in found)
    failures = [json.loads(path.read_text()) for path in (output / "store" / "failures").glob("*.json")]
    assert len(failures) == 3 and all("scene.block=7" in failure["overrides"] for failure in failures)


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("cem_bench-*.log")))


def test_the_script_is_printed_as_it_is_submitted() -> None:
    text = script(["+experiment=denoise_ca", "device=cuda"], tasks=7, cpus=3, gpus=1, minutes=90)
    for line in ("--array=1-7", "--cpus-per-task=3", "--gpus-per-task=1", "--time=90", "--requeue"):
        assert f"#SBATCH {line}\n" in text
    assert f"{sys.executable} -m cem_bench +experiment=denoise_ca device=cuda &\n" in text


@pytest.mark.parametrize(
    ("overrides", "gpus", "words"),
    [
        (["+experiment=a", "workers=2"], 0, "workers=2: SLURM starts the workers here"),
        (["+experiment=a"], 1, "add device=cuda"),
        (["model=DnCNN"], 0, "got no sweep"),
    ],
)
def test_what_no_script_can_do_is_refused(overrides: list[str], gpus: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        script(overrides, tasks=1, cpus=1, gpus=gpus, minutes=60)
