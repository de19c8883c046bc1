"""Choosing runs from a pool, one after another, to predict the errors in a target region.

V-optimal design (Chaloner and Verdinelli 1995): the next run is the one that is expected to lower
the variance of the predictions, a mean over the targets, most for its cost. What is known is an
ensemble of curves drawn from the posterior of one or several laws; the variance that a run would
leave follows from the covariance of its error with the targets' over the ensemble, as in an
ensemble Kalman filter (Evensen 1994), so that laws and local minima which disagree count as
uncertain parameters do. The laws are fitted anew as runs come in. This file trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from fits.base.numbers import Array, Mask
from fits.decisions.calibration import calibrated, residual_variance
from fits.decisions.posterior import Ensemble, PoolLaw, ensemble, relevance_of
from fits.laws.law import Law
from fits.spec import LEVEL, SEED

RELEVANCE = 3.0  # e-folds of variance, see Pool
POWER = 0.5  # of the cost, that a run's gain is divided by
GROWTH = 0.15  # of the runs bought, after which the laws are fitted anew
BEGIN = 0.2  # of the first budget, for these at most
FIRST = 2.5  # runs to begin with, a parameter of the largest law
CHEAP = 1 / 3  # of the runs on offer, from which these are drawn


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Runs on offer, and where the error is wanted.

    Fields:
      x: of the runs on offer, [variables, runs].
      cost: of each, > 0, [runs].
      target: x where the error is wanted, [variables, targets].
      laws: that may hold, all of the same variables.
      relevance: how many e-folds of variance the pool's far end has above the near one: a law is
        not quite true, and a run near the targets says more of them.
    """

    x: Array
    cost: Array
    target: Array
    laws: tuple[PoolLaw, ...]
    relevance: float = RELEVANCE

    @property
    def weights(self) -> Array:
        """How much each run counts, 1 near the targets, [runs]."""
        return relevance_of(self.x, self.target, self.relevance)


def pool_of(
    x: Array, cost: Array, target: Array, laws: Sequence[Law], relevance: float = RELEVANCE
) -> Pool:
    """A pool; arguments as its fields, laws as they stand in the registry."""
    made = tuple(PoolLaw.of(law, x) for law in laws)
    return Pool(x=x, cost=cost, target=target, laws=made, relevance=relevance)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Of the errors in the target region, [targets] each."""

    error: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class PlannedRun:
    """A run to buy.

    Fields:
      run: its place in the pool.
      width: log(high / low) of the targets, a mean, were it to shrink as that of the ensemble does;
        None: the run is one of the first, drawn at random.
    """

    run: int
    width: float | None


class Chooser:
    """Buys runs from a pool, one after another.

    Fields:
      bought: places of the runs in the pool, in the order in which they were bought.
    """

    def __init__(
        self,
        pool: Pool,
        measure: Callable[[int], float],
        seed: int = SEED,
        *,
        power: float = POWER,
        done: Mapping[int, float] | None = None,
    ):
        """
        Args:
          measure: the error of a run of the pool, which is thereby launched; `plan` never does.
          seed: of all draws.
          power: of the cost, that a run's gain is divided by.
          done: runs that were bought before, by their places in the pool, and their errors.
        """
        self.pool, self._measure, self._power = pool, measure, power
        self._rng = np.random.default_rng(seed)
        self._weights = pool.weights
        self.bought: list[int] = list(done or ())
        self._errors: list[float] = list((done or {}).values())
        self._known: Ensemble | None = None
        self._fitted = 0  # how many runs the ensemble knows

    @property
    def spent(self) -> float:
        return float(self.pool.cost[self.bought].sum())

    def spend(self, budget: float) -> None:
        """Buy runs until no further one is within the budget, that of those before included."""
        for run in self._first(budget):
            self._buy(run)
        while (possible := self._possible(budget, self.bought)).any():
            if len(self.bought) >= self._fitted * (1 + GROWTH) or self._known is None:
                self._fit()
            assert self._known is not None
            run = self._best(self._known, possible)
            self._buy(run)
            self._known.condition(run)

    def plan(self, budget: float, level: float = LEVEL) -> list[PlannedRun]:
        """What `spend` would buy before the laws are fitted anew; nothing is bought."""
        if first := self._first(budget):
            return [PlannedRun(run, None) for run in first]
        self._fit()
        assert self._known is not None
        known, bought, found = copy(self._known), list(self.bought), []
        today = self.predict(level)
        width = float(np.log(today.high / today.low).mean())
        residual, _ = residual_variance(self._residuals(known), self.pool.laws)
        now = np.sqrt(known.prediction()[1] + residual).mean()
        while len(bought) < max(len(self.bought) * (1 + GROWTH), len(self.bought) + 1):
            if not (possible := self._possible(budget, bought)).any():
                break
            run = self._best(known, possible)
            bought.append(run)
            known.condition(run)
            after = np.sqrt(known.prediction()[1] + residual).mean()
            found.append(PlannedRun(run, float(width * after / now)))
        return found

    def predict(self, level: float = LEVEL) -> Prediction:
        """Of what will be measured at the targets, by all that was bought."""
        from scipy.special import stdtrit

        if self._known is None or self._fitted < len(self.bought):
            self._fit()
        assert self._known is not None
        pool, known, bought = self.pool, self._known, self.bought
        mean, _ = known.prediction()
        variance, freedom = calibrated(
            *(known, self._residuals(known), pool.laws, pool.x[:, bought], pool.cost[bought]),
            *(np.array(self._errors), pool.target, pool.relevance),
        )
        reach = stdtrit(freedom, (1 + level) / 2) * np.sqrt(variance)
        return Prediction(error=np.exp(mean), low=np.exp(mean - reach), high=np.exp(mean + reach))

    def _residuals(self, known: Ensemble) -> Array:
        """Of log error of the runs that were bought, about the mean of the curves, [runs]."""
        return np.log(self._errors) - known.fitted[self.bought]

    def _first(self, budget: float) -> list[int]:
        """Some cheap runs at random, for at most a fifth of the budget, where there are too few."""
        cost, bought = self.pool.cost, list(self.bought)
        wanted = int(FIRST * max(len(each.law.parameters) for each in self.pool.laws))
        order = np.argsort(cost, kind="stable")
        cheap = order[: max(wanted, int(CHEAP * len(order)))]
        dear = [(run, BEGIN * budget) for run in self._rng.permutation(cheap).tolist()]
        for run, most in (*dear, *((run, budget) for run in order.tolist())):
            if len(bought) >= wanted:
                break
            if float(cost[bought].sum()) + cost[run] <= most and run not in bought:
                bought.append(run)
        return bought[len(self.bought) :]

    def _possible(self, budget: float, bought: list[int]) -> Mask:
        possible = self.pool.cost <= budget - float(self.pool.cost[bought].sum())
        possible[bought] = False
        return np.asarray(possible)

    def _best(self, known: Ensemble, possible: Mask) -> int:
        gain = np.where(possible, known.gains() / self.pool.cost**self._power, -np.inf)
        return int(gain.argmax())

    def _buy(self, run: int) -> None:
        self.bought.append(run)
        self._errors.append(self._measure(run))

    def _fit(self) -> None:
        chosen = np.array(self.bought, np.int64)
        self._known = ensemble(
            self.pool.laws, self.pool.x, self.pool.target, self._weights, chosen,
            np.array(self._errors), self._rng, self._known,
        )  # fmt: skip
        self._fitted = len(self.bought)
