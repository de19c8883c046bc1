"""Recipe A against recipe B: the ratio of their laws, and compute saved at equal error.

Both come from bands alone, so whatever has a curve and a band can be compared. The two studies are
taken as independent: on log axes their reaches add as the sides of a right angle do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Estimate
from fits.regression.fit import Fit

REACH = 1e3  # how far beyond the points fitted an equal error is looked for, as a factor
GRID = 13


@dataclass(frozen=True, kw_only=True)
class At:
    """The two laws at one x.

    Fields:
      x: resource spent by either.
      error_a, error_b: of the fitted curves.
      ratio: error of B over that of A.
      share_a: of the variance of its logarithm that comes from A, in [0, 1].
    """

    x: float
    error_a: float
    error_b: float
    ratio: Estimate
    share_a: float

    @property
    def is_decided(self) -> bool:
        """Whether the interval of the ratio excludes 1."""
        return self.ratio.low > 1 or self.ratio.high < 1


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The two laws at one error.

    Fields:
      error: that both are to reach.
      x_a, x_b: what that costs; None: less or more than REACH times beyond the x fitted.
      factor: x_a / x_b, how many times cheaper B is; None where one of them is.
    """

    error: float
    x_a: float | None
    x_b: float | None
    factor: Estimate | None


def span(fit: Fit) -> tuple[float, float]:
    """Smallest and largest x fitted, of a law of one variable."""
    first, last = fit.span
    return float(first), float(last)


def ratio(a: Fit, b: Fit, x: ArrayLike) -> tuple[Array, Array, Array]:
    """E_B / E_A at `x` and the ends of its interval, each of the shape of `x`."""
    (log_a, down_a, up_a), (log_b, down_b, up_b) = _reaches(a, x), _reaches(b, x)
    centre = log_b - log_a
    low, high = centre - np.hypot(down_b, up_a), centre + np.hypot(up_b, down_a)
    return np.exp(centre), np.exp(low), np.exp(high)


def _reaches(fit: Fit, x: ArrayLike) -> tuple[Array, Array, Array]:
    """Log of the curve, and how far the band reaches below and above it."""
    centre, (low, high) = np.log(fit.predict(x)), np.log(fit.band(x))
    return centre, centre - low, high - centre


def at(a: Fit, b: Fit, x: float) -> At:
    value, low, high = (float(each) for each in ratio(a, b, x))
    spread_a, spread_b = (sum(each**2 for each in _reaches(fit, x)[1:]) for fit in (a, b))
    return At(
        x=x,
        error_a=float(a.predict(x)),
        error_b=float(b.predict(x)),
        ratio=Estimate(value=value, low=low, high=high),
        share_a=float(spread_a / max(spread_a + spread_b, 1e-300)),
    )


def saved(a: Fit, b: Fit, error: float) -> Saved:
    """What reaching `error` costs either; interval ends where the band, not the curve, does."""
    costs_a, costs_b = _costs(a, error), _costs(b, error)
    factor = None
    if 0 < costs_a[0] < np.inf and 0 < costs_b[0] < np.inf:
        with np.errstate(divide="ignore"):
            (log_a, least_a, most_a), (log_b, least_b, most_b) = np.log(costs_a), np.log(costs_b)
            factor = Estimate(
                value=float(np.exp(log_a - log_b)),
                low=float(np.exp(log_a - log_b - np.hypot(log_a - least_a, most_b - log_b))),
                high=float(np.exp(log_a - log_b + np.hypot(most_a - log_a, log_b - least_b))),
            )
    x_a, x_b = (float(each[0]) if 0 < each[0] < np.inf else None for each in (costs_a, costs_b))
    return Saved(error=error, x_a=x_a, x_b=x_b, factor=factor)


def _costs(fit: Fit, error: float) -> Array:
    """x at which the curve falls to `error`, and x at which its band's low and high end do.

    0 or infinite where that is more than REACH times beyond the x fitted.
    """
    first, last = span(fit)
    curves = [fit.predict, lambda x: fit.band(x)[0], lambda x: fit.band(x)[1]]
    return np.array([_falls_to(error, curve, first / REACH, last * REACH) for curve in curves])


def _falls_to(error: float, curve: Callable[[Array], Array], first: float, last: float) -> float:
    """The x at which a curve first reaches an error from above: on ever finer grids."""
    for _ in range(3):
        x = np.geomspace(first, last, GRID)
        height = curve(x)
        below = np.flatnonzero(height <= error)
        if not len(below):
            return float("inf")
        after = below[0]
        if after == 0:
            return 0.0
        first, last = x[after - 1], x[after]
    ends = np.log(height[[after, after - 1]])
    return float(np.exp(np.interp(np.log(error), ends, np.log([last, first]))))


def diagnostics(a: Fit, b: Fit) -> list[Diagnostic]:
    """What the intervals of a comparison do not tell, beside what is doubtful of each fit."""
    (first_a, last_a), (first_b, last_b) = span(a), span(b)
    first, last = max(first_a, first_b), min(last_a, last_b)
    if first >= last:
        return [Diagnostic("no_common_range")]
    grid = np.geomspace(first, last, 200)
    above = b.predict(grid) > a.predict(grid)
    crossings = tuple(grid[1:][above[1:] != above[:-1]].tolist())
    return [Diagnostic("curves_cross", numbers={"x": crossings})] if crossings else []
