"""Unusual ops, strides and borders: as a cone, as a crop or refused, never a value that plain forwards do not give."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cem_bench.engine import EngineError, prepare
from cem_bench.engine.base import intervened
from cem_bench.inputs.geometry import Rect

CHANNELS, SIDE = 4, (18, 22)
PLACES = [
    (Rect(6, 8, 5, 4), Rect(7, 6, 2, 3)),
    (Rect(0, 17, 4, 5), Rect(1, 19, 3, 3)),
    (Rect(14, 0, 4, 3), Rect(9, 2, 4, 2)),
]
LIMIT = 1e-5


class Around(nn.Module):
    """An op on features between two convolutions; its answer is brought back to the image's size."""

    def __init__(self, op: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
            with torch.no_grad():
                probe = op(self.first(torch.rand(1, 3, *SIDE)))
            self.last = nn.Conv2d(probe.shape[1], 3, 3, padding=1)
        self.op = op

    def forward(self, x: Tensor) -> Tensor:
        y = self.op(self.first(x))
        if y.shape[-2:] != x.shape[-2:]:
            y = F.interpolate(y, size=x.shape[-2:], mode="nearest")
        return x + self.last(y)


def filters(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5)) * 0.3


def convolutions() -> dict[str, Callable[[Tensor], Tensor]]:
    ops = {}
    for kernel, stride, padding, dilation in product((1, 2, 3, (1, 5)), (1, 2, 3), (0, 1, 2), (1, 2)):
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        weight = filters(CHANNELS, CHANNELS, height, width)
        ops[f"conv {kernel} stride {stride} padding {padding} dilation {dilation}"] = (
            lambda y, w=weight, s=stride, p=padding, d=dilation: F.conv2d(y, w, None, s, p, d)
        )
    for kernel, stride, padding in product((2, 3, 4), (1, 2, 3), (0, 1)):
        weight = filters(CHANNELS, 2, kernel, kernel)
        ops[f"transposed {kernel} stride {stride} padding {padding}"] = lambda y, w=weight, s=stride, p=padding: (
            F.conv_transpose2d(y, w, None, s, p, groups=2)
        )
    return ops


def pools() -> dict[str, Callable[[Tensor], Tensor]]:
    ops = {}
    for kernel, stride, padding, ceil in product((2, 3), (1, 2, 3), (0, 1), (False, True)):
        for name, pool in (("max", F.max_pool2d), ("average", F.avg_pool2d)):
            ops[f"{name} pool {kernel} stride {stride} padding {padding} ceil {ceil}"] = (
                lambda y, f=pool, k=kernel, s=stride, p=padding, c=ceil: f(y, k, s, p, ceil_mode=c)
            )
    for size in ((1, 1), (3, 5), (7, 4), (18, 1)):
        ops[f"adaptive average {size}"] = lambda y, s=size: F.adaptive_avg_pool2d(y, s)
        ops[f"adaptive maximum {size}"] = lambda y, s=size: F.adaptive_max_pool2d(y, s)
    ops["uncounted border"] = lambda y: F.avg_pool2d(y, 3, 1, 1, count_include_pad=False)
    ops["power average"] = lambda y: F.lp_pool2d(y, 2.0, 3, 2)
    ops["pooled and put back"] = lambda y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2)
    return ops


def borders() -> dict[str, Callable[[Tensor], Tensor]]:
    ops = {}
    for mode, amounts in product(("reflect", "replicate", "circular"), ((1, 1, 1, 1), (3, 0, 0, 2), (0, 2, 4, 0))):
        ops[f"border {mode} {amounts}"] = lambda y, m=mode, a=amounts: F.pad(y, a, mode=m)
    for amounts in ((1, 2), (-1, -2, 3, 0), (0, 0, -4, -4)):
        ops[f"border of 0.7 {amounts}"] = lambda y, a=amounts: F.pad(y, a, value=0.7)
    return ops


def sizes() -> dict[str, Callable[[Tensor], Tensor]]:
    ops = {}
    for mode, factor in product(("nearest", "nearest-exact", "bilinear", "bicubic", "area"), (0.5, 0.7, 1.5, 2.0)):
        ops[f"resized {mode} {factor}"] = lambda y, m=mode, f=factor: F.interpolate(y, scale_factor=f, mode=m)
    for mode in ("bilinear", "bicubic"):
        ops[f"resized {mode} by corners"] = lambda y, m=mode: F.interpolate(y, (11, 30), mode=m, align_corners=True)
        ops[f"resized {mode} smoothly"] = lambda y, m=mode: F.interpolate(y, (7, 9), mode=m, antialias=True)
    ops["unshuffled"] = lambda y: F.pixel_unshuffle(y, 2)
    ops["shuffled"] = lambda y: F.pixel_shuffle(y, 2)
    ops["unfolded"] = lambda y: F.unfold(y, 3, padding=1).view(len(y), 9 * CHANNELS, *SIDE)
    ops["folded"] = lambda y: F.fold(F.unfold(y, 2, stride=2), SIDE, 2, stride=2)
    grid = F.affine_grid(torch.tensor([[[0.9, 0.2, 0.0], [-0.2, 0.9, 0.1]]]), [1, 1, *SIDE], align_corners=False)
    ops["sampled on a turned grid"] = lambda y: F.grid_sample(y, grid.expand(len(y), -1, -1, -1), align_corners=False)
    return ops


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "rolled": lambda y: y.roll((3, -5), (2, 3)),
    "rolled over everything": lambda y: torch.roll(y, 7),
    "flipped": lambda y: y.flip(2, 3),
    "turned": lambda y: torch.rot90(y, 1, (2, 3)),
    "transposed": lambda y: y.transpose(2, 3),
    "every other pixel": lambda y: y[:, :, ::2, 1::3],
    "a crop in the middle": lambda y: y[..., 3:-4, 5:17],
    "one row for all": lambda y: y[:, :, 4:5].expand(-1, -1, SIDE[0], -1),
    "columns by number": lambda y: y[:, :, :, torch.arange(SIDE[1] - 1, -1, -2)],
    "rows by number": lambda y: y.index_select(2, torch.tensor([0, 5, 5, 17, 3])),
    "gathered": lambda y: y.gather(3, torch.arange(SIDE[1]).flip(0).expand_as(y)),
    "taken along": lambda y: torch.take_along_dim(y, torch.arange(SIDE[0]).view(1, 1, -1, 1) // 2, 2),
    "repeated": lambda y: y.repeat(1, 1, 2, 1),
    "repeated by pixel": lambda y: y.repeat_interleave(2, 3),
    "stacked halves": lambda y: torch.cat([y[:, :, 9:], y[:, :, :9]], 2),
    "split rows, reversed": lambda y: torch.cat(y.split(6, 2)[::-1], 2),
    "channels shuffled": lambda y: F.channel_shuffle(y, 2),
    "lower triangle": lambda y: y.tril(2),
    "diagonal in every place": lambda y: y + y.diagonal(dim1=2, dim2=3).mean(-1)[..., None, None],
    "moved axes": lambda y: y.movedim(1, 3).movedim(3, 1),
    "squares of pixels": lambda y: y.unflatten(2, (9, 2)).unflatten(4, (11, 2)).mean((3, 5)),
}
MIXES: dict[str, Callable[[Tensor], Tensor]] = {
    "cumulated rows": lambda y: y.cumsum(2),
    "cumulated maxima": lambda y: y.cummax(3).values,
    "cumulated products": lambda y: (0.2 * y + 1).cumprod(2),
    "sorted": lambda y: y.sort(3).values,
    "sorted channels": lambda y: y.sort(1).values,
    "strongest channel": lambda y: F.one_hot(y.argmax(1), CHANNELS).permute(0, 3, 1, 2).float() * y,
    "median of the rows": lambda y: y - y.median(2, keepdim=True).values,
    "quantile": lambda y: y - y.flatten(2).quantile(0.8, dim=2)[..., None, None],
    "norm over channels": lambda y: F.normalize(y, dim=1),
    "norm over pixels": lambda y: F.normalize(y, dim=(2, 3)),
    "instance norm": lambda y: F.instance_norm(y),
    "group norm": lambda y: F.group_norm(y, 2),
    "layer norm of rows": lambda y: F.layer_norm(y, (SIDE[1],)),
    "local response": lambda y: F.local_response_norm(y, 3),
    "softmax over columns": lambda y: y.softmax(3),
    "softmax over channels": lambda y: y.softmax(1),
    "log softmax over all": lambda y: y.flatten(1).log_softmax(1).view_as(y),
    "spread": lambda y: y / y.std((2, 3), keepdim=True),
    "spread of channels": lambda y: y / (y.var(1, keepdim=True) + 0.1),
    "gate by a mean": lambda y: y * y.mean((2, 3), keepdim=True).sigmoid(),
    "gate by a row": lambda y: y * y.mean(3, keepdim=True),
    "outer product": lambda y: y.mean(3, keepdim=True) @ y.mean(2, keepdim=True),
    "gram matrix": lambda y: (torch.einsum("bchw,bdhw->bcd", y, y).softmax(2) @ y.flatten(2)).view_as(y),
    "columns attend": lambda y: F.scaled_dot_product_attention(y, y, y),
    "rows attend": lambda y: F.scaled_dot_product_attention(*[y.transpose(2, 3)] * 3).transpose(2, 3),
    "spectrum": lambda y: torch.fft.ifft2(torch.fft.fft2(y) * 0.8).real,
    "half spectrum of rows": lambda y: torch.fft.irfft(torch.fft.rfft(y, dim=3)[..., :6], n=SIDE[1], dim=3),
    "distance": lambda y: torch.cdist(y, y[:, :, :5]),
    "interpolated by a mean": lambda y: torch.lerp(y, y.mean((2, 3), keepdim=True), 0.3),
    "gated halves": lambda y: F.glu(y, 1),
    "gated rows": lambda y: F.glu(y, 2),
    "clamped by the image": lambda y: torch.minimum(y, y.amax((2, 3), keepdim=True) * 0.5),
    "where positive nearby": lambda y: torch.where(F.avg_pool2d(y, 3, 1, 1) > 0, y, -y),
    "counted": lambda y: y * (y > 0).float().mean((2, 3), keepdim=True),
    "histogram of each": lambda y: y + torch.stack([row.histc(4, -1, 1) for row in y])[..., None, None] / 400,
    "bilinear form": lambda y: F.bilinear(y, y, filters(3, SIDE[1], SIDE[1])),
    "linear over columns": lambda y: F.linear(y, filters(9, SIDE[1])),
    "convolution along rows": lambda y: F.conv1d(y.flatten(0, 1), filters(2 * 9, SIDE[0], 3)).view(
        len(y), CHANNELS, 18, -1
    ),
    "addcmul": lambda y: torch.addcmul(y, y.roll(1, 2), y.roll(1, 3), value=0.5),
    "matrix exponential": lambda y: torch.matrix_exp(0.1 * y[..., :18, :18]),
    "gumbel-free maximum": lambda y: y.amax(1, keepdim=True) - y,
    "maximum of all rows": lambda y: y.logsumexp(2, keepdim=True).expand_as(y) * 0.2 + y,
}


def windows(mask: Tensor, size: tuple[int, int] = (9, 11)) -> Tensor:
    """Return (n, c, h, w) cut into windows, (n, windows, c, 9, 11), of whatever type."""
    n, c, h, w = mask.shape
    cut = mask.view(n, c, h // size[0], size[0], w // size[1], size[1])
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c, *size)


def joined(cut: Tensor) -> Tensor:
    n, _, c, h, w = cut.shape
    rows = cut.view(n, SIDE[0] // h, SIDE[1] // w, c, h, w)
    return rows.permute(0, 3, 1, 4, 2, 5).reshape(n, c, *SIDE)


MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "a mask through windows": lambda y: torch.where(joined(windows(y > 0)), y, -y),
    "a mask rolled": lambda y: y.masked_fill((y > 0.1).roll((2, -3), (2, 3)), 0.3),
    "a mask that is not": lambda y: torch.where(~(y > 0), y * 2, y),
    "masks that exclude": lambda y: torch.where((y > 0) ^ (y > 0.2), y, y * 0),
    "a mask as bytes": lambda y: y * joined(windows((y > 0.05).to(torch.uint8))),
    "a mask as whole numbers": lambda y: torch.where((y > 0).long() == 1, y, y - 1),
    "levels as whole numbers": lambda y: y + joined(windows((y * 5).int())) * 0.1,
    "levels counted in windows": lambda y: y * (windows(y > 0).sum((3, 4), keepdim=True) > 30).any(1).float(),
    "a mask with a border": lambda y: torch.where(F.pad(y > 0, (1, 1, 1, 1), value=True)[..., 2:, 2:], y, -y),
    "masks stacked": lambda y: torch.where(torch.cat([y[:, :2] > 0, y[:, 2:] < 0], 1), y, 0.5),
    "halves by a mask of the mean": lambda y: torch.where(y > y.mean((2, 3), keepdim=True), y, y.half().float()),
    "a mask of doubles": lambda y: (y.double() * (y > 0).double()).float(),
    "a mask shuffled": lambda y: torch.where(F.pixel_unshuffle(F.pixel_shuffle(y, 2) > 0, 2), y, -y),
    "the places of the maxima": lambda y: torch.where(y.argmax(1, keepdim=True) == 2, y, -y),
    "any and all": lambda y: torch.where((y > 0).any(1, keepdim=True) & ~(y > 0).all(1, keepdim=True), y, -y),
}


def into(write: Callable[[Tensor, Tensor], object]) -> Callable[[Tensor], Tensor]:
    """Return an op that writes its features into a buffer of zeros, and reads the buffer."""

    def op(y: Tensor) -> Tensor:
        buffer = torch.zeros(y.shape)
        write(buffer, y)
        return y * 0.1 + buffer

    return op


def _looped(buffer: Tensor, y: Tensor) -> None:
    for row in range(0, SIDE[0], 3):
        buffer[:, :, row] = y[:, :, row] * 2


def _twice(buffer: Tensor, y: Tensor) -> None:
    buffer.copy_(y)
    buffer.add_(y.roll(1, 2))


def _part_of_part(buffer: Tensor, y: Tensor) -> None:
    left = buffer[..., :9]
    left[:, 1:].copy_(y[:, 1:, :, :9])


WRITTEN: dict[str, Callable[[Tensor], Tensor]] = {
    "a buffer copied into": into(lambda buffer, y: buffer.copy_(y)),
    "a buffer filled by a slice": into(lambda buffer, y: buffer.__setitem__((..., slice(3, 9)), y[..., 3:9])),
    "a buffer filled row by row": into(_looped),
    "a buffer written twice": into(_twice),
    "a part of a part of a buffer": into(_part_of_part),
    "a buffer scattered into": into(lambda buffer, y: buffer.scatter_(1, (y > 0).long() * 2, y)),
    "a buffer by columns' numbers": into(lambda buffer, y: buffer.index_copy_(3, torch.tensor([1, 4]), y[..., :2])),
    "a buffer added to by number": into(lambda buffer, y: buffer.index_add_(2, torch.tensor([0, 5]), y[:, :, 7:9])),
    "a buffer filled under a mask": into(
        lambda buffer, y: [part.masked_scatter_(row > 0, row) for part, row in zip(buffer, y, strict=True)]
    ),
    "a buffer's own data": into(lambda buffer, y: buffer.data.copy_(y)),
    "a buffer by NumPy": into(lambda buffer, y: buffer.numpy().__setitem__(..., y.numpy())),
    "a buffer by DLPack": into(lambda buffer, y: torch.from_dlpack(buffer).copy_(y)),
    "a buffer by out": into(lambda buffer, y: torch.mul(y, 2.0, out=buffer)),
    "a buffer by a lerp": into(lambda buffer, y: buffer.lerp_(y, 0.4)),
    "many buffers at once": into(lambda buffer, y: torch._foreach_add_([buffer], [y])),
    "a buffer set to other memory": into(lambda buffer, y: buffer.set_((y * 2).contiguous())),
    "a transposed view of a buffer": into(lambda buffer, y: buffer.transpose(2, 3).copy_(y.transpose(2, 3))),
}


OPS = {**convolutions(), **pools(), **borders(), **sizes(), **MOVES, **MIXES, **MASKS, **WRITTEN}


def test_there_are_many() -> None:
    assert len(OPS) >= 150


def image(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def worst_of(op: Callable[[Tensor], Tensor], kind: str) -> float:
    """Return the largest difference of an engine to plain forwards of one image; 0 where it cannot be had."""
    net, observation, worst = Around(op).eval(), image(1, 3, *SIDE), 0.0
    for roi, block in PLACES:
        patches = image(2, 2, 3, block.height, block.width)
        try:
            engine = prepare(net, observation, roi, kind=kind)
        except EngineError:
            return 0.0
        outputs = engine.outputs(block, patches)
        with torch.inference_mode():
            rows = torch.cat([observation[None], intervened(observation, block, patches)])
            plain = torch.cat([net(row[None]) for row in rows])
        scale = float(plain.abs().max())
        worst = max(worst, float((outputs - plain[(..., *roi.slices)]).abs().max()) / scale)
        if not engine.reaches(block):
            moved = (plain - plain[:1])[(..., *roi.slices)].abs().max()
            worst = max(worst, float(moved) / scale)
    return worst


def test_masks_keep_their_type_through_windows() -> None:
    """Not only refused: a cone takes them."""
    net, observation = Around(MASKS["a mask through windows"]).eval(), image(1, 3, *SIDE)
    assert prepare(net, observation, PLACES[0][0], kind="cone").kind == "cone"


@pytest.mark.parametrize("kind", ["crop", "auto"])
@pytest.mark.parametrize("name", [*MASKS, *WRITTEN])
def test_masks_and_buffers_agree_under_every_engine(name: str, kind: str) -> None:
    assert worst_of(OPS[name], kind) <= LIMIT


@pytest.mark.parametrize("name", OPS)
def test_an_unusual_op_agrees_with_plain_forwards(name: str) -> None:
    assert worst_of(OPS[name], "cone") <= LIMIT
