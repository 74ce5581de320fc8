"""Choose and build the engine for one network on one scene."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from cem_bench.engine.base import PRECISIONS, Engine
from cem_bench.engine.full import FullEngine

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cem_bench.geometry import Rect

KINDS = ("auto", "cone", "crop", "full")


def prepare(restorer: nn.Module, observation: Tensor, roi: Rect, *, kind: str = "auto", precision: str = "fp32",
            memory_gb: float = 2.0) -> Engine:
    """Build the engine that answers interventions on one scene.

    Args:
        restorer: maps (b, 3, h, w) float32 in [0, 1] to (b, 3, h * scale, w * scale), in eval mode.
        observation: (3, h, w) float32 in [0, 1], on the device to run on.
        roi: region of interest in output pixels; the whole output measures all ROIs at once.
        kind: "cone" (both cones, traced networks), "crop" (certified crop), "full" (plain forwards), "auto".
        precision: "fp32" (TF32 off) or "bf16".
        memory_gb: GiB that the activations of one batch may take.

    Returns:
        The engine; `kind` and `reason` say what was chosen and why.

    Raises:
        ValueError: an unknown kind or precision.
        EngineError: a kind that was asked for and cannot be had for this network.
    """
    for what, got, known in (("kind", kind, KINDS), ("precision", precision, tuple(PRECISIONS))):
        if got not in known:
            raise ValueError(f"engine {what} is {got!r}, expected one of {', '.join(known)}")
    network = copy.deepcopy(restorer).eval().requires_grad_(False).to(observation.device)
    return FullEngine(network, observation, roi, precision=precision, memory_gb=memory_gb, reason="asked for")
