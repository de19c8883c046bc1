"""Powers of either sign: best size, best data, best batch or best rate against compute or size.

What such a law gives is no error: it may grow without bound, and has no floor.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import X_RANGE, Array, arrays, stack
from fits.laws.law import Law, Role

EXPONENT = -10.0, 10.0  # bounds
SCALE = 1e-100, 1e100


def growth(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """A quantity that grows as a power of `x`, or falls as one where b is below 0.

        y(x) = a * x ** b

    On a log-log plot: a straight line of slope b.

    Args:
      x: say compute, > 0, any shape.
      a: the quantity where x == 1, > 0, say parameters.
      b: exponent, dimensionless, of either sign.

    Returns:
      The quantity, same shape as x.

    Source: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", section 3.
    """
    x, a, b = arrays(x, a, b)
    return a * x**b


def product(x: ArrayLike, c: ArrayLike, *exponents: ArrayLike) -> Array:
    """A quantity that is a product of powers of several variables.

        y(N, D) = c * N ** a * D ** b

    On a log-log-log plot: a plane.

    Args:
      x: the variables along its first axis, > 0.
      c: the quantity where all of them are 1, > 0.
      exponents: one a variable, dimensionless, of either sign.

    Returns:
      The quantity, of the shape that the variables have together.

    Source: Li et al. 2025, "Predictable Scale: Part I, Step Law", the best learning rate.
    """
    logarithm = np.log(np.asarray(c, float))
    for variable, exponent in zip(np.log(np.asarray(x, float)), exponents, strict=True):
        logarithm = logarithm + np.asarray(exponent, float) * variable
    return np.asarray(np.exp(logarithm))


def _guess(x: Array, y: Array, weights: Array) -> Array:
    """Least squares on log axes, [parameters, 1]."""
    logs = np.log(np.atleast_2d(x))
    roots = np.sqrt(weights)
    design = np.stack([np.ones_like(y), *logs], axis=1) * roots[:, None]
    (height, *exponents), *_ = np.linalg.lstsq(design, np.log(y) * roots, rcond=None)
    return np.array([[np.exp(height)], *([np.clip(each, *EXPONENT)] for each in exponents)])


def _jacobian(x: Array, c: Array, *exponents: Array) -> Array:
    logs = np.log(np.atleast_2d(x)) if len(exponents) == 1 else np.log(x)
    height = np.exp(np.log(c) + sum(e * n for e, n in zip(exponents, logs, strict=True)))
    return stack(height, *(height * each for each in logs))


def _rescale(unit: Array | float, c: Array, *exponents: Array) -> Array:
    logs = np.log(np.atleast_1d(np.asarray(unit, float)))
    shift = sum(e * n for e, n in zip(exponents, logs, strict=True))
    return stack(np.exp(np.log(c) - shift), *exponents)


_of_powers = partial(
    Law, guess=_guess, rescale=_rescale, jacobian=_jacobian, gives="y", y_range=X_RANGE
)
_HOFFMANN = "Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, section 3"
_STEP = "Li et al. 2025, Predictable Scale: Part I, Step Law"
_ROLES: dict[str, Role] = {"a": "exponent", "b": "exponent"}

GROWTH = _of_powers(
    name="growth",
    formula="a x^b",
    parameters=("a", "b"),
    predict=growth,
    source=_HOFFMANN,
    bounds=(SCALE, EXPONENT),
    roles={"a": "scale", "b": "exponent"},
)
PRODUCT = _of_powers(
    name="product",
    formula="c N^a D^b",
    parameters=("c", "a", "b"),
    predict=product,
    source=_STEP,
    bounds=(SCALE, EXPONENT, EXPONENT),
    roles={"c": "scale", **_ROLES},
    variables=("N", "D"),
    units=(0, 1),
)
PRODUCT_3 = _of_powers(
    name="product-3",
    formula="c N^a D^b B^e",
    parameters=("c", "a", "b", "e"),
    predict=product,
    source=f"{_STEP}, with a third variable, say the batch",
    bounds=(SCALE, EXPONENT, EXPONENT, EXPONENT),
    roles={"c": "scale", **_ROLES, "e": "exponent"},
    variables=("N", "D", "B"),
    units=(0, 1, 2),
)
