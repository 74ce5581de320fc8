"""One cell from the overrides of a sub-command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from cem_bench.run.build import build_cell, register
from cem_bench.run.compose import composed
from cem_bench.run.overrides import check_overrides

if TYPE_CHECKING:
    from cem_bench.measuring.cell import Cell


def cell_of(overrides: Sequence[str]) -> tuple[DictConfig, Cell]:
    """Return the resolved configuration and the cell that overrides name.

    Raises:
        ValueError: if the command line or the cell is refused.
    """
    register()
    if problem := check_overrides(overrides):
        raise ValueError(problem)
    config = composed(overrides)
    OmegaConf.resolve(config)
    return config, build_cell(config)
