"""Causal Effect Maps of image restoration networks: the public door.

Everything that a user needs is a name of this package; each is imported when it is first used, so that tables and
figures never import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cem_bench.inputs.degradations import Bicubic, Noise, Rain
    from cem_bench.inputs.donors import DonorPool, shipped_donors
    from cem_bench.inputs.geometry import Rect
    from cem_bench.inputs.own_donors import matched, same_image_donors
    from cem_bench.inputs.scene import Scene
    from cem_bench.measuring.cell import Cell, Options
    from cem_bench.measuring.measure import measure
    from cem_bench.measuring.outcome import outcome
    from cem_bench.models.model import as_model
    from cem_bench.run.comparison import compare
    from cem_bench.sampling.rules import Paper, Uniform
    from cem_bench.sampling.sequential import Sequential

__all__ = [
    "Bicubic",
    "Cell",
    "DonorPool",
    "Noise",
    "Options",
    "Paper",
    "Rain",
    "Rect",
    "Scene",
    "Sequential",
    "Uniform",
    "as_model",
    "compare",
    "matched",
    "measure",
    "outcome",
    "same_image_donors",
    "shipped_donors",
]

_WHERE = {
    "Bicubic": "inputs.degradations",
    "Cell": "measuring.cell",
    "DonorPool": "inputs.donors",
    "Noise": "inputs.degradations",
    "Options": "measuring.cell",
    "Paper": "sampling.rules",
    "Rain": "inputs.degradations",
    "Rect": "inputs.geometry",
    "Scene": "inputs.scene",
    "Sequential": "sampling.sequential",
    "Uniform": "sampling.rules",
    "as_model": "models.model",
    "compare": "run.comparison",
    "matched": "inputs.own_donors",
    "measure": "measuring.measure",
    "outcome": "measuring.outcome",
    "same_image_donors": "inputs.own_donors",
    "shipped_donors": "inputs.donors",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the numpy side never imports torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'cem_bench' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(f"cem_bench.{_WHERE[name]}"), name)
