"""Networks that behave otherwise on small images, where an instrument saves work: parts of the hostile battery."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import hostile_paths as paths
from benchmarks.hostile_calls import Memory, first_frame, previous_frame
from benchmarks.hostile_paths import Of

LARGE, SIDE = 100, 144  # side from which an image is large, and that of the battery's scene for these networks


def in_large(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], nn.Module]:
    """Return what makes a network that has a function of its features in large images only."""
    return lambda: Of(lambda y, x: function(y, x) if x.shape[-1] >= LARGE else y.relu())


def noise(y: Tensor, x: Tensor) -> Tensor:
    return y + 0.1 * torch.randn_like(y)


def batch_statistics(y: Tensor, x: Tensor) -> Tensor:
    return F.batch_norm(y, None, None, training=True)


def previous_level(self: Memory, x: Tensor) -> Tensor:
    before, self.state = self.state, x[:1].mean().clone()
    return self.body(x) if before is None else self.body(x) * (1 + before - x.mean((1, 2, 3), keepdim=True))


def trail(self: Memory, x: Tensor) -> Tensor:
    self.state = x[:1].clone() if self.state is None else self.state.lerp(x[:1], 0.5)
    return self.body(x) + 0.1 * (self.state - x)


def previous_corner(self: Memory, x: Tensor) -> Tensor:
    before, self.state = self.state, x[:1, :, :8, :8].clone()
    y = self.body(x)
    return y if before is None else y + F.pad(before * 0.1, (0, y.shape[-1] - 8, 0, y.shape[-2] - 8))


def every_other(self: Memory, x: Tensor) -> Tensor:
    self.calls += 1
    return self.body(x) + F.pad(
        torch.full((1, 3, 8, 8), 0.1 * (self.calls % 2)), (0, x.shape[-1] - 8, 0, x.shape[-2] - 8)
    )


def remembering(change: Callable[[Memory, Tensor], Tensor]) -> Callable[[], nn.Module]:
    """Return what makes a network with a state that large images alone see and change."""
    return lambda: Memory(lambda self, x: change(self, x) if x.shape[-1] >= LARGE else self.body(x))


previous = remembering(previous_level)
previous_pixels = remembering(previous_frame)
first = remembering(first_frame)
trailing = remembering(trail)
far_corner = remembering(previous_corner)
every_second = remembering(every_other)


def large_alone(x: Tensor) -> Tensor:
    if x.shape[-1] < LARGE:
        raise ValueError("too small")
    return F.avg_pool2d(x, 3, 1, 1)


def tiled(y: Tensor, x: Tensor) -> Tensor:
    tiles = torch.cat([half for rows in y.chunk(2, 2) for half in rows.chunk(2, 3)])
    tiles = F.instance_norm(tiles).chunk(4)
    return torch.cat([torch.cat(tiles[:2], 3), torch.cat(tiles[2:], 3)], 2)


def other_kernel() -> nn.Module:
    return Of(lambda y, x: F.avg_pool2d(y, 5, 1, 2) if x.shape[-1] >= LARGE else y)


def grown_with_size(y: Tensor, x: Tensor) -> Tensor:
    return y * (1 + paths.gate(x) * (x.shape[-1] / 300))


lost_level = in_large(paths.view_scaled)
filled = in_large(paths.filled_like)
rare_mask = in_large(paths.rare_mask_on_view)
