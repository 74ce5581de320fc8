"""The scale on which an interval of a quantity with natural ends is made, so that it never leaves its range."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ANY", "PERCENT", "SHARE", "SIZE", "Scale"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """A quantity's range, stretched to the whole line: logarithm for one end, logit for two, as it is for none.

    Args:
        low: smallest value the quantity can take; -inf for none.
        high: largest value; inf for none.

    Source: intervals on a transformed scale by the delta method, Efron and Tibshirani 1993, 12.6 and 13.6.
    """

    low: float = -np.inf
    high: float = np.inf

    def stretched(self, values: ArrayLike) -> Array:
        """Return values on the scale without ends; infinite at an end of the range and past it."""
        numbers = np.asarray(values, dtype=np.float64)
        if np.isinf(self.low) and np.isinf(self.high):
            return numbers
        with np.errstate(divide="ignore"):
            above = np.log(np.maximum(numbers - self.low, 0)) if np.isfinite(self.low) else np.zeros_like(numbers)
            below = np.log(np.maximum(self.high - numbers, 0)) if np.isfinite(self.high) else np.zeros_like(numbers)
        return above - below

    def slope(self, values: ArrayLike) -> Array:
        """Return by how much the stretched scale grows a unit of the quantity, at values inside the range."""
        numbers = np.asarray(values, dtype=np.float64)
        parts = [1 / abs(numbers - end) for end in (self.low, self.high) if np.isfinite(end)]
        return np.sum(parts, axis=0) if parts else np.ones_like(numbers)

    def back(self, stretched: float) -> float:
        """Return the value of a point on the stretched scale."""
        with np.errstate(over="ignore"):
            if np.isinf(self.low):
                return float(stretched if np.isinf(self.high) else self.high - np.exp(-stretched))
            if np.isinf(self.high):
                return float(self.low + np.exp(stretched))
            return float(self.low + (self.high - self.low) / (1 + np.exp(-stretched)))


ANY, SIZE, SHARE, PERCENT = Scale(), Scale(low=0.0), Scale(0.0, 1.0), Scale(0.0, 100.0)
