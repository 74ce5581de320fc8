"""One sweep by several processes: joblib, submitit, workers of our own; failures are read from the store."""

from __future__ import annotations

import json
import os
import pickle
import shlex
import signal
import time
from pathlib import Path

import cloudpickle
import pandas as pd
import pytest

from cem_bench.run.config import Config
from cem_bench.run.job import own_overrides
from cem_bench.run.workers import NUMBER, VISIBLE, environments, gpus_of, threads_in_all
from cem_bench.store.draws import read_rows
from cem_bench.store.leases import holder_of
from cem_bench.store.states import all_states

LAUNCHERS = {
    "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "submitit_local": ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=9"),
    "workers": ("workers=2",),
}


def draws_of(output: Path) -> dict[str, pd.DataFrame]:
    return {path.parent.name: read_rows(path.parent) for path in sorted((output / "store").glob("*/manifest.json"))}


def same(found: dict[str, pd.DataFrame], expected: dict[str, pd.DataFrame]) -> bool:
    return found.keys() == expected.keys() and all(found[key].equals(expected[key]) for key in expected)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_cells_that_fail_or_die_are_named_and_the_rest_is_what_one_process_measures(
    start, alone, arguments, tmp_path: Path, name: str
) -> None:
    if name != "workers":
        pytest.importorskip(f"hydra_plugins.hydra_{name.partition('_')[0]}_launcher")
    process = start(*_fated(arguments, "none", "mild", "error", "death"), *LAUNCHERS[name], "output=many")
    out, errors = process.communicate(timeout=500)
    assert process.returncode == 1, errors
    assert "Traceback" not in out
    assert "2 of 4 cells failed; each again by" in errors
    assert errors.count("ended without a word (killed, or out of memory?)") == 1
    commands = [line.strip() for line in errors.splitlines() if line.startswith("  python -m cem_bench ")]
    assert len(commands) == 2 and sorted("fate=error" in line for line in commands) == [False, True]
    assert not any("launcher" in line or "workers" in line for line in commands)
    states = list(all_states(tmp_path / "many"))
    assert len(states) == 4 and len({state.sweep for state in states}) == 1
    found = {key: rows for key, rows in draws_of(tmp_path / "many").items() if len(rows)}
    assert same(found, alone(*_fated(arguments, "none", "mild")))
    pasted = start(*shlex.split(next(line for line in commands if "fate=error" in line))[3:])
    _, errors = pasted.communicate(timeout=200)
    assert pasted.returncode == 1 and "as fate has it" in errors


def _fated(arguments: list[str], *fates: str) -> list[str]:
    return ["--multirun", *arguments, f"+model.options.fate={','.join(fates)}"]


def test_a_killed_worker_costs_one_unit_and_no_bit(start, alone, arguments, tmp_path: Path) -> None:
    """Kill -9 of one of two workers in the middle of its cell: the other takes the cell over."""
    slow = ["+model.options.seconds=0.03", "engine=full", "memory_gb=0.001"]
    sweep = ["--multirun", *arguments, *slow, "sampling.n=2", "seed=0,1"]
    process = start(*sweep, "workers=2", "output=many")
    deadline, holder = time.monotonic() + 300, ""
    while not holder and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
        written = sorted({path.parent for path in (tmp_path / "many").glob("store/*/*.journal")})
        holder = next((name for folder in written if (name := holder_of(folder / "lease"))), "")
    assert holder.startswith("process "), process.communicate()
    victim = int(holder.split()[1])
    os.kill(victim, signal.SIGKILL)
    _, errors = process.communicate(timeout=500)
    assert process.returncode == 0, errors
    assert "ended with -9; what it stored is kept" in errors
    assert same(draws_of(tmp_path / "many"), alone(*sweep))


def test_a_signal_ends_the_workers_too(start, arguments, tmp_path: Path) -> None:
    slow = ["+model.options.seconds=0.05", "engine=full", "memory_gb=0.001"]
    process = start("--multirun", *arguments, *slow, "seed=0,1,2,3", "workers=2", "output=many")
    deadline = time.monotonic() + 300
    while not list((tmp_path / "many").glob("store/*/*.journal")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 143 and "Traceback" not in errors
    assert "cem_bench: stopped by SIGTERM; everything measured so far is kept" in errors
    assert not list((tmp_path / "many").rglob("lease")) and not list((tmp_path / "many").rglob("*.lease"))
    assert not list((tmp_path / "many").rglob("*.tmp"))


def test_the_schema_is_pickled_by_name() -> None:
    """A copy of it, come back from a job, would take the place of the parent's and break its next composition."""
    assert pickle.loads(cloudpickle.dumps(Config)) is Config and len(cloudpickle.dumps(Config)) < 200


def test_a_cell_keeps_the_last_of_a_key_and_where_its_files_are() -> None:
    given = ["seed=0", "+experiment=a", "workers=2", "hydra/launcher=joblib", "hydra.searchpath=[file:///a]", "seed=1"]
    assert own_overrides(given) == ["seed=1", "+experiment=a", "hydra.searchpath=[file:///a]"]


def test_workers_divide_the_threads() -> None:
    of_four = environments(3, "cpu", {"OMP_NUM_THREADS": "8"})
    assert [own["OMP_NUM_THREADS"] for own in of_four] == ["2", "2", "2"]
    assert [own["MKL_NUM_THREADS"] for own in of_four] == ["2", "2", "2"]
    assert [own[NUMBER] for own in of_four] == ["0", "1", "2"]
    assert environments(5, "cpu", {"OMP_NUM_THREADS": "2"})[4]["OMP_NUM_THREADS"] == "1"
    assert threads_in_all({}) == threads_in_all({"OMP_NUM_THREADS": ""}) >= 1


def test_one_process_per_gpu() -> None:
    assert gpus_of({VISIBLE: "3, 5"}) == ["3", "5"] and gpus_of({VISIBLE: ""}) == []
    pinned = environments(2, "cuda", {VISIBLE: "3,5", "OMP_NUM_THREADS": "4"})
    assert [own[VISIBLE] for own in pinned] == ["3", "5"]
    assert all(VISIBLE not in own for own in environments(2, "cpu", {VISIBLE: "3,5"}))
    with pytest.raises(ValueError, match=r"workers=3 with device=cuda: got 2 GPUs \(3, 5\).* write workers=2"):
        environments(3, "cuda", {VISIBLE: "3,5"})
    with pytest.raises(ValueError, match=r"device=cuda:1 with workers=2.* write device=cuda"):
        environments(2, "cuda:1", {VISIBLE: "3,5"})


def test_a_worker_sees_its_gpu_and_threads_before_torch_is_imported(start, arguments, tmp_path: Path) -> None:
    """The network writes down what torch was given; the GPUs are named, none is needed."""
    (tmp_path / "seen.py").write_text(
        "import json, os, pathlib, torch, mynet\n"
        "class Net(mynet.Net):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        seen = {'gpu': os.environ['CUDA_VISIBLE_DEVICES'], 'threads': torch.get_num_threads()}\n"
        "        pathlib.Path(f'seen-{os.getpid()}.json').write_text(json.dumps(seen))\n"
    )
    given = [text for text in arguments if not text.startswith("model._target_")]
    own = ["model._target_=seen.Net", "seed=0,1", "device=cuda", "workers=2"]
    process = start("--multirun", *given, *own, extra={"CUDA_VISIBLE_DEVICES": "0,1", "OMP_NUM_THREADS": "4"})
    process.communicate(timeout=500)
    seen = [json.loads(path.read_text()) for path in tmp_path.glob("seen-*.json")]
    assert seen and {entry["gpu"] for entry in seen} <= {"0", "1"} and {entry["threads"] for entry in seen} == {2}
