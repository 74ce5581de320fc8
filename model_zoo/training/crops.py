"""Training crops: pure functions of (training_seed, index), so that every member of a family sees the same."""

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

    Crop number `index` draws image, place, flips and the degradation's `field_seed` from its own generator; nothing
    depends on the network, the worker or the point of resuming. With several sizes, `alike` crops in a row have one
    size (a batch is one tensor), the next `alike` the next size, and so on round the list.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        degradations: Sequence[Maker],
        size: int | Sequence[int],
        training_seed: int,
        alike: int = 1,
    ) -> None:
        """Keep what crops are drawn from.

        Args:
            images: (H, W, 3) uint8 RGB clean images.
            degradations: each makes a degradation from the crop's generator and number; one is drawn for a crop.
            size: side of a clean crop in pixels, or several sides, taken in turn.
            training_seed: names the whole stream of crops.
            alike: crops in a row that share a side: the crops of one batch, where there are several sides.

        Raises:
            ValueError: where an image is smaller than a crop, or where there is no side or no crop in a row.
        """
        sizes = (size,) if isinstance(size, int) else tuple(size)
        if not sizes or min(sizes) < 1 or alike < 1:
            raise ValueError(
                f"Crops of {sizes} pixels, {alike} alike in a row: expected at least one side of 1 px or more, and at "
                "least 1 in a row; mend `crop` and `recipe.batch` of the member."
            )
        smallest = min(min(image.shape[:2]) for image in images)
        if smallest < max(sizes):
            raise ValueError(f"Crops of {max(sizes)} pixels from an image of {smallest}: at most {smallest} fit.")
        self.images, self.degradations, self.training_seed = images, degradations, training_seed
        self.sizes, self.alike = sizes, alike

    def size(self, index: int) -> int:
        """Side of clean crop number `index`, px."""
        return self.sizes[index // self.alike % len(self.sizes)]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Observation (3, h, w) and clean crop (3, size, size), float32 in [0, 1]."""
        size = self.size(index)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.training_seed, index])))
        image = self.images[int(rng.integers(len(self.images)))]
        top, left = (int(rng.integers(side - size + 1)) for side in image.shape[:2])
        clean = image[top : top + size, left : left + size].copy()
        with _python_state(int(rng.integers(2**63))):
            clean = np.ascontiguousarray(basicsr("data.transforms").augment(clean))
        make = self.degradations[int(rng.integers(len(self.degradations)))]
        return _tensor(make(rng, index)(clean)), _tensor(clean)


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / 255)


@contextmanager
def _python_state(name: int) -> Iterator[None]:
    """Seed Python's own generator, which basicsr's augmentation reads, and put its state back afterwards."""
    state = random.getstate()
    random.seed(name)
    try:
        yield
    finally:
        random.setstate(state)
