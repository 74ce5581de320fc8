"""Outcomes: what is measured in the region of interest, with unit and direction.

All are computed in float64. A PSNR is capped at 100 dB, so that a perfect ROI has a finite value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cem_bench.store.outcomes import OutcomeFacts, facts_of

CAP_DB = 100.0
# BT.601 luma of RGB in 0..1, in 0..255 code values
LUMA = (65.481, 128.553, 24.966)


@dataclass(frozen=True)
class Outcome:
    """A metric of the ROI.

    Attributes:
        facts: name, unit, direction, tol.
        compute: (outputs (n, 3, h, w) float in 0..1 or beyond, clean (3, h, w) float64 in 0..1) to (n,) float64.
    """

    facts: OutcomeFacts
    compute: Callable[[Tensor, Tensor], Tensor]

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


def _psnr(mean_square: Tensor) -> Tensor:
    return -10.0 * torch.log10(mean_square.clamp_min(10.0 ** (-CAP_DB / 10.0)))


def psnr(outputs: Tensor, clean: Tensor) -> Tensor:
    """PSNR in RGB of the clipped, unrounded output, dB."""
    error = outputs.double().clamp(0, 1) - clean
    return _psnr(error.square().mean(dim=(1, 2, 3)))


def psnr_8bit(outputs: Tensor, clean: Tensor) -> Tensor:
    """PSNR in RGB of the output clipped and rounded to 8 bit, dB: the paper's outcome."""
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
    """PSNR of BT.601 luma (16..235 coding, peak 255) of the clipped output, dB."""
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
    compute.__name__: Outcome(facts_of(compute.__name__), compute) for compute in (psnr, psnr_8bit, psnr_y, ssim, mae)
}
# stored for every draw: the float one for statistics, the rounded one because the paper reports it
ALWAYS = ("psnr", "psnr_8bit")


def to_measure(primary: str) -> list[Outcome]:
    """Return the outcomes to store when `primary` is the one asked for.

    Raises:
        ValueError: for an unknown outcome, with the known ones.
    """
    return [OUTCOMES[name] for name in dict.fromkeys((*ALWAYS, facts_of(primary).name))]
