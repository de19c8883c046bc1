"""Power laws, with and without a floor and a shift: `saturating` and its special cases.

On a log-log plot `power` is a straight line of slope -b, `power-floor` bends from there to flat at
c, and `power-shift` leaves a plateau near a * d ** -b for it. M1 and M2 of Alabdulmohsin et al.
2022, "Revisiting Neural Scaling Laws in Language and Vision", are `power` and `power-floor`.
"""

from __future__ import annotations

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


def _guess(x: Array, y: Array, weights: Array, *, floor: bool, shift: bool) -> Array:
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


PARAMETERS = "a", "b", "c", "d"
ROLES: tuple[Role, ...] = ("scale", "exponent", "floor", "shift")
BOUNDS = (1e-100, 1e100), (1e-3, 10.0), (0.0, np.inf), (0.0, 1e6)


def _of_saturating(name: str, formula: str, source: str, *, without: tuple[Role, ...]) -> Law:
    """`saturating` where the parameters of some roles are 0."""
    keep = [k for k, role in enumerate(ROLES) if role not in without]

    def whole(values: tuple[Array, ...]) -> list[Array]:
        four = [np.zeros(())] * len(ROLES)
        for k, value in zip(keep, values, strict=True):
            four[k] = value
        return four

    def rescale(unit: float, *values: Array) -> Array:
        a, b, c, d = whole(values)
        return stack(a * unit**b, b, c, d * unit)[keep]

    return Law(
        name=name,
        formula=formula,
        parameters=tuple(PARAMETERS[k] for k in keep),
        predict=lambda x, *values: saturating(x, *whole(values)),
        source=source,
        rescale=rescale,
        coordinates=(
            lambda *values: _to_unconstrained(*whole(values))[keep],
            lambda *coordinates: _from_unconstrained(*whole(coordinates))[keep],
        ),
        jacobian=lambda x, *values: _jacobian(x, *whole(values))[keep],
        guess=lambda x, y, weights: _guess(
            x, y, weights, floor="floor" not in without, shift="shift" not in without
        )[keep],
        bounds=tuple(BOUNDS[k] for k in keep),
        roles={PARAMETERS[k]: ROLES[k] for k in keep},
    )


_ZHAI = "Zhai et al. 2022, Scaling Vision Transformers, section 2.2"
_HESTNESS = "Hestness et al. 2017, Deep Learning Scaling is Predictable, Empirically"

SATURATING = _of_saturating("saturating", "a (x + d)^-b + c", _ZHAI, without=())
POWER_SHIFT = _of_saturating(
    "power-shift", "a (x + d)^-b", _ZHAI + ", with c = 0", without=("floor",)
)
POWER_FLOOR = _of_saturating("power-floor", "a x^-b + c", _HESTNESS, without=("shift",))
POWER = _of_saturating("power", "a x^-b", _HESTNESS, without=("floor", "shift"))
