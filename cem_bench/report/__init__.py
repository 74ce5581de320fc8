"""Tables, figures and pages of the experiments, drawn from stored draws; no network, no torch."""

from cem_bench.report.write import write_report
from cem_bench.store.cells import StoredCell, read_cells

__all__ = ["StoredCell", "read_cells", "write_report"]
