"""Arrays inside a page: whole numbers as compressed text, which the page's script reads back (`panel.js`, `unpack`)."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import ArrayLike

UNKNOWN = np.iinfo(np.int32).min  # stands for a number that the draws cannot tell
LARGEST = np.iinfo(np.int32).max


def steps(values: ArrayLike, step: float) -> np.ndarray:
    """Return numbers as whole steps, int32: exact to half a step.

    Args:
        values: any shape; NaN and infinity become UNKNOWN.
        step: what a difference of 1 stands for.
    """
    scaled = np.asarray(values, np.float64) / step
    known = np.isfinite(scaled) & (np.abs(scaled) < LARGEST)
    return np.where(known, np.rint(np.where(known, scaled, 0.0)), UNKNOWN).astype(np.int32)


def pack(*parts: ArrayLike) -> str:
    """Return whole numbers, one array behind the other, as text.

    Signs go into the lowest bit, then the first bytes of all numbers come before the second ones: so numbers near 0
    take little more than a byte.

    Args:
        parts: int32 each.
    """
    numbers = np.concatenate([np.asarray(part, np.int32).ravel() for part in parts])
    unsigned = ((numbers << 1) ^ (numbers >> 31)).view(np.uint32)
    planes = unsigned.astype("<u4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()
