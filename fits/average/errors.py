"""How a law errs: noise from run to run, and random walks that no law of few parameters follows.

With t = log(x / last x), the log of a measured error is

    log y = log E(x; parameters) + w(t) + noise,   noise of variance s^2

where w is a discrepancy (Kennedy and O'Hagan 2001), the sum of two walks that begin at the last run
and go either way. The level has variance (q s)^2 (1 + |t|): the law's own misfit at the last run,
and Brownian motion from there. The slope does the same with (r s)^2, and is summed along t
(integrated Brownian motion, as a cubic smoothing spline has it: Wahba 1978). For q = r = 0 this is
ordinary least squares. Otherwise runs far from the end count less, neighbouring residuals are
correlated, the last residuals and their slope carry over to what is predicted, and the variance
grows with how far ahead that lies. s has a conjugate prior and is integrated out; (q, r) is one of
`RATIOS`, each with its prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array


class Ratio(NamedTuple):
    """Of the walks to the noise, a unit of log x; and the log of how likely that is before."""

    level: float
    slope: float
    log_prior: float


SIZES = 0.0, 0.5, 2.0, 8.0  # of either ratio
RARER = 1.0, 0.25  # of the level and of the slope: how likely each size is, to the one before


def ratios(rarer: tuple[float, float]) -> tuple[Ratio, ...]:
    """Every pair of SIZES, each size `rarer` times as likely as the one before."""
    of_level, of_slope = np.log(rarer)
    return tuple(
        Ratio(level, slope, float(k * of_level + j * of_slope))
        for k, level in enumerate(SIZES)
        for j, slope in enumerate(SIZES)
    )


RATIOS = ratios(RARER)
NO_WALK = (Ratio(0.0, 0.0, 0.0),)
FREEDOM, NOISE = 2.0, 0.01  # degrees of freedom and size of the prior of s: an error known to 1 %


@dataclass(frozen=True, eq=False)
class ErrorModel:
    """Of points whose last is where walks begin.

    Fields:
      log_x: rising, [points].
      ratios: of the walks.
    """

    log_x: Array
    ratios: tuple[Ratio, ...] = RATIOS

    @cached_property
    def _whitening(self) -> list[tuple[Array, float]]:
        """Of each ratio: the inverse Cholesky factor of the covariance / s^2; its log det."""
        found = []
        for ratio in self.ratios:
            covariance = np.eye(len(self.log_x)) + self._walks(ratio, self.log_x)
            factor = np.linalg.cholesky(covariance)
            found.append((np.linalg.inv(factor), 2 * float(np.log(np.diag(factor)).sum())))
        return found

    def _walks(self, ratio: Ratio, log_x: Array) -> Array:
        """Covariance of the walks at the points with those at `log_x`, / s^2, [points, places]."""
        mine, other = (each - self.log_x[-1] for each in (self.log_x, log_x))
        return _covariance(ratio, mine[:, None], other)

    def log_likelihood(self, residuals: Array) -> Array:
        """Log density, less a constant, of residuals [draws, points]: [ratios, draws].

        Student's t with FREEDOM degrees of freedom: s is integrated out.
        """
        count = self.log_x.size
        found = []
        for ratio, (whiten, log_det) in zip(self.ratios, self._whitening, strict=True):
            squares = ((residuals @ whiten.T) ** 2).sum(axis=1)
            scaled = np.log1p(squares / (FREEDOM * NOISE**2))
            found.append(ratio.log_prior - (log_det + (count + FREEDOM) * scaled) / 2)
        return np.array(found)

    def ahead(self, residuals: Array, log_x: Array) -> tuple[Array, Array]:
        """Mean and variance of what is added to the law at `log_x` for one more measurement there.

        Args:
          residuals: log(measured / law), [draws, points].
          log_x: [places].

        Returns:
          Each [ratios, draws, places]: of a ratio, given the residuals.
        """
        freedom = self.log_x.size + FREEDOM - 2
        means, variances = [], []
        ahead = log_x - self.log_x[-1]
        for ratio, (whiten, _) in zip(self.ratios, self._whitening, strict=True):
            known = whiten @ self._walks(ratio, log_x)
            own = _covariance(ratio, ahead, ahead)
            white = residuals @ whiten.T
            size = (FREEDOM * NOISE**2 + (white**2).sum(axis=1)) / freedom
            means.append(white @ known)
            variances.append(size[:, None] * (1 + own - (known**2).sum(axis=0)))
        return np.array(means), np.array(variances)


def _covariance(ratio: Ratio, t: Array, other: Array) -> Array:
    """Of both walks at two places, / s^2, whose log x lies so far from where they begin."""
    near, far = np.minimum(np.abs(t), np.abs(other)), np.maximum(np.abs(t), np.abs(other))
    same_side = t * other > 0
    level = 1 + np.where(same_side, near, 0.0)
    slope = t * other + np.where(same_side, near**2 * (3 * far - near) / 6, 0.0)
    return np.asarray(ratio.level**2 * level + ratio.slope**2 * slope)
