"""The best size by the envelope of all runs (approach 1 of Hoffmann et al. 2022).

Assumes that at each compute some run is about as good as any could be: sizes close together, and
learning rates that had come down where the run touches the envelope.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fits.allocation import BY_ENVELOPE, Line, Trainings
from fits.frontier import on_frontier
from fits.laws import Array
from fits.resampled import DRAWS

COMPUTES = 1500  # at which the envelope is read, as in Hoffmann et al.
STRETCH = math.sqrt(DRAWS)  # of distances, as in `Resampled.interval`


def envelope(runs: Trainings, *, replicates: int = 400, seed: int = 0) -> Line:
    """Approach 1: at every compute the run with the lowest loss, and a line through their sizes.

    Learning curves are interpolated in log loss against log compute and read at 1500 computes,
    evenly on a log axis; single points are taken as they are, those that set a new minimum.
    Intervals come from runs drawn with replacement, as those of a frontier do (`resampled.py`).

    Raises:
      ValueError: one size alone is ever the best, or fewer than three runs are.
    """
    labels = {label: k for k, label in enumerate(dict.fromkeys(runs.run))}
    of = np.array([labels[label] for label in runs.run])
    curves = len(labels) < len(runs.run)
    heights, compute, size = _curves(runs, of) if curves else _single(runs)
    rng = np.random.default_rng(seed)
    count = heights.shape[0]
    draws = math.ceil(DRAWS * count)
    present = rng.multinomial(draws, np.full(count, 1 / count), size=replicates) > 0
    everyone = np.ones((1, count), bool)
    centre = float(np.log(compute).mean())
    chosen = _best(heights, compute, everyone, curves)[0]
    seen = chosen >= 0
    n = np.log(size)
    if len(np.unique(chosen[seen])) < 3 or np.ptp(n[chosen[seen]]) == 0:
        raise ValueError(
            "fewer than three runs, or runs of one size alone, are ever the best; add sizes."
        )
    place = np.log(compute) - centre
    values = _line(place[seen], n[chosen[seen]])
    found = []
    for best in _best(heights, compute, present, curves):
        there = best >= 0
        if len(np.unique(best[there])) >= 3 and np.ptp(place[there]) > 0:
            found.append(_line(place[there], n[best[there]]))
    return Line(
        approach=BY_ENVELOPE,
        best=(compute[seen], size[chosen[seen]]),
        centre=centre,
        values=values,
        replicates=np.array(found),
        stretch=STRETCH,
        doubts=tuple(_envelope_doubts(runs, of, compute[seen], chosen[seen], size, curves)),
    )


def _curves(runs: Trainings, of: NDArray[np.int64]) -> tuple[Array, Array, Array]:
    """Log loss of each run at computes between the first and the last, inf where it was not."""
    first, last = float(runs.compute.min()), float(runs.compute.max())
    places = np.linspace(math.log(first), math.log(last), COMPUTES)
    heights = np.full((of.max() + 1, COMPUTES), np.inf)
    size = np.empty(len(heights))
    for k in range(len(heights)):
        mine = np.flatnonzero(of == k)
        mine = mine[np.argsort(runs.compute[mine])]
        x, y = np.log(runs.compute[mine]), np.log(runs.loss[mine])
        inside = (places >= x[0]) & (places <= x[-1])
        heights[k, inside] = np.interp(places[inside], x, y)
        size[k] = runs.size[mine[0]]
    covered = np.isfinite(heights).any(axis=0)
    return heights[:, covered], np.exp(places[covered]), size


def _single(runs: Trainings) -> tuple[Array, Array, Array]:
    """Each point a run that was measured once; computes that rounding alone parts are one."""
    return np.log(runs.loss)[:, None], np.exp(np.round(np.log(runs.compute), 9)), runs.size


def _best(
    heights: Array, compute: Array, present: NDArray[np.bool_], curves: bool
) -> NDArray[np.int64]:
    """The best run of those present at each compute, [replicates, computes]; -1: there is none.

    Of single points, only those on the frontier stand for their compute.
    """
    if not curves:
        on = on_frontier(compute, np.exp(heights[:, 0]), present)
        return np.where(on, np.arange(len(compute)), -1)
    found = np.empty((len(present), heights.shape[1]), np.int64)
    for row, there in enumerate(present):
        left = np.where(there[:, None], heights, np.inf)
        found[row] = np.where(np.isfinite(left.min(axis=0)), left.argmin(axis=0), -1)
    return found


def _envelope_doubts(
    runs: Trainings,
    of: NDArray[np.int64],
    compute: Array,
    chosen: NDArray[np.int64],
    size: Array,
    curves: bool,
) -> list[str]:
    said = []
    if curves:
        last = np.array([runs.compute[of == k].max() for k in range(of.max() + 1)])
        early = float((compute < 0.85 * last[chosen]).mean())
        if early > 0.2:
            said.append(
                f"{early:.0%} of the envelope lies before the last 15 % of its run, where the "
                "learning rate was still high: there a run of that length would be better"
            )
    order = np.argsort(compute)
    sizes = size[chosen[order]]
    end = len(sizes) - max(1, len(sizes) // 4)
    if (sizes[end:] == runs.size.max()).all():
        said.append("the largest size tried is the best at the largest computes: try larger ones")
    steps = np.unique(runs.size)
    step = float(np.exp(np.diff(np.log(steps)).max())) if len(steps) > 1 else 1.0
    if step > 3:
        said.append(f"sizes stand up to {step:.2g} times apart: no best size is known better")
    return said


def _line(x: Array, y: Array) -> Array:
    """Height at 0 and slope, by least squares."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()
    return np.array([y.mean() - slope * x.mean(), slope])
