"""The engine of a cell: the one that its options ask for, or that was found to serve."""

from __future__ import annotations

from torch import Tensor

from cem_bench.engine import Engine, prepare
from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.refusals import MeasureError, first_line
from cem_bench.measuring.yardstick import Yardstick


def engine_for(
    cell: Cell, tensor: Tensor, region: Rect, yardstick: Yardstick, *, kind: str = "", one_row: bool = False
) -> Engine:
    """Prepare the engine that a cell's options ask for.

    Args:
        cell: the cell.
        tensor: (3, h, w) float32 in 0..1, the observation.
        region: of the output that is to be answered, clean pixels.
        yardstick: of the network.
        kind: instead of the one asked for.
        one_row: give the network one image at a time, whatever the yardstick says.

    Raises:
        MeasureError: if it cannot be had for this network.
    """
    options = cell.options
    kind = "full" if options.stochastic else kind
    try:
        return prepare(
            yardstick.witness.restorer,
            tensor,
            region,
            kind=kind or options.engine,
            precision=options.precision,
            memory_gb=options.memory_gb,
            compiled=options.compile,
            one_row=one_row or bool(yardstick.one_row),
            answered=yardstick.elsewhere,
        )
    except Exception as error:
        raise MeasureError(
            f"No engine {kind or options.engine} for {cell.model.name}: {first_line(error)}. "
            "Write engine=auto or engine=full."
        ) from error
