"""A forecast: from a learning curve to what it will be, and how sure that is.

Only the curve's own points speak: this file knows no table, no figure and no other curve. It
averages the fits of `ends.py`, the saturating law in very many shapes; it never picks one. As far
as the curve may follow a law, `evidence.py` is heard. docs/forecast.md says why, and how well that
does.

Here x is counted in units of the largest x and errors are relative or logarithmic, so that no
forecast depends on a unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.forecast.ends import BELIEF, ENDS, Belief, End, falls, fit_ends
from fits.forecast.evidence import NOISE, LawPosterior, evidence
from fits.laws.powers import SATURATING
from fits.regression.diagnostics import extrapolates
from fits.regression.inputs import refuse_level, refuse_no_logarithm
from fits.spec import LEVEL

CUTS = (0.5, 0.25)  # of the largest x: where a backtest stops to fit and begins to forecast
PARAMETERS = 4  # of the law: a, b, c, d; a backtest is fitted to no fewer points
SURPRISE = 0.005  # a log error that below which one forecast is no better than another
MOST = 200  # different x; of more, neighbours are averaged
SAME = 1e-9  # relative difference of two x that are one, told apart by rounding


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What a curve will be."""

    ends: tuple[End, ...]  # the fits that are averaged, in the order of ENDS
    risk: Array  # expected square of each one's log error, from its backtests, [ends]
    tested: bool  # whether there were any; where not, all ends have the same risk
    evidence: LawPosterior | None  # in case a law is true; None: too few points to tell
    noise: float  # standard deviation of log y from point to point
    repeated: float  # variance of log y among the points of one x; 0 where each has but one
    independent: float
    """Share of the misfit that changes from point to point, in [0, 1]; the rest is what a smooth
    law does not describe, and does not average out."""
    rms: float  # root mean square of the relative errors of the best law through all points
    n: int  # points given
    span: tuple[float, float]  # smallest and largest x of these
    last: float  # y at the largest x
    diagnostics: tuple[Diagnostic, ...]  # what a reader should know first; empty is good
    belief: Belief  # what was believed before

    def __call__(self, x: ArrayLike, level: float = LEVEL) -> tuple[Array, Array, Array]:
        """Median, low and high end of what will be measured at `x`, each of the shape of `x`.

        The ends are averaged in log y, each weighted by one over its expected squared error there:
        what its backtests showed plus how far its own shapes disagree. The variance of log y is the
        noise, the risk that the backtests showed, and the square of `belief.ensemble_share` times
        the variance over all shapes of all ends. This and what the laws say are mixed by the chance
        that one is true; the interval is normal in log y.

        Args:
          x: resource, > 0, any shape, in the unit of the points.
          level: probability that one more measurement at x falls between low and high, in (0, 1).
        """
        refuse_level(level)
        wanted = np.asarray(x, float)
        refuse_no_logarithm("x", wanted.ravel())
        relative = np.exp(np.clip(np.log(wanted.ravel()) - np.log(self.span[1]), -700, 700))
        mean, variance = self._averaged(falls(relative))
        if self.evidence is not None:
            chance = self.evidence.chance
            of_laws, variance_of_laws = self.evidence(relative)
            apart = of_laws - mean
            mean = mean + chance * apart
            variance_of_laws = variance_of_laws + self.repeated
            variance = chance * variance_of_laws + (1 - chance) * (variance + chance * apart**2)
        deviation = np.sqrt(variance)
        reach = NormalDist().inv_cdf((1 + level) / 2) * deviation
        log_y = np.log(self.last) + np.array([mean, mean - reach, mean + reach])
        # Curves that span next to nothing leave ends beyond all numbers.
        median, low, high = np.exp(np.clip(log_y, -700, 700).reshape(3, *wanted.shape))
        return median, low, high

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
            return mean, 2 * self.noise**2 + ensemble
        shown = 1 / (weights / self.risk[:, None]).sum(axis=0)
        return mean, self.noise**2 + shown + self.belief.ensemble_share**2 * ensemble

    @property
    def warnings(self) -> tuple[str, ...]:
        """The diagnostics in words."""
        return tuple(each.words for each in self.diagnostics)

    def extrapolates(self, x: float) -> list[Diagnostic]:
        """How far `x` lies outside the points; empty where it lies among them."""
        tested = 1 / min(CUTS) if x > self.span[1] else np.inf
        return [
            Diagnostic("forecast_extrapolates", numbers={**each.numbers, "tested": tested})
            for each in extrapolates(SATURATING, x, *self.span)
        ]


def forecast(x: ArrayLike, y: ArrayLike, *, belief: Belief = BELIEF) -> Forecast:
    """Forecast a learning curve from its points.

    Args:
      x: resource spent (examples seen, compute), > 0, any unit, any order, [points].
      y: error or loss, > 0, any unit, [points].
      belief: what is believed before; there is no need to change it.

    Raises:
      ValueError: no points, or numbers that have no logarithm.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; give one x and one y for every point "
            "of the curve, and at least one point."
        )
    refuse_no_logarithm("x", x)
    refuse_no_logarithm("y", y)
    log_x, log_y, repeated = _merged(np.log(x), np.log(y))
    plain_x, plain_y = _in_units_of_the_last(log_x, log_y)
    ends, squares, independent = fit_ends(plain_x, plain_y, belief)
    risk, tested = _backtest(log_x, log_y, belief)
    different = len(plain_x)
    freedom = max(different - PARAMETERS, 0)
    noise = float(np.sqrt((independent * squares + NOISE**2) / (freedom + 1) + repeated))
    first, last = ends[0](falls(plain_x[[0, -1]]))[0]
    return Forecast(
        ends=ends,
        risk=risk,
        tested=tested,
        evidence=evidence(plain_x, plain_y, belief.exponent, belief.exponent_spread),
        noise=noise,
        repeated=repeated,
        independent=independent,
        rms=float(np.sqrt(squares / different)),
        n=len(x),
        span=(float(x.min()), float(x.max())),
        last=float(np.exp(log_y[-1])),
        diagnostics=tuple(_diagnostics(different, tested, first - last, noise)),
        belief=belief,
    )


def _merged(log_x: Array, log_y: Array) -> tuple[Array, Array, float]:
    """Each x once, in rising order, with the mean log y; neighbours averaged if there are many.

    Also the variance of log y about these means.
    """
    order = np.lexsort((log_y, log_x))  # sums, too, must not depend on the order of the points
    log_x, log_y = log_x[order], log_y[order]
    group = np.cumsum(np.diff(log_x, prepend=log_x[0]) > SAME, dtype=np.int64)
    if group[-1] >= MOST:
        width, first = np.ptp(log_x) / MOST, log_x[np.searchsorted(group, group)]
        # The offset keeps points that lie at even distances off the edges.
        _, group = np.unique(-np.floor((log_x[-1] - first) / width + 0.382), return_inverse=True)
    count = np.bincount(group)
    mean_x, mean_y = (np.bincount(group, each) / count for each in (log_x, log_y))
    repeated = len(log_y) - len(count)
    squares = float(((log_y - mean_y[group]) ** 2).sum())
    return mean_x, mean_y, squares / repeated if repeated else 0.0


def _in_units_of_the_last(log_x: Array, log_y: Array) -> tuple[Array, Array]:
    return np.exp(np.maximum(log_x - log_x[-1], -700)), np.exp(log_y - log_y[-1])


def _backtest(log_x: Array, log_y: Array, belief: Belief) -> tuple[Array, bool]:
    """Expected squared log error of each end, from forecasts of points already there, [ends].

    Also whether there were any such; where not, all ends are as good.
    """
    errors = []
    for cut in CUTS:
        known = log_x <= log_x[-1] + np.log(cut) + SAME  # a rounding of x must not move a point
        if known.sum() < PARAMETERS:
            continue
        ends, *_ = fit_ends(*_in_units_of_the_last(log_x[known], log_y[known]), belief)
        beyond = falls(np.exp(log_x[~known] - log_x[known][-1]))
        truth = log_y[~known] - log_y[known][-1]
        errors.append([np.mean((end(beyond)[0] - truth) ** 2) for end in ends])
    if not errors:
        return np.ones(len(ENDS)), False
    return np.mean(errors, axis=0) + SURPRISE**2, True


def _diagnostics(different: int, tested: bool, fall: float, noise: float) -> list[Diagnostic]:
    found = []
    numbers = {"n": different, "needs": PARAMETERS}
    if different <= PARAMETERS:
        found.append(Diagnostic("forecast_is_prior", numbers=numbers))
    elif not tested:
        found.append(Diagnostic("forecast_untested", numbers=numbers))
    if different > 1 and fall <= 2 * noise:
        found.append(Diagnostic("forecast_not_falling"))
    return found
