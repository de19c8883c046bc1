"""The end of a curve that falls ever faster, faster than every law that was fitted.

A curve that drops late, as one does where a network begins to understand, has no law of its own.
This file recognises the drop and continues it for about as long, in log x, as it has been seen,
with an interval that says how little is known.

x and y are counted in units of the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array

LEAST = 3  # points of the end
SHARE = 0.25  # of the points that are the end, or LEAST
STEEPER = 2.0  # times as steep as the rest before it
ABOVE = 0.02  # log error by which the members miss the last point, besides three times the noise
UNSURE = 0.4  # standard deviation of the fall ahead, as a share of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Steep:
    """A steep end."""

    slope: float  # of log y by log x over the end, > 0 where y falls
    before: float  # the same before the end
    length: float  # of the end, in e-folds of x
    points: int  # in the end
    noise: float  # standard deviation of log y about the slope

    @property
    def numbers(self) -> dict[str, float]:
        """For the diagnostic."""
        return {"late": self.slope, "early": self.before, "n": float(self.points)}

    def follow(self, x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        """Mean and variance of log y: the members' up to the last x, beyond it the slope's.

        The slope goes on over as many e-folds as it was seen, ever less of it; the deviation grows
        on, because a fall may also go on for longer.
        """
        ahead = np.maximum(np.log(x), 0) / self.length
        fall = self.slope * self.length * -np.expm1(-ahead)
        deviation = UNSURE * self.slope * self.length * np.log1p(ahead)
        beyond = x > 1
        return (
            np.where(beyond, -fall, mean),
            np.where(beyond, deviation**2 + self.noise**2, variance),
        )


def missed(members: float, noise: float) -> bool:
    """Whether the members lie farther from the last point than noise explains.

    Args:
      members: what they say log y is at the last x, less what it is; below 0 where they lie lower.
      noise: standard deviation of log y from point to point.
    """
    return abs(members) >= ABOVE + 3 * noise


def steep_end(log_x: Array, log_y: Array, members: float, noise: float) -> Steep | None:
    """The steep end of a curve; None where there is none, or the last point alone lies low.

    Args:
      log_x, log_y: rising, in units of the last, [points].
      members: what they say log y is at the last x.
      noise: standard deviation of log y from point to point.
    """
    count = max(LEAST, round(SHARE * len(log_x)))
    if len(log_x) < 2 * LEAST or members < 0 or not missed(members, noise):
        return None
    slope, about = _slope(log_x[-count:], log_y[-count:])
    before, _ = _slope(log_x[:-count], log_y[:-count])
    without_last, _ = _slope(log_x[-count:-1], log_y[-count:-1])
    if slope < STEEPER * max(before, 0.0) or without_last < slope / STEEPER:
        return None
    length = float(log_x[-1] - log_x[-count])
    return Steep(slope=slope, before=before, length=length, points=count, noise=about)


def _slope(log_x: Array, log_y: Array) -> tuple[float, float]:
    """How steeply a line through the points falls, and the standard deviation about it."""
    x, y = log_x - log_x.mean(), log_y - log_y.mean()
    slope = float(x @ y) / max(float(x @ x), 1e-300)
    freedom = max(len(x) - 2, 1)
    return -slope, float(np.sqrt(((y - slope * x) ** 2).sum() / freedom))
