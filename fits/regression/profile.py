"""Profile likelihood: how far a number may lie from its fitted value before the loss grows by more
than the error of the quantity allows.

The profile of a quantity (a parameter, a prediction, the best model size) is the smallest loss
that any curve has which gives the quantity a certain value. The interval ends where the square root
of twice its rise exceeds what the quantity's cluster-robust standard error and Student's t allow.
Unlike a standard error this follows the valley of the loss wherever it bends, knows bounds, and
depends on no one's choice of parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fits.base.numbers import Array, Indices
from fits.laws.law import Law
from fits.regression.covariance import ClusterRobust, ModelBased, cluster_robust, model_based
from fits.regression.error_model import ErrorModel, reml
from fits.regression.loss import Loss, Penalty
from fits.regression.profile_search import Point, Search, Side
from fits.regression.solver import levenberg_marquardt, minimise

REACH = np.array([0.5, 0.85, 1.0, 1.2, 1.8, 4.0, 15.0])  # of the half width that is to be expected
SEARCHED = 300  # steps of a refit at most
STRENGTH = 30.0  # of the penalty, against the loss's own curvature

Quantity = Callable[[Array, Indices], Array]


@dataclass(frozen=True, eq=False)
class Profile:
    """Points, the curve that was fitted to them, and how well any other would do."""

    law: Law
    x: Array  # in units of its geometric mean, [points] or [variables, points]
    y: Array  # [points]
    weights: Array  # of the points' losses, > 0, [points]
    cluster: Indices  # number of the cluster that each point belongs to, from 0, [points]
    loss: Loss  # of the residuals
    unit: Array  # of x, one number or [variables]
    scaled: Array  # parameters at the minimum, for x in these units, [parameters]
    minimum: float  # the loss there

    @property
    def x_in_ones(self) -> Array:
        return (self.x.T * self.unit).T

    @cached_property
    def values(self) -> Array:
        """The same parameters for x in ones."""
        return self._in_ones(self.scaled)

    def _in_ones(self, scaled: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.law.in_ones(self.unit, *scaled)

    @cached_property
    def curve(self) -> Array:
        """At the points, [points]."""
        return self.law.predict(self.x, *self.scaled)

    @cached_property
    def residuals(self) -> Array:
        return self.loss.residuals(self.curve, self.y)

    @cached_property
    def jacobian(self) -> Array:
        """Of the residuals by the coordinates, [parameters, points]."""
        return self.loss.jacobian(self.law.derivatives(self.x, *self.scaled), self.curve)

    @cached_property
    def _weighted(self) -> tuple[Array, Array]:
        """Jacobian [parameters, points] and psi [points], times the roots of the weights."""
        roots = np.sqrt(self.weights)
        return self.jacobian * roots, self.loss.psi(self.residuals) * roots

    @property
    def _curvature(self) -> float:
        return self.loss.mean_curvature(self.residuals, self.weights, len(self.scaled))

    @cached_property
    def errors(self) -> ErrorModel:
        """Of the points; those of one curve, each its own cluster, may be autocorrelated."""
        position = np.log(np.atleast_2d(self.x)).sum(axis=0)  # of several variables their product
        scale = np.linalg.norm(self._weighted[0], axis=1, keepdims=True)
        rows = self._weighted[0] / np.where(scale > 0, scale, 1.0)
        autocorrelated = self.x.ndim == 1
        return reml(position, rows, self._weighted[1], self.cluster, autocorrelated)

    @cached_property
    def sandwich(self) -> ClusterRobust | ModelBased:
        """Of the coordinates: CR2; for a single curve with autocorrelated errors, the model's."""
        autocorrelated = self.errors.autocorrelation is not None
        found = (model_based if autocorrelated else cluster_robust)(*self._weighted, self.errors)
        return replace(found, bread=found.bread / self._curvature)

    @cached_property
    def covariance(self) -> Array:
        """Of the coordinates under the error model, to first order, [parameters, parameters]."""
        found = model_based(*self._weighted, self.errors)
        return found.bread @ found.meat @ found.bread / self._curvature**2

    @property
    def deviation(self) -> float:
        """Standard deviation of the residual of a run of weight 1; of Huber's loss, as large as
        the noise would be under squares that made the fit as sure as it is.
        """
        freedom = max(len(self.y) - len(self.scaled), 1)
        size = np.sqrt((self._weighted[1] ** 2).sum() / freedom)
        return float(size / self._curvature)

    def holds(self, quantity: Quantity, scaled: Array, level: float) -> bool:
        """Whether the interval of a quantity is sure to hold what other parameters give it.

        The profile there is no higher than the loss of their own curve. False: it may hold it or
        not; `interval` tells. A tenth is left to its interpolation.

        Args:
          quantity: as in `interval`, of one number alone.
          scaled: the other parameters, for x in these units.
        """
        residuals = self.loss.residuals(self.law.predict(self.x, *scaled), self.y)
        rise = (self.weights * self.loss.rho(residuals)).sum() - self.minimum
        _, gradients = self._first_order(quantity, 1)
        (curvature,), (error,), (quantile,) = self.sandwich.standard_errors(gradients, level)
        return bool(np.sqrt(2 * max(rise, 0.0) / curvature) <= 0.9 * quantile * error)

    def _of_coordinates(self, quantity: Quantity) -> Quantity:
        """As a penalty takes it, of coordinates [places, parameters]: [places, 1]."""

        def found(at: Array, which: Indices) -> Array:
            return quantity(self._in_ones(self.law.from_unconstrained(*at.T)), which)[:, None]

        return found

    def _first_order(self, quantity: Quantity, count: int) -> tuple[Array, Array]:
        """Fitted values of quantities, [count], and gradients, [count, parameters]."""
        zero = np.zeros((count, 1))
        here = Penalty(self._of_coordinates(quantity), np.arange(count), zero, zero)
        at = np.tile(self.law.to_unconstrained(*self.scaled), (count, 1))
        return here.excess(at)[:, 0], here.jacobian(self.law, at)[:, 0]

    def interval(self, quantity: Quantity, count: int, level: float) -> tuple[Array, Array]:
        """Low and high ends for the quantities 0 ... count - 1, each [count].

        Args:
          quantity: (parameters for x in ones [parameters, places], which [places]) -> value.
          count: of quantities.
          level: of the intervals.

        Returns:
          Infinities where the loss never rises so far within reach, or nothing is known of errors.
        """
        law, every = self.law, np.arange(count)
        of_coordinates = self._of_coordinates(quantity)
        at = np.tile(law.to_unconstrained(*self.scaled), (count, 1))
        centre, gradients = self._first_order(quantity, count)
        curvature, error, quantile = self.sandwich.standard_errors(gradients, level)
        side, reach, which = (
            axis.ravel() for axis in np.meshgrid([-1.0, 1.0], REACH, every, indexing="ij")
        )
        which = which.astype(np.int64)
        away = side * reach * (quantile * error)[which]
        along = (gradients @ self.sandwich.bread) * curvature[:, None]  # the profile, per unit
        least, most = law.to_unconstrained(*np.array(law.bounds)).T
        guess = np.clip(at[which] + along[which] * away[:, None], least, most)
        target, strength = centre[which] + away, STRENGTH * curvature[which]

        def refit(
            begin: Array,
            which: Indices,
            target: Array,
            strength: Array,
            gain: float = 1e-8,
        ) -> tuple[Array, Array, Array]:
            values, losses = levenberg_marquardt(
                law,
                self.x,
                self.y,
                np.broadcast_to(self.weights, (len(which), len(self.y))),
                law.from_unconstrained(*begin.T),
                loss=self.loss,
                penalty=Penalty(of_coordinates, which, target[:, None], strength[:, None]),
                gain=gain,
                steps=SEARCHED,
            )
            reached = quantity(self._in_ones(values), which)
            return law.to_unconstrained(*values).T, reached, losses - self.minimum

        bounded = bool(((at[0] <= least) | (at[0] >= most)).any())
        found, reached, rise = refit(guess, which, target, strength, 1e-7)
        sides = []
        for sign, rows in zip((-1.0, 1.0), np.split(np.arange(len(which)), 2), strict=True):
            for k, mine in enumerate(rows.reshape(len(REACH), count).T):
                side = Side(sign, k, centre[k], curvature[k], error[k], quantile[k], bounded, ())
                grid = zip(found[mine], reached[mine], rise[mine], strict=True)
                first = Point(0.0, 0.0, at[k])
                sides.append(replace(side, points=(first, *(side.point(*p) for p in grid))))
        ends = np.reshape(Search(refit).ends(sides), (2, count))
        low, high = np.where(np.isfinite(quantile), ends, np.nan)
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def profile_of(
    law: Law, x: Array, y: Array, weights: Array, cluster: Indices, loss: Loss, unit: Array
) -> Profile:
    """Of the curve with the smallest loss; arguments as the fields of Profile, any cluster labels.

    Raises ValueError where the loss has no value.
    """
    scaled, minimum = minimise(law, x, y, weights, loss)
    cluster = np.unique(cluster, return_inverse=True)[1]
    return Profile(law, x, y, weights, cluster, loss, unit, scaled, minimum)
