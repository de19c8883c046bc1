"""What to run next: the runs that narrow the interval of a prediction most, for a budget.

Bayesian c-optimal design (Chaloner and Verdinelli 1995). Around each of many curves that the runs
allow, the law is linearised: a run at x adds J J' / s^2 to the information matrix M, J being the
gradient of log error by the coordinates and s the standard deviation of runs, and the variance of
the prediction is g' M^-1 g, g being its gradient. A plan is judged by the width that it leaves, a
mean over these curves. This file knows no table and trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fits.base.numbers import Array
from fits.regression.fit import Fit
from fits.regression.solver import in_units
from fits.spec import SEED

SAMPLES = 64  # curves that a plan is averaged over
EXCHANGES = 100  # swaps of one run for another, at most
IDLE = 0.005  # runs that all together narrow by less than this share are left out


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Runs to launch, in this order.

    Fields:
      runs: places among the candidates; one that is to be repeated stands there as often.
      cost: of each, [runs].
      before: width of the prediction's interval on log error, without them.
      widths: after each of them, [runs].
    """

    runs: tuple[int, ...]
    cost: Array
    before: float
    widths: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A prediction, what is known of it, and what each candidate would add.

    Fields:
      known: what is known before, around each curve, [curves, coordinates, coordinates].
      aim: slopes of log error at the prediction, [curves, coordinates].
      slopes: at each candidate, [curves, candidates, coordinates]: of log error, or of error where
        the fit counts differences.
      deviation: standard deviation of the same between runs of equal x.
      level: of the interval.
      scale: of all widths: the fit's own interval is not linear, and knows its degrees of freedom.
    """

    known: Array
    aim: Array
    slopes: Array
    deviation: float
    level: float
    scale: float = 1.0

    def width(self, times: NDArray[np.int64]) -> float:
        """Mean width of the interval if each candidate is run so many times, [candidates]."""
        return self.scale * float(_mean_width(self.inverse(times), self.aim, self.level))

    def inverse(self, times: NDArray[np.int64]) -> Array:
        """Covariance of the coordinates then, [curves, coordinates, coordinates]."""
        chosen = np.flatnonzero(times)
        rows = self.slopes[:, chosen] * (np.sqrt(times[chosen]) / self.deviation)[:, None]
        inverse = np.linalg.inv(self.known + rows.transpose(0, 2, 1) @ rows)
        return np.asarray(inverse, np.float64)

    def widths_with_one_more(self, inverse: Array) -> Array:
        """Mean width for each candidate, were it run once more, [candidates]."""
        along = self.slopes @ inverse  # [curves, candidates, coordinates]
        gain = (along @ self.aim[..., None])[..., 0] ** 2
        gain /= self.deviation**2 + (along * self.slopes).sum(axis=-1)
        variance = np.einsum("cp,cpq,cq->c", self.aim, inverse, self.aim)[:, None] - gain
        widths: Array = self.scale * _widths(np.maximum(variance, 0), self.level).mean(axis=0)
        return widths


def _widths(variance: Array, level: float) -> Array:
    return 2 * NormalDist().inv_cdf((1 + level) / 2) * np.sqrt(variance)


def _mean_width(inverse: Array, aim: Array, level: float) -> Array:
    return _widths(np.einsum("cp,cpq,cq->c", aim, inverse, aim), level).mean()


def question(
    fit: Fit, candidates: Array, predict: Array, *, samples: int = SAMPLES, seed: int = SEED
) -> Question:
    """Turn a fitted law into a question.

    What is known before any run is the inverse of the fit's own covariance, so that clusters,
    weights and Huber's loss count here as they do in the fit; the width before any run is that of
    the fit's interval. The curves that the runs allow are drawn from the normal distribution with
    that covariance around the fit, and cut at the law's bounds. Before any run each coordinate
    alone may change the errors by a factor of e or so: that much is known where the runs say
    nothing.

    Args:
      fit: of the law to the runs so far.
      candidates: x of runs that may be launched, [runs] or [variables, runs].
      predict: x of the prediction, [] or [variables].
      samples: curves to average over.
    """
    profile, law = fit.profile, fit.law
    unit = profile.unit
    centre = law.to_unconstrained(*profile.scaled)
    low, high = law.to_unconstrained(*np.array(law.bounds)).T

    def slopes(x: Array, at: Array, log: bool = True) -> Array:
        """Of (log) error by the coordinates, [curves, points, coordinates]; `at` [curves, ...]."""
        parameters = law.from_unconstrained(*at.T[..., None])
        slopes = law.derivatives(x, *parameters)
        if log:
            slopes = slopes / law.predict(x, *parameters)
        return np.broadcast_to(slopes, (at.shape[1], len(at), x.shape[-1])).transpose(1, 2, 0)

    here = profile.x
    there, aim = (in_units(x, unit) for x in (candidates, predict[..., None]))
    effect = np.concatenate([slopes(x, centre[None]) for x in (here, there, aim)], axis=1)
    prior = np.diag((effect[0] ** 2).mean(axis=0) + 1e-12)
    known = prior + np.linalg.pinv(profile.covariance, rcond=1e-12, hermitian=True)
    spread = np.linalg.cholesky(np.linalg.inv(known))
    draws = np.random.default_rng(seed).standard_normal((samples, len(centre)))
    at = np.clip(centre + draws @ spread.T, low, high)
    size = 1.0 if profile.loss.log else float(np.exp(np.log(profile.y).mean()))
    found = Question(
        known=np.broadcast_to(known, (samples, *known.shape)),
        aim=slopes(aim, at)[:, 0],
        slopes=slopes(there, at, profile.loss.log),
        deviation=max(profile.deviation, 1e-4 * size),
        level=fit.level,
        scale=1.0,
    )
    return replace(found, scale=_scale(found, fit, predict))


def _scale(found: Question, fit: Fit, predict: Array) -> float:
    """How much wider the fit's own interval is than the linear one; 1 where it has no end."""
    low, high = (float(end[0]) for end in fit.band(predict[..., None]))
    if not (low > 0 and np.isfinite(high)):
        return 1.0
    linear = found.width(np.zeros(found.slopes.shape[1], np.int64))
    return float(np.log(high / low)) / max(linear, 1e-300)


def plan(
    question: Question, cost: Array, budget: float, repeats: int | NDArray[np.int64] = 1
) -> Plan:
    """The runs within the budget that leave the prediction's interval narrowest.

    Greedy by what a run narrows per cost, or per its square root, or at any cost; each improved by
    exchanging runs as long as that helps; of the best, runs that all together narrow by less than
    IDLE are left out, and the others put in the order in which each narrows most for its cost.

    Args:
      cost: of each candidate, > 0, [candidates].
      budget: of all together.
      repeats: how often a candidate may be run, with other seeds; one number, or [candidates].
    """
    starts = [_greedy(question, cost, budget, repeats, power) for power in (1.0, 0.5, 0.0)]
    exchanged = [_exchanged(question, cost, budget, repeats, times) for times in starts]
    return _ordered(question, cost, _pruned(question, min(exchanged, key=question.width)))


def _greedy(
    question: Question,
    cost: Array,
    budget: float,
    repeats: int | NDArray[np.int64],
    power: float,
    times: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Adds the run with the largest narrowing / cost^power that can be paid, until none can."""
    times = np.zeros(len(cost), np.int64) if times is None else times.copy()
    left = budget - float(cost @ times)
    while True:
        possible = (cost <= left) & (times < repeats)
        if not possible.any():
            return times
        inverse = question.inverse(times)
        now = question.scale * _mean_width(inverse, question.aim, question.level)
        gain = np.log(now / np.maximum(question.widths_with_one_more(inverse), 1e-300))
        best = int(np.where(possible, gain / cost**power, -np.inf).argmax())
        times[best] += 1
        left -= cost[best]


def _exchanged(
    question: Question,
    cost: Array,
    budget: float,
    repeats: int | NDArray[np.int64],
    times: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Takes one run out and puts others in, as long as the interval gets narrower."""
    best = question.width(times)
    for _ in range(EXCHANGES):
        found = None
        for out in np.flatnonzero(times):
            fewer = times.copy()
            fewer[out] -= 1
            possible = (cost <= budget - float(cost @ fewer)) & (fewer < repeats)
            possible[out] = False
            if not possible.any():
                continue
            widths = question.widths_with_one_more(question.inverse(fewer))
            into = int(np.where(possible, widths, np.inf).argmin())
            if widths[into] < best * (1 - 1e-9):
                best, found = float(widths[into]), fewer
                found[into] += 1
        if found is None:
            return times
        times = _greedy(question, cost, budget, repeats, 1.0, found)
        best = question.width(times)
    return times


def _pruned(question: Question, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without the runs that narrow least, as long as they matter little even together."""
    enough = question.width(times) * (1 + IDLE)
    while times.any():
        fewer = [times - (np.arange(len(times)) == out) for out in np.flatnonzero(times)]
        widths = [question.width(each) for each in fewer]
        if min(widths) > enough:
            break
        times = fewer[int(np.argmin(widths))]
    return times


def _ordered(question: Question, cost: Array, times: NDArray[np.int64]) -> Plan:
    """The same runs, those first that narrow most for their cost."""
    left, done = times.copy(), np.zeros_like(times)
    before = question.width(done)
    runs: list[int] = []
    widths: list[float] = []
    while left.any():
        inverse = question.inverse(done)
        now = question.scale * _mean_width(inverse, question.aim, question.level)
        after = question.widths_with_one_more(inverse)
        best = int(np.where(left > 0, np.log(now / after) / cost, -np.inf).argmax())
        left[best] -= 1
        done[best] += 1
        runs.append(best)
        widths.append(float(after[best]))
    return Plan(runs=tuple(runs), cost=cost[runs], before=before, widths=np.array(widths))
