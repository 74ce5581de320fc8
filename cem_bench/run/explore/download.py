"""A measured map as a page that opens from disk: the atlas of one cell."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from cem_bench.measuring.entry import entry_of
from cem_bench.measuring.measurement import Measurement
from cem_bench.report.atlas import atlas
from cem_bench.report.experiment import Experiment
from cem_bench.report.tables import cells_table
from cem_bench.run.explore.choices import Choice
from cem_bench.sampling.rules import Rule
from cem_bench.store.cells import StoredCell


def measured_page(choice: Choice, measured: Measurement, output: Path) -> str:
    """Return the page of one map.

    Args:
        choice: that the map answers.
        measured: what it came to.
        output: folder of the results, whose store holds the draws.
    """
    rule: Rule = getattr(measured.cell.rule, "rule", measured.cell.rule)
    entry = {**entry_of(measured.cell, measured, rule), "variant": {}}
    cell = StoredCell.of(entry, output / "store")
    facts: dict[str, Any] = {
        "name": f"{cell.model} on {cell.scene}",
        "settings": {"question": choice.command},
        "plan": {},
    }
    facts |= {"cells": [cell], "table": cells_table([cell])}
    empty: dict[str, Any] = {
        part.name: pd.DataFrame() for part in dataclasses.fields(Experiment) if part.name not in facts
    }
    return atlas(Experiment(**facts, **empty), output)
