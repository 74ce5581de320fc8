"""Read what the cells of an experiment left: entries, stored draws, pictures. No network, no torch."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from cem_bench.inputs.geometry import Grid, Rect
from cem_bench.sampling.rules import Labels, Paper, Rule, Smoke, Uniform, asked, labels_of
from cem_bench.sampling.sequential import Sequential
from cem_bench.stats.blocks import BlockTable, block_table
from cem_bench.store import maps
from cem_bench.store.draws import effects_by_block, read_rows
from cem_bench.store.files import inside
from cem_bench.store.manifest import DamagedError, read_beside

SHIPPED = "skimage:"
PICTURES = ("clean", "observation", "restored")
# what every version's entries hold
ENTRY = ("key", "model", "scene", "seed", "rule", "roi", "size", "block", "status", "variant", "outcome")
RULES = {rule.__name__: rule for rule in (Paper, Uniform, Smoke, Sequential)}


@dataclass(frozen=True, eq=False)
class StoredCell:
    """One measured cell as it lies in the store.

    Attributes:
        entry: what the sweep wrote on it.
        folder: its run in the store.
        rule: which of the stored draws count.
    """

    entry: Mapping[str, Any]
    folder: Path
    rule: Rule

    @classmethod
    def of(cls, entry: Mapping[str, Any], store: Path) -> StoredCell:
        """Read an entry."""
        settings = dict(entry["rule"])
        rule = RULES[settings.pop("type")](**settings)
        return cls(entry, inside(store, entry["key"][:16]), rule)

    def under(self, rule: Rule) -> StoredCell:
        """Return the same draws seen under another rule."""
        return StoredCell(self.entry, self.folder, rule)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.entry["model"]

    @property
    def scene(self) -> str:
        """Name of the scene."""
        return self.entry["scene"]

    @property
    def image(self) -> str:
        """The image the scene was cut from: the cluster of every claim about models."""
        return Path(self.entry["scene_source"]).stem

    @property
    def variant(self) -> str:
        """What else the sweep varied, as key=value; "" where nothing."""
        return ", ".join(f"{key}={value}" for key, value in self.entry["variant"].items())

    @property
    def shipped(self) -> bool:
        """Whether the repository may show the scene's pictures."""
        return self.entry["scene_source"].startswith(SHIPPED)

    @property
    def roi(self) -> Rect:
        """The region of interest in clean pixels."""
        return Rect(*self.entry["roi"])

    @property
    def grid(self) -> Grid:
        """The blocks of the image."""
        height, width = self.entry["size"]
        return Grid(height, width, self.entry["block"])

    @cached_property
    def status(self) -> np.ndarray:
        """(rows, columns) int8, see `maps.STATUS`; not run counts as measured without draws."""
        codes = np.array(self.entry["status"], dtype=np.int8)
        return np.where(codes == maps.NOT_RUN, maps.MEASURED, codes).astype(np.int8)

    @cached_property
    def draws(self) -> pd.DataFrame:
        """All stored draws of the run."""
        return read_rows(self.folder)

    @cached_property
    def effects(self) -> dict[int, np.ndarray]:
        """The draws that count, dB, of every block that can reach the ROI."""
        return {block: self.rule.estimate(draws) for block, draws in self._taken.items()}

    @property
    def gate_draws(self) -> dict[int, int]:
        """The number of draws before those that count, by block: the rule takes them to choose where to draw on."""
        return {block: len(draws) - len(self.effects[block]) for block, draws in self._taken.items()}

    @property
    def paired_effects(self) -> dict[int, np.ndarray]:
        """The draws from k = 0 on whose number did not depend on them: draw k of every model has the same donor.

        Under a sequential rule, those of its first look.
        """
        if not isinstance(self.rule, Paper):
            first = self.rule.looks[0] if self.rule.looks else None
            return {block: draws[:first] for block, draws in self.effects.items()}
        return {block: draws[: self.rule.coarse] for block, draws in self._taken.items()}

    @property
    def looked_at(self) -> int:
        """The largest number of draws that the rule took of a block: later ones had no part in the verdicts."""
        return max((len(draws) for draws in self._taken.values()), default=0)

    @cached_property
    def _taken(self) -> dict[int, np.ndarray]:
        """The stored draws that the rule takes, dB, of every block that can reach the ROI."""
        live = np.flatnonzero(self.status.ravel() == maps.MEASURED).tolist()
        stored = effects_by_block(self.draws, live, self.entry["outcome"])
        return asked(self.rule, stored, self._strata(live))[0]

    @cached_property
    def effect_map(self) -> maps.EffectMap:
        """The map."""
        return maps.build_map(self.grid.shape, self._taken, self.rule, self.status, tol=self.entry["tol"])

    @cached_property
    def table(self) -> BlockTable:
        """Estimate, interval and verdict of every block that can reach the ROI."""
        return block_table(
            self.effects,
            tol=self.entry["tol"],
            looks=self.rule.looks,
            labels=labels_of(self.effects, self._strata(self.effects)),
            correction=self.entry.get("fdr", "bh"),  # entries written before the key existed
        )

    def _strata(self, blocks: Iterable[int]) -> Labels | None:
        """The donor strata of the stored draws; None for uniform donors, and for draws from within a sweep."""
        if not len(self.draws) or not self.draws["stratum"].any() or isinstance(self.rule, Paper):
            return None
        strata = {int(block): rows["stratum"].to_numpy() for block, rows in self.draws.groupby("block")}  # pyright: ignore
        return {block: strata.get(block, np.empty(0, np.int64)) for block in blocks}

    def picture(self, name: str) -> np.ndarray:
        """Return the clean image, the observation or the restored image, (h, w, 3) uint8.

        Raises:
            FileNotFoundError: if it is not there as it was written.
        """
        content = read_beside(self.folder, f"{name}.png")
        if content is None:
            raise FileNotFoundError(f"{self.folder / name}.png is gone or damaged: measure the cell again, as before.")
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image)

    @property
    def has_pictures(self) -> bool:
        """Whether all pictures lie there as they were written; an archive has none."""
        return all(read_beside(self.folder, f"{name}.png") is not None for name in PICTURES)


def has_cells(output: Path, experiment: str) -> bool:
    """Whether anything of an experiment is stored."""
    return any((output / "store" / "experiments" / experiment).glob("*.json"))


def read_cells(output: Path, experiment: str) -> list[StoredCell]:
    """Read the cells of an experiment, in the order of their names.

    Args:
        output: folder of the results, which holds `store/`.
        experiment: its name.

    Raises:
        FileNotFoundError: if nothing was measured, with the command that does.
        DamagedError: if an entry is not one that a sweep wrote.
    """
    entries = sorted((output / "store" / "experiments" / experiment).glob("*.json"))
    if not entries:
        raise FileNotFoundError(
            f"No stored cell of {experiment} in {output / 'store'}: run `python -m cem_bench +experiment={experiment}` "
            f"or, where {output / 'draws'} holds its draws, `python -m cem_bench.report restore`."
        )
    return [_read_cell(path, output / "store") for path in entries]


def _read_cell(path: Path, store: Path) -> StoredCell:
    try:
        entry = json.loads(path.read_bytes())
        if lacking := [name for name in ENTRY if name not in entry]:
            raise ValueError(f"lacks {', '.join(lacking)}")
        return StoredCell.of(entry, store)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DamagedError(
            f"{path} is not what a sweep wrote ({type(error).__name__}: {error}): delete it and run the sweep again, "
            "which writes it from the stored draws."
        ) from error
