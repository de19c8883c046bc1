"""The posterior of one law's parameters, by adaptive importance sampling, and its evidence.

Draws from a mixture that is fitted to them, round by round, all weighted by posterior over the
mixture of every round (adaptive multiple importance sampling: Cornuet et al. 2012). The mean weight
estimates the evidence. For a handful of parameters and one curve this takes milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma

import numpy as np

from fits.average.errors import RATIOS, ErrorModel, Ratio
from fits.average.priors import Prior, log_prior, priors_of
from fits.base.numbers import Array
from fits.laws.law import Law
from fits.regression.solver import minimise

DRAWS, ROUNDS, KEPT = 800, 5, 200  # draws a round, rounds, and draws of equal weight kept
TAILS = 5.0  # degrees of freedom of the proposals
RIDGE = 1e-9  # of a proposal's covariance, as a share of the prior's variance
WIDER = 1.3  # than the draws so far, in variance
SHARPEST = 0.05  # largest weight of one draw that a proposal is fitted with
LOWEST, HIGHEST = -690.0, 690.0  # log errors that a double holds


@dataclass(frozen=True, eq=False)
class Posterior:
    """A law's curves, each as likely as another given the points.

    Fields:
      law: for x in units of `unit`.
      draws: coordinates, [draws, parameters].
      log_likelihood: of each ratio of the error model, [ratios, draws].
      residuals: log(measured / law) at the points, [draws, points].
      errors: how the law errs.
      unit: of x.
      log_evidence: log of the mean likelihood over the prior; comparable between laws.
      effective: number of independent draws that the weighted ones are worth.
    """

    law: Law
    draws: Array
    log_likelihood: Array
    residuals: Array
    errors: ErrorModel
    unit: float
    log_evidence: float
    effective: float

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of one more log error at x [places] for each draw, [draws, places]."""
        plain = x / self.unit
        centre = _log_curve(self.law, plain, self.draws)
        means, variances = self.errors.ahead(self.residuals, np.log(plain))
        weights = _normalised(self.log_likelihood)[..., None]
        mean = (weights * means).sum(axis=0)
        spread = (weights * (variances + (means - mean) ** 2)).sum(axis=0)
        return centre + mean, spread


def posterior(
    law: Law, x: Array, y: Array, seed: int, ratios: tuple[Ratio, ...] = RATIOS
) -> Posterior:
    """Of a law of one variable, from points in rising order of x, each [points].

    Raises ValueError where the law has a value at none of its guesses.
    """
    unit = float(np.exp(np.log(x).mean()))
    plain, rng = x / unit, np.random.default_rng(seed)
    priors, errors = priors_of(law, plain, y), ErrorModel(np.log(plain), ratios)
    proposals = [_laplace(law, plain, y, priors)]
    at, residuals = np.empty((0, len(priors))), np.empty((0, len(y)))
    likelihood, target = np.empty((len(ratios), 0)), np.empty(0)
    for turn in range(ROUNDS):
        new = _drawn(rng, proposals[-1], priors)
        if turn == 0:
            first = [prior.draws(rng, DRAWS) for prior in priors]
            new = np.concatenate([new, np.transpose(first)])
        off = np.log(y) - _log_curve(law, plain, new)
        likely = errors.log_likelihood(off)
        aim = np.logaddexp.reduce(likely, axis=0) + log_prior(priors, new)
        at, residuals = np.concatenate([at, new]), np.concatenate([residuals, off])
        likelihood = np.concatenate([likelihood, likely], axis=1)
        target = np.concatenate([target, aim])
        weights = target - _log_mixture(at, proposals, priors)
        proposals.append(_fitted(at, _normalised(weights), priors))
    share = _normalised(weights)
    spots = (np.arange(KEPT) + 0.5) / KEPT  # systematic resampling
    kept = np.minimum(np.searchsorted(np.cumsum(share), spots), len(share) - 1)
    return Posterior(
        law=law,
        draws=at[kept],
        log_likelihood=likelihood[:, kept],
        residuals=residuals[kept],
        errors=errors,
        unit=unit,
        log_evidence=float(np.logaddexp.reduce(weights) - np.log(len(weights))),
        effective=float(1 / (share**2).sum()),
    )


Normal = tuple[Array, Array]
"""Mean and covariance of coordinates."""


def _log_curve(law: Law, x: Array, at: Array) -> Array:
    """[draws, points]; what a double does not hold is far from every point."""
    with np.errstate(all="ignore"):
        curve = np.log(law.predict(x, *law.from_unconstrained(*at.T[..., None])))
    return np.clip(np.nan_to_num(curve, nan=HIGHEST), LOWEST, HIGHEST)


def _normalised(logs: Array) -> Array:
    """Weights that add to 1 along the first axis."""
    weights = np.exp(logs - logs.max(axis=0))
    return weights / weights.sum(axis=0)


def _laplace(law: Law, x: Array, y: Array, priors: list[Prior]) -> Normal:
    """Normal approximation at the least squares fit, drawn into the prior."""
    values, _ = minimise(law, x, y, np.ones(len(y)))
    with np.errstate(divide="ignore"):
        at = law.to_unconstrained(*values)
    at = np.array([prior.within(each) for prior, each in zip(priors, at, strict=True)])
    values = law.from_unconstrained(*at)
    curve = law.predict(x, *values)
    slopes = law.derivatives(x, *values) / curve
    variance = (2e-4 + float(((np.log(curve / y)) ** 2).sum())) / (len(y) + 2)
    precision = slopes @ slopes.T / (2 * variance)
    precision += np.diag([prior.deviation**-2.0 for prior in priors])
    return at, np.asarray(np.linalg.inv(precision), float)


def _drawn(rng: np.random.Generator, proposal: Normal, priors: list[Prior]) -> Array:
    """Of Student's t, folded at 0 where a coordinate ends there."""
    mean, covariance = proposal
    normal = rng.standard_normal((DRAWS, len(mean)))
    tails = np.sqrt(rng.chisquare(TAILS, DRAWS) / TAILS)[:, None]
    at = mean + (normal / tails) @ np.linalg.cholesky(covariance).T
    bounded = [prior.bounded for prior in priors]
    return np.where(bounded, np.abs(at), at)


def _log_mixture(at: Array, proposals: list[Normal], priors: list[Prior]) -> Array:
    """Log density of all draws so far: the prior, and every proposal, equally often."""
    logs = [log_prior(priors, at), *(_log_folded(at, each, priors) for each in proposals)]
    return np.logaddexp.reduce(logs, axis=0) - np.log(len(logs))


def _log_folded(at: Array, proposal: Normal, priors: list[Prior]) -> Array:
    mean, covariance = proposal
    factor = np.linalg.cholesky(covariance)
    signs = [(1.0, -1.0) if prior.bounded else (1.0,) for prior in priors]
    size = len(mean)
    constant = lgamma((TAILS + size) / 2) - lgamma(TAILS / 2) - size / 2 * np.log(TAILS * np.pi)
    constant -= float(np.log(np.diag(factor)).sum())
    whiten = np.linalg.inv(factor)
    logs = []
    for sign in np.stack([each.ravel() for each in np.meshgrid(*signs)], axis=1):
        squares = (((at * sign - mean) @ whiten.T) ** 2).sum(axis=1)
        logs.append(constant - (TAILS + size) / 2 * np.log1p(squares / TAILS))
    return np.logaddexp.reduce(logs, axis=0)


def _fitted(at: Array, weights: Array, priors: list[Prior]) -> Normal:
    """To the draws so far; a draw of large weight is cut, or a round would see it alone."""
    cut = np.minimum(weights, SHARPEST)
    cut = cut / cut.sum()
    mean = cut @ at
    away = at - mean
    covariance: Array = WIDER * (away * cut[:, None]).T @ away
    covariance += np.diag([RIDGE * prior.deviation**2 for prior in priors])
    return mean, covariance
