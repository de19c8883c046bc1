"""Least squares on log error for many replicates at once.

Levenberg-Marquardt, written over a leading axis of replicates: a thousand refits of a bootstrap
cost about as much as ten one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fits.laws import Array, Law

STEPS = 200
IDLE = 4  # steps without gain after which a replicate is at its minimum


@dataclass(frozen=True, eq=False)
class Place:
    """Where replicates stand.

    Fields:
      at: coordinates, [replicates, parameters].
      slopes: of log error by the coordinates, [parameters, replicates, points].
      residuals: log(law / y), [replicates, points].
      squares: weighted sum of their squares, [replicates].
    """

    at: Array
    slopes: Array
    residuals: Array
    squares: Array

    def pick(self, better: NDArray[np.bool_], other: Place) -> Place:
        """`other` where it is better, else this."""
        return Place(
            np.where(better[:, None], other.at, self.at),
            np.where(better[:, None], other.slopes, self.slopes),
            np.where(better[:, None], other.residuals, self.residuals),
            np.where(better, other.squares, self.squares),
        )

    def keep(self, rows: NDArray[np.bool_]) -> Place:
        return Place(self.at[rows], self.slopes[:, rows], self.residuals[rows], self.squares[rows])


def descend(
    law: Law, x: Array, y: Array, weights: Array, start: Array, hold: int | None = None
) -> Array:
    """Minimise the weighted sum of squared log(law / y) within the law's bounds.

    Args:
      x: in units of its geometric mean, [points].
      y: > 0, [points].
      weights: >= 0, [replicates, points].
      start: parameters to start from, [parameters, replicates].
      hold: a parameter that stays where it starts, by its place among the law's.

    Returns:
      Parameters at the minimum, [parameters, replicates].

    Source: Marquardt 1963; bounds by cutting the step, and by holding a coordinate on its bound
    while the squares would fall only beyond it.
    """
    low, high = law.fold(*np.array(law.bounds)).T
    place = _look(law, x, y, weights, np.clip(law.fold(*start).T, low, high))
    found = place.at.copy()
    going = np.arange(len(found))  # the replicates still on their way
    damping, idle = np.full(len(found), 1e-2), np.zeros(len(found), np.int64)
    for _ in range(STEPS):
        trial = _look(law, x, y, weights, _step(place, weights, damping, low, high, hold))
        better = trial.squares < place.squares
        gain = place.squares - trial.squares
        idle = np.where(gain > 1e-13 * place.squares + 1e-30, 0, idle + 1)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-12, 1e12)
        place = place.pick(better, trial)
        found[going] = place.at

        on = idle < IDLE
        if not on.any():
            break
        if not on.all():
            going, idle, damping, weights = going[on], idle[on], damping[on], weights[on]
            place = place.keep(on)
    return law.unfold(*found.T)


def _look(law: Law, x: Array, y: Array, weights: Array, at: Array) -> Place:
    values = law.unfold(*at.T[..., None])
    curve = law.predict(x, *values)
    residuals = np.log(curve / y)
    slopes = law.slopes(x, *values) / curve
    return Place(at, slopes, residuals, (weights * residuals**2).sum(axis=1))


def _step(
    place: Place, weights: Array, damping: Array, low: Array, high: Array, hold: int | None
) -> Array:
    """The coordinates to try next, [replicates, parameters]."""
    weighted = place.slopes * weights
    gradient = np.einsum("prn,rn->rp", weighted, place.residuals)
    hessian = np.einsum("prn,qrn->rpq", weighted, place.slopes, optimize=True)
    held = (place.at <= low) & (gradient > 0) | (place.at >= high) & (gradient < 0)
    if hold is not None:
        held[:, hold] = True
    gradient = np.where(held, 0, gradient)
    hessian = np.where(held[:, :, None] | held[:, None, :], 0, hessian)
    each = np.arange(len(low))
    diagonal = hessian[:, each, each]
    scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5  # so that steps know no units
    hessian = hessian * scale[:, :, None] * scale[:, None, :]
    hessian[:, each, each] = 1 + damping[:, None]
    step = np.linalg.solve(hessian, (gradient * scale)[..., None])[..., 0] * scale
    return np.clip(place.at - step, low, high)
