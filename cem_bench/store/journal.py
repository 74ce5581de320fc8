"""The journal of a writer: every unit of work on disk as soon as it is measured, until a shard holds it. No torch.

A shard costs a hash over all rows and two waits for the disk; a line of a journal costs none of them. A killed process
therefore loses the unit that it was measuring and no other; a power cut also takes what the disk was not waited for.
Each writer has a file of its own, a line per unit: `SHA256 {"block": ["<i8", "0000..."], ...}`, every column's bytes in
hexadecimal, the hash over run key and text. Who holds the run's lease next puts what holds into a shard; from the first
line that does not, all is set aside.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cem_bench.store.files import cannot_write, sha256, sync_folder

SUFFIX = ".journal"
# Of the time that waiting for the disk may take, but not more seldom; what a wait costs before one was measured.
SYNC_SHARE, LONGEST_SECONDS, FIRST_COST = 1 / 500, 60.0, 1 / 500


class Journal:
    """The units of one writer that no shard holds yet.

    Args:
        folder: of the run.
        key: its run key.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path, self._key = folder / f"units-{uuid.uuid4().hex}{SUFFIX}", key
        self._file = -1
        self._synced, self._cost = time.monotonic(), FIRST_COST

    def append(self, unit: Mapping[str, np.ndarray]) -> None:
        """Write a unit; it outlives this process at once, and a power cut as soon as waiting for the disk is cheap.

        Raises:
            OSError: if the folder cannot be written.
        """
        line = _line(unit, self._key)
        try:
            if self._file < 0:
                self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            while line:
                line = line[os.write(self._file, line) :]
            begun = time.monotonic()
            if begun - self._synced > min(self._cost / SYNC_SHARE, LONGEST_SECONDS):
                os.fsync(self._file)
                sync_folder(self.path.parent)
                self._synced = time.monotonic()
                self._cost = self._synced - begun
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file; the next unit opens it again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    __del__ = close

    def clear(self) -> None:
        """Forget all units: a shard holds them.

        Raises:
            OSError: if the folder cannot be written.
        """
        self.close()
        forget(self.path)


def journals(folder: Path) -> list[Path]:
    """Return the journals that lie in a run's folder."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def read_journal(path: Path, key: str) -> tuple[list[dict[str, np.ndarray]], bool]:
    """Read the units of a journal up to the first line that is not what was written.

    Args:
        path: of the journal.
        key: run key that it must belong to.

    Returns:
        The units, in the order of writing, and whether the file ends with the last of them.
    """
    units = []
    try:
        for line in path.read_bytes().splitlines(keepends=True):
            digest, _, text = line.decode().partition(" ")
            if not line.endswith(b"\n") or digest != _digest(text[:-1], key):
                return units, False
            columns = json.loads(text)
            units.append({name: np.frombuffer(bytes.fromhex(hexa), dtype) for name, (dtype, hexa) in columns.items()})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return units, False
    return units, True


def forget(path: Path) -> None:
    """Delete a journal whose units a shard holds.

    Raises:
        OSError: if the folder cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def _line(unit: Mapping[str, np.ndarray], key: str) -> bytes:
    text = json.dumps({name: [values.dtype.str, values.tobytes().hex()] for name, values in unit.items()})
    return f"{_digest(text, key)} {text}\n".encode()


def _digest(text: str, key: str) -> str:
    return sha256(f"{key}\n{text}".encode())
