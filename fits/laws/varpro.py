"""Initial guesses by variable projection: a grid over exponents, linear least squares for scales.

Most laws are sums of terms: once the exponents are given, the scales and the floor follow by
linear least squares (variable projection: Golub and Pereyra 1973). This file knows no law.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from fits.base.numbers import Array


def grid(*axes: Array) -> list[Array]:
    """All combinations of the numbers of some axes, one flat array an axis."""
    return [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]


def nnls(
    columns: Array, target: Array, weights: Array, free: Sequence[int] = ()
) -> tuple[Array, Array]:
    """Coefficients, none below 0, whose combination of the columns comes nearest to the target.

    With as few terms as laws have, trying which coefficients are 0 is quicker than to search.

    Args:
      columns: [grid, terms, points].
      target: [points], or [grid, points].
      weights: of the squares, >= 0, [points], or [grid, points].
      free: terms whose coefficient may be below 0.

    Returns:
      Coefficients, [grid, terms], and the weighted sums of squares left, [grid].
    """
    roots = np.sqrt(weights)
    rows = columns * (roots if roots.ndim == 1 else roots[:, None])
    aim = np.broadcast_to(target * roots, rows[:, 0].shape)
    size = np.maximum(np.linalg.norm(rows, axis=2), 1e-300)
    rows = rows / size[..., None]
    gram = rows @ rows.transpose(0, 2, 1)
    along = (rows @ aim[..., None])[..., 0]
    terms = columns.shape[1]
    best, gain = np.zeros_like(along), np.zeros(len(along))
    for count in range(1, terms + 1):
        for some in map(list, combinations(range(terms), count)):
            part = gram[:, some][:, :, some] + 1e-12 * np.eye(count)
            found = np.linalg.solve(part, along[:, some, None])[..., 0]
            bound = [k for k, term in enumerate(some) if term not in free]
            explained = (found * along[:, some]).sum(axis=1)
            better = (found[:, bound] >= 0).all(axis=1) & (explained > gain)
            best[better] = 0
            best[np.ix_(better, some)] = found[better]
            gain = np.where(better, explained, gain)
    return best / size, (aim**2).sum(axis=1) - gain


def best_of_grid(misfit: Array, *parameters: Array, count: int = 4) -> Array:
    """The parameters of the grid's best places, as initial guesses, [parameters, count]."""
    best = np.argsort(np.where(np.isfinite(misfit), misfit, np.inf))[:count]
    return np.stack([np.broadcast_to(each, misfit.shape)[best] for each in parameters])
