"""Whether published numbers hold: every hash, the table, and a sample of draws made again on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from cem_bench.report.reprinted import table_damage
from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.store.audit import Walk, walk
from cem_bench.store.draws import read_rows
from cem_bench.store.entries import STORED_KEYS
from cem_bench.store.files import inside
from cem_bench.store.manifest import Damage, DamagedError, read_identity
from cem_bench.store.roots import other_roots


@dataclass(frozen=True)
class Verified:
    """What verifying an experiment came to.

    Attributes:
        walk: over every hash.
        table_rows: of the experiment's `cells.csv` that were compared with the draws.
        named: number of pages, tables and figures of its report that name the root.
        remade: number of draws made again here.
        max_abs_db: their largest difference from what is stored.
        not_remade: one line per cell of the sample that cannot be made on this machine.
        faults: one line for everything that does not hold.
    """

    walk: Walk
    table_rows: int
    named: int
    remade: int
    max_abs_db: float
    not_remade: tuple[str, ...]
    faults: tuple[str, ...]


def verify(output: Path, experiment: str, sample: int, sample_seed: int = 0) -> Verified:
    """Check an experiment; nothing is changed.

    Args:
        output: folder of the results.
        experiment: its name.
        sample: number of stored draws to make again; 0 for none.
        sample_seed: chooses them.

    Raises:
        FileNotFoundError: if nothing of it is stored.
    """
    walked = walk(output, experiment)
    faults = [*walked.damage]
    try:
        rows, wrong = table_damage(experiment, output)
        faults += wrong
    except (DamagedError, ValueError, KeyError, FileNotFoundError) as error:
        rows, wrong = 0, []
        faults.append(Damage(output / experiment / "cells.csv", f"cannot be compared: {error}"))
    named, wrong = other_roots(output / experiment, walked.root_sha256)
    faults += wrong
    remade, worst, skipped = 0, 0.0, []
    for path, draws in tqdm(_sample(output, experiment, sample, sample_seed), desc="making draws again", unit="cell"):
        try:
            count, largest, lines = _remake(path, experiment, draws)
        except (ValueError, OSError, RuntimeError, OmegaConfBaseException) as error:
            skipped.append(f"{path.stem}: {' '.join(str(error).split())}")
            continue
        remade, worst = remade + count, max(worst, largest)
        faults += [Damage(path, line) for line in lines]
    lines = tuple(f"{item.path}: {item.reason}" for item in faults)
    return Verified(walked, rows, named, remade, worst, tuple(skipped), lines)


def _sample(output: Path, experiment: str, sample: int, sample_seed: int) -> list[tuple[Path, pd.DataFrame]]:
    """Return a random sample of stored draws, by entry; what cannot be read was named by the walk."""
    stored = []
    for path in sorted((output / "store" / "experiments" / experiment).glob("*.json")):
        try:
            stored.append((path, read_rows(inside(output / "store", json.loads(path.read_bytes())["key"][:16]))))
        except (ValueError, TypeError, KeyError):
            continue
    ends = np.cumsum([len(rows) for _, rows in stored]) if stored else np.zeros(1, int)
    rng = np.random.Generator(np.random.Philox(sample_seed))
    chosen = np.sort(rng.choice(int(ends[-1]), min(sample, int(ends[-1])), replace=False))
    places = np.searchsorted(ends, chosen, side="right")
    starts = np.r_[0, ends[:-1]]
    return [(*stored[at][:1], stored[at][1].iloc[chosen[places == at] - starts[at]]) for at in np.unique(places)]


def _remake(path: Path, experiment: str, draws: pd.DataFrame) -> tuple[int, float, list[str]]:
    """Make draws of one entry again; return how many, the largest difference, and a line for each that is wrong."""
    from cem_bench.measuring.remake import remake

    register()
    entry = json.loads(path.read_bytes())
    config = composed([f"+experiment={experiment}", *overrides_of(entry, path.stem)])
    OmegaConf.resolve(config)
    cell = build_cell(config)
    identity = read_identity(path.parents[2] / entry["key"][:16])
    now: Mapping[str, Any] = cell.identity()
    differing = sorted(name for name in {*identity, *now} if identity.get(name) != now.get(name))
    remade = remake(cell, draws, len(draws))
    note = f" (here {', '.join(differing)} differ from the stored identity)" if differing else ""
    return remade.draws, remade.max_abs_db, [line + note for line in remade.wrong]


def overrides_of(entry: Mapping[str, Any], stem: str) -> list[str]:
    """Return the overrides that made an entry, by today's names; those of earlier versions name the file alone."""
    today = {stored: key for key, stored in STORED_KEYS.items()}
    given = [str(text).partition("=") for text in entry.get("overrides") or stem.split(",")]
    return [f"{today.get(key, key)}={value}" for key, _, value in given]
