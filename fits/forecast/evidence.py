"""The evidence of laws: five fitted to a curve as if one were true, and how likely one is.

A curve whose misfit is noise deserves the full strength of all its points: there laws are weighed
by their evidence, fewer parameters first, and points without noise are continued to rounding.
This file knows the points of one curve, x in units of the largest x, and not what is to be done
where no law holds; that is the business of `forecast.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array, Indices
from fits.laws.law import Law
from fits.laws.powers import POWER, POWER_FLOOR, POWER_SHIFT, SATURATING
from fits.regression.loss import Loss, Penalty
from fits.regression.solver import levenberg_marquardt

# The priors of log b and log d are normal: d is about 0.03 of the largest x, a factor e^2 either
# way. The excess over the floor at x = 1, and the floor, are in parts of the last error, which they
# share: their prior has density 1.
SHIFT, SHIFT_SPREAD = 0.03, 2.0
ROUNDING = 1e-7  # relative noise below which no curve is told from a law
FALLING = 20.0  # prior odds of each of the others against a constant
NOISE, WORTH = 0.01, 1.0  # likely relative noise, and how many points that guess is worth
SMOOTH = 0.5  # prior odds of a misfit that is large and no noise
RANGE = 1e-100, 1e100  # of predictions, in parts of the last y
NOTHING = 0.01  # an excess of so many standard deviations is none
GAIN = 1e-9  # of log likelihood, below which a fit is done


CONSTANT = Law(
    name="constant",
    formula="c",
    parameters=("c",),
    predict=lambda x, c: c + 0 * x,
    source="no fall at all",
    bounds=((0.0, np.inf),),
    guess=lambda x, y, weights: np.array([[np.average(y, weights=weights)]]),
    roles={"c": "floor"},
)
_LAWS = (CONSTANT, POWER, POWER_FLOOR, POWER_SHIFT, SATURATING)


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedLaw:
    """A law at its likeliest parameters."""

    law: Law  # one of _LAWS
    values: Array  # of its parameters
    errors: Array  # relative, measured less predicted, [points]
    jacobian: Array  # of the predicted by the coordinates, over the measured, [points, parameters]
    covariance: Array  # of the coordinates, [parameters, parameters]
    variance: float  # of log y from point to point
    evidence: float  # its logarithm, by Laplace's approximation

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of one more measurement of log y, [x] each."""
        with np.errstate(all="ignore"):  # however far out, a forecast is a number
            y = np.clip(self.law.predict(x, *self.values), *RANGE)
            gradients = np.nan_to_num(self.law.derivatives(x, *self.values)) / y
            gradients = np.clip(gradients, -RANGE[1], RANGE[1])
        return np.log(y), self.variance + np.einsum(
            "ix,ij,jx->x", gradients, self.covariance, gradients
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class LawPosterior:
    """The laws that fit a curve, and what they predict together."""

    fits: tuple[FittedLaw, ...]
    probability: Array  # of each if one of them is true, summing to 1, [laws]
    chance: float  # that one is true, in (0, 1]: that the misfit of the likeliest law is noise

    @property
    def noise(self) -> float:
        """The part of the variance that is noise."""
        return float(self.probability @ [each.variance for each in self.fits])

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of one more measurement of log y, [x] each."""
        means, variances = map(np.array, zip(*(each(x) for each in self.fits), strict=True))
        mean = self.probability @ means
        return mean, self.probability @ (variances + (means - mean) ** 2)


def evidence(x: Array, y: Array, exponent: float, spread: float) -> LawPosterior | None:
    """All laws fitted to one curve; None where there are too few points to test them.

    Args:
      x: in units of the largest, rising, [points].
      y: in units of its y there, [points].
      exponent, spread: the likeliest b, and the standard deviation of log b.
    """
    if len(x) <= len(SATURATING.parameters):
        return None
    priors = {"exponent": (np.log(exponent), spread), "shift": (np.log(SHIFT), SHIFT_SPREAD)}
    tried = [_fitted(law, x, y, priors) for law in _LAWS]
    found = tuple(each for each in tried if each is not None)
    log = np.array([each.evidence + np.log(FALLING) * (each.law is not CONSTANT) for each in found])
    probability = np.exp(log - log.max())
    best = found[int(log.argmax())]
    return LawPosterior(
        fits=found,
        probability=probability / probability.sum(),
        chance=chance_of_noise(best.errors, best.jacobian),
    )


def _fitted(
    law: Law, x: Array, y: Array, priors: dict[str, tuple[float, float]]
) -> FittedLaw | None:
    """At its maximum a posteriori; None where a floor or an excess of 0 makes it another law."""
    guesses = law.guess(x, y, np.ones_like(y))
    roles = [law.roles.get(name, "") for name in law.parameters]
    shapes = [k for k, role in enumerate(roles) if role in priors]
    centre, width = np.array([priors[roles[k]] for k in shapes]).reshape(-1, 2).T

    def quantity(at: Array, which: Indices) -> Array:
        values = law.from_unconstrained(*at.T)[shapes]
        return np.log(np.maximum(values, 1e-8)).T  # differences may reach below 0

    rows = np.ones((guesses.shape[1], 1))
    prior = Penalty(quantity, np.arange(len(rows)), rows * centre, rows * width**-2)
    found, losses = levenberg_marquardt(
        law, x, y, rows / y**2, guesses,
        loss=Loss(log=False), penalty=prior, rounding=ROUNDING**2, gain=GAIN,
    )  # fmt: skip
    at = law.to_unconstrained(*found).T
    likelihoods = -0.5 * len(y) * np.log(2 * losses + len(y) * ROUNDING**2)
    best = int((likelihoods - prior.value(at)).argmax())
    values = found[:, best]
    if "floor" in roles and values[roles.index("floor")] <= 0:
        return None
    errors = 1 - law.predict(x, *values) / y
    jacobian = (law.derivatives(x, *values) / y).T
    variance = _variance(errors, len(values))
    by_prior = prior.jacobian(law, at)[best]  # of log b and log d by the coordinates
    with np.errstate(over="ignore", invalid="ignore"):
        precision = jacobian.T @ jacobian / variance + (by_prior.T / width**2) @ by_prior
    if not np.isfinite(precision).all():  # points that span more than numbers do
        return None
    covariance = np.linalg.inv(precision + 1e-12 * np.diag(np.diag(precision)))
    log_prior = -prior.value(at)[best] - np.log(np.sqrt(2 * np.pi) * width).sum()
    log_prior += np.log(by_prior[:, shapes].diagonal()).sum()
    if "scale" in roles:  # the coordinate is the logarithm of the excess
        scale = roles.index("scale")
        if covariance[scale, scale] > NOTHING**-2:
            return None
        log_prior += at[best, scale]
    volume = 0.5 * (np.linalg.slogdet(covariance)[1] + len(values) * np.log(2 * np.pi))
    return FittedLaw(
        law=law,
        values=values,
        errors=errors,
        jacobian=jacobian,
        covariance=covariance,
        variance=variance,
        evidence=float(likelihoods[best] + log_prior + volume),
    )


def _variance(errors: Array, parameters: int) -> float:
    """Of the noise: that of the misfit and, worth WORTH points, a guess.

    Of such sizes the logarithms are averaged, so that points without noise have none. The mean
    logarithm of a variance is low by 1 / freedom, and Student's interval wider than the normal by
    about 1 + 2 / freedom in its square.
    """
    freedom = len(errors) - parameters
    size = float((errors**2).sum()) / freedom + ROUNDING**2
    logarithms = freedom * np.log(size) + WORTH * np.log(NOISE**2)
    return float(np.exp(logarithms / (freedom + WORTH))) * (freedom + 3) / freedom


def chance_of_noise(errors: Array, jacobian: Array) -> float:
    """Chance that what a law leaves over is noise, in (0, 1], told by how smooth it is.

    A fit takes from noise what its own parameters can follow, which is the smooth part: the fewer
    points, the more. Of noise that a linear fit leaves over, von Neumann's ratio has a known mean,
    above 1, and variance (Durbin and Watson 1950). With z standard deviations below that mean the
    odds against noise are exp(z^2 / 2) - 1, times those before: SMOOTH, or less for a misfit below
    the likely noise. Errors below ROUNDING are as noise would be.

    Args:
      errors: relative, [points].
      jacobian: their derivatives by the free parameters, [points, parameters].
    """
    count, left = len(errors), len(errors) - jacobian.shape[1]
    if left < 2:
        return 1.0  # one number has no shape
    basis, _ = np.linalg.qr(jacobian / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300))
    changes = np.diff(np.eye(count) - basis @ basis.T, axis=0)
    squares = changes @ changes.T / 2
    mean = np.trace(squares) / left
    variance = 2 * ((squares**2).sum() / left - mean**2) / (left + 2)
    floor, total = count * ROUNDING**2, float((errors**2).sum())
    ratio = (float((np.diff(errors) ** 2).sum()) / 2 + mean * floor) / (total + floor)
    z = max(mean - ratio, 0) / np.sqrt(max(variance, 1e-12))
    size = np.sqrt(total / count)
    return float(1 / (1 + SMOOTH * size / (size + NOISE) * np.expm1(z**2 / 2)))


def independent_share(errors: Array, unseen: float) -> float:
    """Share of a misfit that changes from point to point, in [0, 1]: von Neumann's ratio (1941).

    Half the sum of squared successive differences over the sum of squares, 1 for noise and near 0
    for a smooth misfit. Errors below `unseen` count as noise.
    """
    floor = len(errors) * unseen**2
    changes = float((np.diff(errors) ** 2).sum()) / 2 + floor
    return min(1.0, changes / (float((errors**2).sum()) + floor))
