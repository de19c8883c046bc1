"""SoViT's law of one dimension of a model and compute."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.chinchilla import EXPONENT, FLOOR, SCALE
from fits.laws.law import Law, log_coordinates
from fits.laws.varpro import best_of_grid, grid, nnls


def shape_law(
    x: ArrayLike,
    t: ArrayLike,
    alpha: ArrayLike,
    a: ArrayLike,
    beta: ArrayLike,
    b: ArrayLike,
    xi: ArrayLike,
    c: ArrayLike,
    eps: ArrayLike,
) -> Array:
    """Error of a model of which one dimension is varied: its width, depth or MLP.

        f(x, t) = alpha * x ** -a + (beta * x ** b + xi) * t ** -c + eps

    On a log-log plot against x at constant compute: a valley, with its lowest point at
    (alpha a t ** c / (beta b)) ** (1 / (a + b)); against t at constant x: falling with slope -c
    to a floor that x decides.

    Args:
      x: the dimension (width, depth or MLP), > 0.
      t: compute spent on training, > 0, say GFLOP.
      alpha: error that a dimension of 1 would leave, > 0.
      a: exponent of the dimension, > 0.
      beta: how much a larger dimension slows learning, > 0.
      b: exponent of that, > 0.
      xi: error at t == 1 that no dimension decides, >= 0.
      c: exponent of compute, > 0.
      eps: irreducible error, >= 0.

    Returns:
      Error, of the shape that x and t have together.

    Source: Alabdulmohsin et al. 2023, "Getting ViT in Shape", equation 2.
    """
    x, t = np.log(x), np.log(t)
    alpha, a, beta, b, xi, c, eps = arrays(alpha, a, beta, b, xi, c, eps)
    slowed = np.exp(np.log(beta) + b * x) + xi
    return np.exp(np.log(alpha) - a * x) + slowed * np.exp(-c * t) + eps


def _shape_jacobian(
    x: Array, alpha: Array, a: Array, beta: Array, b: Array, xi: Array, c: Array, eps: Array
) -> Array:
    dimension, t = np.log(x)
    small, large = np.exp(np.log(alpha) - a * dimension), np.exp(np.log(beta) + b * dimension)
    fall = np.exp(-c * t)
    return stack(
        small,
        -dimension * small,
        large * fall,
        dimension * large * fall,
        fall,
        -t * (large + xi) * fall,
        1.0,
    )


def _shape_guess(x: Array, y: Array, weights: Array) -> Array:
    a, b, c = grid(np.geomspace(0.1, 3, 8), np.geomspace(0.1, 3, 8), np.geomspace(0.1, 2, 8))
    dimension, t = np.log(x)
    fall = np.exp(-c[:, None] * t)
    small, large = np.exp(-a[:, None] * dimension), np.exp(b[:, None] * dimension) * fall
    found, misfit = nnls(
        stack(small, large, fall, 1.0).swapaxes(0, 1) / y, np.ones_like(y), weights
    )
    alpha, beta, xi, eps = found.T
    tiny = 1e-6 * y.min()
    alpha, beta = np.maximum(alpha, tiny), np.maximum(beta, tiny)
    return best_of_grid(misfit, alpha, a, beta, b, xi, c, eps, count=24)


SHAPE = Law(
    name="shape",
    formula="alpha x^-a + (beta x^b + xi) t^-c + eps",
    parameters=("alpha", "a", "beta", "b", "xi", "c", "eps"),
    predict=lambda x, *values: shape_law(x[0], x[1], *values),
    source="Alabdulmohsin et al. 2023, Getting ViT in Shape, equation 2",
    rescale=lambda unit, alpha, a, beta, b, xi, c, eps: stack(
        *(alpha * unit[0] ** a, a, beta * unit[0] ** -b * unit[1] ** c, b, xi * unit[1] ** c),
        *(c, eps),
    ),
    coordinates=log_coordinates("lplpppp"),
    jacobian=_shape_jacobian,
    guess=_shape_guess,
    bounds=(SCALE, EXPONENT, SCALE, EXPONENT, FLOOR, EXPONENT, FLOOR),
    roles={
        "eps": "floor",
        "a": "exponent",
        "b": "exponent",
        "c": "exponent",
        "alpha": "scale",
        "beta": "scale",
        "xi": "scale",
    },
    variables=("x", "t"),
    units=(0, 1),
)
