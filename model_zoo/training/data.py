"""Training crops: each one a pure function of (seed, index), so that every member of a family sees the same ones."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model_zoo.compat import basicsr

Degrade = Callable[[np.ndarray], np.ndarray]
Maker = Callable[[np.random.Generator, int], Degrade]


class Crops(Dataset):
    """Pairs of observation and clean crop.

    Crop number `index` draws image, place, flips and the degradation's seed from its own generator; nothing depends
    on the network, the batch size, the worker or the point of resuming.
    """

    def __init__(self, images: Sequence[np.ndarray], degradations: Sequence[Maker], size: int, seed: int) -> None:
        """Keep what crops are drawn from.

        Args:
            images: (H, W, 3) uint8 RGB clean images.
            degradations: each makes a degradation from the crop's generator and number; one is drawn for a crop.
            size: side of a clean crop in pixels.
            seed: names the whole stream of crops.

        Raises:
            ValueError: where an image is smaller than a crop.
        """
        smallest = min(min(image.shape[:2]) for image in images)
        if smallest < size:
            raise ValueError(f"Crops of {size} pixels from an image of {smallest}: at most {smallest} fit.")
        self.images, self.degradations, self.size, self.seed = images, degradations, size, seed

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Observation (3, h, w) and clean crop (3, size, size), float32 in [0, 1]."""
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, index])))
        image = self.images[int(rng.integers(len(self.images)))]
        top, left = (int(rng.integers(side - self.size + 1)) for side in image.shape[:2])
        clean = image[top : top + self.size, left : left + self.size].copy()
        with _python_seed(int(rng.integers(2**63))):
            clean = np.ascontiguousarray(basicsr("data.transforms").augment(clean))
        make = self.degradations[int(rng.integers(len(self.degradations)))]
        return _tensor(make(rng, index)(clean)), _tensor(clean)


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)


@contextmanager
def _python_seed(seed: int) -> Iterator[None]:
    """Seed Python's own generator, which basicsr's augmentation reads, and put its state back afterwards."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
