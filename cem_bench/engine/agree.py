"""Compare two records of one network: made on other images, and with more batch rows.

A record holds for every image and every number of rows only if nothing in it depends on them. What differs between two
images is refused: a value of the image got into the record as a constant, or steered the code. What differs between one
row and two is told, because a record may still hold for one row at a time.

The comparison is made on a part of the image where the network makes the same calls there (a sixteenth of a forward in
place of two), and on the whole image where it does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cem_bench.engine.trace import NotTraceable, Record, Ref, trace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from cem_bench.engine.trace import Call

NUMBER, CONSTANT, MERGED = "number", "constant", "merged"
TILE = 32  # side of a tile of the strongest image
PART, PHASE = 64, 16  # side of the part, and the multiples at which it begins: windows, strides, shuffles


def part_of(image: Tensor) -> Tensor:
    """Return the middle of an image, (3, 64, 64), where that is at most a quarter of it; else the image, (3, h, w)."""
    if min(image.shape[-2:]) < 2 * PART:
        return image
    top, left = ((side - PART) // 2 // PHASE * PHASE for side in image.shape[-2:])
    return image[:, top : top + PART, left : left + PART].clone()


def other_images(observation: Tensor, rows: int) -> Tensor:
    """Return images that are no observation, (rows, 3, h, w): one calmer, one with the largest contrast there is.

    Args:
        observation: (3, h, w) in 0..1.
        rows: 1 or 2.
    """
    turned = 0.08 + 0.71 * (1 - observation.flip(0, 1))
    stark = (observation.flip(2) > observation.median()).to(observation)
    return torch.stack([turned, stark])[:rows]


def strongest(observation: Tensor) -> Tensor:
    """Return a whole image of the largest contrast there is, (3, h, w): zeros and ones, the same for every image.

    Tiles are white with an eighth of black values, or black with an eighth of white ones. Three quarters of them are
    white where the observation is dark on the whole, and a quarter where it is bright.

    Args:
        observation: (3, h, w) in 0..1.
    """
    height, width = observation.shape[-2:]
    rows, columns = torch.arange(height)[:, None] // TILE, torch.arange(width) // TILE
    white = ((rows + columns) % 4 == 0) == (float(observation.mean()) >= 0.5)
    values = torch.rand(observation.shape, generator=torch.Generator().manual_seed(0))
    return (values < torch.where(white, 0.875, 0.125)).to(observation)


def recorded_on_part(record: Record, restorer: nn.Module, observation: Tensor) -> tuple[Record, Tensor]:
    """Record a network on a part of the observation, if that tells the same of it.

    Args:
        record: of one row, the observation.
        restorer: the network.
        observation: (3, h, w).

    Returns:
        Record and image to compare others with: of the part, (3, 64, 64), where the network makes the same calls there
        (sizes aside) as on the observation; else those that were given.
    """
    part = part_of(observation)
    if part is observation:
        return record, observation
    try:
        small = trace(restorer, part[None])
    except Exception:  # noqa: BLE001 - a network may refuse other sizes, by any words
        return record, observation
    alike = len(small.calls) == len(record.calls) and small.output == record.output
    if alike and all(_same_call(call, small_call) for call, small_call in zip(record.calls, small.calls, strict=True)):
        return small, part
    return record, observation


def _same_call(call: Call, small: Call) -> bool:
    facts = ((each.name, each.pick, each.dtype, each.where, len(each.shape)) for each in (call, small))
    return len(set(facts)) == 1 and _same_but_sizes((call.args, call.kwargs), (small.args, small.kwargs))


def _same_but_sizes(value: Any, small: Any) -> bool:
    """Say whether arguments are the same; whole numbers and the tensors of a network may go with the size."""
    if type(value) is not type(small):
        return False
    if isinstance(value, list | tuple):
        return len(value) == len(small) and all(map(_same_but_sizes, value, small))
    if isinstance(value, dict):
        return value.keys() == small.keys() and all(_same_but_sizes(value[key], small[key]) for key in value)
    if isinstance(value, Tensor):
        return value.dtype == small.dtype and value.ndim == small.ndim
    if isinstance(value, slice) or type(value) is int:
        return True
    return value is small or value == small or value != value


def recorded_again(record: Record, restorer: nn.Module, observation: Tensor, rows: int) -> dict[Ref, str]:
    """Record a network on other images and say which calls depend on the number of batch rows, and how.

    Args:
        record: of one row, the observation.
        restorer: the network.
        observation: (3, h, w).
        rows: batch rows of the second record, 1 or 2.

    Returns:
        By call: `NUMBER` (an argument is twice as large for two rows), `CONSTANT` (a tensor from elsewhere has two
        rows) or `MERGED` (its value has no more rows than before).

    Raises:
        NotTraceable: when anything depends on the image.
    """
    again = trace(restorer, other_images(observation, rows))
    if len(again.calls) != len(record.calls) or again.output != record.output:
        raise NotTraceable("the network makes other calls for another image or for two images at once")
    kinds_of: dict[Ref, str] = {}
    for index, (first, second) in enumerate(zip(record.calls, again.calls, strict=True)):
        kinds = set(_apart(first, second, rows))
        if kinds:
            kinds_of[Ref(index)] = MERGED if MERGED in kinds else CONSTANT if CONSTANT in kinds else NUMBER
    return kinds_of


def _apart(first: Call, second: Call, rows: int) -> Iterable[str]:
    title = f"{first.where or 'network'}: {first.name}"
    if (first.name, first.pick, first.dtype, first.where) != (second.name, second.pick, second.dtype, second.where):
        raise NotTraceable(f"{title} becomes {second.name} for another image or for two images at once")
    grown = [b / a if a else float(b == a) for a, b in zip(first.shape, second.shape, strict=False)]
    if len(first.shape) != len(second.shape) or not set(grown) <= {1.0, float(rows)} or grown.count(2.0) > 1:
        raise NotTraceable(f"{title} gives {tuple(second.shape)} for another image, {tuple(first.shape)} before")
    if rows > 1 and grown.count(2.0) == 0:
        yield MERGED
    yield from _differences((first.args, first.kwargs), (second.args, second.kwargs), title)


def _differences(first: Any, second: Any, title: str) -> Iterable[str]:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        yield from _of_constants(first, second, title)
    elif isinstance(first, list | tuple) and isinstance(second, list | tuple) and len(first) == len(second):
        for left, right in zip(first, second, strict=True):
            yield from _differences(left, right, title)
    elif isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for key in first:
            yield from _differences(first[key], second[key], title)
    elif isinstance(first, slice) and isinstance(second, slice):
        yield from _differences((first.start, first.stop, first.step), (second.start, second.stop, second.step), title)
    elif first is second or (type(first) is type(second) and (first == second or first != first)):
        return
    elif type(first) is int and type(second) is int and second == 2 * first:
        yield NUMBER
    else:
        raise NotTraceable(
            f"{title} takes {second!r:.60} for another image or for two images at once, {first!r:.60} before"
        )


def _of_constants(first: Tensor, second: Tensor, title: str) -> Iterable[str]:
    if first is second:
        return
    parts, grown = [second], []
    if first.ndim == second.ndim and first.shape != second.shape:
        grown = [axis for axis in range(first.ndim) if first.shape[axis] != second.shape[axis]]
        parts = list(second.chunk(2, grown[0])) if len(grown) == 1 else []
    same = [part.shape == first.shape and part.dtype == first.dtype and _equal(first, part) for part in parts]
    if not same or not all(same):
        raise NotTraceable(f"{title} reads a constant that depends on the image")
    if grown:
        yield CONSTANT


def _equal(first: Tensor, second: Tensor) -> bool:
    if torch.equal(first, second) or not first.is_floating_point():
        return torch.equal(first, second)
    return torch.equal(first.isnan(), second.isnan()) and torch.equal(first.nan_to_num(), second.nan_to_num())
