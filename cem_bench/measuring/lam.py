"""Local attribution maps (LAM): where the gradient of a network says that a region's texture comes from.

The observation is sharpened step by step from a blurred copy of itself; the gradients of a detector of texture in the
restored ROI, summed along that path, attribute the detector's rise to the pixels of the observation. LAM has a size but
no direction of use: a pixel that harms the ROI counts as much as one that helps. That is why it stands beside the
Causal Effect Map here.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cem_bench.inputs.geometry import Rect
from cem_bench.measuring.cell import Cell
from cem_bench.measuring.measure import Measurement
from cem_bench.measuring.prepared import to_tensor
from cem_bench.store.files import npz

SIGMA, KERNEL, FLAT = 1.2, 9, 1e-12


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Return (3, h, w) under a Gaussian of `sigma` pixels cut at `KERNEL` taps; sigma 0 is the image itself."""
    if sigma <= 0:
        return image
    from torchvision.transforms.v2.functional import gaussian_blur  # a second of import, for LAM alone

    return gaussian_blur(image, [KERNEL, KERNEL], [sigma, sigma])


def texture(restored: Tensor, roi: Rect) -> Tensor:
    """Return the mean size of the image gradient in the ROI: the detector that is attributed.

    Args:
        restored: (B, 3, H, W).
        roi: output pixels.

    Returns:
        (B,) in the unit of the image.

    Source: Gu and Dong 2021, section 3.3 (local gradient detector).
    """
    grey = restored[(slice(None), slice(None), *roi.slices)].mean(dim=1)
    down = grey[:, 1:, :-1] - grey[:, :-1, :-1]
    right = grey[:, :-1, 1:] - grey[:, :-1, :-1]
    return torch.sqrt(down**2 + right**2 + FLAT).mean(dim=(1, 2))


def attribution(
    restorer: nn.Module, observation: Tensor, roi: Rect, *, steps: int = 50, sigma: float = SIGMA
) -> Tensor:
    """Integrate the detector's gradient from the blurred observation to the observation.

    Args:
        restorer: maps (B, 3, h, w) in 0..1 to (B, 3, H, W).
        observation: (3, h, w) float32 in 0..1.
        roi: output pixels.
        steps: parts of the path, each with the gradient at its middle.
        sigma: blur at the start of the path, pixels.

    Returns:
        (3, h, w): signed attributions; their sum is the detector's rise along the path, up to the size of the steps.

    Raises:
        ValueError: if steps is below 1.

    Source: Gu and Dong, "Interpreting Super-Resolution Networks with Local Attribution Maps", CVPR 2021,
        arXiv 2011.11036, eq. 4 to 7.
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, expected at least 1, as 50")
    total = torch.zeros_like(observation)
    for step in range(steps):
        start, middle, end = (sigma * (1 - (step + part) / steps) for part in (0.0, 0.5, 1.0))
        point = blurred(observation, middle)[None].clone().requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(texture(restorer(point), roi).sum(), point)
        total += gradient[0] * (blurred(observation, end) - blurred(observation, start))
    return total


def receptive_field(restorer: nn.Module, observation: Tensor, roi: Rect) -> Tensor:
    """Return the gradient of the restored ROI's sum by the observation: the effective receptive field.

    Args:
        restorer: maps (B, 3, h, w) in 0..1 to (B, 3, H, W).
        observation: (3, h, w) float32 in 0..1.
        roi: output pixels.

    Returns:
        (3, h, w): signed; its size says how far an infinitely small change of a pixel carries into the ROI.

    Source: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks",
        NeurIPS 2016, arXiv 1701.04128, section 2 (there of one unit in the middle, here of a region).
    """
    point = observation[None].clone().requires_grad_(True)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(restorer(point)[(..., *roi.slices)].sum(), point)
    return gradient[0]


def keep_lam(cell: Cell, measured: Measurement, *, steps: int) -> Path:
    """Compute the LAM of a measured cell, unless it lies beside its draws, and keep it there.

    Returns:
        `lam.npz` with `attribution` (3, h, w) float32, `steps` and `sigma`.

    Raises:
        OSError: if the store cannot be written.
    """
    path = measured.store.folder / "lam.npz"
    if _steps_of(measured.store.read_file(path.name)) == steps:
        return path
    observation = to_tensor(measured.observation).to(cell.options.device)
    attributed = attribution(cell.model.restorer.to(cell.options.device), observation, cell.scene.roi, steps=steps)
    content = npz(attribution=attributed.cpu().numpy(), steps=steps, sigma=SIGMA)
    measured.store.write_files({path.name: content})
    return path


def _steps_of(content: bytes | None) -> int:
    """Return the steps of a stored LAM; 0 where there is none that can be read."""
    if content is None:
        return 0
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return int(stored["steps"]) if "attribution" in stored else 0
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
        return 0
