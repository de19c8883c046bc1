"""The saturating law in very many shapes, each fitted to ever longer ends of a learning curve.

x is counted in units of the largest x, y in units of its y. What the fits make together is the
business of `forecast.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array
from fits.forecast.evidence import independent_share
from fits.laws.powers import SATURATING
from fits.laws.varpro import nnls
from fits.regression.loss import Loss
from fits.regression.solver import levenberg_marquardt

# A shape is (x + d)^-b. The grid ends where one shape cannot be told from the next: at b = 0.03 an
# error halves in 23 e-folds, at b = 3 it has reached its floor; a d above 1 lies beyond the points.
EXPONENTS = np.geomspace(0.03, 3.0, 32)
SHIFTS = np.concatenate([[0.0], np.geomspace(1e-3, 1.0, 16)])
B, D = (axis.ravel() for axis in np.meshgrid(EXPONENTS, SHIFTS))

# What is fitted: tau of the weights (x / largest)^(1 / tau), the e-folds at the curve's end that
# count, and whether there may be a floor.
ENDS = ((np.inf, True), (np.inf, False), (2.0, True), (1.0, True), (0.5, True), (0.3, True))
RESOLUTION = 3e-4  # no error is known better than this, relatively


@dataclass(frozen=True, kw_only=True)
class Belief:
    """What is believed before a curve is seen.

    Fields:
      exponent: the likeliest b. Learning theory knows 1/2 and 1; this is their geometric mean.
      exponent_spread: standard deviation of log b. Language models fall by b of 0.05 to 0.4, error
        rates faster: only the order of magnitude is known.
      ensemble_share: standard deviation of the truth about the mean of all shapes, besides what
        backtests tell, as a share of that of the shapes. Where the misfit is smooth the likelihood
        rules out few shapes, the prior is weak, and most of what is left is less likely than it
        has it: hence below 1.
    """

    exponent: float = 0.7
    exponent_spread: float = 1.5
    ensemble_share: float = 0.125

    def log_prior(self) -> Array:
        """Of each shape, up to a constant: log-normal in b, even over log d."""
        return -0.5 * (np.log(B / self.exponent) / self.exponent_spread) ** 2


BELIEF = Belief()
RELATIVE = Loss(log=False)  # with weights y^-2: squared relative errors


@dataclass(frozen=True, kw_only=True, eq=False)
class End:
    """All shapes, fitted to one end of a curve: y = excess * ((x + d) / (1 + d))^-b + floor."""

    excess: Array  # of each shape, >= 0, [shapes]
    floor: Array  # the same
    probability: Array  # of each shape, summing to 1

    def __call__(self, falls: Array) -> tuple[Array, Array]:
        """Mean and variance over the shapes of log y, [x] each, from `falls(x)`."""
        logs = np.log(np.maximum(falls * self.excess + self.floor, 1e-300))
        mean = logs @ self.probability
        return mean, (logs - mean[:, None]) ** 2 @ self.probability


def falls(x: Array) -> Array:
    """Every shape at every x, 1 at the largest x of the curve, [x, shapes]."""
    return np.exp(np.clip(-B * np.log((x[:, None] + D) / (1 + D)), -600, 300))


def fit_ends(x: Array, y: Array, belief: Belief) -> tuple[tuple[End, ...], float, float]:
    """All ends; the sum of squares about the best law through all points; its independent share.

    A weighted mean of errors that have the share s to themselves and the rest in common has the
    variance s sum(w^2) + 1 - s, as if one over that were the number of points: it is the power of
    the likelihood.
    """
    curves = falls(x).T / y  # [shapes, points]
    columns = np.stack([curves, np.broadcast_to(1 / y, curves.shape)], axis=1)
    fits = []
    for tau, floor in ENDS:
        weights = x ** (1 / tau)
        fits.append(nnls(columns[:, : 1 + floor], np.ones_like(weights), weights / weights.sum()))
    best = int(fits[0][1].argmin())
    residuals = _residuals(x, y, B[best], D[best], *fits[0][0][best])
    total = float((residuals**2).sum()) + len(residuals) * RESOLUTION**2
    share = independent_share(residuals, RESOLUTION)
    ends = []
    for (tau, _), (found, squares) in zip(ENDS, fits, strict=True):
        weights = x ** (1 / tau)
        effective = 1 / (share * (weights**2).sum() / weights.sum() ** 2 + 1 - share)
        squares = np.maximum(squares, 0) + RESOLUTION**2
        likelihood = belief.log_prior() - 0.5 * effective * np.log(squares)
        probability = np.exp(likelihood - likelihood.max())
        floors = found[:, 1] if found.shape[1] > 1 else np.zeros(len(found))
        probability /= probability.sum()
        ends.append(End(excess=found[:, 0], floor=floors, probability=probability))
    return tuple(ends), total, share


def _residuals(x: Array, y: Array, b: float, d: float, excess: float, floor: float) -> Array:
    """Relative errors of the best saturating law near this shape, [points]."""
    a = max(excess, 1e-6) * (1 + d) ** b
    guess = np.array([a, b, floor, max(d, SHIFTS[1] / 2)])[:, None]
    values, _ = levenberg_marquardt(
        SATURATING, x, y, y[None] ** -2, guess, loss=RELATIVE, gain=1e-6
    )
    return 1 - SATURATING.predict(x, *values[:, 0]) / y
