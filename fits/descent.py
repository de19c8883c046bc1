"""Least squares on log error for many replicates at once.

Levenberg-Marquardt, written over a leading axis of replicates: a thousand refits of a bootstrap
cost about as much as ten one after another.
"""

from __future__ import annotations

import numpy as np

from fits.laws import Array, Law

STEPS = 200
IDLE = 4  # steps without gain after which a replicate is at its minimum


def descend(law: Law, x: Array, y: Array, weights: Array, start: Array) -> Array:
    """Minimise the weighted sum of squared log(law / y) within the law's bounds.

    Args:
      x, y: > 0, [points].
      weights: >= 0, [replicates, points].
      start: values to start from, [replicates, parameters].

    Returns:
      Values at the minimum, [replicates, parameters].

    Source: Marquardt 1963; bounds by cutting the step and holding a parameter on its bound while
    the squares would fall only beyond it.
    """
    low, high = np.array(law.bounds).T
    values = np.clip(start, low, high)
    found = values.copy()
    going = np.arange(len(values))  # which replicates the rows below belong to
    curve, residuals, squares = _compare(law, x, y, weights, values)
    damping, idle = np.full(len(values), 1e-2), np.zeros(len(values), np.int64)
    for _ in range(STEPS):
        slopes = law.slopes(x, *values.T[..., None]) / curve  # of log law
        trial = _step(slopes, residuals, weights, values, damping, low, high)
        trial_curve, trial_residuals, trial_squares = _compare(law, x, y, weights, trial)

        better = trial_squares < squares
        idle = np.where(squares - trial_squares > 1e-13 * squares + 1e-30, 0, idle + 1)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-12, 1e12)
        values = np.where(better[:, None], trial, values)
        curve = np.where(better[:, None], trial_curve, curve)
        residuals = np.where(better[:, None], trial_residuals, residuals)
        squares = np.where(better, trial_squares, squares)
        found[going] = values

        on = idle < IDLE
        if not on.any():
            break
        if not on.all():
            going, idle, damping, squares = going[on], idle[on], damping[on], squares[on]
            values, curve, residuals, weights = values[on], curve[on], residuals[on], weights[on]
    return found


def _compare(
    law: Law, x: Array, y: Array, weights: Array, values: Array
) -> tuple[Array, Array, Array]:
    """Curve and residuals, [replicates, points]; weighted sum of squares, [replicates]."""
    curve = law.predict(x, *values.T[..., None])
    residuals = np.log(curve / y)
    return curve, residuals, (weights * residuals**2).sum(axis=1)


def _step(
    slopes: Array,
    residuals: Array,
    weights: Array,
    values: Array,
    damping: Array,
    low: Array,
    high: Array,
) -> Array:
    """The next values to try, from slopes of log law, [parameters, replicates, points]."""
    weighted = slopes * weights
    gradient = np.einsum("prn,rn->rp", weighted, residuals)
    hessian = np.einsum("prn,qrn->rpq", weighted, slopes, optimize=True)
    held = (values <= low) & (gradient > 0) | (values >= high) & (gradient < 0)
    gradient = np.where(held, 0, gradient)
    hessian = np.where(held[:, :, None] | held[:, None, :], 0, hessian)
    each = np.arange(len(low))
    diagonal = hessian[:, each, each]
    scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5  # so that steps know no units
    hessian = hessian * scale[:, :, None] * scale[:, None, :]
    hessian[:, each, each] = 1 + damping[:, None]
    step = np.linalg.solve(hessian, (gradient * scale)[..., None])[..., 0] * scale
    return np.clip(values - step, low, high)
