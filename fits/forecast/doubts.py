"""What the points alone say against a forecast: several curves in one, points that lie far off."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Mask
from fits.forecast.continued import SAME
from fits.forecast.ends import RESOLUTION
from fits.forecast.noise import usual_noise
from fits.forecast.steep import missed

REPEATED = 4  # points more than there are x, from which their distance tells something
APART = 5.0  # that distance, by what noise explains, from which these are several curves
LEAST = 6  # points among which an outlier can be told
FAR = 3.5  # standard deviations off all lines of its neighbours, of many points, of an outlier
FEW = 4  # points, of which FAR is double: their noise is known less well
WIDEST = 3  # points on end that may be outliers together
MOST = 0.25  # of the points that can be outliers; more are the curve
WIDER = 1.5  # times as wide as without them an interval is, from which outliers are named

Said: TypeAlias = Callable[[float], tuple[Array, Array, Array]]
"""Median, low and high end at some x."""


def several_curves(x: Array, y: Array) -> list[Diagnostic]:
    """Whether these are several curves: y of one x differ by far more than noise explains.

    Noise averages out over the points of an x, what one curve has more than another does not.
    """
    order = np.lexsort((y, x))
    log_x, log_y = np.log(x[order]), np.log(y[order])
    group = np.cumsum(np.diff(log_x, prepend=log_x[0]) > SAME, dtype=np.int64)
    count = np.bincount(group)
    several = count > 1
    own = several[group]
    extra = int(own.sum() - several.sum())
    if extra < REPEATED:
        return []
    mean_x, mean_y = (np.bincount(group, each) / count for each in (log_x, log_y))
    squares = ((log_y - mean_y[group]) ** 2)[own].sum()
    apart = float(np.sqrt(squares / extra))
    noise = usual_noise(mean_x[several], mean_y[several]) * np.sqrt(count[several].mean())
    if apart < APART * noise + RESOLUTION:
        return []
    numbers = {"apart": apart, "noise": float(noise)}
    return [Diagnostic("forecast_of_several", numbers=numbers)]


def missed_last(members: float, noise: float) -> list[Diagnostic]:
    """Where a forecast begins far above or below the last point; arguments of `missed`."""
    if not missed(members, noise):
        return []
    code = "forecast_above" if members > 0 else "forecast_below"
    return [Diagnostic(code, numbers={"by": abs(float(np.expm1(members)))})]


def outliers(log_x: Array, log_y: Array, own: Array) -> Mask:
    """Points that lie off the curve of their neighbours, one or up to WIDEST on end, [points].

    Such a point lies far off the line between a neighbour on either side and off the lines through
    two on one side, by all of these to the same side. A bend lies to different sides of the two,
    the edge of a step on one of them. The noise is that of the other points. Of 1,500 curves of
    normal noise of each of several lengths from 6 points to 20, at even or random places, one in a
    hundred at most has an outlier.

    Args:
      log_x, log_y: each x once, rising, [points].
      own: variance of log y of each point besides that of the others: of the first of very many,
        which are averages of fewer, [points].
    """
    left = np.arange(len(log_x))
    while len(left) >= LEAST:
        usual = usual_noise(log_x[left], log_y[left])
        variance = 1 + own[left] / max(usual, RESOLUTION) ** 2
        off = _off_all_lines(log_x[left], log_y[left], variance)
        first = int(np.argmax(np.abs(off)))
        rest = np.delete(left, first)
        enough = FAR * (1 + FEW / len(left)) * usual_noise(log_x[rest], log_y[rest]) + RESOLUTION
        if abs(off[first]) < enough:
            break
        left = rest
    found = np.ones(len(log_x), bool)
    found[left] = False
    return found if found.sum() <= MOST * len(log_x) else np.zeros(len(log_x), bool)


def _off_all_lines(log_x: Array, log_y: Array, variance: Array) -> Array:
    """The least distance of each point to the lines of its neighbours, by the deviation that noise
    of these variances gives it; 0 where these differ in sign, [points].

    No neighbour is on all three lines, so that an outlier makes none of its neighbours one. The
    largest over neighbours 1 to WIDEST points away; 0 where there are not two on either side.
    """
    largest = np.zeros(len(log_x))
    for step in range(1, WIDEST + 1):
        here = np.arange(2 * step, len(log_x) - 2 * step)
        away = []
        for one, other in ((-step, step), (-2 * step, -step), (2 * step, step)):
            share = (log_x[here] - log_x[here + one]) / (log_x[here + other] - log_x[here + one])
            line = (1 - share) * log_y[here + one] + share * log_y[here + other]
            of_line = (1 - share) ** 2 * variance[here + one] + share**2 * variance[here + other]
            away.append((log_y[here] - line) / np.sqrt(variance[here] + of_line))
        sides = np.sign(away)
        least = sides[0] * np.abs(away).min(axis=0) * (sides == sides[0]).all(axis=0)
        largest[here] = np.where(np.abs(least) > np.abs(largest[here]), least, largest[here])
    return largest


def of_outliers(places: Array, kept: Mask, whole: Said, rest: Said, at: float) -> list[Diagnostic]:
    """Outliers without which a forecast is another.

    Either its interval is WIDER, or its median lies outside the interval without them.

    Args:
      places: x of the outliers.
      kept: which points are none, [points].
      whole: the forecast of all points.
      rest: that of the others.
      at: x where the two are compared.
    """
    median, low, high = map(float, whole(at))
    others = tuple(map(float, rest(at)))
    wider = np.log(high / low) >= WIDER * np.log(others[2] / others[1])
    if not wider and others[1] <= median <= others[2]:
        return []
    numbers: dict[str, float | tuple[float, ...]] = {
        "count": float((~kept).sum()),
        "n": float(len(kept)),
        "x": tuple(places.tolist()),
        "at": at,
        "with": (median, low, high),
        "without": others,
    }
    return [Diagnostic("forecast_outliers", numbers=numbers)]
