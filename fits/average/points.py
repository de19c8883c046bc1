"""Points as the average takes them: each x once, at most MOST of them; and the cheap runs alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array, Indices, Mask

MOST = 60  # of more points, neighbours become one
SAME = 1e-9  # relative difference of two x that are one
WHOLE = 1 / 2  # of the cheaper runs, so many are to be left for clusters to be kept whole


class Merged(NamedTuple):
    """Points in rising order of x."""

    x: Array
    y: Array
    scatter: float  # variance of log y among points that became one


def merged(x: Array, y: Array) -> Merged:
    """The mean log y at each x; of more than MOST different x, in bins evenly on a log axis."""
    order = np.lexsort((y, x))
    log_x, log_y = np.log(x[order]), np.log(y[order])
    group = np.cumsum(np.diff(log_x, prepend=log_x[0]) > SAME, dtype=np.int64)
    if group[-1] >= MOST:
        width = np.ptp(log_x) / MOST
        bins = np.minimum(((log_x - log_x[0]) / width).astype(np.int64), MOST - 1)
        group = np.unique(bins, return_inverse=True)[1]
    count = np.bincount(group)
    mean_x, mean_y = (np.bincount(group, each) / count for each in (log_x, log_y))
    again = len(log_y) - len(count)
    squares = float(((log_y - mean_y[group]) ** 2).sum())
    return Merged(np.exp(mean_x), np.exp(mean_y), squares / again if again else 0.0)


def smaller(x: Array, chosen: Mask, times: float, cluster: Indices | None) -> Mask:
    """Runs of at most 1 / `times` of the largest x chosen, [runs].

    Less those of clusters with a run chosen beyond, where at least WHOLE of them remain.
    """
    edge = float(x[chosen].max()) / times * (1 + SAME)
    small = x <= edge
    if cluster is None:
        return small
    whole = small & ~np.isin(cluster, cluster[chosen & ~small])
    return whole if whole.sum() >= WHOLE * small.sum() else small
