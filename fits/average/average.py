"""An average over laws: a frontier foreseen, with the uncertainty about the law in the interval.

Each of `AVERAGED` has a posterior of its own (`posterior.py`). A law's weight is its evidence
(Bayesian model averaging: Hoeting et al. 1999) times how well it predicted, fitted to the cheap
runs of this table, those that cost more (stacking by the log score, held out in the order of
compute: Yao et al. 2018, Buerkner et al. 2020). The prediction is the mixture of the laws' own.
docs/laws/average.md says what that is worth. Knows no table and no figure.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from fits.average.errors import NO_WALK, RARER, ratios
from fits.average.mixture import Mixture
from fits.average.points import MOST, Merged, merged, smaller
from fits.average.posterior import Posterior, posterior
from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Indices, Mask
from fits.laws.powers import POWER_FLOOR
from fits.laws.registry import LAWS
from fits.regression.bootstrap import Choose
from fits.regression.diagnostics import extrapolates
from fits.regression.fit import every_point
from fits.regression.inputs import checked_points, in_order, refuse_level
from fits.regression.loss import LOG
from fits.regression.outliers import off_the_curve
from fits.regression.profile import profile_of
from fits.regression.solver import in_units, unit_of
from fits.spec import LEVEL, SEED

AVERAGED = ("power", "power-floor", "power-shift", "saturating", "m4", "broken")
FEWEST = 3  # different x, for an average at all
TESTED = 4  # different x to fit in a backtest
CUTS = (3.0, 10.0, 30.0)  # a backtest is fitted to runs this many times cheaper than the costliest
WORST = -8.0  # log density of a point that a law had all but excluded: no single one decides more
LEAST = 0.005  # fall in log error that noise may be, however close the points lie
PARTED = 2.0  # of the variance between laws to that within them: then a reader is told


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How evidence and backtests become weights, and what is added far ahead.

    Fields:
      evidence: power of the evidence; 0: all laws alike but for the backtests.
      holdout: power of the mean predictive density of the backtests; 0: evidence alone.
      between: whether the uncertainty about the law is in the interval.
      walk: how much rarer each larger walk of level and slope is held to be (`errors.ratios`), by
        which laws err far ahead; None: they err by noise alone.
      width: of intervals, to that of the mixture. Those of a mixture are a little wide: the walks
        and the laws both stand for what is not known of the law.
    """

    evidence: float = 1.0
    holdout: float = 1.0
    between: bool = True
    walk: tuple[float, float] | None = RARER
    width: float = 0.8


RULE = Rule()


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtest:
    """How the laws predicted, fitted to the runs up to 1 / `times` of the largest x.

    Fields:
      times: the largest x is this many times the largest fitted.
      fitted, held_out: points.
      scores: mean log density of the points held out, a law that could be fitted.
      errors: root mean square log error of its median, a law.
    """

    times: float
    fitted: int
    held_out: int
    scores: dict[str, float]
    errors: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Average:
    """Laws, each with a weight, and what they predict together.

    Fields:
      posteriors: by name of the law.
      weights: by name of the law; they add to 1.
      backtests: empty where there are too few runs to hold any out.
      rule: how the two became weights.
      level: probability that an interval is meant to hold one more measurement.
      n: points that the laws go through.
      span: smallest and largest x of these.
      rms: root mean square of log(measured / median) there.
      scatter: variance of log y among points that were merged into one.
      diagnostics: what a reader should know first; empty is good.
    """

    posteriors: dict[str, Posterior]
    weights: dict[str, float]
    backtests: tuple[Backtest, ...]
    rule: Rule
    level: float
    n: int
    span: tuple[float, float]
    rms: float
    scatter: float
    diagnostics: tuple[Diagnostic, ...]

    def predict(self, x: ArrayLike) -> Array:
        """Median of what a run at x will measure, same shape as x, > 0."""
        return np.exp(self._quantiles(x, 0.5)[0])

    def band(self, x: ArrayLike, level: float | None = None) -> tuple[Array, Array]:
        """Between what one more measurement at x is to lie, each of the shape of x."""
        level = self.level if level is None else level
        refuse_level(level)
        low, high = self._quantiles(x, (1 - level) / 2, (1 + level) / 2)
        return np.exp(low), np.exp(high)

    def under(self, rule: Rule) -> Average:
        """The same laws, weighted by another rule of the same walk."""
        weights = _weights(self.posteriors, self.backtests, rule)
        return replace(self, rule=rule, weights=weights)

    def of_law(self, name: str, x: ArrayLike) -> Array:
        """Median of one law, as the others are not there."""
        wanted = np.asarray(x, float)
        one = Mixture.of([self.posteriors[name].predict(wanted.ravel())], [1.0])
        return np.exp(one.quantile(0.5)).reshape(wanted.shape)

    def extrapolates(self, x: ArrayLike) -> list[Diagnostic]:
        """How far `x` lies outside the points, and whether the laws part there."""
        place = float(np.asarray(x, float))
        tested = max((each.times for each in self.backtests), default=1.0)
        ahead = place > self.span[1]
        found = [
            Diagnostic(
                "average_extrapolates",
                numbers={**each.numbers, "tested": tested if ahead else np.inf},
            )
            for each in extrapolates(POWER_FLOOR, place, *self.span)
        ]
        if found and self._parted(place):
            low, high = self._apart(place)
            numbers = {"at": place, "low": low[1], "high": high[1]}
            found.append(Diagnostic("laws_part", (low[0], high[0]), numbers))
        return found

    def _parted(self, x: float) -> bool:
        between, within = self._mixture(np.array([x])).variances(self._of_law())
        return bool(between[0] > PARTED * within[0])

    def _apart(self, x: float) -> tuple[tuple[str, float], tuple[str, float]]:
        """The two laws that count and lie farthest apart at x, each with its prediction."""
        every = [(n, float(self.of_law(n, x))) for n, w in self.weights.items() if w > 0.02]
        return min(every, key=lambda law: law[1]), max(every, key=lambda law: law[1])

    def _of_law(self) -> Indices:
        """The number of the law of each component of the mixture."""
        sizes = [len(each.draws) for each in self.posteriors.values()]
        return np.repeat(np.arange(len(sizes)), sizes)

    def _mixture(self, x: Array) -> Mixture:
        predicted = [each.predict(x) for each in self.posteriors.values()]
        return Mixture.of(predicted, [self.weights[name] for name in self.posteriors])

    def _quantiles(self, x: ArrayLike, *levels: float) -> list[Array]:
        """Of one more log error at x, each of the shape of x."""
        wanted = np.asarray(x, float)
        if not (wanted > 0).all():
            raise ValueError("an average over laws predicts at x above 0.")
        mixture = self._mixture(wanted.ravel())
        if not self.rule.between:
            mixture = mixture.about_its_median(self._of_law())
        mixture = mixture.with_variance(self.scatter)
        median = mixture.quantile(0.5)
        away = [
            mixture.quantile(level) - median if level != 0.5 else 0 * median for level in levels
        ]
        return [(median + self.rule.width * each).reshape(wanted.shape) for each in away]


def average(
    x: ArrayLike,
    y: ArrayLike,
    *,
    choose: Choose = every_point,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
    seed: int = SEED,
    rule: Rule = RULE,
) -> Average:
    """Average the laws over the runs there are.

    Args:
      x: resource spent by each run, > 0, any unit, [runs].
      y: its error, > 0, [runs].
      choose: which runs the laws go through, as in `fit`; a backtest chooses anew among its own.
      clusters: a label a run, say its model. Backtests leave out of what they fit the runs of
        clusters that are among those held out, where half of the runs remain.
      level: of the intervals, between 0 and 1.
      seed: of the draws; the same seed gives the same digits, in whatever order the runs are.
      rule: how evidence and backtests become weights.

    Raises:
      ValueError: fewer than FEWEST different x to fit, or numbers without a logarithm, or a level
        out of range.
    """
    refuse_level(level)
    every_x, every_y = checked_points(POWER_FLOOR, x, y)
    order, cluster = in_order(every_x, every_y, np.ones(len(every_y)), clusters)
    every_x, every_y = every_x[order], every_y[order]
    whole = clusters is not None
    chosen = _chosen(every_x, every_y, choose)
    points = merged(every_x[chosen], every_y[chosen])
    if len(points.x) < FEWEST:
        raise ValueError(
            f"{chosen.sum()} of {len(every_y)} points are to be fitted, with {len(points.x)} "
            f"different x; an average over laws needs {FEWEST}."
        )
    posteriors = _posteriors(points, seed, rule)
    if not posteriors:
        raise ValueError("no law that could be averaged has a curve through these points.")
    backtests = tuple(_backtests(every_x, every_y, cluster if whole else None, choose, seed, rule))
    weights = _weights(posteriors, backtests, rule)
    found = Average(
        posteriors=posteriors,
        weights=weights,
        backtests=backtests,
        rule=rule,
        level=level,
        n=int(chosen.sum()),
        span=(float(every_x[chosen].min()), float(every_x[chosen].max())),
        rms=0.0,
        scatter=points.scatter,
        diagnostics=(),
    )
    misfit = np.log(points.y / found.predict(points.x))
    rms = float(np.sqrt(np.mean(misfit**2) + points.scatter))
    return replace(found, rms=rms, diagnostics=tuple(_diagnostics(found, points, rms)))


def _chosen(x: Array, y: Array, choose: Choose) -> Mask:
    return choose(x, y, np.ones((1, len(y)), bool))[0]


def _posteriors(points: Merged, seed: int, rule: Rule) -> dict[str, Posterior]:
    walks = ratios(rule.walk) if rule.walk else NO_WALK
    found: dict[str, Posterior] = {}
    for name in AVERAGED:
        with suppress(ValueError):  # points that have no curve of this law, or one too steep
            found[name] = posterior(LAWS[name], points.x, points.y, seed, walks)
    return found


def _backtests(
    x: Array, y: Array, cluster: Indices | None, choose: Choose, seed: int, rule: Rule
) -> list[Backtest]:
    """One a cut; of cuts with the same runs to fit, as far-apart x have them, the last alone."""
    chosen = _chosen(x, y, choose)
    found: dict[bytes, Backtest] = {}
    for times in CUTS:
        small = smaller(x, chosen, times, cluster)
        held_out = chosen & (x > x[chosen].max() / times)
        if not small.any():
            continue
        mine = np.zeros(len(x), bool)
        mine[small] = _chosen(x[small], y[small], choose)
        points = merged(x[mine], y[mine])
        if len(points.x) < TESTED:
            continue
        beyond = merged(x[held_out], y[held_out])
        tried = _backtest(times, points, beyond, int(held_out.sum()), seed, rule)
        found[mine.tobytes()] = tried
    return list(found.values())


def _backtest(
    times: float, points: Merged, beyond: Merged, held_out: int, seed: int, rule: Rule
) -> Backtest:
    truth = np.log(beyond.y)
    scores, errors = {}, {}
    for name, found in _posteriors(points, seed, rule).items():
        mixture = Mixture.of([found.predict(beyond.x)], [1.0]).with_variance(points.scatter)
        scores[name] = float(np.maximum(mixture.log_density(truth), WORST).mean())
        errors[name] = float(np.sqrt(np.mean((mixture.quantile(0.5) - truth) ** 2)))
    return Backtest(
        times=times, fitted=len(points.x), held_out=held_out, scores=scores, errors=errors
    )


def _weights(
    posteriors: dict[str, Posterior], backtests: Sequence[Backtest], rule: Rule
) -> dict[str, float]:
    logs = np.array(
        [
            rule.evidence * found.log_evidence
            + rule.holdout * sum(test.scores.get(name, WORST) for test in backtests)
            for name, found in posteriors.items()
        ]
    )
    weights = np.exp(logs - logs.max())
    return dict(zip(posteriors, (weights / weights.sum()).tolist(), strict=True))


def _diagnostics(found: Average, points: Merged, rms: float) -> list[Diagnostic]:
    said = []
    different = len(points.x)
    if different <= TESTED:
        said.append(Diagnostic("average_is_prior", numbers={"n": different}))
    if not found.backtests:
        numbers = {"n": different, "needs": TESTED, "times": CUTS[0]}
        said.append(Diagnostic("average_untested", numbers=numbers))
    said += _outliers(found, points)
    said += _backtests_worse(found)
    first, last = np.log(found.predict(np.array(found.span)))
    if first - last <= 2 * max(rms, LEAST):
        said.append(Diagnostic("average_not_falling"))
    if different == MOST:
        said.append(Diagnostic("average_merged", numbers={"n": found.n, "places": different}))
    return said


def _outliers(found: Average, points: Merged) -> list[Diagnostic]:
    """Points far off the curve of the others, by the law of the largest weight."""
    law = LAWS[max(found.weights, key=lambda name: found.weights[name])]
    unit = unit_of(law, points.x)
    alike, alone = np.ones(len(points.y)), np.arange(len(points.y))
    try:
        profile = profile_of(law, in_units(points.x, unit), points.y, alike, alone, LOG, unit)
    except ValueError:  # a posterior has its draws where least squares has no curve
        return []
    # Another loss, which a fit of a law could have, is nothing to advise.
    return [
        replace(each, numbers={**each.numbers, "huber": 1.0}) for each in off_the_curve(profile)
    ]


def _backtests_worse(found: Average) -> list[Diagnostic]:
    """The backtest whose error most exceeds what the interval allows so far ahead, if any does.

    The interval is that of LEVEL whatever the spec's: of 50 % every second error lies outside.
    """
    worst: dict[str, float] = {}
    for test in found.backtests:
        low, high = found.band(found.span[1] * test.times, LEVEL)
        squares = [w * test.errors.get(name, 0.0) ** 2 for name, w in found.weights.items()]
        error, half = float(np.sqrt(sum(squares))), float(np.log(high / low)) / 2
        if error > half * max(1.0, worst.get("error", 0.0) / worst.get("half", 1.0)):
            worst = {"times": test.times, "error": error, "half": half}
    return [Diagnostic("average_backtests_worse", numbers=worst)] if worst else []
