"""The best size by the envelope of all runs (approach 1 of Hoffmann et al. 2022).

Assumes that at each compute some run is about as good as any could be: sizes close together, and
learning rates that had come down where the run touches the envelope.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fits.allocation.allocation import BY_ENVELOPE, EQUAL, LineOfSizes, Trainings
from fits.base.diagnostic import Diagnostic
from fits.base.messages import along_a_line
from fits.base.numbers import Array
from fits.data.frontier import on_frontier
from fits.regression.covariance import ClusterRobust, cluster_robust
from fits.regression.error_model import ErrorModel

COMPUTES = 1500  # at which the envelope is read, as in Hoffmann et al.
LEAST_GROUPS = 3  # a line has two parameters, its variance one
DISTINCT = 0.01  # of log size: nearer ones are the same, but for rounding
PASSES = 20  # of line and computes left out, which settle in two or three


@dataclass(frozen=True, kw_only=True, eq=False)
class Envelope(LineOfSizes):
    """The line through the sizes of the best runs.

    Fields:
      group: 0, 1, ...; computes of one group have correlated errors, [computes].
      step: logarithm of how far apart the sizes tried about each best one are, [computes]; 0: the
        compute at which one size gives way to the next was read.
    """

    group: NDArray[np.int64]
    step: Array | float = 0.0
    method: str = BY_ENVELOPE

    def _reach(self, basis: Array, level: float) -> float:
        _, error, quantile = self._sandwich.standard_errors(basis[None], level)
        return float(quantile[0]) * math.hypot(float(error[0]), self._quantisation(basis))

    def _quantisation(self, basis: Array) -> float:
        """Standard error of basis @ values by the steps between the sizes tried.

        A best size may lie anywhere up to half a step from the one that was picked: a uniform
        error, of variance step^2 / 12. Residuals need not show it: where the same place of every
        budget's sizes is the best, the picks lie on a line of their own. It is one in a group.
        """
        x = np.log(self.best[0]) - self.centre
        moved = basis @ np.linalg.pinv(np.stack([np.ones_like(x), x], axis=1))
        by_group = np.bincount(self.group, moved * self.step)
        return math.sqrt(float((by_group**2).sum()) / 12)

    @cached_property
    def _sandwich(self) -> ClusterRobust:
        """CR2, with the working model that the computes of a group all have the same error.

        The sum of these errors is as wide in every group: a group has more computes where
        randomness keeps a run the best for longer, with a size too large at first and too small at
        last.
        """
        x = np.log(self.best[0]) - self.centre
        design = np.stack([np.ones_like(x), x])
        residuals = np.log(self.best[1]) - self.values @ design
        share = 1 / np.bincount(self.group)[self.group]
        return cluster_robust(design, residuals, ErrorModel(share, self.group, 1.0))


def envelope(runs: Trainings) -> Envelope:
    """Approach 1: at every compute the run with the lowest loss, and a line through their sizes.

    Learning curves are interpolated in log loss against log compute and read at 1500 computes,
    evenly on a log axis; single points are taken as they are, those that set a new minimum.
    Computes where the sizes tried do not reach past the line by the standard deviation of best
    sizes about it are left out: there only runs to one side could be the best.

    Intervals come from the residuals about the line and, of single points, from the steps between
    the sizes tried. Not every compute is an observation: those at
    which one curve is the best count as one, and so do single points of about one budget, whose
    sizes are drawn from the same few without being put back.

    Raises:
      ValueError: one size alone is ever the best, or fewer than three runs or budgets are, or no
        two sizes were tried at one compute.
    """
    if line := runs.collinear:
        if line["slope"] == -1:
            raise ValueError(f"{along_a_line(line)}: how the best size grows takes other budgets.")
        raise ValueError(
            f"{along_a_line(line)}: at no compute were two sizes tried, so none is the best; add "
            "sizes."
        )
    of = runs.run
    count = int(of.max()) + 1
    curves = count < len(of)
    compute, size, group = _of_curves(runs, of) if curves else _of_points(runs)
    if not _enough(size, group):
        raise ValueError(
            "the best are of one size alone, or fewer than three runs or budgets; add sizes."
        )
    found = _diagnostics(runs, size)
    if curves:
        last = np.zeros(count)
        np.maximum.at(last, of, runs.compute)
        found = [*_early(compute, last[group]), *found]
    kept = _kept(runs, compute, size, group)
    if kept is None:
        kept = np.ones(len(compute), bool)
        found.append(Diagnostic("best_sizes_cut"))
    compute, size, group = compute[kept], size[kept], group[kept]
    centre = float(np.log(compute).mean())
    return Envelope(
        best=(compute, size),
        group=np.unique(group, return_inverse=True)[1].ravel(),
        step=0.0 if curves else _steps(runs, compute, size),
        centre=centre,
        values=_line(np.log(compute) - centre, np.log(size)),
        diagnostics=tuple(found),
    )


def _of_curves(runs: Trainings, of: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.int64]]:
    """Computes between the first and the last; size and number of the best run there."""
    first, last = float(runs.compute.min()), float(runs.compute.max())
    places = np.linspace(math.log(first), math.log(last), COMPUTES)
    lowest = np.full(COMPUTES, np.inf)
    best = np.zeros(COMPUTES, np.int64)
    order = np.lexsort((runs.compute, of))
    curves = np.split(order, np.cumsum(np.bincount(of))[:-1])
    for k, mine in enumerate(curves):
        x, y = np.log(runs.compute[mine]), np.log(runs.loss[mine])
        height = np.interp(places, x, y, left=np.inf, right=np.inf)
        best[height < lowest] = k
        lowest = np.minimum(lowest, height)
    size = np.array([runs.size[mine[0]] for mine in curves])
    seen = np.isfinite(lowest)
    return np.exp(places[seen]), size[best[seen]], best[seen]


def _of_points(runs: Trainings) -> tuple[Array, Array, NDArray[np.int64]]:
    """Compute and size of the runs on the frontier; the number of their budget."""
    compute = np.exp(np.round(np.log(runs.compute), 9))  # those that rounding alone parts are one
    best = np.flatnonzero(on_frontier(compute, runs.loss, np.ones((1, len(compute)), bool))[0])
    best = best[np.argsort(compute[best])]
    budget = np.zeros(len(best), np.int64)
    first = compute[best[0]]
    for place, run in enumerate(best[1:], start=1):
        apart = compute[run] > EQUAL * first
        first = compute[run] if apart else first
        budget[place] = budget[place - 1] + apart
    return compute[best], runs.size[best], budget


def _steps(runs: Trainings, compute: Array, size: Array) -> Array:
    """Mean log distance of each best size to the next smaller and the next larger one, [best].

    Of the sizes tried at about its compute; where there was no other, of all. Where it is itself
    the smallest or the largest, the distance to the one neighbour.
    """
    spent, tried = np.log(runs.compute), np.log(runs.size)
    every = np.unique(tried)
    steps = np.zeros(len(size))
    for k, (at, best) in enumerate(zip(np.log(compute), np.log(size), strict=True)):
        for sizes in (tried[np.abs(spent - at) <= math.log(EQUAL)], every):
            away = sizes - best
            below, above = -away[away < -DISTINCT], away[away > DISTINCT]
            nearest = [float(each.min()) for each in (below, above) if len(each)]
            if nearest:
                steps[k] = np.mean(nearest)
                break
    return steps


def _kept(
    runs: Trainings, compute: Array, size: Array, group: NDArray[np.int64]
) -> NDArray[np.bool_] | None:
    """Computes where the sizes tried extend beyond the line by its residual standard deviation.

    None: there are too few.

    The line decides, not the size that was the best there: leaving out the computes where the
    smallest was the best would keep those where it was not by chance.
    """
    x, y = np.log(compute), np.log(size)
    smallest, largest = _tried(runs, x)
    kept = np.ones(len(x), bool)
    for _ in range(PASSES):
        centre = x[kept].mean()
        height, slope = _line(x[kept] - centre, y[kept])
        line = height + slope * (x - centre)
        deviation = np.sqrt(((y - line)[kept] ** 2).mean())
        inside = np.minimum(line - smallest, largest - line) >= deviation
        if not _enough(size[inside], group[inside]):
            return None
        if (inside == kept).all():
            break
        kept = inside
    return kept


def _enough(size: Array, group: NDArray[np.int64]) -> bool:
    return len(np.unique(group)) >= LEAST_GROUPS and len(np.unique(size)) > 1


def _tried(runs: Trainings, x: Array) -> tuple[Array, Array]:
    """Logarithms of the least and the largest size tried about each log compute.

    Edges of the convex hull of all points, so that no two runs need share a compute.
    """
    from scipy.spatial import ConvexHull

    points = np.stack([np.log(runs.compute), np.log(runs.size)], axis=1)
    edges = ConvexHull(points).equations  # a x + b y + c, not above 0 inside
    lower, upper = (edges[sign * edges[:, 1] > 1e-9] for sign in (-1, 1))
    heights = [-(a * x[:, None] + c) / b for a, b, c in (lower.T, upper.T)]
    return heights[0].max(axis=1), heights[1].min(axis=1)


def _early(compute: Array, last: Array) -> list[Diagnostic]:
    """Of curves: at which part of the envelope a learning rate had not come down."""
    share = float((compute < 0.85 * last).mean())
    return [Diagnostic("before_cooldown", numbers={"share": share})] if share > 0.2 else []


def _diagnostics(runs: Trainings, best: Array) -> list[Diagnostic]:
    found = []
    end = len(best) - max(1, len(best) // 4)
    if (best[end:] == runs.size.max()).all():
        found.append(Diagnostic("largest_is_best"))
    sizes = np.unique(runs.size)
    factor = float(np.exp(np.diff(np.log(sizes)).max())) if len(sizes) > 1 else 1.0
    if factor > 3:
        found.append(Diagnostic("sizes_far_apart", numbers={"factor": factor}))
    return found


def _line(x: Array, y: Array) -> Array:
    """Height at 0 and slope, by least squares."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return np.array([y.mean() - slope * x.mean(), slope])
