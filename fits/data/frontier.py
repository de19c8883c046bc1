"""Frontier: which runs were worth their compute, those that no cheaper run equals.

How error falls along it is the business of `fit.py`: `fit(law, compute, error,
choose=on_frontier)` fits the frontier and draws its intervals from all the runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fits.base.numbers import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Frontier:
    """The best achievable: runs that set a new minimum error as compute grows.

    Fields:
      compute: strictly increasing, [points].
      error: strictly decreasing, [points].
      runs: which runs these are: names where given, else positions in the arrays handed in.
    """

    compute: Array
    error: Array
    runs: tuple[Hashable, ...]


def frontier(
    compute: ArrayLike, error: ArrayLike, runs: Sequence[Hashable] | None = None
) -> Frontier:
    """The runs that set a new minimum error as compute grows.

    Args:
      compute: resource spent by each run, > 0, [runs].
      error: its error, [runs].
      runs: its name; None: its position.
    """
    compute, error = np.asarray(compute, float), np.asarray(error, float)
    chosen = np.flatnonzero(on_frontier(compute, error, np.ones((1, len(compute)), bool))[0])
    chosen = chosen[np.argsort(compute[chosen])]
    names = range(len(compute)) if runs is None else runs
    return Frontier(
        compute=compute[chosen],
        error=error[chosen],
        runs=tuple(names[run] for run in chosen.tolist()),
    )


def on_frontier(compute: Array, error: Array, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which runs are on the frontier of those present, [replicates, runs] like `present`.

    Of runs of equal compute only the best can be; of equal errors the cheapest; of duplicates the
    first handed in.
    """
    order = np.lexsort((error, compute))  # by compute, then by error
    heights = np.where(present[:, order], error[order], np.inf)
    before = np.minimum.accumulate(heights, axis=1)
    record = heights < np.inf
    np.less(heights[:, 1:], before[:, :-1], out=record[:, 1:])
    chosen = np.empty_like(present)
    chosen[:, order] = record
    return chosen


def on_hull(compute: Array, error: Array, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which runs are corners of the lower convex hull on log axes, [replicates, runs].

    Those of the frontier that no straight line between two others passes below; of duplicates the
    first handed in.
    """
    candidates = on_frontier(compute, error, present)
    x, y = np.log(compute), np.log(error)
    order = np.argsort(x)
    chosen = np.zeros_like(candidates)
    for row, there in enumerate(candidates):
        corners: list[int] = []
        for run in order[there[order]]:
            while len(corners) > 1 and not _turns_up(x, y, corners[-2], corners[-1], run):
                corners.pop()
            corners.append(run)
        chosen[row, corners] = True
    return chosen


def _turns_up(x: Array, y: Array, first: int, middle: int, last: int) -> bool:
    """Whether `middle` lies below the straight line from `first` to `last`."""
    rise = (y[last] - y[first]) * (x[middle] - x[first])
    return bool((y[middle] - y[first]) * (x[last] - x[first]) < rise)
