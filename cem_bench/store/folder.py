"""A run's folder: rows under a lease, checked when read, changed by one rename. No torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import SoftFileLease

from cem_bench.store.files import cannot_write, inside, sha256, write_atomically
from cem_bench.store.leases import lease
from cem_bench.store.manifest import (
    MANIFEST,
    PENDING,
    Damage,
    Manifest,
    content_of,
    has_identity,
    listed_content,
    run_key,
)
from cem_bench.store.shards import Limits, Reading, read_run, rows_root, shard_content

DAMAGED, LEASE = "damaged", "lease"
BESIDE = (".png", ".npz")  # what may lie beside the draws
log = logging.getLogger(__name__)


@dataclass
class RunFolder:
    """Rows of one run key on disk.

    Attributes:
        root: folder of all runs.
        identity: what the key hashes.
        kind: of shard: `draws` (one row per draw) or `matrix` (one row per block and target block).
        limits: largest values that rows can have.
    """

    root: Path
    identity: Mapping[str, Any]
    kind: str = "draws"
    limits: Limits = field(default_factory=Limits)
    _lease: SoftFileLease | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Read what holds, and write the identity if it is new."""
        self._take(read_run(self.folder, self.kind, self.key, self.limits))
        if not (self.folder / "identity.json").exists():
            write_atomically(self.folder / "identity.json", self._identity_content(), last=False)

    @property
    def key(self) -> str:
        """The run key."""
        return run_key(self.identity)

    @property
    def folder(self) -> Path:
        """Where this run lives."""
        return self.root / self.key[:16]

    @contextmanager
    def claimed(self, *, wait: bool = True) -> Iterator[None]:
        """Hold the run's lease: nobody else writes, what others wrote is read, and damage is set aside.

        Args:
            wait: until another process that holds it is done or dead.

        Raises:
            BusyError: if another process holds it and `wait` is false.
            OSError: if the folder cannot be written.
        """
        before = self._lease
        if before is not None and before.compromise is None:
            yield
            return
        with lease(self.folder / LEASE, wait=wait) as self._lease:
            try:
                self._mend()
                yield
            finally:
                self._lease = before

    def write_files(self, contents: Mapping[str, bytes]) -> None:
        """Keep files beside the draws (pictures, LAM, record), with their hashes in the manifest.

        Args:
            contents: name to content; what lies there and is the same is not written again.

        Raises:
            OSError: if the folder cannot be written.
            ValueError: if a name leads out of the folder.
        """
        with self.claimed():
            self._list(replace(self._manifest, files=self._with_files(contents)))
            self._tidy()

    def _with_files(self, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Write files that are to lie beside the draws; they count once the manifest has the hashes returned."""
        files = dict(self._manifest.files)
        for name, content in contents.items():
            path = inside(self.folder, name)
            if files.get(name) != sha256(content) or content_of(path) != content:
                write_atomically(path.with_name(name + PENDING), content, last=False)
                files[name] = sha256(content)
        return files

    def read_file(self, name: str) -> bytes | None:
        """Return the content of a file that `write_files` kept; None where it is not there or does not hold."""
        return listed_content(self.folder, name, self._manifest)

    def _take(self, reading: Reading) -> None:
        self._rows, self._manifest, self._content = reading.rows, reading.manifest, reading.content
        self._to_mend = None if reading.whole and reading.content is not None else reading

    def _mend(self) -> None:
        """Under the lease: read again what others changed, set damage aside, end what a killed writer began."""
        if self._to_mend is not None or content_of(self.folder / MANIFEST) != self._content:
            self._take(read_run(self.folder, self.kind, self.key, self.limits))
        if not has_identity(self.folder, self.key):
            self._set_aside(self.folder / "identity.json", "is not the identity of this run")
            write_atomically(self.folder / "identity.json", self._identity_content())
        if (reading := self._to_mend) is not None:
            for damage in (*reading.damage, *self._orphans(reading)):
                self._set_aside(damage.path, damage.reason)
            if len(reading.refused):
                self._refuse(reading.refused, "contradict others or follow a gap")
            if len(reading.rows) or not reading.whole:
                self._commit(reading.rows, reading.rows, whole=True)
            self._to_mend = None
        self._tidy()

    def _orphans(self, reading: Reading) -> list[Damage]:
        """Return the pictures and LAM whose hashes were lost with a damaged manifest."""
        if all(damage.path.name != MANIFEST for damage in reading.damage):
            return []
        paths = sorted(path for suffix in BESIDE for path in self.folder.glob(f"*{suffix}"))
        return [Damage(path, "was listed in a manifest that does not hold") for path in paths]

    def _refuse(self, rows: pd.DataFrame, reason: str) -> None:
        """Write rows that are not to count where damage lies, with one line."""
        content = shard_content(rows, self.key)
        write_atomically(self.folder / DAMAGED / f"rows-{sha256(content)}.parquet", content)
        where = self.folder / DAMAGED
        log.warning("cem_bench: %s: %d rows %s: set aside in %s", self.folder, len(rows), reason, where)

    def _set_aside(self, path: Path, reason: str) -> None:
        """Move a file that does not hold out of the way, with one line."""
        where = ""
        if path.exists():
            target = self.folder / DAMAGED / path.name
            number = 1
            while target.exists():
                target, number = target.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
            try:
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
            except OSError as error:
                raise cannot_write(target, error) from error
            where = f"set aside in {target.parent}, "
        log.warning("cem_bench: %s %s: %swhat it held is measured again", path, reason, where)

    def _commit(
        self,
        table: pd.DataFrame,
        rows: pd.DataFrame,
        *,
        whole: bool = False,
        beside: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write a shard, and files beside it, and make them count at once.

        Args:
            table: what the shard holds.
            rows: all rows that the store has with it.
            whole: whether it replaces all others.
            beside: name to content of the files.
        """
        shards, retired = dict(self._manifest.shards), list(self._manifest.retired)
        name = ""
        if len(table):
            content = shard_content(table, self.key)
            digest = sha256(content)
            name = f"{self.kind}-{digest}.parquet"
        old = [shard for shard in shards if whole and shard != name]
        if name and name not in shards:
            write_atomically(self.folder / (name + PENDING), content, last=False)
            shards[name] = digest
        shards = {shard: digest for shard, digest in shards.items() if shard not in old}
        retired = tuple(shard for shard in (*retired, *old) if shard not in shards)
        sealed = {"shards": shards, "retired": retired, "root_sha256": rows_root(rows)}
        self._list(replace(self._manifest, files=self._with_files(beside or {}), **sealed))
        self._rows = rows
        self._tidy()

    def _list(self, manifest: Manifest) -> None:
        if manifest != self._manifest or not (self.folder / MANIFEST).exists():
            write_atomically(self.folder / MANIFEST, manifest.content())
        self._manifest, self._content = manifest, manifest.content()

    def _tidy(self) -> None:
        """Rename what counts and delete what does not, after the manifest says which is which."""
        try:
            for path in self.folder.glob(f"*{PENDING}"):
                name = path.name.removesuffix(PENDING)
                shard = name in self._manifest.shards and not path.with_name(name).exists()
                if shard or self._manifest.files.get(name) == sha256(path.read_bytes()):
                    path.replace(path.with_name(name))
                else:
                    path.unlink()
            self._retire()
        except OSError as error:
            raise cannot_write(self.folder, error) from error

    def _retire(self) -> None:
        for name in self._manifest.retired:
            (self.folder / name).unlink(missing_ok=True)

    def _identity_content(self) -> bytes:
        return (json.dumps(self.identity, indent=2, sort_keys=True) + "\n").encode()
