"""Which of some running trainings cannot matter any more, by forecasts of their learning curves.

Racing (Maron and Moore 1994) on forecasts: each curve is continued to where all are compared, and a
run is stopped as soon as enough others will end lower, each with a high probability. Successive
halving (Jamieson and Talwalkar 2016) compares the losses as they are now, and stops a fixed part of
the runs whether or not they can be told apart. This file knows no table and stops nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Mask
from fits.forecast.forecast import Forecast, forecast
from fits.forecast.schedule import Schedule
from fits.forecast.scheduled import LEAST as SCHEDULED
from fits.forecast.scheduled import ScheduledForecast, scheduled

LEAST = 4  # different x of a curve, below which nothing is said of its run
DELTA = 0.05  # probability of being wrong about a pair of runs
_LEVEL = 0.9  # at which a forecast is asked how sure it is


@dataclass(frozen=True, kw_only=True, eq=False)
class Race:
    """Where some running curves will end.

    Fields:
      error: forecast of each, [runs].
      low, high: ends of its 90 % interval.
      lower: probability that another run ends lower than each, [runs, by which other].
      stopped: which runs can hardly be among the best, [runs].
      diagnostics: what speaks against each forecast, [runs].
    """

    error: Array
    low: Array
    high: Array
    lower: Array
    stopped: Mask
    diagnostics: tuple[tuple[Diagnostic, ...], ...]


def race(
    curves: Sequence[tuple[Array, Array]],
    until: float,
    *,
    keep: int = 1,
    delta: float = DELTA,
    schedule: Schedule | None = None,
    diverged: Collection[int] = (),
) -> Race:
    """Which runs cannot be among the best.

    A run is stopped where `keep` others will end lower, each with a probability of at least
    1 - delta. The errors of two forecasts are taken to be independent; those of curves that are
    alike tend to agree, and such runs are kept longer than they need be. A run of fewer than LEAST
    points (of five, where a schedule is told), or that has diverged, is neither stopped nor stops
    another.

    Args:
      curves: x and error of each run so far, [points] each; a run that has come to `until` has
        its error there for a forecast, without an interval.
      until: x where the runs are compared.
      keep: how many of the best matter, at least 1.
      delta: probability of being wrong about a pair, in (0, 0.5).
      schedule: of the learning rate of all runs, falling up to `until`; None: it is not told.
      diverged: numbers of the runs whose loss is no number after their points.

    Raises:
      ValueError: no run, or a keep or delta out of range, or a curve that has no forecast.
    """
    if not curves or keep < 1 or not 0 < delta < 0.5:
        raise ValueError(
            f"{len(curves)} curves, keep={keep}, delta={delta:g}; give at least one curve, a keep "
            "of at least 1 and a delta between 0 and 0.5."
        )
    ends, diagnostics, out = [], [], []
    for k, (x, y) in enumerate(curves):
        made = _forecast(x, y, until, schedule)
        ends.append(end_of(x, y, until, schedule) if made is None else _interval(made, until))
        diagnostics.append(() if made is None else made.diagnostics)
        out.append(k in diverged or (made is not None and _too_few(x, schedule)))
    error, low, high = np.array(ends).T
    lower = undercut(np.array(ends))
    lower[out] = lower[:, out] = 0.0
    return Race(
        error=error,
        low=low,
        high=high,
        lower=lower,
        stopped=stopped_by(lower, keep, delta),
        diagnostics=tuple(diagnostics),
    )


def undercut(ends: Array) -> Array:
    """Probability that another run ends lower than each, [runs, by which other].

    Args:
      ends: from `end_of` each, [runs, 3]. Of two that are measured the lower is so for certain.
    """
    from scipy.special import ndtr

    middle = np.log(ends[:, 0])
    deviation = np.log(ends[:, 2] / ends[:, 1]) / (2 * NormalDist().inv_cdf((1 + _LEVEL) / 2))
    apart = middle[:, None] - middle
    spread = np.hypot(deviation[:, None], deviation)
    far = np.clip(apart / np.maximum(spread, 1e-300), -40, 40)
    return np.asarray(ndtr(far))


def stopped_by(lower: Array, keep: int = 1, delta: float = DELTA) -> Mask:
    """Which runs at least `keep` others undercut, each with a probability of over 1 - delta."""
    return np.asarray((lower > 1 - delta).sum(axis=1) >= keep)


def end_of(
    x: ArrayLike, y: ArrayLike, until: float, schedule: Schedule | None = None
) -> tuple[float, float, float]:
    """Forecast of a curve at `until` and its 90 % interval; what was measured, if it is there.

    Between two points that is on the line through them on log axes.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    made = _forecast(x, y, until, schedule)
    if made is not None:
        return _interval(made, until)
    if (at := x == until).any():
        there = float(y[at].mean())
    else:
        each, which, count = np.unique(x, return_inverse=True, return_counts=True)
        mean = np.bincount(which, np.log(y)) / count
        there = float(np.exp(np.interp(np.log(until), np.log(each), mean)))
    return there, there, there


def _forecast(
    x: Array, y: Array, until: float, schedule: Schedule | None
) -> Forecast | ScheduledForecast | None:
    """Of a curve that is shorter; None: it is there. Too few points for a schedule go without."""
    if len(x) and x.max() >= until:
        return None
    if schedule is None or _too_few(x, schedule):
        return forecast(x, y)
    return scheduled(x, y, schedule)


def _too_few(x: Array, schedule: Schedule | None) -> bool:
    return len(np.unique(x)) < (LEAST if schedule is None else SCHEDULED)


def _interval(made: Forecast | ScheduledForecast, until: float) -> tuple[float, float, float]:
    median, low, high = made(until, _LEVEL)
    return float(median), float(low), float(high)
