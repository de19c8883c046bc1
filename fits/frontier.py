"""Which runs were worth their compute: those that no cheaper run equals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fits.laws import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Frontier:
    """The best achievable: runs that set a new minimum error as compute grows.

    Fields:
      compute: increasing, [points].
      error: decreasing, [points].
      runs: which runs these are: names where given, else positions in the arrays handed in.
    """

    compute: Array
    error: Array
    runs: tuple[Hashable, ...]


def frontier(
    compute: ArrayLike, error: ArrayLike, runs: Sequence[Hashable] | None = None
) -> Frontier:
    """The runs that set a new minimum error as compute grows; of equals the first counts."""
    compute, error = np.asarray(compute, float), np.asarray(error, float)
    order = np.lexsort((error, compute))
    best = np.minimum.accumulate(error[order])
    new = np.r_[True, best[1:] < best[:-1]]
    kept = order[new]
    names = range(len(compute)) if runs is None else runs
    return Frontier(compute=compute[kept], error=error[kept], runs=tuple(names[i] for i in kept))
