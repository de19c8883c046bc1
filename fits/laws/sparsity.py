"""Sparse models: loss against active parameters, data, and all parameters over active ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.chinchilla import EXPONENT, FLOOR, SCALE
from fits.laws.law import Law, log_coordinates
from fits.laws.varpro import best_of_grid, grid, nnls


def sparse(
    active: ArrayLike,
    data: ArrayLike,
    ratio: ArrayLike,
    E: ArrayLike,
    A: ArrayLike,
    alpha: ArrayLike,
    B: ArrayLike,
    beta: ArrayLike,
    G: ArrayLike,
    gamma: ArrayLike,
) -> Array:
    """Loss of a model of which a token sees only a part.

        L(N, D, P) = E + (A + G / P ** gamma) / N ** alpha + B / D ** beta

    On a log-log plot against P at constant N and D: falling from that of a dense model, P == 1, to
    E + A / N ** alpha + B / D ** beta, which endless parameters at the same compute would reach.

    Args:
      active: parameters that a token sees N, > 0.
      data: tokens or images seen D, > 0.
      ratio: all parameters over those P, >= 1; 1 / P is the density, 1 less the sparsity.
      E: irreducible loss, >= 0.
      A, alpha, B, beta: as in `chinchilla`, of a model of endless sparsity.
      G: what a dense model has above A, >= 0.
      gamma: exponent of the density, > 0.

    Returns:
      Loss, of the shape that the first three have together.

    Source: Frantar et al. 2023, "Scaling Laws for Sparsely-Connected Foundation Models", equation 2
    (there c, c_S, b_N, a_D ** b_D, b_D, a_S and b_S).
    """
    n, d, p = np.log(active), np.log(data), np.log(ratio)
    E, A, alpha, B, beta, G, gamma = arrays(E, A, alpha, B, beta, G, gamma)
    size = (A + G * np.exp(-gamma * p)) * np.exp(-alpha * n)
    return E + size + np.exp(np.log(B) - beta * d)


def _jacobian(
    x: Array, E: Array, A: Array, alpha: Array, B: Array, beta: Array, G: Array, gamma: Array
) -> Array:
    n, d, p = np.log(x)
    fall, thin = np.exp(-alpha * n), np.exp(-gamma * p)
    by_size, by_data = (A + G * thin) * fall, np.exp(np.log(B) - beta * d)
    return stack(
        1.0,
        fall,
        -alpha * n * by_size,
        by_data,
        -beta * d * by_data,
        thin * fall,
        -gamma * p * G * thin * fall,
    )


def _guess(x: Array, y: Array, weights: Array) -> Array:
    few = np.array([0.1, 0.2, 0.35, 0.6, 1.0])
    alpha, beta, gamma = grid(few, few, np.array([0.1, 0.3, 0.8, 2.0]))
    n, d, p = np.log(x)
    fall = np.exp(-alpha[:, None] * n)
    terms = stack(1.0, fall, np.exp(-beta[:, None] * d), fall * np.exp(-gamma[:, None] * p))
    found, misfit = nnls(terms.swapaxes(0, 1) / y, np.ones_like(y), weights)
    E, A, B, G = found.T
    B = np.maximum(B, 1e-6 * y.min())
    return best_of_grid(misfit, E, A, alpha, B, beta, G, gamma, count=8)


def _rescale(
    unit: Array, E: Array, A: Array, alpha: Array, B: Array, beta: Array, G: Array, gamma: Array
) -> Array:
    size = unit[0] ** alpha
    return stack(E, A * size, alpha, B * unit[1] ** beta, beta, G * size * unit[2] ** gamma, gamma)


SPARSITY = Law(
    name="sparsity",
    formula="E + (A + G / P^gamma) / N^alpha + B / D^beta",
    parameters=("E", "A", "alpha", "B", "beta", "G", "gamma"),
    predict=lambda x, *values: sparse(x[0], x[1], x[2], *values),
    source="Frantar et al. 2023, Scaling Laws for Sparsely-Connected Foundation Models",
    rescale=_rescale,
    coordinates=log_coordinates("pplllpl"),
    jacobian=_jacobian,
    guess=_guess,
    bounds=(FLOOR, FLOOR, EXPONENT, SCALE, EXPONENT, FLOOR, EXPONENT),
    roles={
        "E": "floor",
        "A": "scale",
        "B": "scale",
        "G": "scale",
        "alpha": "exponent",
        "beta": "exponent",
        "gamma": "exponent",
    },
    variables=("N", "D", "P"),
    units=(0, 1, 2),
    most={"P": 1e4},  # a count of parameters
    least={
        "P": (1.0, "all parameters over those that a token sees, 1 / density or 1 / (1 - sparsity)")
    },
)
