"""The store: every draw ever measured, under a key that names all that could change its number.

A run lives in `ROOT/KEY/`: `identity.json` (what the key hashes), `record.json` (who measured it, when, with what),
`manifest.json` (the shards that count, with their hashes) and shards of whole units of work. What is read is checked;
what does not hold is moved to `damaged/` with one line, and measured again. A unit is in its writer's journal as soon
as it is measured, so killing the writer costs the unit that it was at, never a file. Several processes may open one
run: who writes holds its lease.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.store.files import write_atomically
from cem_bench.store.folder import RunFolder
from cem_bench.store.journal import Journal, forget, journals, read_journal
from cem_bench.store.manifest import DamagedError, read_identity, run_key
from cem_bench.store.outcomes import facts_of
from cem_bench.store.shards import (
    ORDER,
    Limits,
    consistent,
    fault_of,
    in_order,
    numbers_of,
    read_run,
    rows_root,
    table_of,
)

__all__ = [
    "FINGERPRINT",
    "DamagedError",
    "Limits",
    "Store",
    "effects_by_block",
    "read_rows",
    "run_key",
    "write_atomically",
]

# Between two shards; longer on a slow disk, so that writing takes this share of the time at most, but never too long.
FLUSH_SECONDS, FLUSH_SHARE, LONGEST_SECONDS = 60.0, 1 / 500, 300.0
FINGERPRINT = "fingerprint.npy"  # how the network behaved that made the draws


@dataclass
class Store(RunFolder):
    """The stored draws of one run key.

    Args and attributes are those of `RunFolder`.
    """

    _waiting: list[dict[str, np.ndarray]] = field(default_factory=list, repr=False)
    _flushed: float = field(default_factory=time.monotonic, repr=False)
    _flush_cost: float = field(default=0.0, repr=False)
    _journal: Journal | None = field(default=None, repr=False)

    @property
    def rows(self) -> pd.DataFrame:
        """All rows, those not yet written included, in the order of their names."""
        if self._waiting:
            parts = [part for part in (self._rows, table_of(self._waiting)) if len(part)]
            return in_order(parts, self.kind)
        return self._rows

    @property
    def root_sha256(self) -> str:
        """Hash of all rows, however they lie in shards."""
        return rows_root(self.rows)

    def effects(self, blocks: Iterable[int], outcome: str) -> dict[int, np.ndarray]:
        """Return the effects of draws 0, 1, 2, ... of every block asked for (an empty array where there is none)."""
        return effects_by_block(self.rows, blocks, outcome)

    def strata(self, blocks: Iterable[int]) -> dict[int, np.ndarray]:
        """Return the donor stratum of draws 0, 1, 2, ... of every block asked for."""
        labels = {int(block): rows["stratum"].to_numpy() for block, rows in self.rows.groupby("block")}  # pyright: ignore
        return {block: labels.get(block, np.empty(0, np.int64)) for block in blocks}

    def append(self, unit: Mapping[str, np.ndarray]) -> None:
        """Keep one unit of work (all draws of one request): who holds the lease has it on disk when this returns.

        Raises:
            ValueError: if a number is NaN or infinite, or a name is out of range.
            OSError: if the folder cannot be written; then the unit is not kept.
        """
        unit = self._checked(unit)
        if self._lease is not None:
            self._journal = self._journal or Journal(self.folder, self.key)
            self._journal.append(unit)
        self._waiting.append(unit)
        if time.monotonic() - self._flushed > min(max(FLUSH_SECONDS, self._flush_cost / FLUSH_SHARE), LONGEST_SECONDS):
            self.flush()

    def _mend(self) -> None:
        """Also put into a shard what a killed writer left in its journal; what does not hold is set aside."""
        super()._mend()
        left = [path for path in journals(self.folder) if self._journal is None or path != self._journal.path]
        if not left:
            return
        parts, torn = [self._rows] if len(self._rows) else [], []
        for path in left:
            units, whole = read_journal(path, self.key)
            for unit in units:
                like = parts[0] if parts else unit
                if {*unit} != {*like} or fault_of(unit, self.kind, self.limits):
                    whole = False
                    break
                parts.append(pd.DataFrame(unit))
            torn += [path] * (not whole)
        rows, refused = consistent(parts, self.kind)
        if len(refused):
            self._refuse(refused, "contradict others or follow a gap")
        if len(rows) != len(self._rows) or len(refused):
            self._commit(rows, rows, whole=True)
        for path in torn:
            self._set_aside(path, "ends in what is no whole unit of this run")
        for path in left:
            forget(path)

    def _checked(self, unit: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the columns to keep of a unit of work, which must hold."""
        # draws from the archive have fewer outcomes: a run has the same of every draw
        names = unit.keys() & {*self._rows.columns} if len(self._rows) else unit
        columns = {name: np.asarray(values) for name, values in unit.items() if name in names}
        if fault := fault_of(columns, self.kind, self.limits):
            raise ValueError(f"Rows that are to be stored: {fault}; nothing of this unit is stored.")
        return columns

    def flush(self) -> None:
        """Write what waits as one shard; what another process stored in the meantime is not stored twice."""
        if not self._waiting:
            return
        begun = time.monotonic()
        with self.claimed():
            fresh, rows = self._with_waiting()
            if len(fresh):
                self._commit(fresh, rows)
        self._clear_waiting()
        self._flushed = time.monotonic()
        self._flush_cost = self._flushed - begun

    def _with_waiting(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return what waits and no other process stored meanwhile, and all rows with it, in order."""
        fresh = self._unstored(table_of(self._waiting)) if self._waiting else self._rows[:0]
        parts = [part for part in (self._rows, fresh) if len(part)]
        if not len(fresh):
            return fresh, self._rows
        return fresh, in_order(parts, self.kind)

    def _unstored(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that no other process stored meanwhile; what differs from a stored row is set aside."""
        known = np.isin(numbers_of(table, self.kind), numbers_of(self._rows, self.kind))
        if known.any():
            both = pd.concat([self._rows, self._rows, table[known]]).drop_duplicates(keep=False)
            if len(both):
                self._refuse(both, "differ from those that another process stored")
        return table[~known]

    def remove(self, names: Iterable[tuple[int, int]]) -> int:
        """Take rows out of the store, on disk at once: what a proof refuted is never served again.

        Args:
            names: (block, k) of every draw to remove, or (block, target) of a matrix. Removing draw k of a block
                removes its later draws too: a block's draws are 0, 1, 2, ... without a gap.

        Returns:
            The number of rows removed.

        Raises:
            OSError: if the folder cannot be written; then all rows stay.
        """
        first = pd.DataFrame(sorted(names), columns=ORDER[self.kind]).astype(np.int64)
        if self.kind == "draws":
            first = first.groupby("block", as_index=False).min()
        with self.claimed():
            self.flush()
            gone = _named(self._rows, first, self.kind)
            if gone.any():
                rest = self._rows[~gone].reset_index(drop=True)
                self._commit(rest, rest, whole=True)
        return int(gone.sum())

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Write the provenance of the last session and the root hash of all rows, and join the shards to one."""
        with self.claimed():
            _, rows = self._with_waiting()
            content = {"key": self.key, **record, "root_sha256": rows_root(rows)}
            self._commit(
                rows, rows, whole=True, beside={"record.json": (json.dumps(content, indent=2) + "\n").encode()}
            )
            self._clear_waiting()

    def _clear_waiting(self) -> None:
        """Forget what waited: a shard holds it."""
        self._waiting.clear()
        if self._journal is not None:
            self._journal.clear()


def read_rows(folder: Path, kind: str = "draws") -> pd.DataFrame:
    """Read all rows of a run, ordered by their names, every byte checked; no torch needed.

    Raises:
        DamagedError: if what lies there is not what was measured.
    """
    reading = read_run(folder, kind, run_key(read_identity(folder)))
    if not reading.whole:
        what = [f"{damage.path} {damage.reason}" for damage in reading.damage]
        if len(reading.refused):
            what.append(f"{folder}: {len(reading.refused)} rows contradict others or follow a gap")
        raise DamagedError(f"{'; '.join(what)}. Run the command that measured it again: that mends it.")
    return reading.rows


def effects_by_block(draws: pd.DataFrame, blocks: Iterable[int], outcome: str) -> dict[int, np.ndarray]:
    """Split a table of draws into arrays of effects (positive where the block helps), draw 0 first.

    Raises:
        ValueError: if a block's draws are not 0, 1, 2, ...: the store is damaged; if they lack the outcome.
    """
    effects = {block: np.empty(0) for block in blocks}
    if not len(draws):
        return effects
    if outcome not in draws:
        raise ValueError(
            f"The stored draws have no {outcome}: they were restored from the archive, which keeps the outcomes that "
            "experiments are of. Measure them again in another folder, output=FOLDER."
        )
    untouched, intervened = (draws[name].to_numpy(np.float64) for name in (f"{outcome}_untouched", outcome))
    values, names = facts_of(outcome).effect(untouched, intervened), draws["k"].to_numpy()
    for block, rows in draws.groupby("block").indices.items():
        if (names[rows] != np.arange(len(rows))).any():
            raise ValueError(f"Draws of block {block} are not 0 to {len(rows) - 1}, each once: a shard is lost.")
        effects[int(block)] = values[rows]  # pyright: ignore[reportArgumentType]
    return effects


def _named(table: pd.DataFrame, names: pd.DataFrame, kind: str) -> np.ndarray:
    """Return which rows are to go: in a table of draws those from the named k on, else those named."""
    if kind == "draws":
        first = table["block"].map(names.set_index("block")["k"])
        return (table["k"] >= first).to_numpy()
    return pd.MultiIndex.from_frame(table[ORDER[kind]]).isin(pd.MultiIndex.from_frame(names))
