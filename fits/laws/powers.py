"""Power laws, with and without a floor and a shift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.law import Law, Role
from fits.laws.varpro import best_of_grid, grid, nnls


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
    x, a, b, c, d = arrays(x, a, b, c, d)
    return a * (x + d) ** -b + c


def power(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """Error that falls as a power of `x` for ever: `saturating` without floor or head start.

        E(x) = a * x ** -b

    On a log-log plot: a straight line of slope -b through a at x == 1. Arguments as in
    `saturating`.

    Source: Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically"; M1 of
    Alabdulmohsin et al. 2022, "Revisiting Neural Scaling Laws in Language and Vision".
    """
    return saturating(x, a, b, 0.0, 0.0)


def power_floor(x: ArrayLike, a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Array:
    """Error that falls as a power of `x` and settles on a floor: `saturating` with no plateau.

        E(x) = a * x ** -b + c

    On a log-log plot: a straight line of slope -b that bends to flat at c. Arguments as in
    `saturating`.

    Source: Hestness et al. 2017; M2 of Alabdulmohsin et al. 2022.
    """
    return saturating(x, a, b, c, 0.0)


def power_shift(x: ArrayLike, a: ArrayLike, b: ArrayLike, d: ArrayLike) -> Array:
    """Error that leaves a plateau and then falls for ever: `saturating` with no floor.

        E(x) = a * (x + d) ** -b

    On a log-log plot: flat near a * d ** -b while x << d, then a straight line of slope -b.
    Arguments as in `saturating`.

    Source: Zhai et al. 2022, section 2.2, with c = 0.
    """
    return saturating(x, a, b, 0.0, d)


def _to_unconstrained(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Excess over the floor at x == 1, exponent, floor, shift.

    Where the data hardly bend, b and d grow together by orders of magnitude (towards an
    exponential) and a by many more, along a curved valley; in these coordinates it is straight.
    """
    return stack(np.log(a) - b * np.log1p(d), np.log(b), c, np.log1p(d))


def _from_unconstrained(excess: Array, exponent: Array, floor: Array, shift: Array) -> Array:
    b = np.exp(exponent)
    return stack(np.exp(excess + b * shift), b, floor, np.expm1(shift))


def _jacobian(x: ArrayLike, a: Array, b: Array, c: Array, d: Array) -> Array:
    reach = (np.asarray(x, float) + d) / (1 + d)
    excess = a * (1 + d) ** -b * reach**-b
    return stack(excess, -b * np.log(reach) * excess, 1.0, b * (1 - 1 / reach) * excess)


def _guess(x: Array, y: Array, weights: Array, floor: bool, shift: bool) -> Array:
    """The best of a grid of (b, d), with (a, c) solved for by relative errors."""
    shifts = np.r_[0, np.geomspace(x.min() / 30, 3 * x.max(), 16)] if shift else np.zeros(1)
    b, d = grid(np.geomspace(0.03, 8, 24), shifts)
    logarithm = -b[:, None] * np.log(x + d[:, None])
    size = logarithm.max(axis=1)  # so that steep powers neither overflow nor vanish
    fall = np.exp(logarithm - size[:, None])
    terms = np.stack([fall, np.ones_like(fall)] if floor else [fall], axis=1)
    found, misfit = nnls(terms / y, np.ones_like(y), weights)
    a = np.exp(np.log(np.maximum(found[:, 0], 1e-300)) - size)
    return best_of_grid(misfit, a, b, found[:, 1] if floor else np.zeros(1), d)


def _of_saturating(name: str, formula: str, predict: Callable[..., Array], source: str) -> Law:
    """The law of those letters of a, b, c, d that its formula names; the others are 0."""
    letters = "abcd"
    keep = [k for k, letter in enumerate(letters) if letter in formula]
    bounds = ((1e-100, 1e100), (1e-3, 10.0), (0.0, np.inf), (0.0, 1e6))
    roles: tuple[Role, ...] = ("scale", "exponent", "floor", "shift")

    def whole(values: tuple[Array, ...]) -> list[Array]:
        four = [np.zeros(())] * len(letters)
        for k, value in zip(keep, values, strict=True):
            four[k] = value
        return four

    def rescale(unit: float, *values: Array) -> Array:
        a, b, c, d = whole(values)
        return stack(a * unit**b, b, c, d * unit)[keep]

    return Law(
        name=name,
        formula=formula,
        parameters=tuple(letters[k] for k in keep),
        predict=predict,
        source=source,
        rescale=rescale,
        to_unconstrained=lambda *values: _to_unconstrained(*whole(values))[keep],
        from_unconstrained=lambda *coordinates: _from_unconstrained(*whole(coordinates))[keep],
        jacobian=lambda x, *values: _jacobian(x, *whole(values))[keep],
        guess=lambda x, y, weights: _guess(x, y, weights, "c" in formula, "d" in formula)[keep],
        bounds=tuple(bounds[k] for k in keep),
        roles={letters[k]: roles[k] for k in keep},
    )


_ZHAI = "Zhai et al. 2022, Scaling Vision Transformers, section 2.2"
_HESTNESS = "Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically"

SATURATING = _of_saturating("saturating", "a (x + d)^-b + c", saturating, _ZHAI)
POWER = _of_saturating("power", "a x^-b", power, _HESTNESS)
POWER_FLOOR = _of_saturating("power-floor", "a x^-b + c", power_floor, _HESTNESS)
POWER_SHIFT = _of_saturating("power-shift", "a (x + d)^-b", power_shift, _ZHAI + ", with c = 0")
M1, M2 = POWER, POWER_FLOOR
