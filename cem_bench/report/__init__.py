"""Tables, figures and pages of the experiments, drawn from stored draws; no network, no torch."""

from cem_bench.report.collect import StoredCell, read_cells
from cem_bench.report.write import write_report

__all__ = ["StoredCell", "read_cells", "write_report"]
