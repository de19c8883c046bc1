"""The curves: error as a function of the resource spent.

A law is a formula with named parameters; a parameter called c is the floor of its law. This file
knows no data: how well a law describes measured points, and how sure its parameters are, is the
business of `fit.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# Of the numbers that a law is fitted to: what a double holds even after the steepest exponent.
X_RANGE = 1e-30, 1e30
Y_RANGE = 1e-12, 1e12


@dataclass(frozen=True, kw_only=True, eq=False)
class Law:
    """A curve, and what a fit must know about it.

    Everything from `fold` on is for x counted in units of its geometric mean, so that no result
    depends on the unit of x. Functions of parameters take them one by one, broadcast them, and
    return them stacked, [parameters, ...].

    Fields:
      name: what a user types.
      formula: what a reader reads.
      parameters: their names, in the order in which every function here takes them.
      predict: (x, *parameters) -> error.
      source: where the law comes from.
      rescale: (unit, *parameters) -> parameters of the same curve for x in ones, where these are
        for x in multiples of `unit`.
      fold: (*parameters) -> coordinates in which squared errors have a valley without sharp bends,
        for a descent to follow; each grows with its own parameter.
      unfold: (*coordinates) -> parameters.
      slopes: (x, *parameters) -> derivatives of the error by the coordinates.
      guess: (x [points], y [points], weights [replicates, points]) -> parameters to start from,
        [parameters, replicates]; weight 0 hides a point.
      bounds: smallest and largest value of each parameter.
    """

    name: str
    formula: str
    parameters: tuple[str, ...]
    predict: Callable[..., Array]
    source: str
    rescale: Callable[..., Array]
    fold: Callable[..., Array]
    unfold: Callable[..., Array]
    slopes: Callable[..., Array]
    guess: Callable[[Array, Array, Array], Array]
    bounds: tuple[tuple[float, float], ...]


def saturating(x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> Array:
    """Error that leaves a plateau, falls as a power of `x`, and settles on a floor.

        E(x) = a * (x + d) ** -b + c

    On a log-log plot: flat near a * d ** -b + c while x << d, then falling, then flat at c.

    Args:
      x: resource spent, >= 0 (> 0 where d is 0), any shape, same unit as d (say EFLOP).
      a: error above the floor where x + d == 1, >= 0.
      b: exponent, dimensionless, > 0.
      c: irreducible error, in [0, 1) for an error rate.
      d: head start, >= 0; 0 gives the plain power law with a floor.

    Returns:
      Error, same shape as x.

    Source: Zhai et al. 2022, "Scaling Vision Transformers", section 2.2.
    """
    x, a, b, c, d = (np.asarray(each, float) for each in (x, a, b, c, d))
    return a * (x + d) ** -b + c


def power(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """Error that falls as a power of `x` for ever: `saturating` without floor or head start.

        E(x) = a * x ** -b

    On a log-log plot: a straight line of slope -b through a at x == 1. Arguments as in
    `saturating`.

    Source: Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically".
    """
    return saturating(x, a, b, 0.0, 0.0)


def power_floor(x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Array:
    """Error that falls as a power of `x` and settles on a floor: `saturating` with no plateau.

        E(x) = a * x ** -b + c

    On a log-log plot: a straight line of slope -b that bends to flat at c. Arguments as in
    `saturating`.

    Source: Hestness et al. 2017; M2 of Alabdulmohsin et al. 2022, "Revisiting Neural Scaling
    Laws in Language and Vision".
    """
    return saturating(x, a, b, c, 0.0)


def power_shift(x: ArrayLike, a: ArrayLike, b: ArrayLike, d: ArrayLike) -> Array:
    """Error that leaves a plateau and falls as a power of `x`: `saturating` without a floor.

        E(x) = a * (x + d) ** -b

    On a log-log plot: flat near a * d ** -b while x << d, then a straight line of slope -b.
    Arguments as in `saturating`.

    Source: Zhai et al. 2022, section 2.2, with c = 0.
    """
    return saturating(x, a, b, 0.0, d)


def _fold(a: Array, b: Array, c: Array, d: Array) -> Array:
    """log of the excess a (1 + d)^-b at x = 1, log b, c, log(1 + d).

    Where the data hardly bend, b and d grow together by orders of magnitude (towards an
    exponential) and a by many more, along a curved valley; in these coordinates it is straight.
    """
    return np.stack(np.broadcast_arrays(np.log(a) - b * np.log1p(d), np.log(b), c, np.log1p(d)))


def _unfold(excess: Array, exponent: Array, floor: Array, shift: Array) -> Array:
    b = np.exp(exponent)
    return np.stack(
        np.broadcast_arrays(np.exp(excess + b * shift), b, floor, np.expm1(shift)),
    )


def _slopes(x: ArrayLike, a: Array, b: Array, c: Array, d: Array) -> Array:
    reach = (np.asarray(x, float) + d) / (1 + d)
    excess = a * (1 + d) ** -b * reach**-b
    by_exponent, by_shift = -b * np.log(reach) * excess, b * (1 - 1 / reach) * excess
    return np.stack(np.broadcast_arrays(excess, by_exponent, 1.0, by_shift))


def _rescale(unit: float, a: Array, b: Array, c: Array, d: Array) -> Array:
    return np.stack(np.broadcast_arrays(a * unit**b, b, c, d * unit))


def _guess(x: Array, y: Array, weights: Array, floor: bool, shift: bool) -> Array:
    """The best of a grid of (b, d), with (a, c) solved for; [4, replicates].

    Once b and d are given the law is linear in a and c, and the sum of squared relative errors
    is a form of five weighted sums over the points; one matrix product gives each of these for
    all replicates and all of the grid.
    """
    exponents = np.geomspace(0.03, 8, 24)
    shifts = np.r_[0, np.geomspace(x.min() / 30, 3 * x.max(), 16)] if shift else np.zeros(1)
    b, d = (axis.ravel() for axis in np.meshgrid(exponents, shifts))
    fall = (x[:, None] + d) ** -b
    size = fall.max(axis=0)  # so that steep powers neither overflow nor vanish
    fall /= size

    by_y, by_y2 = weights / y, weights / y**2
    aa, ac, cc = by_y2 @ fall**2, by_y2 @ fall, by_y2.sum(axis=1)[:, None]
    ay, cy = by_y @ fall, by_y.sum(axis=1)[:, None]
    lone = ay / aa  # the best a where c is 0
    determinant = aa * cc - ac**2
    solvable = determinant > 1e-12 * aa * cc
    determinant = np.where(solvable, determinant, 1.0)
    a, c = (ay * cc - cy * ac) / determinant, (cy * aa - ay * ac) / determinant
    inside = solvable & (a > 0) & (c > 0) & floor
    a, c = np.where(inside, a, lone), np.where(inside, c, 0.0)
    excess = a**2 * aa + 2 * a * c * ac + c**2 * cc - 2 * (a * ay + c * cy)  # up to a constant
    best = excess.argmin(axis=1)
    rows = np.arange(len(best))
    return np.stack([(a / size)[rows, best], b[best], c[rows, best], d[best]])


def _of_saturating(name: str, formula: str, predict: Callable[..., Array], source: str) -> Law:
    """The law of those letters of a, b, c, d that its formula names; the others are 0."""
    letters = "abcd"
    keep = [k for k, letter in enumerate(letters) if letter in formula]
    bounds = ((1e-9, 1e100), (1e-3, 10.0), (0.0, np.inf), (0.0, 1e6))

    def whole(values: tuple[Array, ...]) -> list[Array]:
        four = [np.zeros(())] * len(letters)
        for k, value in zip(keep, values, strict=True):
            four[k] = value
        return four

    return Law(
        name=name,
        formula=formula,
        parameters=tuple(letters[k] for k in keep),
        predict=predict,
        source=source,
        rescale=lambda unit, *values: _rescale(unit, *whole(values))[keep],
        fold=lambda *values: _fold(*whole(values))[keep],
        unfold=lambda *coordinates: _unfold(*whole(coordinates))[keep],
        slopes=lambda x, *values: _slopes(x, *whole(values))[keep],
        guess=lambda x, y, weights: _guess(x, y, weights, "c" in formula, "d" in formula)[keep],
        bounds=tuple(bounds[k] for k in keep),
    )


_ZHAI = "Zhai et al. 2022, Scaling Vision Transformers, section 2.2"
_HESTNESS = "Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically"

SATURATING = _of_saturating("saturating", "a (x + d)^-b + c", saturating, _ZHAI)
POWER = _of_saturating("power", "a x^-b", power, _HESTNESS)
POWER_FLOOR = _of_saturating("power-floor", "a x^-b + c", power_floor, _HESTNESS)
POWER_SHIFT = _of_saturating("power-shift", "a (x + d)^-b", power_shift, _ZHAI + ", with c = 0")

LAWS = {law.name: law for law in (SATURATING, POWER, POWER_FLOOR, POWER_SHIFT)}
