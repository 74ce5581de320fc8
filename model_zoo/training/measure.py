"""PSNR and SSIM of a restorer on a test set, by basicsr's metrics on 8-bit images."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from model_zoo.compat import basicsr


@torch.inference_mode()
def restore(network: nn.Module, observation: np.ndarray) -> np.ndarray:
    """Restore one image.

    Args:
        network: restorer of (1, 3, h, w) in [0, 1].
        observation: (h, w, 3) uint8 RGB.

    Returns:
        (h * scale, w * scale, 3) uint8 RGB, rounded.
    """
    device = next((value.device for value in network.parameters()), torch.device("cpu"))
    image = torch.from_numpy(observation.transpose(2, 0, 1).copy()).to(device).unsqueeze(0).float() / 255
    restored = network(image).squeeze(0).clamp(0, 1).mul(255).round().byte()
    return restored.permute(1, 2, 0).cpu().numpy()


def score(
    network: nn.Module, pairs: Iterable[tuple[np.ndarray, np.ndarray]], *, luma: bool, border: int
) -> dict[str, float]:
    """Mean PSNR and SSIM over a test set.

    Args:
        network: restorer in eval mode.
        pairs: observation and clean image, (h, w, 3) uint8 RGB each.
        luma: compare Y of YCbCr (BT.601) instead of RGB.
        border: pixels left out along each edge.

    Returns:
        psnr in dB and ssim in -1..1.
    """
    metrics = basicsr("metrics.psnr_ssim")
    options = {"crop_border": border, "test_y_channel": luma}
    found = []
    for observation, clean in pairs:
        images = [np.ascontiguousarray(image[..., ::-1]) for image in (restore(network, observation), clean)]
        found.append((metrics.calculate_psnr(*images, **options), metrics.calculate_ssim(*images, **options)))
    psnr, ssim = np.mean(found, axis=0)
    return {"psnr": float(psnr), "ssim": float(ssim)}
