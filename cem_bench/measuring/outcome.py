"""Outcomes: what is measured in the region of interest, with unit and direction.

All are computed in float64. A PSNR is capped at 100 dB, so that a perfect ROI has a finite value. `perceptual.py` holds
those that need a trained network; `outcome` makes one of somebody's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from cem_bench.measuring import perceptual
from cem_bench.measuring.refusals import MeasureError
from cem_bench.models.identity import UnseenError, computation
from cem_bench.store.outcomes import FACTS, OutcomeFacts, facts_of, own_outcome

CAP_DB = 100.0
# BT.601 luma of RGB in 0..1, in 0..255 code values
LUMA = (65.481, 128.553, 24.966)


@dataclass(frozen=True)
class Outcome:
    """A metric of the ROI.

    Attributes:
        facts: name, unit, direction, tol.
        compute: (outputs (n, 3, h, w) float in 0..1 or beyond, clean (3, h, w) float64 in 0..1) to (n,) float64.
        identity: what goes into the run key: the name; of one that can change under its name, also what it computes.
    """

    facts: OutcomeFacts
    compute: Callable[[Tensor, Tensor], Tensor]
    identity: Any = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Column name in the store."""
        return self.facts.name

    @property
    def unit(self) -> str:
        """Unit of a value and of an effect."""
        return self.facts.unit

    @property
    def higher_is_better(self) -> bool:
        """Direction."""
        return self.facts.higher_is_better

    @property
    def tol(self) -> float:
        """An |effect| below it counts as none, where the user says nothing else."""
        return self.facts.tol

    def measure(self, outputs: Tensor, clean: Tensor) -> Tensor:
        """Compute, and check what comes back.

        Args:
            outputs: (n, 3, h, w) float32, the ROI restored.
            clean: (3, h, w) float64 in 0..1.

        Returns:
            (n,) float64.

        Raises:
            MeasureError: if it is not one finite number per output.
        """
        with torch.inference_mode():
            values = self.compute(outputs, clean)
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if shape != (len(outputs),):
            raise MeasureError(
                f"Outcome {self.name} answered {shape} to outputs of {tuple(outputs.shape)}; expected "
                f"({len(outputs)},), one number per output: return a tensor, as error.mean(dim=(1, 2, 3))."
            )
        if not torch.isfinite(values).all():
            raise MeasureError(
                f"Outcome {self.name} answered NaN or infinity; expected finite numbers: clip the outputs to 0..1, and "
                "cap what is infinite where output and clean image are the same."
            )
        return values.double()


def outcome(
    *, unit: str, higher_is_better: bool, tol: float, least_side: int = 1, identity: str = ""
) -> Callable[[Callable[[Tensor, Tensor], Tensor]], Outcome]:
    """Make an outcome of a function of one's own: a decorator.

    The function takes the restored ROIs (n, 3, h, w), in 0..1 or beyond, and the clean one (3, h, w), float64 in 0..1,
    and answers (n,), one number per output. The first line of its docstring says what it is. Name it `module.name` on
    the command line (`outcome=mymodule.sharpness`) or hand `sharpness.name` to `Options`.

    Args:
        unit: as it is printed.
        higher_is_better: direction.
        tol: an |effect| below it counts as none, in the unit.
        least_side: smallest side of a ROI, pixels.
        identity: your name for what it computes where that cannot be seen (compiled code); another for every change.
    """

    def make(function: Callable[[Tensor, Tensor], Tensor]) -> Outcome:
        name = f"{function.__module__}.{function.__qualname__}"
        meaning = (function.__doc__ or function.__name__).strip().splitlines()[0].rstrip(".")
        return Outcome(OutcomeFacts(name, unit, higher_is_better, tol, meaning, least_side), function, identity)

    return make


def _psnr(mean_square: Tensor) -> Tensor:
    return -10.0 * torch.log10(mean_square.clamp_min(10.0 ** (-CAP_DB / 10.0)))


def psnr(outputs: Tensor, clean: Tensor) -> Tensor:
    """PSNR in RGB of the clipped, unrounded output, dB."""
    error = outputs.double().clamp(0, 1) - clean
    return _psnr(error.square().mean(dim=(1, 2, 3)))


def psnr_8bit(outputs: Tensor, clean: Tensor) -> Tensor:
    """PSNR in RGB of the output clipped and rounded to 8 bit, dB: the paper's, and basicsr's `calculate_psnr`."""
    error = (outputs.clamp(0, 1) * 255.0).round().double() - clean * 255.0
    return _psnr(error.square().mean(dim=(1, 2, 3)) / 255.0**2)


def psnr_by_block(outputs: Tensor, clean: Tensor, block: int) -> Tensor:
    """PSNR in RGB of every block of the clipped, unrounded output, dB.

    Args:
        outputs: (n, 3, H, W).
        clean: (3, H, W) float64 in 0..1.
        block: side in pixels; divides H and W.

    Returns:
        (n, H / block * W / block) float64, row-major.
    """
    square = (outputs.double().clamp(0, 1) - clean).square().mean(dim=1, keepdim=True)
    return _psnr(torch.nn.functional.avg_pool2d(square, block)).flatten(1)


def psnr_y(outputs: Tensor, clean: Tensor) -> Tensor:
    """PSNR of BT.601 luma (16..235 coding, unrounded, peak 255) of the clipped output, dB.

    On 8-bit images it is basicsr's `calculate_psnr` with `test_y_channel=True`.
    """
    weights = torch.tensor(LUMA, dtype=torch.float64, device=outputs.device)[:, None, None]
    error = ((outputs.double().clamp(0, 1) - clean) * weights).sum(dim=1)
    return _psnr(error.square().mean(dim=(1, 2)) / 255.0**2)


def ssim(outputs: Tensor, clean: Tensor) -> Tensor:
    """Mean SSIM over RGB and the ROI, Gaussian window of sigma 1.5 (Wang et al. 2004), by scikit-image."""
    from skimage.metrics import structural_similarity

    target = clean.cpu().numpy()
    values = [
        structural_similarity(
            output,
            target,
            channel_axis=0,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for output in outputs.double().clamp(0, 1).cpu().numpy()
    ]
    return torch.tensor(values, dtype=torch.float64)


def mae(outputs: Tensor, clean: Tensor) -> Tensor:
    """Mean absolute error in RGB of the clipped, unrounded output, levels of 255."""
    return (outputs.double().clamp(0, 1) - clean).abs().mean(dim=(1, 2, 3)) * 255.0


OUTCOMES = {
    compute.__name__: Outcome(facts_of(compute.__name__), compute, compute.__name__)
    for compute in (psnr, psnr_8bit, psnr_y, ssim, mae)
}
# stored for every draw: the float one for statistics, the rounded one because the paper reports it
ALWAYS = ("psnr", "psnr_8bit")


def to_measure(names: Sequence[str], weights: str = "") -> list[Outcome]:
    """Return the outcomes to store when some are asked for.

    Args:
        names: of the outcomes, in any order.
        weights: file or folder of the weights that some need; "" for CEM_WEIGHTS and torch's cache.

    Raises:
        ValueError: for an unknown outcome, with the known ones; for weights that are missing or are others.
    """
    further = sorted(set(names) - set(ALWAYS))
    return [*(OUTCOMES[name] for name in ALWAYS), *(_outcome(name, weights) for name in further)]


def _outcome(name: str, weights: str) -> Outcome:
    if name in OUTCOMES:
        return OUTCOMES[name]
    if name in FACTS:
        network = perceptual.find(name, weights)
        return Outcome(FACTS[name], network.compute, {"name": name, **network.identity()})
    own: Outcome = own_outcome(name)
    return replace(own, facts=replace(own.facts, name=name), identity={"name": name, **_computation(own)})


def _computation(own: Outcome) -> Mapping[str, Any]:
    """Return what the run key says of an outcome of somebody's own."""
    if own.identity:
        return {"given": own.identity}
    try:
        seen = computation(own.compute, "outcome")
    except UnseenError as error:
        raise ValueError(
            f"What outcome {own.name} computes cannot be seen ({error}): give it a name of your own, "
            "@outcome(..., identity='mine-1'), and another for every change."
        ) from error
    return {"computation_sha256": seen.sha256, "libraries": dict(seen.libraries)}
