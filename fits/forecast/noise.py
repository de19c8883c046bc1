"""The noise of the end of a curve, which is what the next measurement will have.

The misfit of a law to all points is no measure of it: a warm-up lies off every smooth curve by more
than the last points scatter. This file knows points alone, and no law.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array

LEAST = 4  # points, below which nothing tells
SURE = 0.05  # level of the test that the later half has less noise than all points
WORTH = 1.0  # points that the noise of all is worth
MEDIAN = 0.4549  # of the square of a standard normal number
UNTESTED = 0.01  # noise of log y where too few points tell


class LateNoise(NamedTuple):
    """Noise of log y over the later half of the points."""

    variance: float  # from point to point
    points: int  # from how many it was measured; 0: too few points to tell

    @property
    def deviation(self) -> float:
        """Standard deviation from point to point, UNTESTED where too few points tell: a log error
        below which one forecast is no better than another."""
        return float(np.sqrt(self.variance)) if self.points else UNTESTED

    def ahead(self, whole: float, freedom: int) -> float:
        """Variance beyond the last point: that of the whole curve, or of the later half if less.

        It is less where an F test says so; the distances that measure it overlap, so that they are
        worth half as many. Its logarithm is averaged with that of the whole, and Student's interval
        is wider than the normal one by about 1 + 2 / points in its square, as in `evidence.py`.

        Args:
          whole: variance about a law through all points.
          freedom: points less parameters of that law.
        """
        from scipy.special import fdtr  # here: SciPy is slow to load

        if not self.points or self.variance >= whole:
            return whole
        ratio = self.variance / whole
        if fdtr(self.points / 2, max(freedom, 1), ratio) > SURE:
            return whole
        pooled = whole * max(ratio, 1e-30) ** (self.points / (self.points + WORTH))
        return float(min(whole, pooled * (self.points + 3) / self.points))


def late_noise(log_x: Array, log_y: Array) -> LateNoise:
    """From the distance of each point to the line through its neighbours, which needs no fit.

    Gasser, Sroka and Jennen-Steinmetz 1986.

    Args:
      log_x, log_y: each x once, rising, [points].
    """
    if len(log_x) < LEAST:
        return LateNoise(0.0, 0)
    noise = _squares(log_x, log_y)
    late = noise[len(noise) // 2 :]
    return LateNoise(float(np.mean(late)), len(late))


def usual_noise(log_x: Array, log_y: Array) -> float:
    """Standard deviation of log y from point to point, by the median of the same squares.

    A sharp bend, or a few points that lie far off, do not count as noise. UNTESTED where too few
    points tell.
    """
    if len(log_x) < LEAST:
        return UNTESTED
    return float(np.sqrt(np.median(_squares(log_x, log_y)) / MEDIAN))


def _squares(log_x: Array, log_y: Array) -> Array:
    """Of the distance of each point but the ends to its neighbours' line, in units whose mean is
    the variance of log y, [points - 2]."""
    before = (log_x[2:] - log_x[1:-1]) / (log_x[2:] - log_x[:-2])
    after = 1 - before
    away = before * log_y[:-2] + after * log_y[2:] - log_y[1:-1]
    return np.asarray(away**2 / (before**2 + after**2 + 1))
