"""The store: every draw ever measured, under a key that names all that could change its number.

A run lives in `ROOT/KEY/`: `identity.json` (what the key hashes), `record.json` (who measured it, when, with what),
and shards `draws-00000.parquet` (or `matrix-...`) of whole units of work. Every file is written beside its place,
synced and moved in by one rename; a shard is never changed. Killing the writer costs the draws since the last flush,
never a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FLUSH_SECONDS = 5.0
# what a shard's rows are named by, by kind of shard
ORDER = {"draws": ["block", "k"], "matrix": ["block", "target"]}


def run_key(identity: Mapping[str, Any]) -> str:
    """Return the sha256 of an identity, written as JSON with sorted keys."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is either whole or not there.

    Raises:
        OSError: with a sentence on what to do, if the folder cannot be written or the disk is full.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # a temporary file is its owner's alone, a result is everybody's
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"cannot write {path}: {error.strerror}. Everything stored before is kept; "
            "free space or choose another folder with output=FOLDER, then run the same command again",
        ) from error


@dataclass
class Store:
    """The stored draws of one run key.

    Attributes:
        root: folder of all runs.
        identity: what the key hashes.
        kind: `draws` (one row a draw) or `matrix` (one row a block and a target block).
    """

    root: Path
    identity: Mapping[str, Any]
    kind: str = "draws"
    _waiting: list[pd.DataFrame] = field(default_factory=list, repr=False)
    _flushed: float = field(default_factory=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        """Claim the folder: write the identity if it is new."""
        path = self.folder / "identity.json"
        if not path.exists():
            write_atomically(path, (json.dumps(self.identity, indent=2, sort_keys=True) + "\n").encode())
        self._rows = read_rows(self.folder, self.kind)

    @property
    def key(self) -> str:
        """The run key."""
        return run_key(self.identity)

    @property
    def folder(self) -> Path:
        """Where this run lives."""
        return self.root / self.key[:16]

    @property
    def rows(self) -> pd.DataFrame:
        """All rows, those not yet written included, in the order of their names."""
        if self._waiting:
            parts = [part for part in (self._rows, *self._waiting) if len(part)]
            return pd.concat(parts, ignore_index=True).sort_values(ORDER[self.kind], ignore_index=True)
        return self._rows

    def effects(self, blocks: Iterable[int], outcome: str) -> dict[int, np.ndarray]:
        """Return the effects of draws 0, 1, 2, ... of every block asked for (an empty array where there is none)."""
        return effects_by_block(self.rows, blocks, outcome)

    def strata(self, blocks: Iterable[int]) -> dict[int, np.ndarray]:
        """Return the donor stratum of draws 0, 1, 2, ... of every block asked for."""
        found = {int(block): rows["stratum"].to_numpy() for block, rows in self.rows.groupby("block")}  # pyright: ignore
        return {block: found.get(block, np.empty(0, np.int64)) for block in blocks}

    def append(self, unit: Mapping[str, np.ndarray]) -> None:
        """Keep one unit of work (all draws of one request), writing to disk every few seconds."""
        self._waiting.append(pd.DataFrame(unit))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one shard."""
        if not self._waiting:
            return
        table = pd.concat(self._waiting, ignore_index=True)
        number = len(list(self.folder.glob(f"{self.kind}-*.parquet")))
        write_atomically(self.folder / f"{self.kind}-{number:05d}.parquet", table.to_parquet(index=False))
        self._rows = self.rows
        self._waiting.clear()
        self._flushed = time.monotonic()

    def remove(self, names: Iterable[tuple[int, int]]) -> int:
        """Take rows out of the store, on disk at once: what a proof refuted is never served again.

        Args:
            names: (block, k) of every draw to remove, or (block, target) of a matrix. Removing draw k of a block
                removes its later draws too: a block's draws are 0, 1, 2, ... without a gap.

        Returns:
            The number of rows removed.

        Raises:
            OSError: if the folder cannot be written; rows that are not removed on disk yet stay in memory too.
        """
        self.flush()
        first = pd.DataFrame(sorted(names), columns=ORDER[self.kind]).astype(np.int64)
        if self.kind == "draws":
            first = first.groupby("block", as_index=False).min()
        before = len(self._rows)
        for path in sorted(self.folder.glob(f"{self.kind}-*.parquet")):
            table = pd.read_parquet(path)
            gone = _named(table, first, self.kind)
            if gone.all():
                path.unlink()
            elif gone.any():
                write_atomically(path, table[~gone].to_parquet(index=False))
        self._rows = read_rows(self.folder, self.kind)
        return before - len(self._rows)

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write the provenance of the last session, with the sha256 of every shard and their root hash."""
        self.flush()
        shards = {path.name: _sha256(path) for path in sorted(self.folder.glob(f"{self.kind}-*.parquet"))}
        root = hashlib.sha256("".join(shards.values()).encode()).hexdigest()
        content = {"key": self.key, **record, "shards": shards, "root_sha256": root}
        write_atomically(self.folder / "record.json", (json.dumps(content, indent=2) + "\n").encode())


def read_rows(folder: Path, kind: str = "draws") -> pd.DataFrame:
    """Read all shards of a run, ordered by the names of their rows; no torch needed."""
    shards = [pd.read_parquet(path) for path in sorted(folder.glob(f"{kind}-*.parquet"))]
    if not shards:
        return pd.DataFrame({name: np.empty(0, np.int64) for name in ORDER[kind]})
    return pd.concat(shards, ignore_index=True).sort_values(ORDER[kind], ignore_index=True)


def effects_by_block(draws: pd.DataFrame, blocks: Iterable[int], outcome: str) -> dict[int, np.ndarray]:
    """Split a table of draws into arrays of effects (outcome untouched minus intervened), draw 0 first.

    Raises:
        ValueError: if a block's draws are not 0, 1, 2, ...: the store is damaged.
    """
    effects = {block: np.empty(0) for block in blocks}
    if not len(draws):
        return effects
    values = (draws[f"{outcome}_untouched"] - draws[outcome]).to_numpy(np.float64)
    for block, rows in draws.groupby("block").indices.items():
        if not np.array_equal(draws["k"].to_numpy()[rows], np.arange(len(rows))):
            raise ValueError(f"Draws of block {block} are not 0 to {len(rows) - 1}, each once: a shard is lost.")
        effects[int(block)] = values[rows]  # pyright: ignore[reportArgumentType]
    return effects


def _named(table: pd.DataFrame, names: pd.DataFrame, kind: str) -> np.ndarray:
    """Return which rows are to go: in a table of draws those from the named k on, else those named."""
    if kind == "draws":
        first = table["block"].map(names.set_index("block")["k"])
        return (table["k"] >= first).to_numpy()
    return pd.MultiIndex.from_frame(table[ORDER[kind]]).isin(pd.MultiIndex.from_frame(names))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
