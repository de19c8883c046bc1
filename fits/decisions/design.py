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
from typing import TypeAlias

import numpy as np

from fits.base.numbers import Array, Indices, Mask
from fits.decisions.costs import Costs
from fits.regression.fit import Fit
from fits.regression.solver import in_units
from fits.spec import SEED

SAMPLES = 64  # curves that a plan is averaged over
EXCHANGES = 100  # swaps of one run for another, at most
IDLE = 0.005  # runs that all together narrow by less than this share are left out

Times: TypeAlias = Indices
"""How often each candidate is run, [candidates]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """Runs to launch, in this order.

    Fields:
      runs: places among the candidates; one that is to be repeated stands there as often.
      cost: of each, where those before it are run, [runs].
      before: width of the prediction's interval on log error, without them.
      widths: to be expected after each of them, [runs].
    """

    runs: tuple[int, ...]
    cost: Array
    before: float
    widths: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class DesignProblem:
    """A prediction, what is known of it, and what each candidate would add.

    Fields:
      information: before any run, around each curve, [curves, coordinates, coordinates].
      gradient: of log error at the prediction, [curves, coordinates].
      jacobian: at each candidate, [curves, candidates, coordinates]: of log error, or of error
        where the fit counts differences.
      deviation: standard deviation of the same between runs of equal x.
      level: of the interval.
      scale: width of the fit's own interval before any run, over the linear one: it is not
        linear, and knows its degrees of freedom.
    """

    information: Array
    gradient: Array
    jacobian: Array
    deviation: float
    level: float
    scale: float = 1.0

    def expected(self, widths: Array) -> Array:
        """Widths of the fit's own interval, from linear ones; the first is without any run.

        Where the fit's own is wider, as with few degrees of freedom, it is taken to stay so. Where
        it is narrower, a bound of the law cuts it, which matters less the narrower it gets: the
        logarithm of the ratio then goes with the width. No run widens it.
        """
        share = widths / max(widths[0], 1e-300) if self.scale < 1 else 1.0
        return np.minimum.accumulate(widths * self.scale**share)

    def width(self, times: Times) -> float:
        """Mean linear width if each candidate is run so many times, [candidates]."""
        return float(self._widths(self._variance(self.covariance(times))).mean())

    def covariance(self, times: Times) -> Array:
        """Of the coordinates then, [curves, coordinates, coordinates]."""
        chosen = np.flatnonzero(times)
        rows = self.jacobian[:, chosen] * (np.sqrt(times[chosen]) / self.deviation)[:, None]
        inverse = np.linalg.inv(self.information + rows.transpose(0, 2, 1) @ rows)
        return np.asarray(inverse, np.float64)

    def widths_with_one_more(self, times: Times) -> Array:
        """Mean width for each candidate, were it run once more, [candidates]."""
        covariance = self.covariance(times)
        along = self.jacobian @ covariance  # [curves, candidates, coordinates]
        gain = (along @ self.gradient[..., None])[..., 0] ** 2
        gain /= self.deviation**2 + (along * self.jacobian).sum(axis=-1)
        variance = self._variance(covariance)[:, None] - gain
        return np.asarray(self._widths(np.maximum(variance, 0)).mean(axis=0))

    def _variance(self, covariance: Array) -> Array:
        """Of the prediction, [curves]."""
        return np.einsum("cp,cpq,cq->c", self.gradient, covariance, self.gradient)

    def _widths(self, variance: Array) -> Array:
        quantile = NormalDist().inv_cdf((1 + self.level) / 2)
        return 2 * quantile * np.sqrt(variance)


def design_problem(
    fit: Fit, candidates: Array, predict: Array, *, samples: int = SAMPLES, seed: int = SEED
) -> DesignProblem:
    """Which of the candidates would narrow a prediction of a fitted law.

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
    profile, law = fit.profile, fit.profile.law
    unit = profile.unit
    centre = law.to_unconstrained(*profile.scaled)
    low, high = law.to_unconstrained(*np.array(law.bounds)).T

    def jacobian(x: Array, at: Array, log: bool = True) -> Array:
        """Of (log) error by the coordinates, [curves, points, coordinates]; `at` [curves, ...]."""
        parameters = law.from_unconstrained(*at.T[..., None])
        found = law.derivatives(x, *parameters)
        if log:
            found = found / law.predict(x, *parameters)
        return np.broadcast_to(found, (at.shape[1], len(at), x.shape[-1])).transpose(1, 2, 0)

    here = profile.x
    there, aim = (in_units(x, unit) for x in (candidates, predict[..., None]))
    effect = np.concatenate([jacobian(x, centre[None]) for x in (here, there, aim)], axis=1)
    prior = np.diag((effect[0] ** 2).mean(axis=0) + 1e-12)
    information = prior + np.linalg.pinv(profile.covariance, rcond=1e-12, hermitian=True)
    spread = np.linalg.cholesky(np.linalg.inv(information))
    draws = np.random.default_rng(seed).standard_normal((samples, len(centre)))
    at = np.clip(centre + draws @ spread.T, low, high)
    size = 1.0 if profile.loss.log else float(np.exp(np.log(profile.y).mean()))
    found = DesignProblem(
        information=np.broadcast_to(information, (samples, *information.shape)),
        gradient=jacobian(aim, at)[:, 0],
        jacobian=jacobian(there, at, profile.loss.log),
        deviation=max(profile.deviation, 1e-4 * size),
        level=fit.level,
    )
    return replace(found, scale=_scale(found, fit, predict))


def _scale(found: DesignProblem, fit: Fit, predict: Array) -> float:
    """How much wider the fit's own interval is than the linear one; 1 where it has no end."""
    low, high = (float(end[0]) for end in fit.band(predict[..., None]))
    if not (low > 0 and np.isfinite(high)):
        return 1.0
    linear = found.width(np.zeros(found.jacobian.shape[1], np.int64))
    return float(np.log(high / low)) / max(linear, 1e-300)


def plan(
    problem: DesignProblem, cost: Array | Costs, budget: float, repeats: int | Times = 1
) -> Plan:
    """The runs within the budget that leave the prediction's interval narrowest.

    Greedy by what a run narrows per cost, or per its square root, or at any cost; each improved by
    exchanging runs as long as that helps; of the best, runs that all together narrow by less than
    IDLE are left out, and the others put in the order in which each narrows most for its cost.

    Args:
      cost: of each candidate, > 0, [candidates]; or of those that share trunks.
      budget: of all together.
      repeats: how often a candidate may be run, with other seeds; one number, or [candidates].
    """
    cost = cost if isinstance(cost, Costs) else Costs.apart(cost)
    search = _Search(problem, cost, budget, repeats)
    none = np.zeros(len(cost), np.int64)
    found = [search.exchanged(search.greedy(none, power)) for power in (1.0, 0.5, 0.0)]
    return search.ordered(search.pruned(min(found, key=problem.width)))


@dataclass(frozen=True, eq=False)
class _Search:
    """The steps of `plan`, each from how often the candidates are run, [candidates]."""

    problem: DesignProblem
    cost: Costs
    budget: float
    repeats: int | Times

    def possible(self, times: Times) -> Mask:
        """Which candidates may be run once more."""
        left = self.budget - self.cost.of(times)
        return (self.cost.of_one_more(times) <= left) & (times < self.repeats)

    def greedy(self, times: Times, power: float = 1.0) -> Times:
        """Adds the run with the largest narrowing / cost^power that can be paid, until none can."""
        times = times.copy()
        while (possible := self.possible(times)).any():
            gain = self._narrowing(times) / self.cost.of_one_more(times) ** power
            times[np.where(possible, gain, -np.inf).argmax()] += 1
        return times

    def _narrowing(self, times: Times) -> Array:
        """Logarithm of the width over that with one more run of each candidate."""
        after = np.maximum(self.problem.widths_with_one_more(times), 1e-300)
        return np.log(self.problem.width(times) / after)

    def exchanged(self, times: Times) -> Times:
        """Takes one run out and puts others in, as long as the interval gets narrower."""
        for _ in range(EXCHANGES):
            best, found = self.problem.width(times), None
            for out in np.flatnonzero(times):
                fewer = _without(times, out)
                possible = self.possible(fewer)
                possible[out] = False
                if not possible.any():
                    continue
                widths = np.where(possible, self.problem.widths_with_one_more(fewer), np.inf)
                into = int(widths.argmin())
                if widths[into] < best * (1 - 1e-9):
                    best, found = float(widths[into]), fewer
                    found[into] += 1
            if found is None:
                return times
            times = self.greedy(found)
        return times

    def pruned(self, times: Times) -> Times:
        """Without the runs that narrow least, as long as they matter little even together."""
        enough = self.problem.width(times) * (1 + IDLE)
        while times.any():
            fewer = [_without(times, out) for out in np.flatnonzero(times)]
            widths = [self.problem.width(each) for each in fewer]
            if min(widths) > enough:
                break
            times = fewer[int(np.argmin(widths))]
        return times

    def ordered(self, times: Times) -> Plan:
        """The same runs, those first that narrow most for their cost."""
        left, done = times.copy(), np.zeros_like(times)
        runs: list[int] = []
        cost: list[float] = []
        widths = [self.problem.width(done)]
        while left.any():
            more = self.cost.of_one_more(done)
            gain = self._narrowing(done) / more
            best = int(np.where(left > 0, gain, -np.inf).argmax())
            widths.append(float(self.problem.widths_with_one_more(done)[best]))
            left[best] -= 1
            done[best] += 1
            runs.append(best)
            cost.append(float(more[best]))
        before, *after = self.problem.expected(np.array(widths)).tolist()
        return Plan(runs=tuple(runs), cost=np.array(cost), before=before, widths=np.array(after))


def _without(times: Times, run: np.integer) -> Times:
    return times - (np.arange(len(times)) == run)
