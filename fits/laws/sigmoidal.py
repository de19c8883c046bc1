"""Laws with a ceiling: M3 and M4 of Alabdulmohsin et al. 2022."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, logistic, stack
from fits.laws.law import Law
from fits.laws.varpro import best_of_grid, grid, nnls

NEWTON = 12  # steps at most: within its bounds no exponent s needs more than 8
_REVISITING = "Alabdulmohsin et al. 2022, Revisiting Neural Scaling Laws in Language and Vision"


def levelling(x: ArrayLike, a: ArrayLike, b: ArrayLike, g: ArrayLike) -> Array:
    """Error that falls as a power of `x` until more of it stops helping.

        E(x) = a * (1 / x + g) ** b

    On a log-log plot: a straight line of slope -b that bends to flat at a * g ** b, where x is
    about 1 / g.

    Args:
      x: resource spent, > 0, any shape.
      a: error where 1 / x + g == 1, > 0.
      b: exponent, dimensionless, > 0.
      g: what stays of 1 / x however much is spent, >= 0, in units of 1 / x; 0 gives `power`.

    Returns:
      Error, same shape as x.

    Source: M3 of Alabdulmohsin et al. 2022 (there beta, c, gamma).
    """
    x, a, b, g = arrays(x, a, b, g)
    return a * (1 / x + g) ** b


def _levelling_jacobian(x: ArrayLike, a: Array, b: Array, g: Array) -> Array:
    reach = (1 / np.asarray(x, float) + g) / (1 + g)
    curve = a * (1 + g) ** b * reach**b
    return stack(curve, b * np.log(reach) * curve, b * (1 / reach - 1) * curve)


def _levelling_guess(x: Array, y: Array, weights: Array) -> Array:
    g = np.r_[0, np.geomspace(0.03 / x.max(), 30 / x.min(), 60)]
    line = np.log(1 / x + g[:, None])
    found, misfit = nnls(np.stack([np.ones_like(line), line], 1), np.log(y), weights, free=[0])
    return best_of_grid(misfit, np.exp(found[:, 0]), np.maximum(found[:, 1], 2e-3), g)


def sigmoidal(
    x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike, e: ArrayLike, s: ArrayLike
) -> Array:
    """Error between that of guessing and a floor, a power law of what is left of either.

        (E - c) / (e - E) ** s = a * x ** -b,   solved for E

    On a log-log plot: flat at e, falling with a slope that b and s decide, then flat at c.

    Args:
      x: resource spent, > 0, any shape.
      a: the left side at x == 1, > 0.
      b: exponent near the floor, dimensionless, > 0.
      c: irreducible error, >= 0.
      e: error of a guess, > c.
      s: how the curve leaves the guess, dimensionless, > 0; towards 0 it is POWER_FLOOR.

    Returns:
      Error, same shape as x.

    Source: M4 of Alabdulmohsin et al. 2022 (there beta, -c, epsilon_inf, epsilon_0, alpha).
    """
    x, a, b, c, e, s = arrays(x, a, b, c, e, s)
    return c + _gap(c, e) * logistic(_way(x, a, b, c, e, s))


def _gap(c: Array, e: Array) -> Array:
    """e - c, above 0 even where rounding leaves nothing between floor and guess."""
    return np.maximum(e - c, 1e-16 * e)


def _way(x: ArrayLike, a: Array, b: Array, c: Array, e: Array, s: Array) -> Array:
    """The logit of (E - c) / (e - c), by Newton's method.

    With p that share, log p - s log(1 - p) is what the law gives; as a function of the logit its
    slope lies between 1 and s, and it bends one way only: no step can go astray. A step leaves at
    most half its square of error, so what follows one below 1e-8 is lost in rounding.
    """
    log_a = np.log(np.clip(a, 1e-300, 1e300))  # another unit of x may take it beyond all numbers
    given = log_a - b * np.log(np.asarray(x, float)) - (1 - s) * np.log(_gap(c, e))
    t = np.where(given < 0, given, given / s)
    for _ in range(NEWTON):
        small = np.exp(-np.abs(t))  # one exponential and one logarithm a step: they are what costs
        left = s * np.maximum(t, 0) + np.minimum(t, 0) - (1 - s) * np.log1p(small) - given
        step = left * (1 + small) / np.where(t > 0, small + s, 1 + s * small)
        t = t - step
        if (np.abs(step) <= 1e-8 * (1 + np.abs(t))).all():
            break
    return t


def _sigmoidal_jacobian(x: ArrayLike, a: Array, b: Array, c: Array, e: Array, s: Array) -> Array:
    t, gap = _way(x, a, b, c, e, s), _gap(c, e)
    share, rest = logistic(t), logistic(-t)
    by_given = gap * share * rest / (rest + s * share)
    by_b = -b * np.log(np.asarray(x, float)) * by_given
    return stack(by_given, by_b, 1.0, gap * share, -np.logaddexp(0, t) * s * by_given)


def _sigmoidal_guess(x: Array, y: Array, weights: Array) -> Array:
    if np.ptp(y) <= 1e-12 * y[0]:  # a constant: any way down from elsewhere would be endless
        return stack(1.0, 2e-3, y[:1], y[:1], 1.0)
    floors = y.min() * np.array([0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98, 0.995])
    c, over = grid(floors, np.array([1.005, 1.03, 1.1, 1.3, 2, 5]))
    e = y.max() * over
    left = np.log(y - c[:, None])
    columns = stack(1.0, -np.log(x), np.log(e[:, None] - y)).swapaxes(0, 1)
    found, misfit = nnls(columns, left, weights * (1 - c[:, None] / y) ** 2, free=[0])
    log_a, b, s = found.T
    return best_of_grid(misfit, np.exp(log_a), np.maximum(b, 2e-3), c, e, np.clip(s, 0.05, 10))


def _sigmoidal_to_unconstrained(a: Array, b: Array, c: Array, e: Array, s: Array) -> Array:
    gap = np.log(_gap(c, e))
    return stack(np.log(a) - (1 - s) * gap, np.log(b), c, gap, np.log(s))


def _sigmoidal_from_unconstrained(given: Array, b: Array, c: Array, gap: Array, s: Array) -> Array:
    log_a = np.clip(given + (1 - np.exp(s)) * gap, -690, 690)  # what a double holds
    return stack(np.exp(log_a), np.exp(b), c, c + np.exp(gap), np.exp(s))


M3 = Law(
    name="m3",
    formula="a (1/x + g)^b",
    parameters=("a", "b", "g"),
    predict=levelling,
    source=_REVISITING + ", M3",
    rescale=lambda unit, a, b, g: stack(a * unit**b, b, g / unit),
    coordinates=(
        lambda a, b, g: stack(np.log(a) + b * np.log1p(g), np.log(b), np.log1p(g)),
        lambda at, b, g: stack(np.exp(at - np.exp(b) * g), np.exp(b), np.expm1(g)),
    ),
    jacobian=_levelling_jacobian,
    guess=_levelling_guess,
    bounds=((1e-100, 1e100), (1e-3, 10.0), (0.0, 1e6)),
    roles={"a": "scale", "b": "exponent"},
)
M4 = Law(
    name="m4",
    formula="(E - c) / (e - E)^s = a x^-b",
    parameters=("a", "b", "c", "e", "s"),
    predict=sigmoidal,
    source=_REVISITING + ", M4",
    rescale=lambda unit, a, b, c, e, s: stack(a * unit**b, b, c, e, s),
    coordinates=(_sigmoidal_to_unconstrained, _sigmoidal_from_unconstrained),
    jacobian=_sigmoidal_jacobian,
    guess=_sigmoidal_guess,
    bounds=((1e-100, 1e100), (1e-3, 10.0), (0.0, 1e12), (1e-12, 1e13), (1e-2, 20.0)),
    roles={"a": "scale", "b": "exponent", "c": "floor", "e": "chance"},
)
