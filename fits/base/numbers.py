"""Arrays and the numbers that fits are made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Indices = NDArray[np.int64]

# What a law is fitted to: what a double holds even after the steepest exponent.
X_RANGE = 1e-30, 1e30
Y_RANGE = 1e-12, 1e12


class Estimate(NamedTuple):
    """A number and the ends of its interval, either of which may be infinite."""

    value: float
    low: float
    high: float


def arrays(*each: ArrayLike) -> list[Array]:
    """Each as an array of doubles."""
    return [np.asarray(one, float) for one in each]


def logistic(t: Array) -> Array:
    return np.exp(-np.logaddexp(0, -t))


def stack(*each: ArrayLike) -> Array:
    """All along a new first axis, broadcast to one shape."""
    found = np.empty((len(each), *np.broadcast(*each).shape))
    for row, one in enumerate(each):
        found[row] = one
    return found
