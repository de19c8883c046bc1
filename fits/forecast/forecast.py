"""A forecast: from a learning curve to what it will be, and how sure that is.

Only the curve's own points speak: this file knows no table, no figure and no other curve. It weighs
the members of `members.py` by how each predicted the later part of the curve from its earlier part,
and never picks one. docs/forecast.md says why, and how well that does. A curve whose learning rate
is told is the business of `scheduled.py`.

Here x is counted in units of the largest x and errors are relative or logarithmic, so that no
forecast depends on a unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Mask
from fits.forecast.continued import CUTS, PARAMETERS, SAME
from fits.forecast.doubts import Said, missed_last, of_outliers, outliers, several_curves
from fits.forecast.ends import BELIEF, Belief, falls
from fits.forecast.evidence import LawPosterior
from fits.forecast.members import Members, fit_members
from fits.forecast.noise import usual_noise
from fits.forecast.steep import Steep, steep_end
from fits.laws.powers import SATURATING
from fits.regression.diagnostics import extrapolates
from fits.regression.inputs import refuse_level, refuse_no_logarithm
from fits.spec import LEVEL

MOST = 200  # different x; of more, neighbours are averaged
MISSED = 0.04, 4.0  # square of the error of a fall, as a part of it: untested, and at most
CERTAIN = 0.5  # probability of annealing from which a reader is told
AHEAD = 2.0  # times the largest x: where a reader is told what outliers do to the forecast


@dataclass(frozen=True, kw_only=True)
class Trust:
    """How members are weighed, and what their disagreement is worth: the same for every curve.

    benchmarks/forecast_kinds.py chooses these on all kinds of curves but one, and scores that one.

    Fields:
      points: different x of a curve up to which the straight line alone counts; it counts for
        (points / different x)^2, and less where it lies no farther from the other members than its
        own standard error.
      backtests: independent errors that the backtests count for in the odds of a law, two of which
        there are.
      fall: standard deviation of what the average of all laws says, as a share of the fall ahead.
      lift: where the schedule is told, what a learning rate at its peak costs, in parts of the last
        error: mean and standard deviation. Some per cent of a loss, a fifth of an error rate.
      spread: of the variance of log y, for each of the quantities of `Parts.quantities`.
      told: the same where the schedule is told, of those in `ScheduledForecast`.
    """

    points: float = 7.0
    backtests: float = 2.0
    fall: float = 0.2
    lift: float = 0.15
    spread: tuple[float, ...] = (0.08, 0.25, 0.04, 0.75, 0.08, 0.15, 0.025, 0.15)
    told: tuple[float, ...] = (0.5, 0.15, 0.006, 0.04, 0.2)


TRUST = Trust()


class Parts(NamedTuple):
    """A forecast at some x, before its variance is known."""

    mean: Array  # of log y, [x]
    laws: Array  # variance that the laws say, the least there can be, [x]
    noise: float  # variance from point to point
    quantities: Array
    """What the rest of the variance is made of, [quantities, x]: variance between members; risk of
    their backtests, growing with distance; square of the fall ahead over the different x; the same
    times that of the error of a fall in backtests, as a part of it, where the rate falls and where
    it does not; squared distance to the law with annealing, and to the line; noise, where the rate
    falls."""
    annealing: float  # probability that the rate falls

    def variance(self, spread: Array, real: float) -> Array:
        """Of one more measurement, [x]."""
        return np.maximum(self.laws, real * (self.noise + spread @ self.quantities))


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What a curve will be."""

    members: Members  # the fits that are averaged
    steep: Steep | None  # the end of a curve that no member follows
    n: int  # points given
    span: tuple[float, float]  # smallest and largest x of these
    origin: float  # log x that the members count from: of the last points, averaged if many
    last: float  # y there
    diagnostics: tuple[Diagnostic, ...]  # what a reader should know first; empty is good
    trust: Trust  # how the members are weighed

    def __call__(self, x: ArrayLike, level: float = LEVEL) -> tuple[Array, Array, Array]:
        """Median, low and high end of what will be measured at `x`, each of the shape of `x`.

        The interval is normal in log y.

        Args:
          x: resource, > 0, any shape, in the unit of the points.
          level: probability that one more measurement at x falls between low and high, in (0, 1).
        """
        refuse_level(level)
        wanted = np.asarray(x, float)
        refuse_no_logarithm("x", wanted.ravel())
        relative = np.exp(np.clip(np.log(wanted.ravel()) - self.origin, -700, 700))
        parts = combine(self.members, relative, self.trust)
        mean = parts.mean
        variance = parts.variance(np.array(self.trust.spread), self.members.real)
        if self.steep is not None:
            mean, variance = self.steep.follow(relative, mean, variance)
        reach = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance)
        log_y = np.log(self.last) + np.array([mean, mean - reach, mean + reach])
        # Curves that span next to nothing leave ends beyond all numbers.
        median, low, high = np.exp(np.clip(log_y, -700, 700).reshape(3, *wanted.shape))
        return median, low, high

    @property
    def evidence(self) -> LawPosterior | None:
        """Of laws, in case one is true; None: too few points to tell."""
        return self.members.laws.evidence

    @property
    def noise(self) -> float:
        """Standard deviation of log y from point to point."""
        return self.members.laws.noise

    @property
    def repeated(self) -> float:
        """Variance of log y among the points of one x; 0 where each has but one."""
        return self.members.laws.repeated

    @property
    def independent(self) -> float:
        """Share of the misfit that changes from point to point, in [0, 1]."""
        return self.members.laws.independent

    @property
    def rms(self) -> float:
        """Root mean square of the relative errors of the best saturating law through all points."""
        return float(np.sqrt(self.members.laws.squares / self.members.points))

    @property
    def warnings(self) -> tuple[str, ...]:
        """The diagnostics in words."""
        return tuple(each.words for each in self.diagnostics)

    def extrapolates(self, x: float) -> list[Diagnostic]:
        """How far `x` lies outside the points; empty where it lies among them."""
        return beyond(x, self.span)


def beyond(x: float, span: tuple[float, float]) -> list[Diagnostic]:
    """How far `x` lies outside a span; empty where it lies in it."""
    tested = 1 / min(CUTS) if x > span[1] else np.inf
    return [
        Diagnostic("forecast_extrapolates", numbers={**each.numbers, "tested": tested})
        for each in extrapolates(SATURATING, x, *span)
    ]


def combine(members: Members, x: Array, trust: Trust) -> Parts:
    """The average of the members at x, in units of the last.

    The laws and their ends are weighted by one over the square of their expected squared error:
    that of their backtests plus the variance over their shapes; the laws count more the likelier
    one of them is true, for a backtest of few noisy points tells little. Against them stands the
    law with annealing, by `_falling`; of a short curve the straight line has a share.
    """
    means, variances, of_laws = members.say(x)
    risk = members.risk[:, None] + members.real * members.late_noise**2
    variances[0] = members.real * (trust.fall * means[0]) ** 2
    weights = (risk + variances + 1e-300) ** -2.0
    weights[0] *= 1 + members.law_odds(trust.backtests)
    weights /= weights.sum(axis=0)
    mean = (weights * means).sum(axis=0)
    annealed = members.annealing(x)
    falling = _falling(members, trust)
    mean = mean + falling * (annealed[:2].mean(axis=0) - mean)
    straight, doubt = (mean, np.zeros_like(x)) if members.line is None else members.line(x)
    share = min(1.0, (trust.points / members.points) ** 2) * (1 - falling) * members.real
    apart = (straight - mean) ** 2
    mean = mean + share * apart / (apart + doubt + 1e-300) * (straight - mean)
    between = (1 - falling) * (weights * (means - mean) ** 2).sum(axis=0)
    between += falling * ((annealed[:2] - mean) ** 2).mean(axis=0)
    from_annealed = max(falling, 0.03) * ((annealed - mean) ** 2).mean(axis=0)
    risk_ahead, fall, missed = _ahead(members, x, mean, weights)
    noise = members.laws.noise_ahead
    quantities = [
        between,
        risk_ahead,
        fall,
        falling * missed,
        (1 - falling) * missed,
        from_annealed,
        (straight - mean) ** 2,
        np.full_like(x, falling * noise),
    ]
    return Parts(
        mean=mean,
        laws=(1 - falling) * of_laws,
        noise=(1 - falling) * noise,
        quantities=np.minimum(quantities, 1e4),
        annealing=falling,
    )


def _falling(members: Members, trust: Trust) -> float:
    """Probability that the curve follows the law with annealing.

    The odds against it are a ratio of likelihoods, of normal errors of unknown variance worth
    `Annealing.worth` points: the squared misfit over that of the best law without annealing, times
    the same ratio on each stretch ahead of what was fitted (the prequential likelihood, Dawid
    1984). The stretches speak against the law only: a rate that begins to fall late is not seen in
    early ones. All of that is over the chance that no law without annealing is true, by its odds.
    """
    found = members.annealing
    if not found.worth:
        return 0.0
    least = members.real * members.late_noise**2 + 1e-14
    against = sum(float(np.log((own + least) / (best + least))) for own, best in found.missed)
    log_odds = 0.5 * found.worth * (2 * np.log(found.misfit) + max(against, 0.0))
    log_odds += np.log1p(members.law_odds(trust.backtests))
    return float(1 / (1 + np.exp(np.clip(log_odds, -500, 500))))


def _ahead(members: Members, x: Array, mean: Array, weights: Array) -> tuple[Array, Array, Array]:
    """The quantities that grow beyond the last x: risk, and two of the fall ahead."""
    doublings = np.maximum(np.log(np.maximum(x, 1e-300)), 0) / np.log(2)
    fall = np.where(x > 1, np.minimum(mean**2, 1e4), 0.0)
    shown = (weights * members.risk[:, None]).sum(axis=0)
    missed = np.minimum(shown / members.fell, MISSED[1]) if members.fell else MISSED[0]
    risk = shown + members.real * members.late_noise**2
    return risk * doublings**2, fall / max(members.points - 3, 1), fall * missed


def forecast(
    x: ArrayLike, y: ArrayLike, *, belief: Belief = BELIEF, trust: Trust = TRUST
) -> Forecast:
    """Forecast a learning curve from its points.

    Args:
      x: resource spent (examples seen, compute), > 0, any unit, any order, [points].
      y: error or loss, > 0, any unit, [points].
      belief, trust: what is believed before; there is no need to change it.

    Raises:
      ValueError: no points, or numbers that have no logarithm.
    """
    x, y = checked(x, y)
    log_x, log_y, repeated = merged(np.log(x), np.log(y))
    members = fit_members(log_x, log_y, repeated, belief)
    plain_x = np.exp(np.maximum(log_x - log_x[-1], -700))
    first, last = members.laws.ends[0](falls(plain_x[[0, -1]]))[0]
    parts = combine(members, np.ones(1), trust)
    noise = usual_noise(log_x, log_y)
    steep = steep_end(log_x - log_x[-1], log_y - log_y[-1], float(parts.mean[0]), noise)
    found = _diagnostics(members, first - last, parts, steep, noise)
    found += several_curves(x, y)
    made = Forecast(
        members=members,
        steep=steep,
        n=len(x),
        span=(float(x.min()), float(x.max())),
        origin=float(log_x[-1]),
        last=float(np.exp(log_y[-1])),
        diagnostics=(),
        trust=trust,
    )
    at = AHEAD * made.span[1]
    found += without_outliers(
        x, y, made, lambda kept: forecast(x[kept], y[kept], belief=belief, trust=trust), at
    )
    return replace(made, diagnostics=tuple(found))


def without_outliers(
    x: Array, y: Array, made: Said, refit: Callable[[Mask], Said], at: float
) -> list[Diagnostic]:
    """Outliers of a curve, where the forecast without them is another.

    Args:
      x, y: [points].
      made: the forecast of all points.
      refit: that of some.
      at: x where the two are compared.
    """
    log_x, log_y, repeated = merged(np.log(x), np.log(y))
    place = np.searchsorted((log_x[1:] + log_x[:-1]) / 2, np.log(x))
    count = np.maximum(np.bincount(place, minlength=len(log_x)), 1)
    off = outliers(log_x, log_y, repeated / count)
    if not off.any():
        return []
    kept = ~off[place]
    return of_outliers(np.exp(log_x[off]), kept, made, refit(kept), at)


def checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """The points as arrays. Raises ValueError: none, or numbers that have no logarithm."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; give one x and one y for every point "
            "of the curve, and at least one point."
        )
    refuse_no_logarithm("x", x)
    refuse_no_logarithm("y", y)
    return x, y


def merged(log_x: Array, log_y: Array) -> tuple[Array, Array, float]:
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


def _diagnostics(
    members: Members, fall: float, parts: Parts, steep: Steep | None, noise: float
) -> list[Diagnostic]:
    found = []
    numbers = {"n": members.points, "needs": PARAMETERS}
    if members.points <= PARAMETERS:
        found.append(Diagnostic("forecast_is_prior", numbers=numbers))
    elif not members.laws.tested:
        found.append(Diagnostic("forecast_untested", numbers=numbers))
    if steep is not None:
        found.append(Diagnostic("forecast_steepens", numbers=steep.numbers))
    elif parts.annealing * members.annealing.felt > CERTAIN:
        found.append(Diagnostic("forecast_annealing", numbers={"chance": parts.annealing}))
    if steep is None:
        found += missed_last(float(parts.mean[0]), noise)
    if members.points > 1 and steep is None and fall <= 2 * members.laws.noise:
        found.append(Diagnostic("forecast_not_falling"))
    return found
