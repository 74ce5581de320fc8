"""A signal ends a run with one line, the right code and everything measured so far on disk."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from cem_bench.store.draws import read_rows

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


def stored(output: Path) -> int:
    return sum(len(read_rows(path.parent)) for path in (output / "store").glob("*/manifest.json"))


def journalled(output: Path) -> bool:
    return any(path.read_bytes().count(b"\n") > 1 for path in (output / "store").glob("*/*.journal"))


@pytest.mark.parametrize("name", CODES)
def test_a_signal_keeps_what_was_measured(start, arguments, tmp_path: Path, name: str) -> None:
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip(f"{name} is ignored here, as under nohup: the program keeps to that")
    process = start(*arguments, "+model.options.seconds=0.05", "engine=full", "memory_gb=0.001")
    deadline = time.monotonic() + 240
    while not journalled(tmp_path / "results") and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)  # until the first draws are on disk: then it is in the middle
    assert process.poll() is None, process.communicate()
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == CODES[name], errors
    assert "Traceback" not in errors
    lines = [line for line in errors.replace("\r", "\n").splitlines() if line.startswith("cem_bench: ")]
    assert lines == [
        f"cem_bench: stopped by {name}; everything measured so far is kept: the same command goes on from there"
    ]
    before = stored(tmp_path / "results")
    assert 0 < before < 4 * 60
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.rglob("lease"))
