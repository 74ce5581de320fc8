"""Functions of features that lose a path, steer Python, swallow a NaN, or mask: parts of the hostile battery."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 6


class Of(nn.Module):
    """A convolution in, a function of its features (and of the input), a convolution out, beside the input."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.first, self.last = (nn.Conv2d(*sizes, 3, padding=1) for sizes in ((3, CHANNELS), (CHANNELS, 3)))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.5 * self.last(self.function(self.first(x), x))


def gate(x: Tensor) -> Tensor:
    """Mean of the corner that is farthest from the ROI, (n, 1, 1, 1)."""
    return x[:, :, :8, :8].mean((1, 2, 3)).view(-1, 1, 1, 1)


# ---------------------------------------------------------------------------- lost paths


def view_scaled(y: Tensor, x: Tensor) -> Tensor:
    y[:, :3].mul_(1 + gate(x))
    return y


def chunk_shifted(y: Tensor, x: Tensor) -> Tensor:
    first, second = y.chunk(2, 1)
    first.add_(second.mean((2, 3), keepdim=True))
    return y


def data_scaled(y: Tensor, x: Tensor) -> Tensor:
    y.data.mul_(1 + gate(x))
    return y


def copied_to_buffer(y: Tensor, x: Tensor) -> Tensor:
    level = torch.zeros(len(x), 1, 1, 1)
    level[:, :, 0].copy_(gate(x)[:, :, 0])
    return y * (1 + level)


def written_by_out(y: Tensor, x: Tensor) -> Tensor:
    level = torch.zeros(len(x), 1, 1, 1)
    torch.add(gate(x), 1.0, out=level)
    return y * level


def index_put(y: Tensor, x: Tensor) -> Tensor:
    level = torch.zeros(len(x), 2)
    level.index_put_((torch.arange(len(x)), torch.zeros(len(x), dtype=torch.long)), gate(x).flatten())
    return y * (1 + level.sum(1).view(-1, 1, 1, 1))


def base_after_view(y: Tensor, x: Tensor) -> Tensor:
    table = torch.zeros(len(x), 4)
    table[:, 1].add_(gate(x).flatten())
    return y * (1 + table.sum(1).view(-1, 1, 1, 1))


def stacked_slots(y: Tensor, x: Tensor) -> Tensor:
    slots = y.new_zeros(len(x), CHANNELS, 2, 2)
    for i in range(2):
        for j in range(2):
            slots[:, :, i, j] = y[:, :, 20 * i : 20 * i + 20, 20 * j : 20 * j + 20].mean((2, 3))
    return y + slots.amax((2, 3), keepdim=True)


def rare_mask_on_view(y: Tensor, x: Tensor) -> Tensor:
    part = y[:, :3]
    part.masked_fill_((gate(x) > 0.62).expand_as(part), 0.0)
    return y


def strided(y: Tensor, x: Tensor) -> Tensor:
    y = y.contiguous()
    window = y.as_strided((len(y), CHANNELS, 4, 4), y.stride())
    window.add_(gate(x))
    return y + y[:, :, :4, :4].mean((2, 3), keepdim=True)


# ---------------------------------------------------------------------------- certificates


def unrecorded(y: Tensor) -> Tensor:
    """The same values by a way that a record does not follow, so that a crop is tried."""
    z = torch.empty_like(y)
    z[:] = y
    return z


def by_sign(y: Tensor, x: Tensor) -> Tensor:
    return unrecorded(y) * (1 + torch.sign(gate(x) - 0.45))


def by_integer(y: Tensor, x: Tensor) -> Tensor:
    return unrecorded(y) * (1 + (gate(x) * 9).int())


def by_step(y: Tensor, x: Tensor) -> Tensor:
    return unrecorded(y) * torch.where(gate(x) > 0.45, 2.0, 1.0)


def by_bucket(y: Tensor, x: Tensor) -> Tensor:
    return unrecorded(y) * (1 + torch.bucketize(gate(x), torch.tensor([0.3, 0.4, 0.45, 0.5, 0.6])))


def by_rank(y: Tensor, x: Tensor) -> Tensor:
    return unrecorded(y) * (1 + F.adaptive_avg_pool2d(x, 4)[:, 0].flatten(1).argmax(1).view(-1, 1, 1, 1) / 8)


def by_maximum(y: Tensor, x: Tensor) -> Tensor:
    return unrecorded(y) * (1 + torch.fmax(gate(x), torch.tensor(0.4)))


def by_power(y: Tensor, x: Tensor) -> Tensor:
    return unrecorded(y) * (1 + gate(x) ** (gate(x) > 0.45).float())


# ---------------------------------------------------------------------------- values that steer Python


def by_numpy(y: Tensor, x: Tensor) -> Tensor:
    return y * (1 + torch.from_numpy(gate(x).numpy().copy()))


def by_list(y: Tensor, x: Tensor) -> Tensor:
    return y * torch.tensor([1 + value for value in gate(x).flatten().tolist()]).view(-1, 1, 1, 1)


def by_branch(y: Tensor, x: Tensor) -> Tensor:
    return torch.stack([row * 2 if float(level) > 0.45 else row for row, level in zip(y, gate(x), strict=True)])


def by_loop(y: Tensor, x: Tensor) -> Tensor:
    rows = []
    for row, level in zip(y, gate(x).flatten(), strict=True):
        out = row
        while level > 0.3:
            out, level = out.relu() * 1.1, level - 0.1
        rows.append(out)
    return torch.stack(rows)


def by_fill(y: Tensor, x: Tensor) -> Tensor:
    rows = [row[None] + torch.full_like(row[None], float(level)) for row, level in zip(y, gate(x), strict=True)]
    return torch.cat(rows)


def filled_like(y: Tensor, x: Tensor) -> Tensor:
    """A 0-dim tensor baked in, one for the batch: rows touch, and a record would lose it."""
    return y * torch.full_like(y, gate(x).mean())


def new_full(y: Tensor, x: Tensor) -> Tensor:
    return y + y.new_full(y.shape, x[:, :, :8, :8].amax())


# ---------------------------------------------------------------------------- masks


def where_elsewhere(y: Tensor, x: Tensor) -> Tensor:
    return torch.where(F.avg_pool2d(y, 7, 1, 3) > 0, y, y.roll(3, 3))


def picked(y: Tensor, x: Tensor) -> Tensor:
    doubled = torch.zeros_like(y)
    mask = y > 0.05
    doubled[mask] = y[mask] * 2
    return doubled


def masked_score(y: Tensor, x: Tensor) -> Tensor:
    return y.masked_fill(F.max_pool2d(y, 5, 1, 2) > 0.3, -0.2)


def both_masks(y: Tensor, x: Tensor) -> Tensor:
    return y * ((y > 0) & (F.avg_pool2d(y, 3, 1, 1) > 0.02))


def strongest(y: Tensor, x: Tensor) -> Tensor:
    flat = y.flatten(2)
    return torch.where(flat >= flat.topk(40, dim=2).values[..., -1:], flat, flat * 0).view_as(y)
