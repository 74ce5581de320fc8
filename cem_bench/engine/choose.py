"""Choose and build the engine for one network on one scene."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Any

import torch

from cem_bench.engine.agree import strongest
from cem_bench.engine.base import PRECISIONS, Answered, Engine, EngineError, exact_arithmetic, intervened
from cem_bench.engine.cone import TOLERANCE, ConeEngine
from cem_bench.engine.crop import CropEngine
from cem_bench.engine.full import FullEngine
from cem_bench.inputs.geometry import Rect

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

KINDS = ("auto", "cone", "crop", "full")
# Share of the work up to which the cone surely wins; above, the engines are timed on one block.
CLEAR = 0.3
TIMED_DRAWS, TIMED_S = 3, 3.0


def prepare(
    restorer: nn.Module,
    observation: Tensor,
    roi: Rect,
    *,
    kind: str = "auto",
    precision: str = "fp32",
    memory_gb: float = 2.0,
    compiled: bool = False,
    one_row: bool = False,
    answered: Answered | None = None,
) -> Engine:
    """Build the engine that answers interventions on one scene.

    Args:
        restorer: maps (b, 3, h, w) float32 in [0, 1] to (b, 3, h * scale, w * scale), in eval mode.
        observation: (3, h, w) float32 in [0, 1], on the device to run on.
        roi: region of interest in output pixels; the whole output measures all ROIs at once.
        kind: "cone" (both cones, traced networks), "crop" (certified crop), "full" (plain forwards), "auto".
        precision: "fp32" (TF32 off) or "bf16".
        memory_gb: GiB that the activations of one batch may take.
        compiled: run what every draw computes in full through torch.compile: plain forwards, and the part of a cone
            that a network with global ops changes everywhere. It costs a minute or more; "auto" times it beside the
            rest, and takes it where it is the fastest.
        one_row: never give the network more than one image at a time: its answer to an image depends on the others.
        answered: what the network makes of another image, to hold a record against; None to ask for it here.

    Returns:
        The engine; `kind` and `reason` say what was chosen and why.

    Raises:
        ValueError: an unknown kind or precision, or a crop that was asked to be compiled.
        EngineError: a kind that was asked for and cannot be had for this network, or compiling failed.
    """
    for what, got, known in (("kind", kind, KINDS), ("precision", precision, tuple(PRECISIONS))):
        if got not in known:
            raise ValueError(f"engine {what} is {got!r}, expected one of {', '.join(known)}")
    network = _own(restorer, precision).to(observation.device)
    options = {"precision": precision, "memory_gb": memory_gb, "one_row": one_row}
    if kind == "auto":
        return _auto(network, observation, roi, answered, compiled, **options)
    if kind == "full":
        return FullEngine(network, observation, roi, reason="asked for", compiled=compiled, **options)
    if kind == "cone":
        return _cone(network, observation, roi, answered, reason="asked for", compiled=compiled, **options)
    if compiled:
        raise ValueError("a crop is of another size for every block and cannot be compiled: choose auto, cone or full")
    return CropEngine(network, observation, roi, reason="asked for", **options)


def _own(restorer: nn.Module, precision: str) -> nn.Module:
    """Return a copy of a network, or the network itself where it cannot be copied.

    Raises:
        EngineError: where a network that cannot be copied would have to change its precision.
    """
    try:
        return copy.deepcopy(restorer).eval()
    except Exception as error:
        if precision != "fp32":
            words = f"{precision} needs a copy of the network, and it cannot be copied ({_first_line(error)})"
            raise EngineError(f"{words}: choose precision=fp32") from error
        return restorer


def _auto(
    network: nn.Module, observation: Tensor, roi: Rect, answered: Answered | None, compiled: bool, **options: Any
) -> Engine:
    """Take the cone where it is faster, else a certified crop, else plain forwards."""
    try:
        engine = _cone(network, observation, roi, answered, reason="recorded", **options)
        if engine.program.share(sample_blocks(observation)) <= CLEAR:
            return engine
        whole = compiled and not engine.compiles
        full = FullEngine(network, observation, roi, reason="", compiled=whole, **options)
        full.checks = engine.checks
        return _fastest(engine, full, compiled and engine.compiles)
    except Exception as error:  # noqa: BLE001 - what a network raises here only says that it has no cone
        no_cone = f"no cone: {_first_line(error)}"
    try:
        return CropEngine(network, observation, roi, reason=no_cone, **options)
    except Exception as error:  # noqa: BLE001 - as above
        no_cone += f"; no crop: {_first_line(error)}"
        return FullEngine(network, observation, roi, reason=no_cone, compiled=compiled, **options)


def _fastest(cone: ConeEngine, full: FullEngine, compiled: bool) -> Engine:
    """Time the cone (compiled too, if asked) and forwards by batch on the block of median work; return the best."""
    blocks = sorted(sample_blocks(full.observation), key=lambda block: cone.cone(block).work)
    block = blocks[len(blocks) // 2]
    patches = full.observation[(slice(None), *block.slices)].flip(0).expand(TIMED_DRAWS, -1, -1, -1)
    batches = sorted({1, full.batch})
    cone_s, *full_s = _seconds([cone.outputs, *(full.in_batches_of(batch) for batch in batches)], block, patches)
    full.batch = batches[full_s.index(min(full_s))]
    words = ""
    if compiled:
        (fast_s,) = _seconds([cone.compiled_when(True)], block, patches)
        words = f"; compiled {cone_s / fast_s:.2f} times as fast"
        cone.compiled_when(fast_s < cone_s)
        cone_s = min(cone_s, fast_s)
    chosen = cone if cone_s < min(full_s) else full
    forwards = "compiled forwards" if full.compiled else "plain forwards"
    chosen.reason = f"{cone.reason}{words}; {min(full_s) / cone_s:.2f} times as fast as {forwards} on one block"
    return chosen


def _seconds(runs: list[Callable[[Rect, Tensor], Tensor]], block: Rect, patches: Tensor) -> list[float]:
    """Return the least seconds that each run took, in turns; the first turn only prepares."""
    spent: list[list[float]] = [[] for _ in runs]
    begun = time.perf_counter()
    while len(spent[0]) < 2 or (len(spent[0]) < 6 and time.perf_counter() - begun < TIMED_S):
        for seconds, run in zip(spent, runs, strict=True):
            start = time.perf_counter()
            run(block, patches).cpu()
            seconds.append(time.perf_counter() - start)
    return [min(seconds[1:]) for seconds in spent]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def sample_blocks(observation: Tensor) -> list[Rect]:
    """Return 64 small blocks spread evenly over the observation."""
    height, width = observation.shape[-2:]
    size = max(1, min(height, width) // 32)
    return [
        Rect((2 * row + 1) * height // 16, (2 * column + 1) * width // 16, size, size)
        for row in range(8)
        for column in range(8)
    ]


def _cone(
    network: nn.Module,
    observation: Tensor,
    roi: Rect,
    answered: Answered | None,
    *,
    reason: str,
    compiled: bool = False,
    **options: Any,
) -> ConeEngine:
    """Build the cone engine, try it against the full forward, and say what it found."""
    engine = ConeEngine(network, observation, roi, reason=reason, compiled=compiled, **options)
    with engine.checks.counted():
        _try(engine, answered or _answered(network, observation, options["precision"]), TOLERANCE[options["precision"]])
    share = engine.program.share(sample_blocks(observation))
    alone = f"; one row at a time: {engine.program.one_row}" if engine.program.one_row else ""
    how = "" if engine.compiled or not compiled else "; too little of it is whole to compile"
    engine.reason = f"{reason}: {share:.1%} of the work is left{_globals(engine)}{alone}{how}"
    return engine


def _answered(network: nn.Module, observation: Tensor, precision: str) -> Answered:
    image = strongest(observation)
    with exact_arithmetic():
        return Answered(image, network(image[None].to(PRECISIONS[precision])).float())


def _try(engine: ConeEngine, answered: Answered, tolerance: float) -> None:
    """Hold the record against the network on another image, and the largest cone against the record.

    Raises:
        EngineError: if a path of the network is not in the record, or a rule is wrong.
    """
    observation, roi = engine.observation, engine.roi
    apart = _apart(engine.roi_of(answered.image), answered.answer[(..., *roi.slices)])
    if not apart <= tolerance:
        raise EngineError(f"the record differs from the full forward of another image by {apart:.1e} of its scale")
    engine.elsewhere = apart if answered.strongest else engine.elsewhere
    block = max(sample_blocks(observation), key=lambda block: engine.cone(block).work)
    if engine.goes_through_all(engine.cone(block), 3):
        return  # the record, which was held against the network already
    patches = torch.stack([observation.roll((block.height * by, block.width * by), (1, 2)) for by in (1, 2, 3)])
    patches = patches[(..., *block.slices)]  # several, so that batches of several rows are tried
    record = engine.roi_of(intervened(observation, block, patches[-1:])[0])
    apart = _apart(engine.outputs(block, patches)[-1:], record)
    if not apart <= tolerance:
        first = engine.first_difference(block, patches)
        raise EngineError(f"the cone differs from the record by {apart:.1e} of its scale at {first}")


def _apart(outputs: Tensor, expected: Tensor) -> float:
    return float((outputs - expected).abs().max() / (expected.abs().max() + 1e-12))


def _globals(engine: ConeEngine) -> str:
    """Say which ops change everywhere, and which of those only for want of a rule."""
    unknown, mixing = engine.program.without_rule, engine.program.mixing
    words = f"; changed everywhere from {mixing[0]} on ({len(mixing)} such ops)" if mixing else ""
    return words + (f"; no rule for {', '.join(unknown)}: taken as changing everything" if unknown else "")
