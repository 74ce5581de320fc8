"""Inference modes: a network run whole, in tiles, or with pools over windows in place of pools over the image."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from model_zoo.errors import ZooError

SPATIAL = {(2, 3), (-2, -1), (-1, -2), (3, 2)}


def mode_of(inference: str) -> tuple[str, list[int]]:
    """Return the kind of an inference mode and its numbers.

    Raises:
        ZooError: for another mode.
    """
    kind, *numbers = inference.split(":")
    counts = {"whole": (0,), "tiles": (1, 2), "local": (1,)}
    sizes = [int(text) for text in numbers if text.isdigit()]
    if len(numbers) not in counts.get(kind, ()) or len(sizes) != len(numbers) or (sizes and sizes[0] < 1):
        raise ZooError(
            f"inference={inference}: expected whole, tiles:T, tiles:T:OVERLAP or local:W with sizes in input pixels"
        )
    if len(sizes) == 2 and sizes[1] >= sizes[0]:
        raise ZooError(f"inference={inference}: the overlap must be smaller than the tile")
    return kind, sizes


class Tiled(nn.Module):
    """Restores tiles one by one and averages where they overlap, as SwinIR's and other authors' test code does."""

    def __init__(self, network: nn.Module, tile: int, overlap: int, scale: int) -> None:
        """Args: network: of one tile; tile: side, input px; overlap: of two tiles, input px; scale: of the output."""
        super().__init__()
        self.network, self.tile, self.overlap, self.scale = network, tile, overlap, scale

    def extra_repr(self) -> str:
        """Say the tiles, for keys."""
        return f"inference=tiles:{self.tile}:{self.overlap}"

    def _starts(self, side: int) -> list[int]:
        last = max(side - self.tile, 0)
        return [*range(0, last, self.tile - self.overlap), last]

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) to (n, 3, h * scale, w * scale)."""
        height, width = (int(side) for side in x.shape[2:])
        placed, covered = [], []
        for top in self._starts(height):
            for left in self._starts(width):
                part = self.network(x[:, :, top : top + self.tile, left : left + self.tile])
                ends = [left, max(width - left - self.tile, 0), top, max(height - top - self.tile, 0)]
                around = [end * self.scale for end in ends]
                placed.append(F.pad(part, around))
                covered.append(F.pad(torch.ones_like(part[:1, :1]), around))
        return sum(placed[1:], placed[0]) / sum(covered[1:], covered[0])


class LocalPooling(nn.Module):
    """Pools over windows where the network pools over the whole image, at training's crop size for instance.

    Source: test-time local converter, Chu et al. 2022, arXiv 2112.04491.
    """

    def __init__(self, network: nn.Module, window: int) -> None:
        """Args: network: pools over the whole image; window: side, input px."""
        super().__init__()
        self.network, self.window = network, window

    def extra_repr(self) -> str:
        """Say the window, for keys."""
        return f"inference=local:{self.window}"

    def forward(self, x: Tensor) -> Tensor:
        """As the network.

        Raises:
            ZooError: if the network pools over no whole image.
        """
        local = _Local(self.window, (int(x.shape[2]), int(x.shape[3])))
        with local:
            answer = self.network(x)
        if not local.pooled:
            raise ZooError(
                f"inference=local:{self.window}: the network averages over no whole image (adaptive_avg_pool2d to 1, "
                "or mean over height and width); leave inference=whole"
            )
        return answer


class _Local(TorchFunctionMode):
    """Answers a pool over the whole image by one over windows."""

    def __init__(self, window: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.window, self.size, self.pooled = window, size, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Pool over windows where `func` pools over everything."""
        kwargs = kwargs or {}
        if _is_global(func, args, kwargs):
            self.pooled += 1
            return self._pool(args[0])
        return func(*args, **kwargs)

    def _pool(self, features: Tensor) -> Tensor:
        height, width = (int(side) for side in features.shape[-2:])
        sides = ((height, self.size[0]), (width, self.size[1]))
        kernel = [min(side, max(1, round(self.window * side / whole))) for side, whole in sides]
        means = F.avg_pool2d(features, kernel, stride=1)
        lost = (width - means.shape[-1], height - means.shape[-2])
        around = (lost[0] // 2, lost[0] - lost[0] // 2, lost[1] // 2, lost[1] - lost[1] // 2)
        return F.pad(means, around, mode="replicate")


def _is_global(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call averages (n, c, h, w) over all of h and w, and keeps both as sides of 1."""
    if not args or not isinstance(args[0], Tensor) or args[0].dim() != 4:
        return False
    if func is F.adaptive_avg_pool2d:
        size = args[1] if len(args) > 1 else kwargs.get("output_size")
        return size in (1, (1, 1), [1, 1])
    if func in (torch.mean, Tensor.mean):
        over = args[1] if len(args) > 1 else kwargs.get("dim")
        keep = args[2] if len(args) > 2 else kwargs.get("keepdim", False)
        return isinstance(over, list | tuple) and tuple(over) in SPATIAL and bool(keep)
    return False
