"""One member of a forecast: saturating laws of many shapes, and five laws that may be true.

It averages the fits of `ends.py`; it never picks one. As far as the curve may follow a law,
`evidence.py` is heard. What other members say, and how sure all of them are together, is the
business of `forecast.py`.

Here x is counted in units of the largest x and y in units of its y there, so that nothing depends
on a unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array
from fits.forecast.ends import BELIEF, ENDS, Belief, End, falls, fit_ends
from fits.forecast.evidence import NOISE, ROUNDING, LawPosterior, evidence
from fits.forecast.noise import LateNoise, late_noise

CUTS = (0.5, 0.25)  # of the largest x: where a backtest stops to fit and begins to forecast
PARAMETERS = 4  # of the law: a, b, c, d; a backtest is fitted to no fewer points
SAME = 1e-9  # relative difference of two x that are one, told apart by rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Continued:
    """A curve, continued by laws of one kind."""

    ends: tuple[End, ...]  # the fits that are averaged, in the order of ENDS
    risk: Array  # expected square of each one's log error, from its backtests, [ends]
    tested: bool  # whether there were any; where not, all ends have the same risk
    evidence: LawPosterior | None  # in case a law is true; None: too few points to tell
    noise: float  # standard deviation of log y from point to point, over all points
    late: LateNoise  # the same of the later half
    repeated: float  # variance of log y among the points of one x; 0 where each has but one
    independent: float
    """Share of the misfit that changes from point to point, in [0, 1]; the rest is what a smooth
    law does not describe, and does not average out."""
    squares: float  # sum of the squared relative errors of the best law through all points
    freedom: int  # points less parameters of that law, at least 0
    belief: Belief  # what was believed before

    @property
    def chance(self) -> float:
        """That one of the five laws is true."""
        return 0.0 if self.evidence is None else self.evidence.chance

    @property
    def noise_ahead(self) -> float:
        """Variance of the noise of one more measurement of log y."""
        return self.late.ahead(self.noise**2 - self.repeated, self.freedom) + self.repeated

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of one more measurement of log y, [x] each.

        The ends are averaged in log y, each weighted by one over its expected squared error there:
        what its backtests showed plus how far its own shapes disagree. The variance of log y is the
        noise, the risk that the backtests showed, and the square of `belief.ensemble_share` times
        the variance over all shapes of all ends. This and what the laws say are mixed by the chance
        that one is true. The noise is that of the later half of the points, of the laws as well.
        """
        mean, variance = self._averaged(falls(x))
        if self.evidence is not None:
            chance = self.evidence.chance
            of_laws, variance_of_laws = self.evidence(x)
            apart = of_laws - mean
            mean = mean + chance * apart
            fitted = self.evidence.noise
            ahead = self.late.ahead(fitted, self.freedom)
            variance_of_laws = variance_of_laws - fitted + ahead + self.repeated
            variance = chance * variance_of_laws + (1 - chance) * (variance + chance * apart**2)
        return mean, variance

    def _averaged(self, shapes: Array) -> tuple[Array, Array]:
        """Mean of the ends, and variance of one more measurement about it, from `falls(x)`."""
        means, variances = (
            np.array(each) for each in zip(*(end(shapes) for end in self.ends), strict=True)
        )
        weights = 1 / (self.risk[:, None] + variances)
        weights /= weights.sum(axis=0)
        mean = (weights * means).sum(axis=0)
        ensemble = (weights * (variances + (means - mean) ** 2)).sum(axis=0)
        if not self.tested:
            return mean, 2 * self.noise_ahead + ensemble
        shown = 1 / (weights / self.risk[:, None]).sum(axis=0)
        return mean, self.noise_ahead + shown + self.belief.ensemble_share**2 * ensemble


def continued(log_x: Array, log_y: Array, repeated: float, belief: Belief = BELIEF) -> Continued:
    """Fit a curve, and test the fits on its later points.

    Args:
      log_x, log_y: each x once, rising, [points].
      repeated: variance of log y among points of one x.
      belief: what is believed before.
    """
    x, y = in_units_of_the_last(log_x, log_y)
    ends, squares, independent = fit_ends(x, y, belief)
    late = late_noise(log_x, log_y)
    risk, tested = _backtest(log_x, log_y, late, belief)
    freedom = max(len(x) - PARAMETERS, 0)
    return Continued(
        ends=ends,
        risk=risk,
        tested=tested,
        evidence=evidence(x, y, belief.exponent, belief.exponent_spread),
        noise=float(np.sqrt((independent * squares + NOISE**2) / (freedom + 1) + repeated)),
        late=late,
        repeated=repeated,
        independent=independent,
        squares=squares,
        freedom=freedom,
        belief=belief,
    )


def in_units_of_the_last(log_x: Array, log_y: Array) -> tuple[Array, Array]:
    return np.exp(np.maximum(log_x - log_x[-1], -700)), np.exp(log_y - log_y[-1])


def _backtest(log_x: Array, log_y: Array, late: LateNoise, belief: Belief) -> tuple[Array, bool]:
    """Expected squared log error of each end, from forecasts of points already there, [ends].

    It is that of the backtests plus the noise of the curve's end, below which one forecast is no
    better than another. Also whether there were any such; where not, all ends are as good.
    """
    errors = []
    for cut in CUTS:
        known = log_x <= log_x[-1] + np.log(cut) + SAME  # a rounding of x must not move a point
        if known.sum() < PARAMETERS:
            continue
        ends, *_ = fit_ends(*in_units_of_the_last(log_x[known], log_y[known]), belief)
        beyond = falls(np.exp(log_x[~known] - log_x[known][-1]))
        truth = log_y[~known] - log_y[known][-1]
        errors.append([np.mean((end(beyond)[0] - truth) ** 2) for end in ends])
    if not errors:
        return np.ones(len(ENDS)), False
    return np.mean(errors, axis=0) + late.deviation**2 + ROUNDING**2, True
