"""Runs off the curve of the others, and slips that would explain it.

A run whose x is off by a power of ten lies beside the curve, above it or below, as an undertrained
run does; so what is said of it is what fits, all of it. Looked at are tables whose other runs lie
along one curve, and otherwise the frontier, each of its runs beside the frontier that all
others have; where models of several sizes share an x nothing can be said. Among few runs, or
noisy ones, some slip or other would suit many a sound run: a run must lie farther from a parabola
through the others than chance would put any of the runs, for any of the slips that are tried.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array, Indices
from fits.data.frontier import on_frontier

MOST = 40  # runs of a table that is looked at as one curve
MOST_ON_FRONTIER = 1000  # runs of a frontier that is
LEAST = 5
CURVE = np.log(1.15)  # the others lie so near to the curve through their neighbours
ODD = 4.0  # times that, that a run lies off, and LEAST_OFF
LEAST_OFF = np.log(1.15)
FITS = np.log(1.06)  # a slip explains it if the curve is so near then
POWERS = (3, -3, 6, -6, 9, -9, 1, -1, 2, -2, 12, -12)  # of ten, by which an x may be off
CHANCE = 0.02  # that a sound table has a run that lies so far off
ROUNDING = 1e-6  # of a table's digits, as a logarithm
FAR = 100.0  # times beyond the next x: where a run off the line may be right


class Misplaced(NamedTuple):
    """A run off the curve of the others.

    Fields:
      run: its place.
      x_factors: by which its x would have to be multiplied to lie on it, the likeliest first.
      mirrored: whether an accuracy would fit where it stands as an error.
    """

    run: int
    x_factors: tuple[float, ...]
    mirrored: bool


def misplaced(
    x: Array, error: Array, whole: float = 0.0, *, frontier: bool = False
) -> list[Misplaced]:
    """Runs that the curve of all others does not go through, and a slip would explain.

    Of a hundred sound tables of 5 to 11 runs at most four have one (`tests/test_remarks.py`).

    Args:
      x, error: > 0, [runs].
      whole: what error and accuracy add up to; 0: y is no rate.
      frontier: whether, where the runs lie along no one curve, or are more than MOST, those on the
        frontier and the costliest are looked at.
    """
    if frontier and len(x) > MOST:
        return _at_frontier(x, error, whole)
    if not LEAST <= len(x) <= MOST:
        return []
    places, heights = np.log(x), np.log(error)
    found = (_one(k, places, heights, whole) for k in range(len(x)))
    along = [each for each in found if each is not None]
    return along or (_at_frontier(x, error, whole) if frontier else [])


def _at_frontier(x: Array, error: Array, whole: float) -> list[Misplaced]:
    """Runs of the frontier, and the costliest, each beside the frontier of all others.

    A costliest run that is no better than cheaper ones lies above the frontier, as most runs do,
    and a smaller x would set any of them right: it is suspected only if far from all others.
    """
    order = np.lexsort((error, x))
    places, heights = np.log(x[order]), np.log(error[order])
    on = np.flatnonzero(on_frontier(x[order], error[order], np.ones((1, len(x)), bool))[0])
    if len(on) > MOST_ON_FRONTIER:
        return []
    cases = [(int(run), _frontier_without(k, on, heights)) for k, run in enumerate(on)]
    top = int(np.argmax(places))  # of equal ones the best
    above = top not in on
    cases += [(top, on)] if above else []
    found = []
    for run, others in cases:
        rows = np.append(others, run)
        if len(rows) < LEAST or not (odd := _one(len(others), places[rows], heights[rows], whole)):
            continue
        excused = above and run == top and x[order[top]] < FAR * np.sort(x)[-2]
        factors = () if excused else odd.x_factors
        if factors or odd.mirrored:
            found.append(Misplaced(int(order[run]), factors, odd.mirrored))
    return found


def _frontier_without(k: int, on: Indices, heights: Array) -> Indices:
    """The frontier of all runs but its k-th: where that was, those that it alone was better than.

    Args:
      on: places of the frontier, of runs in the order of x.
    """
    first, last = on[k] + 1, on[k + 1] if k + 1 < len(on) else len(heights)
    before = heights[on[k - 1]] if k else np.inf
    lowest = np.minimum.accumulate(np.append(before, heights[first:last]))
    return np.concatenate([on[:k], first + np.flatnonzero(np.diff(lowest) < 0), on[k + 1 :]])


def _one(run: int, places: Array, heights: Array, whole: float) -> Misplaced | None:
    others = np.flatnonzero(np.arange(len(places)) != run)
    order = others[np.argsort(places[others], kind="stable")]
    at, height = places[order], heights[order]
    if (np.diff(at) < 1e-9).any() or height[-1] >= height[0]:
        return None
    share = (at[1:-1] - at[:-2]) / (at[2:] - at[:-2])
    neighbours = height[:-2] + share * (height[2:] - height[:-2])
    within = float(np.abs(height[1:-1] - neighbours).max())
    if within > CURVE or (off := _off(at, height, places[run], heights[run])) < LEAST_OFF:
        return None
    beyond = max(places[run] - at[-1], at[0] - places[run])
    continues = 0 < beyond < np.log(FAR)  # the curve may bend there
    if off < max(ODD * within, 3 * LEAST_OFF if continues else LEAST_OFF):
        return None
    if beyond < np.log(FAR) and not _beyond_chance(at, height, places[run], heights[run]):
        return None
    near, step = max(2 * within, FITS), np.diff(at).max()
    moved = [(10.0**power, places[run] + power * np.log(10)) for power in POWERS]
    factors = [
        factor
        for factor, place in moved
        if at[0] - step <= place <= at[-1] + step and _off(at, height, place, heights[run]) <= near
    ]
    mirror = whole - np.exp(heights[run])
    mirrored = mirror > 0 and _off(at, height, places[run], np.log(mirror)) <= near
    return Misplaced(run, tuple(factors), bool(mirrored)) if factors or mirrored else None


def _beyond_chance(at: Array, height: Array, place: float, own: float) -> bool:
    """Whether a run lies off a parabola through the others by more than noise explains.

    On log axes; its residual in standard errors of a prediction against Student's t, at a level
    corrected for the number of runs and of slips that are tried (Bonferroni).
    """
    from scipy.special import stdtr

    scale = max(float(np.ptp(at)), 1e-300)
    design = np.vander((at - at.mean()) / scale, 3)
    row = np.vander([(place - at.mean()) / scale], 3)[0]
    values, *_ = np.linalg.lstsq(design, height, rcond=None)
    freedom = len(at) - design.shape[1]
    if freedom < 1:
        return False
    noise = max(float(((height - design @ values) ** 2).sum()) / freedom, ROUNDING**2)
    leverage = float(row @ np.linalg.pinv(design.T @ design) @ row)
    t = abs(own - float(row @ values)) / np.sqrt(noise * (1 + leverage))
    tried = (len(at) + 1) * (len(POWERS) + 1)
    return bool(2 * stdtr(freedom, -t) < CHANCE / tried)


def _off(at: Array, height: Array, place: float, own: float) -> float:
    """How far a run lies from the curve, as a logarithm."""
    return abs(own - _curve(at, height, place))


def _curve(at: Array, height: Array, place: float) -> float:
    """Through all points on log axes; beyond them along the line of the two at the end."""
    if place > at[-1]:
        ends = at[-2:], height[-2:]
    elif place < at[0]:
        ends = at[:2], height[:2]
    else:
        return float(np.interp(place, at, height))
    slope = (ends[1][1] - ends[1][0]) / (ends[0][1] - ends[0][0])
    return float(ends[1][0] + slope * (place - ends[0][0]))
