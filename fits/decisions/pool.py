"""Choosing runs from a pool, one after another, to predict the errors in a target region.

V-optimal design (Chaloner and Verdinelli 1995): the next run is the one that is expected to lower
the variance of the predictions, a mean over the targets, most for its cost. What is known is an
ensemble of curves drawn from the posterior of one or several laws; the variance that a run would
leave follows from the covariance of its error with the targets' over the ensemble, as in an
ensemble Kalman filter (Evensen 1994), so that laws and local minima which disagree count as
uncertain parameters do. The laws are fitted anew as runs come in. This file trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fits.base.numbers import Array, Mask
from fits.decisions.posterior import Ensemble, PoolLaw, ensemble
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
        log, aim = np.log(self.x), np.log(self.target)
        size = np.maximum(log.std(axis=1), 1e-9)[:, None, None]
        away = (((log[:, :, None] - aim[:, None]) / size) ** 2).sum(axis=0)
        distance = np.sqrt(away.min(axis=1))
        span = max(float(np.ptp(distance)), 1e-9)
        return np.asarray(np.exp(-self.relevance * (distance - distance.min()) / span))


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


class Chooser:
    """Buys runs from a pool, one after another.

    Fields:
      bought: places of the runs in the pool, in the order in which they were bought.
    """

    def __init__(
        self, pool: Pool, measure: Callable[[int], float], seed: int = SEED, *, power: float = POWER
    ):
        """
        Args:
          measure: the error of a run of the pool, which is thereby launched.
          seed: of all draws.
          power: of the cost, that a run's gain is divided by.
        """
        self.pool, self._measure, self._power = pool, measure, power
        self._rng = np.random.default_rng(seed)
        self._weights = pool.weights
        self.bought: list[int] = []
        self._errors: list[float] = []
        self._known: Ensemble | None = None
        self._fitted = 0  # how many runs the ensemble knows

    @property
    def spent(self) -> float:
        return float(self.pool.cost[self.bought].sum())

    def spend(self, budget: float) -> None:
        """Buy runs until no further one is within the budget, that of those before included."""
        self._begin(budget)
        while (possible := self._possible(budget)).any():
            if len(self.bought) >= self._fitted * (1 + GROWTH) or self._known is None:
                self._fit()
            assert self._known is not None
            gain = np.where(possible, self._known.gains() / self.pool.cost**self._power, -np.inf)
            run = int(gain.argmax())
            self._buy(run)
            self._known.condition(run)

    def predict(self, level: float = LEVEL) -> Prediction:
        """Of what will be measured at the targets, by all that was bought."""
        if self._known is None or self._fitted < len(self.bought):
            self._fit()
        assert self._known is not None
        mean, deviation = self._known.prediction()
        reach = NormalDist().inv_cdf((1 + level) / 2) * deviation
        return Prediction(error=np.exp(mean), low=np.exp(mean - reach), high=np.exp(mean + reach))

    def _begin(self, budget: float) -> None:
        """Some cheap runs at random, for at most a fifth of the budget."""
        wanted = int(FIRST * max(len(each.law.parameters) for each in self.pool.laws))
        order = np.argsort(self.pool.cost, kind="stable")
        cheap = order[: max(wanted, int(CHEAP * len(order)))]
        for run in self._rng.permutation(cheap).tolist():
            if len(self.bought) >= wanted:
                return
            if self.spent + self.pool.cost[run] <= BEGIN * budget and run not in self.bought:
                self._buy(run)
        for run in order.tolist():  # the budget is for fewer
            if len(self.bought) >= wanted:
                return
            if self.spent + self.pool.cost[run] <= budget and run not in self.bought:
                self._buy(run)

    def _possible(self, budget: float) -> Mask:
        possible = self.pool.cost <= budget - self.spent
        possible[self.bought] = False
        return np.asarray(possible)

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
