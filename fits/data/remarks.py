"""What looks odd in the runs themselves, whatever law is fitted to them."""

from __future__ import annotations

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Indices
from fits.data.frontier import on_frontier

FACTORS = 100.0, 10.0, 1000.0  # by which a slip of a unit or of the decimal point is off
NEAR = 1.3  # within this factor of one of them
NEIGHBOURS = 2  # on either side along x
ALIKE = 2.0  # a slip is seen where its neighbours lie within this factor of one another
RISING = 0.8  # Spearman's rank correlation of x and y that is a rise


def rising(x: Array, y: Array) -> bool:
    """Whether y plainly grows with x: ranks that agree, and more than a hair of a change."""
    if len(y) < 3 or np.ptp(x) == 0 or np.ptp(np.log(y)) < 1e-3:
        return False
    correlation = np.atleast_2d(np.corrcoef(_ranks(x), _ranks(y)))
    return bool(correlation[0, 1] >= RISING)


def _ranks(numbers: Array) -> Array:
    """Their mean rank where several are equal."""
    _, group, count = np.unique(numbers, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[group.ravel()])


def slips(x: Array, measured: Array) -> tuple[Indices, Array]:
    """Runs whose y is 10, 100 or 1,000 times that of their neighbours along x, or that part of it.

    Returns:
      Which, and what their neighbours let expect: on log axes a line through them, by their ranks.
    """
    if len(x) <= 2 * NEIGHBOURS or not (measured > 0).all():
        return np.empty(0, np.int64), np.empty(0)
    order = np.lexsort((measured, x))
    y = np.log(measured[order])
    last, width = len(y) - 1, 2 * NEIGHBOURS + 1
    first = np.clip(np.arange(len(y)) - NEIGHBOURS, 0, last - width + 1)
    window = y[first[:, None] + np.arange(width)]
    place = np.arange(width) - (np.arange(len(y)) - first)[:, None]  # 0: the run itself
    others, at = (each[place != 0].reshape(len(y), width - 1) for each in (window, place))
    mean, away = others.mean(axis=1), at - at.mean(axis=1, keepdims=True)
    slope = (away * others).sum(axis=1) / (away**2).sum(axis=1)
    expected = mean - slope * at.mean(axis=1)
    off = np.abs(np.log(FACTORS)[:, None] - np.abs(y - expected)).min(axis=0) <= np.log(NEAR)
    odd = off & (np.ptp(others, axis=1) <= np.log(ALIKE))
    return order[odd], np.exp(expected[odd])


def of_slips(names: tuple[str, str], x: Array, measured: Array, kind: str) -> list[Diagnostic]:
    """Slips, in words.

    Args:
      names: of x and y.
      measured: y as in the table.
      kind: what y is.
    """
    which, typical = slips(x, measured)
    if not len(which):
        return []
    percent = kind.endswith("percent") and bool((measured[which] <= 1).all())
    numbers: dict[str, float | tuple[float, ...]] = {
        "count": len(which),
        "n": len(x),
        "x": tuple(x[which].tolist()),
        "y": tuple(measured[which].tolist()),
        "near": tuple(typical.tolist()),
        "percent": percent,
    }
    return [Diagnostic("slip", names, numbers)]


def of_costliest(
    names: tuple[str, str], x: Array, error: Array, measured: Array
) -> list[Diagnostic]:
    """Why the costliest run is not on the frontier, where it is not."""
    if len(x) < 2:
        return []
    top = int(np.lexsort((-error, x))[-1])
    chosen = np.flatnonzero(on_frontier(x, error, np.ones((1, len(x)), bool))[0])
    if top in chosen or x[top] == x[chosen].max():
        return []
    best = int(chosen[error[chosen].argmin()])
    near = dict(zip(*(each.tolist() for each in slips(x, measured)), strict=True))
    numbers = {
        "x": float(x[top]),
        "y": float(measured[top]),
        "better_x": float(x[best]),
        "better_y": float(measured[best]),
        "ratio": float(error[top] / error[best]),
        "near": near.get(top, 0.0),
        "better_near": near.get(best, 0.0),
        "ahead": float(x[top] / np.sort(x)[-2]),
    }
    return [Diagnostic("costliest_not_on_frontier", names, numbers)]
