"""Canonical order of runs, so that no digit depends on the order of a table's rows.

A bootstrap draws by position and sums round by position. Whoever draws or sums first sorts.
"""

from __future__ import annotations

import numpy as np

from fits.base.numbers import Array, Indices


def canonical(numbers: Array, cluster: Indices) -> tuple[Indices, Indices]:
    """The order of runs by what is known of them, and the numbers of their clusters in that order.

    Runs are in order of their numbers, the first row of these first, and of equal ones by cluster.
    Clusters are in order of their runs, whatever they were called; those of equal runs are alike.

    Args:
      numbers: what is known of each run, [rows, runs].
      cluster: number of each run's cluster, all from 0 to the largest, [runs].

    Returns:
      Positions of the runs, [runs], and numbers of clusters from 0, [runs].
    """
    if len(cluster) and cluster.max() + 1 == len(cluster):  # each run is one of its own
        return _ranked(np.vstack([numbers, cluster])), np.arange(len(cluster))
    ranked = _ranked(numbers)
    steps = (np.diff(numbers[:, ranked], axis=1) != 0).any(axis=0)
    kind = np.empty(numbers.shape[1], np.int64)
    kind[ranked] = np.concatenate([[0], np.cumsum(steps)])[: len(kind)]
    ends = np.cumsum(np.bincount(cluster))[:-1]
    members = [each.tolist() for each in np.split(kind[np.lexsort((kind, cluster))], ends)]
    number = np.empty(len(members), np.int64)
    number[sorted(range(len(members)), key=members.__getitem__)] = np.arange(len(members))
    order = np.lexsort((number[cluster], kind))
    return order, number[cluster][order]


def _ranked(numbers: Array) -> Indices:
    """Order by rows, the first of these first; one is enough where nothing is equal in it."""
    ranked = np.argsort(numbers[0], kind="stable")
    if (np.diff(numbers[0, ranked]) > 0).all():
        return ranked
    return np.lexsort(numbers[::-1])
