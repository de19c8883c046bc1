"""L(N, D): loss as a function of model size and data.

x holds the variables along its first axis, in the order of `law.variables`:
`fit(CHINCHILLA, (params, tokens), loss)`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.law import Law, log_coordinates
from fits.laws.varpro import best_of_grid, grid, nnls


def chinchilla(
    params: ArrayLike,
    data: ArrayLike,
    E: ArrayLike,
    A: ArrayLike,
    alpha: ArrayLike,
    B: ArrayLike,
    beta: ArrayLike,
) -> Array:
    """Loss that neither a larger model nor more data alone can bring down to its floor.

        L(N, D) = E + A / N ** alpha + B / D ** beta

    On a log-log plot against N at constant D: falling with slope -alpha above a floor that D
    decides, E + B / D ** beta; and the other way round.

    Args:
      params: parameters of the model N, > 0.
      data: tokens or images seen D, > 0, of a shape that goes with that of `params`.
      E: irreducible loss, >= 0, in the unit of the loss (nats a token).
      A, B: loss above E that one parameter, or one token, would leave, > 0.
      alpha, beta: exponents, dimensionless, > 0.

    Returns:
      Loss, of the shape that `params` and `data` have together.

    Source: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", equation 2.
    """
    params, data, E, A, alpha, B, beta = arrays(params, data, E, A, alpha, B, beta)
    n, d = np.log(params), np.log(data)
    return E + np.exp(np.log(A) - alpha * n) + np.exp(np.log(B) - beta * d)


def optimal_params(
    data: ArrayLike, A: ArrayLike, alpha: ArrayLike, B: ArrayLike, beta: ArrayLike
) -> Array:
    """The model size for which so much data is just right, of `chinchilla` at constant N D.

    There a little more of either is worth the same: alpha A / N ** alpha = beta B / D ** beta.
    """
    data, A, alpha, B, beta = arrays(data, A, alpha, B, beta)
    return np.exp(balance(np.log(data), A, alpha, B, beta))


def balance(d: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
    return (np.log(alpha) + np.log(A) - np.log(beta) - np.log(B) + beta * d) / alpha


def _chinchilla_jacobian(
    x: Array, E: Array, A: Array, alpha: Array, B: Array, beta: Array
) -> Array:
    n, d = np.log(x)
    by_size, by_data = np.exp(np.log(A) - alpha * n), np.exp(np.log(B) - beta * d)
    return stack(1.0, by_size, -n * by_size, by_data, -d * by_data)


def _chinchilla_guess(x: Array, y: Array, weights: Array) -> Array:
    """The best of a grid of exponents, with E, A and B solved for by relative errors."""
    exponents = np.geomspace(0.05, 2, 16)
    alpha, beta = grid(exponents, exponents)
    terms = stack(1.0, x[0] ** -alpha[:, None], x[1] ** -beta[:, None]).swapaxes(0, 1)
    found, misfit = nnls(terms / y, np.ones_like(y), weights)
    E, A, B = found.T
    tiny = 1e-6 * y.min()
    return best_of_grid(misfit, E, np.maximum(A, tiny), alpha, np.maximum(B, tiny), beta)


SCALE, EXPONENT, FLOOR = (1e-30, 1e30), (1e-3, 10.0), (0.0, np.inf)  # bounds
CHINCHILLA = Law(
    name="chinchilla",
    formula="E + A / N^alpha + B / D^beta",
    parameters=("E", "A", "alpha", "B", "beta"),
    predict=lambda x, *values: chinchilla(x[0], x[1], *values),
    source="Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, equation 2",
    rescale=lambda unit, E, A, alpha, B, beta: stack(
        E, A * unit[0] ** alpha, alpha, B * unit[1] ** beta, beta
    ),
    coordinates=log_coordinates("plplp"),
    jacobian=_chinchilla_jacobian,
    guess=_chinchilla_guess,
    bounds=(FLOOR, SCALE, EXPONENT, SCALE, EXPONENT),
    roles={"E": "floor", "alpha": "exponent", "beta": "exponent", "A": "scale", "B": "scale"},
    variables=("N", "D"),
    units=(0, 1),
)
