"""What every engine offers, and the batching they share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cem_bench.engine.cost import Cost
    from cem_bench.inputs.geometry import Rect

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCH_COST = 0.4  # what a batch costs besides its rows, in rows (on a CPU: 0.2 for SwinIR, more where ops are small)


class EngineError(RuntimeError):
    """An engine cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Answered:
    """An image that is not the observation, and what the plain network answered to it.

    Attributes:
        image: (3, h, w) float32 in 0..1, of the observation's size.
        answer: (1, 3, H, W) float32.
        strongest: whether the image is of the strongest contrast there is, as `agree.strongest` makes it.
    """

    image: Tensor
    answer: Tensor
    strongest: bool = True


class Engine(Protocol):
    """Outputs of one network on one scene under interventions on one block at a time."""

    kind: str
    reason: str
    checks: Cost  # of what was tried before this engine was taken
    whole: Tensor | None  # (1, 3, H, W), all of the network's answer to the observation, where a recording gave it
    elsewhere: float  # its difference to the network on the strongest image, of the answer's scale; inf: not asked

    def untouched(self) -> Tensor:
        """Return the ROI of the untouched output, (1, 3, roi.height, roi.width) float32."""
        ...

    def reaches(self, block: Rect, part: Rect | None = None) -> bool:
        """Say whether a block (input pixels) may touch the ROI, or a part of it; False only when proven that not."""
        ...

    def work(self, block: Rect) -> float:
        """Return what a draw on a block costs, in forwards of the whole network."""
        ...

    def outputs(self, block: Rect, patches: Tensor) -> Tensor:
        """Return the ROI of the untouched output (row 0) and of the output under each patch.

        Args:
            block: where the patches go, input pixels.
            patches: (n, 3, block.height, block.width) float32 in [0, 1].

        Returns:
            (n + 1, 3, roi.height, roi.width) float32; row 0 is the untouched observation, computed in the same batch or
            in one of the same size and work, so that a patch of the block's own content gives row 0 bit for bit.
        """
        ...

    def first_difference(self, block: Rect, patches: Tensor) -> str:
        """Name the first op whose value differs from the full forward, or say that there is none."""
        ...


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Run without gradients and with full float32 products (TF32 off), then restore the caller's settings."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def intervened(observation: Tensor, block: Rect, patches: Tensor) -> Tensor:
    """Return copies of the observation with each patch pasted into the block, (n, 3, h, w)."""
    rows = observation.expand(len(patches), *observation.shape).clone()
    rows[(..., *block.slices)] = patches.to(rows)
    return rows


def check_draws(observation: Tensor, block: Rect, patches: Tensor) -> None:
    """Refuse patches that do not fit the block, and blocks outside the observation.

    Raises:
        ValueError: naming what was given and what was expected.
    """
    expected = (observation.shape[0], block.height, block.width)
    if patches.ndim != 4 or tuple(patches.shape[1:]) != expected:
        raise ValueError(
            f"patches are {tuple(patches.shape)}, expected (n, {', '.join(map(str, expected))}) "
            f"for {block}: cut the donors to the block's size"
        )
    height, width = observation.shape[-2:]
    if block.top < 0 or block.left < 0 or block.bottom > height or block.right > width or block.area == 0:
        raise ValueError(
            f"{block} is empty or leaves the observation of {height} x {width} px: give input pixels, not output pixels"
        )


def in_batches(run: Callable[[Tensor], Tensor], rows: Tensor, limit: int) -> tuple[Tensor, int]:
    """Run rows in equal batches of at most `limit`, halving the limit whenever memory runs out.

    Batches are of equal size (the last one padded with row 0), because a network gives different last bits for
    different batch sizes.

    Args:
        run: maps (b, ...) to (b, ...).
        rows: (n, ...), n at least 1.
        limit: most rows a batch.

    Returns:
        The results in order, and the limit that worked.

    Raises:
        EngineError: when even one row does not fit.
    """
    while True:
        try:
            return _equal_batches(run, rows, limit), limit
        except (MemoryError, RuntimeError) as error:
            if not _out_of_memory(error):
                raise
            if limit == 1:
                raise EngineError("one row does not fit into memory: take a smaller image") from None
        limit = max(1, min(limit, len(rows)) // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _batch_size(count: int, limit: int) -> int:
    """Rows a batch that cost least: padding is work for nothing, and a batch costs a little however few its rows."""
    sizes = range(min(count, limit), 0, -1)
    return min(sizes, key=lambda size: -(-count // size) * (size + BATCH_COST))


def _equal_batches(run: Callable[[Tensor], Tensor], rows: Tensor, limit: int) -> Tensor:
    size = _batch_size(len(rows), limit)
    spare = -len(rows) % size
    padded = torch.cat([rows, rows[:1].expand(spare, *rows.shape[1:])]) if spare else rows
    return torch.cat([run(batch) for batch in padded.split(size)])[: len(rows)]


class Untouched:
    """Outputs of intervened images after row 0, which is made once for every batch size and remembered."""

    def __init__(self, run: Callable[[Tensor], Tensor], image: Tensor) -> None:
        """Take what runs a batch of images, (b, 3, h, w) to (b, ...), and the untouched image, (3, h, w)."""
        self._run, self._image = run, image
        self._remembered: dict[int, Tensor] = {}

    def before(self, rows: Tensor, limit: int) -> tuple[Tensor, int]:
        """Return the untouched output (row 0) and those of `rows` (n, 3, h, w), and the batch limit that worked."""
        outputs: list[Tensor] = []
        if len(rows):
            several, limit = in_batches(self._run, rows, limit)
            outputs.append(several)
        size = _batch_size(max(1, len(rows)), limit)
        if size not in self._remembered:
            untouched = self._image.expand(size, *self._image.shape).clone()
            self._remembered[size] = self._run(untouched)[:1].clone()
        return torch.cat([self._remembered[size], *outputs]), limit


def _out_of_memory(error: BaseException) -> bool:
    words = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in words
