"""PSNR and SSIM of a restorer on the tests of the trained families, by basicsr's metrics on 8-bit images."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

from model_zoo.compat import basicsr
from model_zoo.training.split import load_images, read_split

TESTS = Path(__file__).with_name("tests.yaml")


def every_test() -> dict[str, DictConfig]:
    """Return every test of the trained families by name."""
    return {str(name): test for name, test in OmegaConf.load(TESTS).items()}


def measure(network: nn.Module, name: str, root: Path, most: int | None = None) -> dict[str, float]:
    """Score a network on a test.

    Args:
        network: restorer in eval mode, of images in [0, 1].
        name: of the test, a key of `tests.yaml`.
        root: data folder that the paths of the split start from.
        most: at most so many images, the first ones; None for all.

    Returns:
        As `score`.

    Raises:
        FileNotFoundError: where an image is missing.
        ValueError: where an image is not the one that the split names.
    """
    test = every_test()[name]
    return score(network, islice(pairs(test, root), most), luma=test.luma, border=test.border)


def pairs(test: DictConfig, root: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield observation and clean image of a test, the clean one cut to what its observation covers."""
    rows = read_split()
    clean = load_images(root, [row for row in rows if row["set"] == test.set])
    if "observations" in test:
        given = load_images(root, [row for row in rows if row["set"] == test.observations])
        for observation, image in zip(given, clean, strict=True):
            yield observation, image[: observation.shape[0] * test.scale, : observation.shape[1] * test.scale]
        return
    degradation = instantiate(test.degradation)
    multiple = test.degradation.get("factor", 1)
    for image in clean:
        cut = image[: image.shape[0] // multiple * multiple, : image.shape[1] // multiple * multiple]
        yield degradation(cut), cut


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
    scores = []
    for observation, clean in pairs:
        images = [np.ascontiguousarray(image[..., ::-1]) for image in (restore(network, observation), clean)]
        scores.append((metrics.calculate_psnr(*images, **options), metrics.calculate_ssim(*images, **options)))
    psnr, ssim = np.mean(scores, axis=0)
    return {"psnr": float(psnr), "ssim": float(ssim)}
