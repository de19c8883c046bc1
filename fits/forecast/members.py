"""The members of a forecast: what each way of continuing a curve says, and how each has fared.

Three kinds are fitted: the laws of `continued.py` (their average, and their ends alone), laws whose
learning rate falls though nobody says so (`annealing.py`), and a straight line on log axes. How
they are weighed is the business of `forecast.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array
from fits.forecast.annealing import Annealed, fit_annealed, untold
from fits.forecast.continued import PARAMETERS, SAME, Continued, continued, in_units_of_the_last
from fits.forecast.ends import ENDS, Belief, falls, fit_ends

RECENT = (3, 4, 5)  # of ENDS: those that look at the end of a curve most
TESTS = (0.7, 0.5)  # of the largest x: where the members' backtests stop to fit
LATE = (0.8, 0.9, 1.0)  # the same for the law with annealing, one stretch after another
HALF = 0.5  # of the largest x: where the straight line begins
LEAST = 3  # points of a line
# Points of which no likelihood tells: what the law with annealing is free to choose (a, b, c,
# k, p and where the rate ends), and two more.
FREE = 8
STRONGEST = 10.0  # likelihoods count no more independent points than that
UNLIKELY = 0.02  # that no law is true, at least
EXACT = 1e-5  # relative misfit below which a curve is a law's, written down


class Line(NamedTuple):
    """A straight line on log axes through the end of a curve; it does not rise."""

    level: float  # of log y at the last x
    slope: float  # <= 0
    noise: float  # standard deviation of log y about it
    centre: float  # mean log x of its points
    points: int  # how many
    width: float  # sum of their squared distances from the centre

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Log y, and its variance by error propagation, [x] each."""
        away = np.log(np.maximum(x, 1e-300)) - self.centre
        variance = self.noise**2 * (1 / self.points + away**2 / self.width)
        return self.level + self.slope * (away + self.centre), variance


class Annealing(NamedTuple):
    """The law with annealing, for all rates that nobody told of."""

    fits: tuple[Annealed, ...]  # the first two are forecasts, the third tells of a later end
    misfit: float  # of the best through all points, over that of the best law without annealing
    worth: float  # independent points by which the two may be compared
    missed: tuple[tuple[float, float], ...]
    """Of each stretch between LATE that could be tested: mean squared log error of the mean of the
    first two fits, and the least of the RECENT ends', all fitted to what comes before it."""

    def __call__(self, x: Array) -> Array:
        """Mean of log y, [fits, x]."""
        paths = untold(x)
        return np.array([each(paths)[0] for each in self.fits])

    @property
    def felt(self) -> float:
        """Probability, of the two forecasts, that a falling rate lowers the error."""
        shares = [(each.probability * (each.lift > 0)).sum() for each in self.fits[:2]]
        return float(np.mean(shares))


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Everything that is fitted to a curve, x and y in units of the last."""

    laws: Continued
    risk: Array  # mean squared log error of `laws` and of each RECENT end in backtests, [members]
    fell: float  # mean square of log y's fall over the same points; 0 where there were none
    annealing: Annealing
    line: Line | None  # None: too few points
    real: float
    """0 where a law describes the points to rounding, 1 where its misfit is one of real curves."""
    points: int  # different x
    drawn: tuple[float, ...]  # variance of the level of each RECENT end, from the points' noise

    @property
    def late_noise(self) -> float:
        """Standard deviation of log y from point to point in the later half of the points: a log
        error below which one member is no better than another."""
        return self.laws.late.deviation

    def law_odds(self, worth: float) -> float:
        """Odds that one of the five laws is true, against that none is.

        By the misfit, times a ratio of prequential likelihoods (Dawid 1984): a true law forecasts
        the later part of a curve from its earlier part no worse than the median end does. The
        errors are normal of unknown variance. They may speak against the laws only.

        Args:
          worth: independent errors that the backtests count for, >= 0; 0 leaves the ratio out.
        """
        likely = self.laws.chance / max(1 - self.laws.chance, UNLIKELY)
        laws, *ends = self.risk + self.real * self.late_noise**2 + 1e-14
        return float(likely * min(1.0, np.median(ends) / laws) ** (worth / 2))

    def say(self, x: Array) -> tuple[Array, Array, Array]:
        """Means of log y, [members, x]; variances over their shapes and of noise, for the ends
        alone; variance of `laws`, [x].
        """
        mean, variance = self.laws(x)
        shapes = falls(x)
        ends = [self.laws.ends[k](shapes) for k in RECENT]
        means = np.array([mean, *(each[0] for each in ends)])
        over = [each[1] + drawn for each, drawn in zip(ends, self.drawn, strict=True)]
        return means, np.array([np.zeros_like(mean), *over]), variance


def fit_members(log_x: Array, log_y: Array, repeated: float, belief: Belief) -> Members:
    """Fit a curve in every way.

    Args:
      log_x, log_y: each x once, rising, [points].
      repeated: variance of log y among points of one x.
      belief: of the laws' shapes.
    """
    laws = continued(log_x, log_y, repeated, belief)
    risk, fell = _backtests(log_x, log_y, belief)
    x, y = in_units_of_the_last(log_x, log_y)
    plain = _misfit(laws, x, y)
    return Members(
        laws=laws,
        risk=risk,
        fell=fell,
        annealing=_annealing(log_x, log_y, plain, belief),
        line=_line(log_x - log_x[-1], log_y - log_y[-1], plain),
        real=float((1 + (EXACT / max(plain, 1e-12)) ** 2) ** -2),
        points=len(x),
        drawn=tuple(_drawn(laws, x)),
    )


def _drawn(laws: Continued, x: Array) -> list[float]:
    """Noise of a point, over as many points as the weights of an end are worth."""
    noise = laws.independent * laws.squares / max(len(x) - PARAMETERS, 1) + laws.repeated
    weights = (x ** (1 / ENDS[k][0]) for k in RECENT)
    return [float(noise * (each**2).sum() / each.sum() ** 2) for each in weights]


def _misfit(laws: Continued, x: Array, y: Array) -> float:
    """Root mean square of the relative errors of the best law without annealing."""
    mean = laws.ends[0](falls(x))[0]
    found = [np.sqrt(np.mean((np.exp(mean) / y - 1) ** 2)), np.sqrt(laws.squares / len(x))]
    if laws.evidence is not None:
        found += [np.sqrt(np.mean(each.errors**2)) for each in laws.evidence.fits]
    return float(min(found))


def _annealing(log_x: Array, log_y: Array, plain: float, belief: Belief) -> Annealing:
    x, y = in_units_of_the_last(log_x, log_y)
    paths = untold(x)
    flat = np.ones_like(x)
    later = fit_annealed(paths, y, x, 0.5, belief)
    whole = min(
        float(fit_annealed(paths[1:], y, flat, power, belief).squares.min()) for power in (1.0, 0.5)
    )
    worth = float(np.clip(len(x) - FREE, 0, STRONGEST))
    return Annealing(
        (*_annealed(x, y, belief), later),
        max(float(np.sqrt(whole)), 1e-6) / max(plain, 1e-6),
        worth,
        tuple(_late(log_x, log_y, belief)) if worth else (),
    )


def _annealed(x: Array, y: Array, belief: Belief) -> tuple[Annealed, Annealed]:
    """The two forecasts of the law with annealing."""
    paths = untold(x)
    return (
        fit_annealed(paths, y, x, 1.0, belief),
        fit_annealed(paths, y, x**2, 1.0, belief),
    )


def _late(log_x: Array, log_y: Array, belief: Belief) -> Iterator[tuple[float, float]]:
    """`Annealing.missed`: a rolling-origin evaluation, each origin up to the next."""
    for cut, end in pairwise(log_x[-1] + np.log(LATE) + SAME):
        known, ahead = log_x <= cut, (log_x > cut) & (log_x <= end)
        if known.sum() < PARAMETERS or not ahead.any():
            continue
        x, y = in_units_of_the_last(log_x[known], log_y[known])
        beyond = np.exp(log_x[ahead] - log_x[known][-1])
        truth = log_y[ahead] - log_y[known][-1]
        paths, shapes = untold(beyond), falls(beyond)
        annealed = np.mean([each(paths)[0] for each in _annealed(x, y, belief)], axis=0)
        ends = fit_ends(x, y, belief)[0]
        recent = np.array([ends[k](shapes)[0] for k in RECENT])
        least = np.mean((recent - truth) ** 2, axis=1).min()
        yield float(np.mean((annealed - truth) ** 2)), float(least)


def _line(log_x: Array, log_y: Array, noise: float) -> Line | None:
    late = log_x >= np.log(HALF) - SAME
    count = int(late.sum())
    if count < LEAST:
        return None
    x, y = log_x[late], log_y[late]
    away = x - x.mean()
    width = max(float(away @ away), 1e-300)
    slope = min(float(away @ y) / width, 0.0)
    level = float(y.mean() - slope * x.mean())
    about = float(np.sqrt(((y - level - slope * x) ** 2).sum() / (count - 2)))
    return Line(level, slope, max(about, noise), float(x.mean()), count, width)


def _backtests(log_x: Array, log_y: Array, belief: Belief) -> tuple[Array, float]:
    """Mean squared log error of `Continued` and of its RECENT ends beyond each of TESTS.

    Also the mean square of the falls that they were to forecast; 0 where there were none.
    """
    errors, falls_ahead = [], []
    for cut in TESTS:
        known = log_x <= log_x[-1] + np.log(cut) + SAME
        if known.sum() < PARAMETERS:
            continue
        early_x, early_y = log_x[known], log_y[known]
        laws = continued(early_x, early_y, 0.0, belief)
        beyond = np.exp(log_x[~known] - early_x[-1])
        shapes = falls(beyond)
        said = [laws(beyond)[0], *(laws.ends[k](shapes)[0] for k in RECENT)]
        truth = log_y[~known] - early_y[-1]
        errors.append(np.mean((np.array(said) - truth) ** 2, axis=1))
        falls_ahead.append(np.mean(truth**2))
    if not errors:
        return np.zeros(1 + len(RECENT)), 0.0
    return np.mean(errors, axis=0), float(np.mean(falls_ahead))
