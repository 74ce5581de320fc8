"""A measured map as a page that opens from disk: the atlas of one cell."""

from __future__ import annotations

from pathlib import Path

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
    cell, empty = StoredCell.of(entry, output / "store"), pd.DataFrame()
    name = f"{cell.model} on {cell.scene}"
    settings = {"question": choice.command}
    table = cells_table([cell])
    return atlas(Experiment(name, settings, {}, [cell], empty, table, empty, empty, empty, empty, empty), output)
