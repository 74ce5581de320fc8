"""Compare two records of one network: made on other images, and with more batch rows.

A record holds for every image and every number of rows only if nothing in it depends on them. What differs between two
images is refused: a value of the image got into the record as a constant, or steered the code. What differs between one
row and two is told, because a record may still hold for one row at a time.
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


def other_images(observation: Tensor, rows: int) -> Tensor:
    """Return images that are no observation, (rows, 3, h, w): one calmer, one with the largest contrast there is.

    Args:
        observation: (3, h, w) in 0..1.
        rows: 1 or 2.
    """
    turned = 0.08 + 0.71 * (1 - observation.flip(0, 1))
    stark = (observation.flip(2) > observation.median()).to(observation)
    return torch.stack([turned, stark])[:rows]


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
    found: dict[Ref, str] = {}
    for index, (one, two) in enumerate(zip(record.calls, again.calls, strict=True)):
        kinds = set(_apart(one, two, rows))
        if kinds:
            found[Ref(index)] = MERGED if MERGED in kinds else CONSTANT if CONSTANT in kinds else NUMBER
    return found


def _apart(one: Call, two: Call, rows: int) -> Iterable[str]:
    title = f"{one.where or 'network'}: {one.name}"
    if (one.name, one.pick, one.dtype, one.where) != (two.name, two.pick, two.dtype, two.where):
        raise NotTraceable(f"{title} becomes {two.name} for another image or for two images at once")
    grown = [b / a if a else float(b == a) for a, b in zip(one.shape, two.shape, strict=False)]
    if len(one.shape) != len(two.shape) or not set(grown) <= {1.0, float(rows)} or grown.count(2.0) > 1:
        raise NotTraceable(f"{title} gives {tuple(two.shape)} for another image, {tuple(one.shape)} before")
    if rows > 1 and grown.count(2.0) == 0:
        yield MERGED
    yield from _differences((one.args, one.kwargs), (two.args, two.kwargs), title)


def _differences(one: Any, two: Any, title: str) -> Iterable[str]:
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        yield from _of_constants(one, two, title)
    elif isinstance(one, list | tuple) and isinstance(two, list | tuple) and len(one) == len(two):
        for left, right in zip(one, two, strict=True):
            yield from _differences(left, right, title)
    elif isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        for key in one:
            yield from _differences(one[key], two[key], title)
    elif isinstance(one, slice) and isinstance(two, slice):
        yield from _differences((one.start, one.stop, one.step), (two.start, two.stop, two.step), title)
    elif one is two or (type(one) is type(two) and (one == two or one != one)):
        return
    elif type(one) is int and type(two) is int and two == 2 * one:
        yield NUMBER
    else:
        raise NotTraceable(f"{title} takes {two!r:.60} for another image or for two images at once, {one!r:.60} before")


def _of_constants(one: Tensor, two: Tensor, title: str) -> Iterable[str]:
    if one is two:
        return
    parts, grown = [two], []
    if one.ndim == two.ndim and one.shape != two.shape:
        grown = [axis for axis in range(one.ndim) if one.shape[axis] != two.shape[axis]]
        parts = list(two.chunk(2, grown[0])) if len(grown) == 1 else []
    same = [part.shape == one.shape and part.dtype == one.dtype and _equal(one, part) for part in parts]
    if not same or not all(same):
        raise NotTraceable(f"{title} reads a constant that depends on the image")
    if grown:
        yield CONSTANT


def _equal(one: Tensor, two: Tensor) -> bool:
    if torch.equal(one, two) or not one.is_floating_point():
        return torch.equal(one, two)
    return torch.equal(one.isnan(), two.isnan()) and torch.equal(one.nan_to_num(), two.nan_to_num())
