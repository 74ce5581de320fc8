"""Two real processes on one cell, one folder, one sweep; kill -9 at random instants: `benchmarks/faults.py`, small."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import faults
from cem_bench.measuring.measure import measure
from cem_bench.store.draws import Store, read_rows
from cem_bench.store.leases import BusyError, holder_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes, which this system cannot")


@pytest.fixture(scope="module")
def cell():
    return faults.undisturbed("cell", faults.one_cell)


@pytest.fixture(scope="module")
def sweep():
    return faults.undisturbed("sweep", faults.one_sweep)


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEM_BENCH_LEASE_SECONDS", "5")


@pytest.mark.parametrize("seed", range(3))
def test_two_processes_on_one_cell(cell, seed: int) -> None:
    assert faults.raced(cell, np.random.default_rng(seed)) == ""


def test_two_processes_on_one_sweep(sweep) -> None:
    assert faults.raced(sweep, np.random.default_rng(0)) == ""


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_of_a_cell(cell, seed: int) -> None:
    assert faults.killed(cell, np.random.default_rng(seed)) == ""


def test_kill_9_of_one_of_two_on_a_sweep(sweep) -> None:
    assert faults.killed(sweep, np.random.default_rng(1), workers=2) == ""


def test_two_processes_on_one_folder(cell, sweep, tmp_path: Path) -> None:
    """Different cells: nobody waits for the other."""
    other = faults.start(lambda output: measure(faults.cell_of(2), output / "store") and None, tmp_path)
    mine = faults.start(faults.one_cell, tmp_path)
    for process in (other, mine):
        process.join()
        assert process.exitcode == 0
    found = faults.rows_of(tmp_path)
    assert len(found) == 2 and all(found[key].equals(sweep.expected[key]) for key in found)


def test_a_worker_skips_a_busy_cell_and_comes_back_to_it(sweep, tmp_path: Path) -> None:
    identity = faults.cell_of(0).identity()
    store = Store(tmp_path / "store", identity)
    with store.claimed():
        worker = faults.start(faults.one_sweep, tmp_path)
        entries = tmp_path / "store" / "experiments" / faults.EXPERIMENT
        deadline = time.monotonic() + 120
        while len(list(entries.glob("*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sorted(path.name for path in entries.iterdir()) == ["model=net1.json", "model=net2.json"]
        assert worker.is_alive() and not len(read_rows(store.folder))
        assert holder_of(store.folder / "lease").startswith(f"process {os.getpid()} on ")
        with pytest.raises(BusyError, match="is being measured by process"):
            measure(faults.cell_of(0), tmp_path / "store", wait=False)
    worker.join()
    assert worker.exitcode == 0
    assert faults.same(faults.rows_of(tmp_path), sweep.expected)


@pytest.mark.parametrize("most", [100, 3000, 3500])
def test_a_full_disk_in_the_middle_keeps_what_was_stored(cell, tmp_path: Path, most: int) -> None:
    """No file may grow past a limit: the same error, at the same call, as on a full disk."""
    resource = pytest.importorskip("resource")
    lines = tmp_path / "lines"

    def limited(output: Path) -> None:
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, unlimited[1]))
        try:
            faults.one_cell(output)
        except OSError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
            lines.write_text(str(error))
            os._exit(7)

    worker = faults.start(limited, tmp_path / "results")
    worker.join()
    assert worker.exitcode == 7
    assert "Everything stored before is kept; free space" in lines.read_text() and "\n" not in lines.read_text()
    assert not list(tmp_path.rglob("*.tmp")), "no half-written file is left"
    before = sum(map(len, faults.rows_of(tmp_path / "results").values()))
    assert before < 3 * 64
    again = faults.start(faults.one_cell, tmp_path / "results")
    again.join()
    assert again.exitcode == 0 and faults.same(faults.rows_of(tmp_path / "results"), cell.expected)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be: refused to root too")
    with pytest.raises(OSError, match=r"cannot write .*output=FOLDER"):
        measure(faults.cell_of(0), tmp_path / "store")


def test_a_dead_holder_is_taken_over_at_once(cell, tmp_path: Path) -> None:
    def hold(output: Path) -> None:
        with Store(output / "store", faults.cell_of(0).identity()).claimed():
            time.sleep(100)

    holder = faults.start(hold, tmp_path)
    lease = tmp_path / "store" / next(iter(cell.expected)) / "lease"
    while not lease.exists() and holder.is_alive():
        time.sleep(0.02)
    assert holder_of(lease) == f"process {holder.pid} on {socket.gethostname()}"
    holder.kill()
    holder.join()
    assert lease.exists() and holder_of(lease) == "", "status does not call a dead process running"
    worker = faults.start(faults.one_cell, tmp_path)
    worker.join()
    assert worker.exitcode == 0 and faults.same(faults.rows_of(tmp_path), cell.expected)
