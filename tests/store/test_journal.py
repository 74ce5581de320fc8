"""A unit of work is on disk as soon as it is measured: a killed writer loses the one that it was at."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_runs import IDENTITY, unit, work

from cem_bench.store.draws import Limits, Store, read_rows
from cem_bench.store.journal import journals

KILLED = """
import os, signal, sys
from pathlib import Path
from made_runs import IDENTITY, unit
from cem_bench.store.draws import Limits, Store

store = Store(Path(sys.argv[1]), IDENTITY, limits=Limits(48, 40))
with store.claimed():
    for block in range(int(sys.argv[2])):
        store.append(unit(block, 0, 5))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(root: Path, blocks: int) -> Path:
    """Let a process measure some blocks and be killed; return its run's folder."""
    paths = os.pathsep.join((*map(str, (Path(__file__).parent, Path(__file__).parents[2])), *sys.path))
    words = [sys.executable, "-c", KILLED, str(root), str(blocks)]
    assert subprocess.run(words, env=os.environ | {"PYTHONPATH": paths}).returncode == -signal.SIGKILL
    return Store(root, IDENTITY).folder


def abandoned(root: Path, blocks: int) -> Path:
    """Leave what a killed process leaves, without one."""
    store = Store(root, IDENTITY)
    with store.claimed():
        for block in range(blocks):
            store.append(unit(block, 0, 5))
    return store.folder


def taken_up(root: Path) -> Store:
    """Hold the run as the next worker does."""
    store = Store(root, IDENTITY, limits=Limits(48, 40))
    with store.claimed():
        assert not journals(store.folder)
    assert read_rows(store.folder).equals(store.rows)
    return store


def lines_of(folder: Path) -> tuple[Path, list[bytes]]:
    (path,) = journals(folder)
    return path, path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize("blocks", [0, 1, 4])
def test_what_a_killed_process_measured_is_there(tmp_path: Path, blocks: int) -> None:
    folder = killed(tmp_path / "killed", blocks)
    assert not len(read_rows(folder)), "the shard is written at longer intervals"
    assert len(taken_up(tmp_path / "killed").rows) == 5 * blocks
    assert not (folder / "damaged").exists()
    assert work(tmp_path / "killed").rows.equals(work(tmp_path / "alone").rows)


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_last_line_costs_its_unit(tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture) -> None:
    path, lines = lines_of(abandoned(tmp_path / "torn", 4))
    path.write_bytes(b"".join(lines)[:-cut])
    with caplog.at_level(logging.WARNING):
        assert len(taken_up(tmp_path / "torn").rows) == 15
    assert (path.parent / "damaged" / path.name).read_bytes() == b"".join(lines)[:-cut]
    assert caplog.text.count("ends in what is no whole unit of this run: set aside in") == 1
    assert work(tmp_path / "torn").rows.equals(work(tmp_path / "alone").rows)


def edited(line: bytes) -> bytes:
    digest, _, text = line.decode().partition(" ")
    columns = json.loads(text)
    columns["psnr"][1] = (np.frombuffer(bytes.fromhex(columns["psnr"][1])) + 0.5).tobytes().hex()
    return f"{digest} {json.dumps(columns)}\n".encode()


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda lines: [lines[0], edited(lines[1]), *lines[2:]], 5),
        (lambda lines: [*lines[:2], bytes([*lines[2][:90], lines[2][90] ^ 1, *lines[2][91:]]), lines[3]], 10),
        (lambda lines: [*lines[:3], b"\xff\x00" * 300], 15),
        (lambda lines: [*lines, lines[0]], 20),  # the same draws again are the same draws
    ],
)
def test_nothing_changed_is_taken(tmp_path: Path, change, left: int) -> None:
    path, lines = lines_of(abandoned(tmp_path / "changed", 4))
    path.write_bytes(b"".join(change(lines)))
    assert len(taken_up(tmp_path / "changed").rows) == left
    assert work(tmp_path / "changed").rows.equals(work(tmp_path / "alone").rows)


def test_a_journal_of_another_run_is_set_aside(tmp_path: Path) -> None:
    path, _ = lines_of(abandoned(tmp_path, 3))
    other = work(tmp_path, model="another")
    rows = other.rows
    path.rename(other.folder / path.name)
    with other.claimed():
        assert other.rows.equals(rows)
    assert (other.folder / "damaged" / path.name).exists()


def test_units_after_a_lost_shard_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path, IDENTITY)
    with store.claimed():
        store.append(unit(0, 0, 5))
        store.flush()
        store.append(unit(0, 5, 9))
        store.append(unit(1, 0, 2))
    next(store.folder.glob("draws-*")).unlink()
    again = taken_up(tmp_path)
    assert again.rows["block"].tolist() == [1, 1]
    assert list((again.folder / "damaged").glob("rows-*.parquet"))


def test_a_shard_ends_the_journal_and_columns_keep_their_types(tmp_path: Path) -> None:
    store = Store(tmp_path, IDENTITY, kind="matrix")
    rows = {"block": np.array([1, 1], np.int32), "target": np.array([0, 1], np.int32)}
    rows |= {"variance": np.array([1 / 3, 1e-300]), "half": np.array([0.1, 2], np.float32)}
    with store.claimed():
        store.append(rows)
        path, _ = lines_of(store.folder)
        kept = path.read_bytes()
        store.flush()
        assert not journals(store.folder)
    expected = store.rows
    next(store.folder.glob("matrix-*")).unlink()
    (store.folder / "manifest.json").unlink()
    path.write_bytes(kept)
    again = Store(tmp_path, IDENTITY, kind="matrix")
    with again.claimed():
        assert again.rows.equals(expected) and again.rows.dtypes.equals(expected.dtypes)
