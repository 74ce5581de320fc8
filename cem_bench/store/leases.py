"""Leases: who measures what, so that several processes can work in one folder.

A lease is a file beside the draws that its holder touches again and again. Who finds it without a touch for
`LEASE_SECONDS` of his own clock, or finds its process dead on this machine, takes it over. It needs no more than
exclusive creation of files, which shared file systems give. Source: the package filelock, `SoftFileLease`.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import SoftFileLease, Timeout

from cem_bench.store.files import cannot_write

LEASE_SECONDS = 60.0
POLL_SECONDS = 0.1
log = logging.getLogger(__name__)


class BusyError(Exception):
    """Another process measures this; it is alive, and its result will be in the store."""


def lease_seconds() -> float:
    """Return how long a silent holder keeps its lease; all workers on a folder must agree."""
    return float(os.environ.get("CEM_BENCH_LEASE_SECONDS", LEASE_SECONDS))


@contextmanager
def lease(path: Path, *, wait: bool = True, of: str = "") -> Iterator[SoftFileLease]:
    """Hold a lease.

    Args:
        path: the lease's file.
        wait: until the holder is done or dead.
        of: what it stands for, in messages; "" for the file's folder.

    Raises:
        BusyError: if another process holds it and `wait` is false.
        OSError: if the folder cannot be written.
    """
    thing = of or str(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = SoftFileLease(path, lease_duration=lease_seconds(), thread_local=False, poll_interval=POLL_SECONDS)
        try:
            held.acquire(timeout=0)
        except Timeout:
            holder = holder_of(path)
            if not wait:
                raise BusyError(f"{thing} is being measured by {holder or 'another process'}") from None
            log.warning("cem_bench: %s is being measured by %s: waiting", thing, holder or "another process")
            held.acquire()
    except OSError as error:
        raise error if isinstance(error, Timeout) else cannot_write(path, error) from error
    try:
        yield held
    finally:
        held.release()


def holder_of(path: Path) -> str:
    """Return who holds a lease, as `process 12 on node3`; "" where nobody does, or its holder is dead or silent."""
    owner = SoftFileLease(path, lease_duration=lease_seconds(), thread_local=False).owner
    if owner is None or not _is_alive(path, owner.pid, owner.hostname):
        return ""
    return f"process {owner.pid} on {owner.hostname.partition('?')[0]}"


def _is_alive(path: Path, pid: int, machine: str) -> bool:
    """Say whether a holder lives: by its process on this machine, else by its last touch."""
    if machine == _this_machine():
        try:
            os.kill(pid, 0)
        except PermissionError:
            return True
        except OSError:
            return False
        return True
    try:
        return time.time() - path.stat().st_mtime < 2 * lease_seconds()  # machines' clocks differ
    except OSError:
        return False


@cache
def _this_machine() -> str:
    """Return what a lease calls this machine, its process namespace included."""
    with tempfile.TemporaryDirectory() as folder:
        mine = SoftFileLease(Path(folder) / "lease", thread_local=False)
        with mine:
            owner = mine.owner
    return owner.hostname if owner else ""
