"""Causal Effect Maps of image restoration networks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cem_bench.cell import Cell
    from cem_bench.degrade import Bicubic, Noise, Rain
    from cem_bench.donors import DonorPool
    from cem_bench.geometry import Rect
    from cem_bench.restore import as_model
    from cem_bench.sampling import Paper
    from cem_bench.scene import Scene

__all__ = ["Bicubic", "Cell", "DonorPool", "Noise", "Paper", "Rain", "Rect", "Scene", "as_model"]

_WHERE = {
    "Bicubic": "degrade",
    "Cell": "cell",
    "DonorPool": "donors",
    "Noise": "degrade",
    "Paper": "sampling",
    "Rain": "degrade",
    "Rect": "geometry",
    "Scene": "scene",
    "as_model": "restore",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the numpy side never imports torch."""
    if name not in _WHERE:
        raise AttributeError(f"module 'cem_bench' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    return getattr(import_module(f"cem_bench.{_WHERE[name]}"), name)
