"""Which of some running trainings cannot matter any more, by forecasts of their learning curves.

Racing (Maron and Moore 1994) on forecasts: each curve is continued to where all are compared, and a
run is stopped as soon as enough others will end lower, each with a high probability. Successive
halving (Jamieson and Talwalkar 2016) compares the losses as they are now, and stops a fixed part of
the runs whether or not they can be told apart. This file knows no table and stops nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, Mask
from fits.forecast.forecast import forecast
from fits.forecast.schedule import Schedule
from fits.forecast.scheduled import scheduled

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
    """

    error: Array
    low: Array
    high: Array
    lower: Array
    stopped: Mask


def race(
    curves: Sequence[tuple[Array, Array]],
    until: float,
    *,
    keep: int = 1,
    delta: float = DELTA,
    schedule: Schedule | None = None,
) -> Race:
    """Which runs cannot be among the best.

    A run is stopped where `keep` others will end lower, each with a probability of at least
    1 - delta. The errors of two forecasts are taken to be independent; those of curves that are
    alike tend to agree, and such runs are kept longer than they need be.

    Args:
      curves: x and error of each run so far, [points] each; a run that has come to `until` has
        its last point for a forecast, without an interval.
      until: x where the runs are compared.
      keep: how many of the best matter, at least 1.
      delta: probability of being wrong about a pair, in (0, 0.5).
      schedule: of the learning rate of all runs, falling up to `until`; None: it is not told.

    Raises:
      ValueError: no run, or a keep or delta out of range, or a curve that has no forecast.
    """
    if not curves or keep < 1 or not 0 < delta < 0.5:
        raise ValueError(
            f"{len(curves)} curves, keep={keep}, delta={delta:g}; give at least one curve, a keep "
            "of at least 1 and a delta between 0 and 0.5."
        )
    ends = np.array([end_of(x, y, until, schedule) for x, y in curves])
    error, low, high = ends.T
    lower = undercut(ends)
    return Race(
        error=error, low=low, high=high, lower=lower, stopped=stopped_by(lower, keep, delta)
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
    """Forecast of a curve at `until` and its 90 % interval; what was measured, if it is there."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if len(x) and x.max() >= until:
        last = float(y[np.argmax(x)])
        return last, last, last
    made = forecast(x, y) if schedule is None else scheduled(x, y, schedule)
    median, low, high = made(until, _LEVEL)
    return float(median), float(low), float(high)
