"""Downstream error as a function of the loss: laws that rise, from a floor or from 0 to chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, logistic, stack
from fits.laws.law import Law
from fits.laws.varpro import best_of_grid, grid, nnls


def exponential(x: ArrayLike, e: ArrayLike, k: ArrayLike, g: ArrayLike) -> Array:
    """Downstream error that comes down from chance as the loss falls.

        E(L) = e - k * exp(-g * L)

    Against L: flat at e where the loss is large, and falling ever faster as the loss falls.

    Args:
      x: loss L, > 0, any shape.
      e: error of a guess, > 0.
      k: how far below e the error would be at L == 0, > 0.
      g: how fast the gain fades, in units of one over the loss, > 0.

    Returns:
      Error, same shape as x.

    Source: Gadre et al. 2024, "Language models scale reliably with over-training and on downstream
    tasks", section 2 (there epsilon, k, gamma).
    """
    x, e, k, g = arrays(x, e, k, g)
    return e - k * np.exp(-g * x)


def _exponential_jacobian(x: ArrayLike, e: Array, k: Array, g: Array) -> Array:
    fall = k * np.exp(-g * np.asarray(x, float))
    return stack(e, -fall, g * np.asarray(x, float) * fall)


def _exponential_guess(x: Array, y: Array, weights: Array) -> Array:
    (g,) = grid(np.geomspace(0.02, 60, 80))
    least = x.min()
    fall = np.exp(-g[:, None] * (x - least))  # from 1: k exp(-g least) is what is solved for
    found, misfit = nnls(stack(1.0, -fall).swapaxes(0, 1) / y, np.ones_like(y), weights)
    k = np.clip(found[:, 1], 1e-9 * y.min(), None) * np.exp(g * least)
    return best_of_grid(misfit, np.maximum(found[:, 0], y.min()), k, g)


def sigmoid(x: ArrayLike, c: ArrayLike, e: ArrayLike, g: ArrayLike, m: ArrayLike) -> Array:
    """Downstream error between a floor and chance, logistic in the loss.

        E(L) = c + (e - c) / (1 + exp(-g * (L - m)))

    Against L: flat at c where the loss is small, steepest at m, flat at e where it is large.

    Args:
      x: loss L, > 0, any shape.
      c: error that no loss brings down, >= 0.
      e: error of a guess, > c.
      g: steepness, in units of one over the loss, > 0.
      m: the loss halfway between floor and chance, > 0.

    Returns:
      Error, same shape as x.

    Source: Grattafiori et al. 2024, "The Llama 3 Herd of Models", section 3.2.1, with Bhagia et al.
    2024, "Establishing Task Scaling Laws via Compute-Efficient Model Ladders", who write it for
    accuracy, a / (1 + exp(-k (L - L0))) + b.
    """
    x, c, e, g, m = arrays(x, c, e, g, m)
    return c + (e - c) * logistic(g * (x - m))


def _sigmoid_jacobian(x: ArrayLike, c: Array, e: Array, g: Array, m: Array) -> Array:
    away = np.asarray(x, float) - m
    share = logistic(g * away)
    slope = (e - c) * share * logistic(-g * away)
    return stack(1 - share, e * share, g * away * slope, -g * m * slope)


def _sigmoid_guess(x: Array, y: Array, weights: Array) -> Array:
    span = max(float(np.ptp(x)), 1e-6)
    g, m = grid(np.geomspace(0.3, 60, 24) / span, np.linspace(x.min() - span, x.max() + span, 31))
    share = logistic(g[:, None] * (x - m[:, None]))
    terms = stack(1.0, share).swapaxes(0, 1) / y
    found, misfit = nnls(terms, np.ones_like(y), weights)  # a floor, and what chance is above it
    c, more = found.T
    misfit = np.where(m > 0, misfit, np.inf)
    return best_of_grid(misfit, c, c + np.maximum(more, 1e-6), g, np.maximum(m, 1e-3), count=8)


RATE, PLACE = (1e-6, 1e6), (1e-6, 1e6)  # bounds of what is counted in losses
EXPONENTIAL = Law(
    name="exponential",
    formula="e - k exp(-g x)",
    parameters=("e", "k", "g"),
    predict=exponential,
    source="Gadre et al. 2024, Language models scale reliably with over-training and on "
    "downstream tasks, section 2",
    rescale=lambda unit, e, k, g: stack(e, k, g / unit),
    jacobian=_exponential_jacobian,
    guess=_exponential_guess,
    bounds=((1e-12, 1e12), (1e-30, 1e30), RATE),
    roles={"e": "chance"},
    rises=True,
)
SIGMOID = Law(
    name="sigmoid",
    formula="c + (e - c) / (1 + exp(-g (x - m)))",
    parameters=("c", "e", "g", "m"),
    predict=sigmoid,
    source="Grattafiori et al. 2024, The Llama 3 Herd of Models, section 3.2.1; Bhagia et al. "
    "2024, Establishing Task Scaling Laws via Compute-Efficient Model Ladders",
    rescale=lambda unit, c, e, g, m: stack(c, e, g / unit, m * unit),
    jacobian=_sigmoid_jacobian,
    guess=_sigmoid_guess,
    bounds=((0.0, np.inf), (1e-12, 1e12), RATE, PLACE),
    roles={"c": "floor", "e": "chance", "m": "optimum"},
    rises=True,
)
