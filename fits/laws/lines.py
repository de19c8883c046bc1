"""Log-linear law and IsoFLOP parabola."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fits.base.numbers import Array, arrays, stack
from fits.laws.law import Law
from fits.laws.varpro import best_of_grid, nnls


def log_linear(x: ArrayLike, a: ArrayLike, b: ArrayLike) -> Array:
    """A metric that changes by the same amount with every tenfold of `x`.

        E(x) = a - b * log10(x)

    On a log-log plot: bending downwards for an error, to 0 at x = 10 ** (a / b); on a plot with
    only x logarithmic a straight line.

    Args:
      x: resource spent, say images, > 0, any shape.
      a: metric at x == 1.
      b: what a tenfold of x takes away, in units of the metric; below 0 it adds, as to accuracy.

    Returns:
      Metric, same shape as x.

    Source: Sun et al. 2017, "Revisiting Unreasonable Effectiveness of Data", figure 4; the paper
    prints no coefficients.
    """
    x, a, b = arrays(x, a, b)
    return a - b * np.log10(x)


def _log_linear_guess(x: Array, y: Array, weights: Array) -> Array:
    columns = stack(1.0, -np.log10(x))[None]
    found, _ = nnls(columns, y, weights, free=[0, 1])
    level = np.average(y, weights=weights)  # where the line falls below 0 it has no logarithm
    return np.append(found, [[level, 0.0]], axis=0).T


def parabola(x: ArrayLike, lowest: ArrayLike, curvature: ArrayLike, best: ArrayLike) -> Array:
    """Loss at equal compute: of the models that it can train, one size is best.

        L(N) = lowest + curvature * log(N / best) ** 2

    On a log-log plot: a valley, symmetric about `best`.

    Args:
      x: model size N, > 0, any shape.
      lowest: loss of the best size.
      curvature: loss that a size e times too large or too small costs, >= 0.
      best: the best size, in units of x.

    Returns:
      Loss, same shape as x.

    Source: Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", approach 2.
    """
    x, lowest, curvature, best = arrays(x, lowest, curvature, best)
    return lowest + curvature * np.log(x / best) ** 2


def _parabola_jacobian(x: ArrayLike, lowest: Array, curvature: Array, best: Array) -> Array:
    away = np.log(np.asarray(x, float) / best)
    return stack(1.0, away**2, -2 * curvature * away)


def _parabola_guess(x: Array, y: Array, weights: Array) -> Array:
    line = np.log(x)
    found, misfit = nnls(stack(1.0, line, line**2)[None], y, weights, free=[0, 1])
    bottom, tilt, curvature = found.T
    best = np.clip(-tilt / (2 * np.maximum(curvature, 1e-12)), line.min() - 5, line.max() + 5)
    return best_of_grid(misfit, bottom - curvature * best**2, curvature, np.exp(best))


LOG_LINEAR = Law(
    name="log-linear",
    formula="a - b log10(x)",
    parameters=("a", "b"),
    predict=log_linear,
    source="Sun et al. 2017, Revisiting Unreasonable Effectiveness of Data, figure 4",
    rescale=lambda unit, a, b: stack(a + b * np.log10(unit), b),
    jacobian=lambda x, a, b: stack(1.0, -np.log10(np.asarray(x, float)) + 0 * a),
    guess=_log_linear_guess,
    bounds=((-np.inf, np.inf), (-np.inf, np.inf)),
)
PARABOLA = Law(
    name="parabola",
    formula="lowest + curvature ln(x / best)^2",
    parameters=("lowest", "curvature", "best"),
    predict=parabola,
    source="Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, approach 2",
    rescale=lambda unit, lowest, curvature, best: stack(lowest, curvature, best * unit),
    jacobian=_parabola_jacobian,
    guess=_parabola_guess,
    bounds=((0.0, np.inf), (0.0, np.inf), (1e-9, 1e9)),
    roles={"best": "optimum"},
)
