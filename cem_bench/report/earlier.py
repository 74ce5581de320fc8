"""Tables of an earlier report: rows of cells whose draws this store lacks, having been measured elsewhere.

A machine that has measured some cells of an experiment adds them to the table of all; what needs the draws themselves
is drawn where all of them are here, and else stays as the report drew it that had them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cem_bench.report.columns import from_file
from cem_bench.report.tables import KEYS, decay_table, paired_decay_table
from cem_bench.store.cells import StoredCell

CELL = ["model", *KEYS]


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of a report, names as text, the unit of its effects in `attrs`; empty where there is none."""
    if not path.is_file():
        return from_file(pd.DataFrame())
    names = dict.fromkeys(("image", "variant", "model", "scene", "global_statistics", "commit", "run_key"), str)
    table = pd.read_csv(path, dtype=names)
    return from_file(table.fillna({name: "" for name in ("variant", "global_statistics") if name in table}))


def with_earlier(table: pd.DataFrame, path: Path, names: Sequence[str]) -> pd.DataFrame:
    """Return a table with those rows of an earlier one behind it whose names it lacks.

    Args:
        table: may be empty.
        path: of the earlier one; there may be none.
        names: columns that name a row.
    """
    earlier = read_table(path)
    if earlier.empty:
        return table
    here = set(table[list(names)].itertuples(index=False, name=None)) if len(table) else set()
    rest = earlier[[key not in here for key in earlier[list(names)].itertuples(index=False, name=None)]]
    return pd.concat([part for part in (table, rest) if len(part)] or [table], ignore_index=True)


def rows_lacking(path: Path, cells: Sequence[StoredCell]) -> pd.DataFrame:
    """Return the rows of an earlier `cells.csv` whose cells are not among those of the store."""
    earlier = read_table(path)
    if earlier.empty:
        return earlier
    here = _by_model(cells)
    rows = earlier[CELL].itertuples(index=False, name=None)
    return earlier[[tuple(key) not in here.get(model, set()) for model, *key in rows]]


def _by_model(cells: Sequence[StoredCell]) -> dict[str, set[tuple]]:
    """Return what pairs the cells of each model with those of another: KEYS."""
    scenes: dict[str, set[tuple]] = {}
    for cell in cells:
        key = (cell.scene, cell.entry["seed"], cell.variant, cell.image, cell.entry["task"])
        scenes.setdefault(cell.model, set()).add(key)
    return scenes


def _by_model_of_rows(rows: pd.DataFrame) -> dict[str, set[tuple]]:
    """Return the same of rows."""
    if rows.empty:
        return {}
    by_model = rows.groupby("model")[KEYS]
    return {str(model): set(part.itertuples(index=False, name=None)) for model, part in by_model}


def whole_decay(path: Path, cells: Sequence[StoredCell], earlier_rows: pd.DataFrame) -> pd.DataFrame:
    """Return the decay curves: of models whose draws are all here, and those of an earlier `decay.csv`.

    Args:
        path: of the earlier table.
        cells: of the store.
        earlier_rows: rows of the cells it lacks.
    """
    if earlier_rows.empty:
        return decay_table(cells)
    lacking = set(earlier_rows[["model", "task"]].itertuples(index=False, name=None))
    here = [cell for cell in cells if (cell.model, cell.entry["task"]) not in lacking]
    return with_earlier(decay_table(here) if here else pd.DataFrame(), path, ["label", "task"])


def whole_joint(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Return joint effects: of every model and set the row that is the mean of more cells, here or in an earlier table.

    Args:
        path: of the earlier `joint.csv`.
        table: of the store, from `joint.joint_table`.
    """
    names = ["label", "task", "set"]
    both = with_earlier(table, path, names)
    earlier = read_table(path)
    if earlier.empty or table.empty:
        return both
    cells = earlier.set_index(names)["cells"]
    known = pd.MultiIndex.from_frame(both[names])
    fewer = both["cells"].to_numpy() < cells.reindex(known).fillna(0).to_numpy()
    rows = earlier[pd.MultiIndex.from_frame(earlier[names]).isin(known[fewer])]
    return pd.concat([both[~fewer], rows], ignore_index=True)


def whole_pairs(
    path: Path, cells: Sequence[StoredCell], earlier_rows: pd.DataFrame, pairs: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Return the differences of the decay curves of pairs, those of pairs that lack draws from an earlier table.

    Args:
        path: of the earlier `decay_paired.csv`.
        cells: of the store.
        earlier_rows: rows of the cells it lacks.
        pairs: as `tables.paired_decay_table`.
    """
    earlier, here, elsewhere = read_table(path), _by_model(cells), _by_model_of_rows(earlier_rows)
    parts = []
    for pair in pairs:
        before = earlier[(earlier["first"] == pair[0]) & (earlier["second"] == pair[1])] if len(earlier) else earlier
        first, second = (here.get(name, set()) | elsewhere.get(name, set()) for name in pair)
        lacking = first & second & set().union(*(elsewhere.get(name, set()) for name in pair))
        parts.append(before if len(before) and lacking else paired_decay_table(cells, [pair]))
    return pd.concat([part for part in parts if len(part)] or [paired_decay_table(cells, [])], ignore_index=True)


def pictures_of(folder: Path, name: str) -> list[Path]:
    """Return the figures of one scene that an earlier report left."""
    mine = re.compile(rf"(scene|lam|difference)_{re.escape(name)}(_part\d+)?\.(png|svg|pdf)")
    return sorted(path for path in folder.glob("*") if mine.fullmatch(path.name))
