"""Shards and their manifest: what a run's folder holds, every byte of it checked when it is read. No torch.

A shard is a parquet file named by its content's hash and carrying the run key inside. `manifest.json` lists the shards
that count; it is the one file whose replacement makes a change true. A shard is first written as `NAME.pending`, then
listed, then renamed: whoever is killed in between leaves a folder that reads as before or as after. Shards of earlier
versions (`draws-00000.parquet`, listed in `record.json` or nowhere) are read too.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cem_bench.store.files import sha256
from cem_bench.store.manifest import (
    MANIFEST,
    PENDING,
    Damage,
    Manifest,
    content_of,
    has_identity,
    manifest_of,
    named_by_hash,
)

# what a shard's rows are named by, by kind of shard
ORDER = {"draws": ["block", "k"], "matrix": ["block", "target"]}
LARGEST = 2**31  # block, target and k are smaller
KEY = b"cem_bench_key"
RETRIES = 20


@dataclass(frozen=True)
class Limits:
    """Largest values that a cell's rows can have; None where they are not known.

    Attributes:
        blocks: number of blocks of the grid.
        donors: number of patches of the donor pool.
    """

    blocks: int | None = None
    donors: int | None = None


@dataclass(frozen=True, eq=False)
class Reading:
    """What reading a run's folder came to.

    Attributes:
        rows: those that hold, ordered by name.
        manifest: of the shards that hold.
        damage: files that do not hold.
        refused: rows that contradict each other, and draws after a gap.
        content: of the manifest's file that was read; None where there is none.
    """

    rows: pd.DataFrame
    manifest: Manifest
    damage: tuple[Damage, ...] = ()
    refused: pd.DataFrame = field(default_factory=pd.DataFrame)
    content: bytes | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damage and not len(self.refused)


def shard_content(rows: pd.DataFrame, key: str) -> bytes:
    """Return rows as a parquet file that carries the run key: the same bytes for the same rows."""
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata({KEY: key.encode()})
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def rows_root(rows: pd.DataFrame) -> str:
    """Return the sha256 of rows ordered by name: the same however they lie in shards."""
    digest = hashlib.sha256()
    for name in sorted(map(str, rows.columns)):
        values = rows[name].to_numpy()
        digest.update(name.encode() + b"\0" + values.astype("<f8" if values.dtype.kind == "f" else "<i8").tobytes())
    return digest.hexdigest()


def columns_of(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return a table's columns as arrays."""
    return {str(name): rows[name].to_numpy() for name in rows}


def table_of(units: Sequence[Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Return units of work, columns as arrays, as one table."""
    return pd.DataFrame({name: np.concatenate([unit[name] for unit in units]) for name in units[0]})


def numbers_of(rows: pd.DataFrame, kind: str) -> np.ndarray:
    """Return one int64 per row that stands for its name, in the order of names."""
    first, second = (rows[name].to_numpy(np.int64) for name in ORDER[kind])
    return first * LARGEST + second


def in_order(parts: Sequence[pd.DataFrame], kind: str) -> pd.DataFrame:
    """Join tables of rows to one in the order of names; of equal names, the earlier table's row comes first."""
    rows = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    order = np.argsort(numbers_of(rows, kind), kind="stable")
    return rows.take(order).reset_index(drop=True)


def fault_of(columns: Mapping[str, np.ndarray], kind: str, limits: Limits) -> str:
    """Return what is wrong with the schema or range of rows; "" where nothing is.

    Args:
        columns: by name, one value per row.
        kind: of shard.
        limits: of the cell.
    """
    lacking = [name for name in ORDER[kind] if name not in columns]
    if lacking:
        return f"lacks the columns {', '.join(lacking)}"
    if len({len(values) for values in columns.values()}) > 1:
        return "has columns of different lengths"
    blocks = limits.blocks or LARGEST
    bounds = {"block": blocks, "target": blocks, "k": LARGEST, "donor": limits.donors}
    whole = (*ORDER[kind], "donor", "stratum")
    for name, values in columns.items():
        if values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and name in whole):
            return f"has {values.dtype} values in {name}"
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return f"has NaN or infinity in {name}"
        if values.dtype.kind in "iu" and len(values) and values.min() < 0:
            return f"has {values.min()} in {name}, expected 0 or more"
        bound = bounds.get(name)
        if bound is not None and len(values) and values.max() >= bound:
            return f"has {values.max()} in {name}, expected less than {bound}"
    outcomes = [name.removesuffix("_untouched") for name in columns if name.endswith("_untouched")]
    lacking = [name for name in outcomes if name not in columns]
    return f"lacks the columns {', '.join(lacking)}" if lacking else ""


def read_run(folder: Path, kind: str, key: str, limits: Limits | None = None) -> Reading:
    """Read a run's folder and check all of it; nothing is changed.

    Args:
        folder: of the run.
        kind: of its shards.
        key: run key that they must belong to.
        limits: of the cell.
    """
    for _ in range(RETRIES):
        before = content_of(folder / MANIFEST)
        reading = _read(folder, kind, key, limits or Limits(), before)
        # a writer at work replaces shards: what is missing may have been replaced since the manifest was read
        if reading.whole or content_of(folder / MANIFEST) == before:
            break
    return reading


def _read(folder: Path, kind: str, key: str, limits: Limits, content: bytes | None) -> Reading:
    manifest, damage = manifest_of(folder, kind, key, content)
    parts: dict[str, pd.DataFrame] = {}
    owned = has_identity(folder, key)
    for name, expected in manifest.shards.items():
        rows, fault = _shard(folder / name, expected, key, kind, limits)
        if not fault and not owned and not named_by_hash(folder / name, kind):
            fault = "lies in a folder of another identity"
        if not fault and parts and set(rows.columns) != set(next(iter(parts.values())).columns):
            fault = f"has the columns {', '.join(rows.columns)}, other shards have others"
        if fault:
            damage.append(Damage(folder / name, fault))
        else:
            parts[name] = rows
    listed = {*manifest.shards, *manifest.retired, *(item.path.name for item in damage)}
    strays = sorted(path for path in folder.glob(f"{kind}-*.parquet") if path.name not in listed)
    damage += [Damage(path, "is not in the manifest") for path in strays]
    rows, refused = consistent([part for part in parts.values() if len(part)], kind)
    root = rows_root(rows)
    if manifest.root_sha256 and not damage and not len(refused) and root != manifest.root_sha256:
        damage.append(Damage(folder / MANIFEST, "names another root than its rows have"))
    shards = {name: digest for name, digest in manifest.shards.items() if name in parts}
    good = replace(manifest, shards=shards, root_sha256=root)
    return Reading(rows, good, tuple(damage), refused, content)


def _shard(path: Path, expected: str, key: str, kind: str, limits: Limits) -> tuple[pd.DataFrame, str]:
    """Read one shard; return its rows and what is wrong with it."""
    content = content_of(path)
    if content is None:
        content = content_of(path.with_name(path.name + PENDING))
    if content is None:
        return pd.DataFrame(), "is gone, though it was listed"
    if expected and sha256(content) != expected:
        return pd.DataFrame(), "does not match its hash"
    try:
        table = pq.read_table(pa.BufferReader(content))
        rows = table.to_pandas()
    except (pa.ArrowException, ValueError, OSError, TypeError) as error:
        return pd.DataFrame(), f"cannot be read ({type(error).__name__})"
    owner = (table.schema.metadata or {}).get(KEY)
    if owner != key.encode() and (owner is not None or named_by_hash(path, kind)):
        return pd.DataFrame(), "belongs to another run key"
    return rows, fault_of(columns_of(rows), kind, limits)


def consistent(parts: list[pd.DataFrame], kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Join shards; return the rows that hold, and those that contradict each other or follow a gap."""
    names = ORDER[kind]
    if not parts:
        return pd.DataFrame({name: np.empty(0, np.int64) for name in names}), pd.DataFrame()
    rows = in_order(parts, kind)
    numbers = numbers_of(rows, kind)
    refused = np.zeros(len(rows), dtype=bool)
    if (numbers[1:] == numbers[:-1]).any():
        rows = rows.drop_duplicates(ignore_index=True)  # the same draw twice, bit by bit
        refused = rows.duplicated(names, keep=False).to_numpy()
    if kind == "draws":
        block, k = rows["block"].to_numpy(), rows["k"].to_numpy()
        start = np.flatnonzero(np.r_[True, block[1:] != block[:-1]]) if len(rows) else np.empty(0, int)
        place = np.arange(len(rows)) - np.repeat(start, np.diff(np.r_[start, len(rows)]))
        refused = refused | (k != place)
        first = np.full(len(rows), np.iinfo(np.int64).max)  # a block's draws end at its first that does not hold
        np.minimum.at(first, block.searchsorted(block), np.where(refused, k, first))
        refused = k >= first[block.searchsorted(block)]
    return rows[~refused].reset_index(drop=True), rows[refused].reset_index(drop=True)
