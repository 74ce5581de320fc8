"""A store that lives as long as its process: nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cem_bench.store.draws import Store
from cem_bench.store.shards import ORDER


@dataclass
class MemoryStore(Store):
    """The draws of one run key, in memory.

    Attributes:
        record: of the last session.
        files: name to content of what is kept beside the draws.
    """

    record: Mapping[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start empty."""
        self._rows = pd.DataFrame({name: np.empty(0, np.int64) for name in ORDER[self.kind]})

    @property
    def folder(self) -> Path:
        """There is none.

        Raises:
            ValueError: saying what to do.
        """
        raise ValueError(
            f"Run {self.key[:16]} is in memory alone and has no folder: give measure() a folder for its store; a model "
            "whose computation cannot be seen also needs a name, as_model(..., identity='mine-1') or "
            "model.identity=mine-1."
        )

    @contextmanager
    def claimed(self, *, wait: bool = True) -> Iterator[None]:
        """Nobody else can write here."""
        yield

    def append(self, unit: Mapping[str, np.ndarray]) -> None:
        """Keep one unit of work.

        Raises:
            ValueError: as a store on disk.
        """
        self._waiting.append(self._checked(unit))

    def flush(self) -> None:
        """Put what waits to the rest."""
        self._rows = self.rows
        self._waiting.clear()

    def remove(self, names: Iterable[tuple[int, int]]) -> int:
        """Take rows out; of a block's draws the later ones go too.

        Args:
            names: (block, k) of draws, or (block, target) of a matrix.

        Returns:
            The number of rows removed.
        """
        self.flush()
        named = pd.DataFrame(sorted(names), columns=ORDER[self.kind])
        if self.kind == "draws":
            first = named.groupby("block")["k"].min()
            gone = (self._rows["k"] >= self._rows["block"].map(first)).to_numpy()
        else:
            gone = pd.MultiIndex.from_frame(self._rows[ORDER[self.kind]]).isin(pd.MultiIndex.from_frame(named))
        self._rows = self._rows[~gone].reset_index(drop=True)
        return int(gone.sum())

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Keep the provenance of the last session."""
        self.flush()
        self.record = dict(record)

    def write_files(self, contents: Mapping[str, bytes]) -> None:
        """Keep files' contents."""
        self.files.update(contents)

    def read_file(self, name: str) -> bytes | None:
        """Return a kept file's content; None where there is none."""
        return self.files.get(name)
