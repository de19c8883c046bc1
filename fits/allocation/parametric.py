"""The best size by a law of size and data (approach 3 of Hoffmann et al. 2022), and what it says.

Assumes that the loss is L(N, D) = E + A / N^alpha + B / D^beta for all runs fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from fits.allocation.allocation import BY_LAW, Allocation, Trainings
from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Estimate
from fits.regression.fit import Fit
from fits.spec import LEVEL


@dataclass(frozen=True, kw_only=True, eq=False)
class ParametricLaw(Allocation):
    """The best sizes that a law L(N, D) = E + A / N^alpha + B / D^beta implies.

        N(C) = G (C / k)^a,  a = beta / (alpha + beta),  G = (alpha A / (beta B))^(1/(alpha+beta))

    Fields:
      fit: of the law.
      per: k of compute = k N D.
      diagnostics: which assumptions fail.
    """

    fit: Fit
    per: float
    diagnostics: tuple[Diagnostic, ...]
    method: str = BY_LAW
    best: tuple[Array, Array] = field(default_factory=lambda: (np.empty(0), np.empty(0)))

    def exponent(self, level: float = LEVEL) -> Estimate:
        ends = self.value(lambda E, A, alpha, B, beta: beta / (alpha + beta), level)
        value, low, high = (min(max(end, 0.0), 1.0) for end in ends)  # as exponents are above 0
        return Estimate(value, low, high)

    def size(self, compute: float, level: float = LEVEL) -> Estimate:
        return self._exp(lambda *law: _log_size(np.log(compute / self.per), *law), level)

    def data(self, compute: float, level: float = LEVEL) -> Estimate:
        """The best data at a compute."""
        budget = np.log(compute / self.per)
        return self._exp(lambda *law: budget - _log_size(budget, *law), level)

    def loss(self, compute: float, level: float = LEVEL) -> Estimate:
        """The loss of the best size at a compute."""
        budget = np.log(compute / self.per)
        return self._exp(lambda *law: np.log(_best_loss(budget, *law)), level)

    def loss_at(self, size: float, data: float, level: float = LEVEL) -> Estimate:
        """The loss of a given size with given data."""
        place = np.array([size, data])
        low, high = self.fit.band(place[:, None], level)
        return Estimate(float(self.fit.predict(place)), float(low[0]), float(high[0]))

    def compute(self, loss: float, level: float = LEVEL) -> Estimate:
        """Least compute that reaches a loss; infinite where none does.

        The profile is that of C^-g, g fitted: it goes on below 0 where the floor is above `loss`.
        """
        _, _, alpha, _, beta = self.fit.values
        g = alpha * beta / (alpha + beta)

        def ease(*law: Array) -> Array:
            E = law[0]
            gap = loss - E
            return np.sign(gap) * np.exp(-g * _log_budget(E + np.abs(gap), *law))

        ends = self.value(ease, level)
        value, high, low = (self.per * e ** (-1 / g) if e > 0 else np.inf for e in ends)
        return Estimate(value, low, high)

    def compute_ratio(self, size: float, data: float, level: float = LEVEL) -> Estimate:
        """Compute of a model so trained over that of the best size with the same loss."""
        spent = np.log(size * data)

        def factor(*law: Array) -> Array:
            E, A, alpha, B, beta = law
            loss = E + A * size**-alpha + B * data**-beta
            return spent - _log_budget(loss, *law)

        return self._exp(factor, level)

    def loss_ratio(
        self, size: float, data: float, factor: float = 2.0, level: float = LEVEL
    ) -> Estimate:
        """By what the loss of a size is multiplied when its data are."""

        def ratio(E: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
            model = E + A * size**-alpha
            return np.log((model + B * (factor * data) ** -beta) / (model + B * data**-beta))

        value, low, high = self._exp(ratio, level)
        if factor >= 1:  # more data never raise the loss
            high = min(high, 1.0)
        return Estimate(value, low, high)

    def _exp(self, quantity: Callable[..., Array], level: float) -> Estimate:
        with np.errstate(over="ignore"):
            value, low, high = np.exp(self.value(quantity, level)).tolist()
        return Estimate(value, low, high)

    def value(self, quantity: Callable[..., Array], level: float = LEVEL) -> Estimate:
        """Whatever follows from E, A, alpha, B, beta."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = float(quantity(*(np.array([v]) for v in self.fit.values))[0])
        low, high = self.fit.interval(quantity, level)
        return Estimate(value, low, high)


def _log_size(budget: float, E: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
    """log N at the lowest loss with N D = exp(budget): where alpha A N^-alpha = beta B D^-beta."""
    return (np.log(alpha * A) - np.log(beta * B) + beta * budget) / (alpha + beta)


def _best_loss(budget: float, E: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
    n = _log_size(budget, E, A, alpha, B, beta)
    return E + A * np.exp(-alpha * n) + B * np.exp(-beta * (budget - n))


def _log_budget(loss: ArrayLike, E: Array, A: Array, alpha: Array, B: Array, beta: Array) -> Array:
    """log N D at which the best size reaches `loss`; infinite from the floor down.

    Along the best sizes the loss above E is one power of N D, of exponent alpha beta / (alpha +
    beta).
    """
    above_at_one = _best_loss(0.0, 0.0 * E, A, alpha, B, beta)
    gap = np.maximum(np.asarray(loss) - E, 0.0)
    with np.errstate(divide="ignore"):
        return (np.log(above_at_one) - np.log(gap)) * (alpha + beta) / (alpha * beta)


def parametric(runs: Trainings, fit: Fit) -> ParametricLaw:
    """Approach 3: the best size from the formula of L(N, D), fitted to all points.

    Args:
      runs: what was fitted.
      fit: of the law CHINCHILLA to (size, data) and loss, as `fits.report` makes it; Hoffmann et
        al. take Huber's loss with a threshold of 1e-3.
    """
    found = *fit.diagnostics, *runs.diagnostics(fit.law)
    return ParametricLaw(fit=fit, per=runs.per, diagnostics=found)
