"""Small networks of the kinds that mislead an instrument, by kind; every one was made up for this battery.

Each is a function that makes the network afresh, and what must come of it: `right` (the truth, to 1e-4 dB), `refused`
(an error of the project), or `either`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import hostile_calls as calls
from benchmarks import hostile_paths as paths
from benchmarks import hostile_sizes as sizes

RIGHT, REFUSED = "right", "refused"
CHANNELS = paths.CHANNELS


@dataclass(frozen=True)
class Hostile:
    """One network of the battery.

    Attributes:
        kind: what it misleads with.
        name: what it does.
        make: makes it afresh.
        must: `right` or `refused`.
        side: of the scene, pixels.
    """

    kind: str
    name: str
    make: Callable[[], Any]
    must: str = RIGHT
    side: int = 48


def _of(
    kind: str, members: dict[str, Callable[[], Any] | tuple[Callable[[], Any], str]], side: int = 48
) -> list[Hostile]:
    pairs = {name: made if isinstance(made, tuple) else (made, RIGHT) for name, made in members.items()}
    return [Hostile(kind, name, make, must, side) for name, (make, must) in pairs.items()]


def _features(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: paths.Of(function)


BATTERY = [
    *_of(
        "lost path",
        {
            "a view of the features scaled in place": _features(paths.view_scaled),
            "one chunk shifted by another in place": _features(paths.chunk_shifted),
            "features scaled through .data": _features(paths.data_scaled),
            "a level copied into a view of a buffer": _features(paths.copied_to_buffer),
            "a level written with out=": _features(paths.written_by_out),
            "levels put into a table by index": _features(paths.index_put),
            "a table read after a column was written": _features(paths.base_after_view),
            "means of quarters written into slots": _features(paths.stacked_slots),
            "a mask, rarely true, filled through a view": _features(paths.rare_mask_on_view),
            "a strided window written in place": _features(paths.strided),
        },
    ),
    *_of(
        "baked in",
        {
            "full_like of a mean": _features(paths.filled_like),
            "new_full of a maximum": _features(paths.new_full),
            "a number per image by float()": _features(paths.by_fill),
        },
    ),
    *_of(
        "swallows NaN",
        {
            "gate by a sign": _features(paths.by_sign),
            "gate by an integer": _features(paths.by_integer),
            "gate by a step": _features(paths.by_step),
            "gate by a bucket": _features(paths.by_bucket),
            "gate by a rank": _features(paths.by_rank),
            "gate by fmax": _features(paths.by_maximum),
            "gate by a power of 0 or 1": _features(paths.by_power),
        },
    ),
    *_of(
        "steers Python",
        {
            "a level through NumPy": _features(paths.by_numpy),
            "levels through a list": _features(paths.by_list),
            "a branch per image": _features(paths.by_branch),
            "a loop per image": _features(paths.by_loop),
        },
    ),
    *_of(
        "masks",
        {
            "where, by a mask of a wide mean": _features(paths.where_elsewhere),
            "values picked by a mask": _features(paths.picked),
            "masked_fill by a maximum nearby": _features(paths.masked_score),
            "two masks multiplied": _features(paths.both_masks),
            "the forty strongest values": _features(paths.strongest),
        },
    ),
    *_of(
        "rows touch",
        {
            "softmax over the batch": calls.per_batch(lambda y: y * (1 + y.softmax(0))),
            "layer norm over the batch": calls.per_batch(lambda y: F.layer_norm(y, y.shape)),
            "divided by the largest value": calls.per_batch(lambda y: y / y.amax()),
            "shifted by the next image": calls.per_batch(lambda y: y + 0.1 * y.roll(1, 0)),
            "batch statistics in a function": calls.per_batch(lambda y: F.batch_norm(y, None, None, training=True)),
        },
    ),
    *_of(
        "bound to the batch",
        {
            "LSTM over columns": lambda: calls.Rows(nn.LSTM, columns=True),
            "GRU over rows": lambda: calls.Rows(nn.GRU),
            "plain recurrence over rows": lambda: calls.Rows(nn.RNN),
            "a state of the batch's size": _features(calls.state_of_batch),
            "a view that names the batch": _features(calls.views_by_batch),
            "one image at a time only": lambda: calls.alone_only,
            "raises on some pairs": lambda: calls.raises_in_the_middle,
        },
    ),
    *_of(
        "chance",
        {
            "noise added": (_features(lambda y, x: y + 0.1 * torch.randn_like(y)), REFUSED),
            "dropout left on": (_features(lambda y, x: F.dropout(y, 0.2)), REFUSED),
            "channels in random order": (_features(lambda y, x: y[:, torch.randperm(CHANNELS)]), REFUSED),
            "Python's random numbers": (_features(calls.python_noise), REFUSED),
            "NumPy's random numbers": (_features(calls.numpy_noise), REFUSED),
        },
    ),
    *_of(
        "state",
        {
            "warming up": (lambda: calls.Memory(calls.warming_up), REFUSED),
            "a running mean": (lambda: calls.Memory(calls.running_mean), REFUSED),
            "the previous image": (lambda: calls.Memory(calls.previous_frame), REFUSED),
            "the first image": (lambda: calls.Memory(calls.first_frame), REFUSED),
            "every tenth call": (lambda: calls.Memory(calls.every_tenth), REFUSED),
        },
    ),
    *_of(
        "cannot be seen",
        {
            "scripted": lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())),
            "traced": lambda: torch.jit.trace(nn.Conv2d(3, 3, 5, padding=2).eval(), torch.rand(1, 3, 48, 48)),
            "a scripted layer": calls.part_scripted,
            "a scripted network in a function": calls.hidden_script,
            "compiled": calls.compiled,
            "a function with its own gradient": _features(lambda y, x: calls.Doubled.apply(y)),
        },
    ),
    *_of(
        "trivial",
        {
            "the image itself": lambda: lambda x: x,
            "a view of the image": lambda: lambda x: x[:, [2, 1, 0]],
            "a constant": lambda: lambda x: torch.full_like(x, 0.4),
            "the image changed in place": lambda: lambda x: x.mul_(0.9),
            "the image's own data": lambda: lambda x: x.data,
        },
    ),
    *_of(
        "other inputs",
        {
            "grey": (calls.grey, REFUSED),
            "four channels": (lambda: nn.Conv2d(4, 3, 3, padding=1), REFUSED),
            "half": (lambda: nn.Conv2d(3, 3, 3, padding=1).half(), REFUSED),
            "double": (lambda: nn.Conv2d(3, 3, 3, padding=1).double(), REFUSED),
            "two inputs": (calls.TwoInputs, REFUSED),
            "sides of 32": (lambda: calls.sized(32), REFUSED),
            "raises KeyError": (lambda: calls.always(KeyError("model.layers.7")), REFUSED),
            "raises ImportError": (lambda: calls.always(ImportError("no module of that name")), REFUSED),
        },
    ),
    *_of(
        "other answers",
        {
            "0..255": (lambda: lambda x: x * 255, REFUSED),
            "integers": (lambda: lambda x: (x * 255).to(torch.uint8), REFUSED),
            "complex": (lambda: lambda x: torch.complex(x, x), REFUSED),
            "a list": (lambda: lambda x: [x, x], REFUSED),
            "a dict": (lambda: lambda x: {"image": x}, REFUSED),
            "nothing": (lambda: lambda x: None, REFUSED),
            "NaN": (lambda: lambda x: x / 0 - x / 0, REFUSED),
            "shrunk borders": (lambda: nn.Conv2d(3, 3, 5), REFUSED),
            "twice the size": (lambda: lambda x: F.interpolate(x, scale_factor=2.0), REFUSED),
            "half precision": lambda: lambda x: (x * 0.5).half(),
        },
    ),
    *_of(
        "minds the size",
        {
            "noise in large images": (sizes.in_large(sizes.noise), REFUSED),
            "batch statistics in large images": sizes.in_large(sizes.batch_statistics),
            "the level of the previous large image": (sizes.previous, REFUSED),
            "the previous large image, pixel by pixel": (sizes.previous_pixels, REFUSED),
            "the level of the first large image": (sizes.first, REFUSED),
            "a trail of large images, pixel by pixel": (sizes.trailing, REFUSED),
            "a corner of the previous large image": (sizes.far_corner, REFUSED),
            "every second large image": (sizes.every_second, REFUSED),
            "large images only": lambda: sizes.large_alone,
            "large images in tiles": sizes.in_large(sizes.tiled),
            "another kernel in large images": sizes.other_kernel,
            "a gain that grows with the size": _features(sizes.grown_with_size),
            "a lost level in large images": sizes.lost_level,
            "a level of the whole in large images": sizes.filled,
            "a rare mask in large images": sizes.rare_mask,
        },
        sizes.SIDE,
    ),
]
