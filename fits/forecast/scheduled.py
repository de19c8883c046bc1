"""A forecast of a curve whose learning rate is told: by the law with annealing.

Two questions are answered. A curve whose rate falls over the whole run (`cosine`, `linear`): what
it will be up to the end. A trunk (`constant`, `rsqrt`) from which runs branch off to cool down:
what runs of other durations will have come to at the end of their cooldown; some must have been.
Where enough have been, these alone are a curve too: its forecast and the law's are averaged, each
weighted by one over its standard deviation, and what they differ by is part of the variance.

x is counted in units of the largest x, y in units of its y there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Mask
from fits.forecast.annealing import Annealed, Path, fit_annealed
from fits.forecast.continued import PARAMETERS
from fits.forecast.doubts import missed_last, several_curves
from fits.forecast.ends import BELIEF, RESOLUTION, Belief
from fits.forecast.evidence import NOISE, independent_share
from fits.forecast.forecast import (
    TRUST,
    Forecast,
    Trust,
    beyond,
    checked,
    forecast,
    merged,
    without_outliers,
)
from fits.forecast.noise import usual_noise
from fits.forecast.schedule import Schedule
from fits.regression.inputs import refuse_level, refuse_no_logarithm
from fits.spec import LEVEL

# tau of the weights (x / largest)^(1 / tau) and p; the first three are averaged, the fourth says
# what another power of the rate would change.
FITS = ((np.inf, 0.5), (1.0, 0.5), (0.5, 0.5), (1.0, 1.0))
AVERAGED = 3
TESTS = (0.7, 0.5)  # of the largest x: where backtests stop to fit
LEAST = 5  # points: a, b, c, k, and one to tell
BY_POINTS = 3  # of these a curve needs for its law, before one is left over
ONE = 2 * NormalDist().cdf(1) - 1  # level of an interval of one standard deviation either way


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Of a curve, in its own units, rising in x."""

    x: Array
    y: Array
    cooled: Mask  # whether a point was measured at the end of a cooldown

    def some(self, chosen: Mask) -> Points:
        return Points(x=self.x[chosen], y=self.y[chosen], cooled=self.cooled[chosen])


@dataclass(frozen=True, kw_only=True, eq=False)
class ScheduledForecast:
    """What a curve will be under its schedule."""

    schedule: Schedule
    fits: tuple[Annealed, ...]  # of FITS
    scale: float  # the schedule's sum at the last point, which sums are counted in
    risk: float  # mean squared log error in backtests
    noise: float  # standard deviation of log y from point to point
    rms: float  # root mean square of the log errors
    n: int  # points given
    points: int  # different ones
    span: tuple[float, float]  # smallest and largest x of these
    last: float  # y of the last point
    diagnostics: tuple[Diagnostic, ...]
    trust: Trust
    alone: Forecast | None = None  # of the cooled runs of a trunk; None: too few, or no trunk

    def __call__(self, x: ArrayLike, level: float = LEVEL) -> tuple[Array, Array, Array]:
        """Median, low and high end of what will be measured at `x`, each of the shape of `x`.

        Args:
          x: in the unit of the points; of a trunk: the duration of a run that cools down, and its
            error at the end.
          level: probability that one more measurement falls between low and high, in (0, 1).
        """
        refuse_level(level)
        wanted = np.asarray(x, float)
        refuse_no_logarithm("x", wanted.ravel())
        flat = wanted.ravel()
        mean, variance = self._by_law(flat)
        if self.alone is not None:
            mean, variance = self._averaged(flat, mean, variance)
        reach = NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance)
        log_y = np.log(self.last) + np.array([mean, mean - reach, mean + reach])
        median, low, high = np.exp(np.clip(log_y, -700, 700).reshape(3, *wanted.shape))
        return median, low, high

    def _by_law(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of log y, in units of the last, [x] each."""
        means, variances = self.say(x)
        mean = means[:AVERAGED].mean(axis=0)
        doublings = np.maximum(np.log(x) - np.log(self.span[1]), 0) / np.log(2)
        fall = np.where(doublings > 0, mean**2, 0.0)
        quantities = (
            ((means[:AVERAGED] - mean) ** 2).mean(axis=0),
            self.risk * doublings**2,
            fall,
            fall / max(self.points - BY_POINTS, 1),
            (means[AVERAGED] - mean) ** 2,
        )
        share = zip(self.trust.told, quantities, strict=True)
        known = self.noise**2 + variances[:AVERAGED].mean(axis=0)
        return mean, known + sum(part * each for part, each in share)

    def _averaged(self, x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        """The same with what the cooled runs alone say."""
        assert self.alone is not None
        median, _, high = self.alone(x, ONE)
        theirs, deviation = np.log(median / self.last), np.log(high / median)
        weight = deviation / (deviation + np.sqrt(variance))  # of the law
        apart = weight * (1 - weight) * (theirs - mean) ** 2
        mean = weight * mean + (1 - weight) * theirs
        return mean, weight * variance + (1 - weight) * deviation**2 + apart

    def say(self, x: Array, cooled: Mask | None = None) -> tuple[Array, Array]:
        """Mean and variance of log y of every fit, in units of the last, [fits, x] each.

        Args:
          cooled: whether at the end of a cooldown; None: of a trunk, all are.
        """
        if cooled is None:
            cooled = np.full(len(x), self.schedule.trunk)
        path = _path(self.schedule, x, cooled, self.scale)
        means, variances = zip(*(each([path]) for each in self.fits), strict=True)
        return np.array(means), np.array(variances)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The diagnostics in words."""
        return tuple(each.words for each in self.diagnostics)

    def extrapolates(self, x: float) -> list[Diagnostic]:
        """How far `x` lies outside the points, and beyond the end of the schedule."""
        found = beyond(x, self.span)
        if not self.schedule.trunk and x > self.schedule.until:
            numbers = {"x": x, "until": self.schedule.until}
            found.append(Diagnostic("forecast_after_schedule", numbers=numbers))
        return found


def scheduled(
    x: ArrayLike,
    y: ArrayLike,
    schedule: Schedule,
    *,
    cooled: ArrayLike | None = None,
    belief: Belief = BELIEF,
    trust: Trust = TRUST,
) -> ScheduledForecast:
    """Forecast a curve under its schedule.

    Args:
      x: steps, images or tokens, > 0, in the unit of the schedule, any order, [points].
      y: error or loss, > 0, [points].
      schedule: of the learning rate.
      cooled: whether each point was measured at the end of a cooldown, [points]; of trunks alone.

    Raises:
      ValueError: impossible numbers, too few points, or a trunk of which no run has cooled down.
    """
    x, y = checked(x, y)
    down = np.zeros(len(x), bool) if cooled is None else np.asarray(cooled, bool)
    points, repeated = _merged(x, y, down)
    _refuse(points, schedule)
    made = _fitted(points, schedule, belief, trust)
    errors = np.log(points.y / made.last) - made.say(points.x, points.cooled)[0][0]
    squares = float((errors**2).sum())
    share = independent_share(errors, RESOLUTION)
    freedom = max(len(errors) - LEAST + 1, 0)
    noise = float(np.sqrt((share * squares + NOISE**2 / 100) / (freedom + 1) + repeated))
    risk = _risk(points, schedule, belief, trust)
    found = [] if risk is not None else [Diagnostic("forecast_untested", numbers={"needs": LEAST})]
    for each in (~down, down):
        found += several_curves(x[each], y[each]) if each.any() else []
    if not schedule.trunk:
        begins = float(made.say(points.x[-1:])[0][:AVERAGED].mean())
        found += missed_last(begins, usual_noise(np.log(points.x), np.log(points.y)))
    alone = None
    if schedule.trunk and down.any() and len(np.unique(x[down])) >= PARAMETERS:
        alone = forecast(x[down], y[down], belief=belief)
        found += [each for each in alone.diagnostics if each.code == "forecast_steepens"]
    made = replace(
        made,
        risk=squares / len(errors) + 0.01**2 if risk is None else risk,
        noise=noise,
        rms=float(np.sqrt(squares / len(errors))),
        n=len(x),
        span=(float(x.min()), float(x.max())),
        alone=alone,
    )

    def refit(kept: Mask) -> ScheduledForecast:
        some = down.copy()  # those that have cooled down are few, and all kept
        some[~down] = kept
        return scheduled(x[some], y[some], schedule, cooled=down[some], belief=belief, trust=trust)

    if not down.all():
        found += without_outliers(x[~down], y[~down], made, refit, schedule.until)
    return replace(made, diagnostics=tuple(found))


def _fitted(points: Points, schedule: Schedule, belief: Belief, trust: Trust) -> ScheduledForecast:
    """The fits alone, without what is known about their errors."""
    last = points.y[-1]
    plain = _path(schedule, points.x, points.cooled, 1.0)
    scale = float(plain.area[-1])
    path = Path(plain.rate, plain.area / scale)
    part = points.x / points.x[-1]
    fits = tuple(
        fit_annealed([path], points.y / last, part ** (1 / tau), power, belief, lift=trust.lift)
        for tau, power in FITS
    )
    return ScheduledForecast(
        schedule=schedule,
        fits=fits,
        scale=scale,
        risk=0.0,
        noise=0.0,
        rms=0.0,
        n=len(points.x),
        points=len(points.x),
        span=(float(points.x[0]), float(points.x[-1])),
        last=float(last),
        diagnostics=(),
        trust=trust,
    )


def _path(schedule: Schedule, x: Array, cooled: Mask, scale: float) -> Path:
    """Rate and sum at each point, those at the end of a cooldown as they are there."""
    rate = np.where(cooled, 0.0, schedule.trunk_rate(x))
    area = schedule.trunk_area(x)
    if cooled.any():
        area = np.where(cooled, schedule.cooled(x), area)
    return Path(rate, area / scale)


def _risk(points: Points, schedule: Schedule, belief: Belief, trust: Trust) -> float | None:
    """Mean squared log error of what was fitted up to each of TESTS; None: there is no test."""
    errors = []
    for cut in TESTS:
        known = points.x <= cut * points.x[-1] * (1 + 1e-9)
        early, later = points.some(known), points.some(~known)
        if _lacks(early, schedule):
            continue
        made = _fitted(early, schedule, belief, trust)
        said = made.say(later.x, later.cooled)[0][:AVERAGED].mean(axis=0)
        errors.append(float(np.mean((np.log(later.y / made.last) - said) ** 2)))
    return float(np.mean(errors)) if errors else None


def _lacks(points: Points, schedule: Schedule) -> str:
    """Why these points tell nothing; empty where they do."""
    if len(points.x) < LEAST:
        return f"a law with annealing needs {LEAST} different x, and there are {len(points.x)}"
    if schedule.trunk and not points.cooled.any():
        return (
            "no point was measured at the end of a cooldown, and a trunk alone does not tell what "
            "one is worth. Add a run that has cooled down; name its rows (--cooled COL), or give "
            "the trunk its own table (--trunk TABLE)"
        )
    if schedule.trunk and points.cooled.all():
        return (
            "every point was measured at the end of a cooldown: forecast them as they are, without "
            "a schedule, or add the curve of the trunk"
        )
    return ""


def _refuse(points: Points, schedule: Schedule) -> None:
    if points.cooled.any() and not schedule.trunk:
        raise ValueError(
            f"points at the end of a cooldown belong to a trunk, and {schedule.kind} is none. "
            "Leave them out, or say constant or rsqrt."
        )
    if lack := _lacks(points, schedule):
        raise ValueError(f"{lack}.")
    if not schedule.trunk and points.x[-1] > schedule.until * (1 + 1e-9):
        raise ValueError(
            f"the schedule ends at {schedule.until:g}, and there are points up to "
            f"{points.x[-1]:g}. Give the x at which the run ends, in the unit of x."
        )


def _merged(x: Array, y: Array, cooled: Mask) -> tuple[Points, float]:
    """Each x once, of the trunk and of the cooled runs apart; the variance among repeated ones."""
    parts, repeated = [], 0.0
    for chosen in (~cooled, cooled):
        if not chosen.any():
            continue
        log_x, log_y, variance = merged(np.log(x[chosen]), np.log(y[chosen]))
        parts.append((log_x, log_y, np.full(len(log_x), float(chosen is cooled))))
        repeated = max(repeated, variance)
    log_x, log_y, down = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((down, log_x))
    return (
        Points(x=np.exp(log_x[order]), y=np.exp(log_y[order]), cooled=down[order] > 0),
        repeated,
    )
