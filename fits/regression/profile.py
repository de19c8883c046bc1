"""How far a number may lie from its fitted value before the points object.

The profile of a quantity (a parameter, a prediction, the best model size) is the smallest loss
that any curve has which gives the quantity a certain value. Where it has risen by as much as the
scatter of the points allows, the interval ends. Unlike a standard error this follows the valley
of the loss wherever it bends, knows bounds, and depends on no one's choice of parameters.

How much scatter allows is asked of the points themselves, by groups that err independently of one
another; within a group they may err together, and nowhere need the noise be of equal size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fits.base.numbers import Array
from fits.laws.law import Law
from fits.regression.covariance import Scatter, scatter
from fits.regression.solver import Measure, Pin, descend

REACH = np.array([0.5, 0.85, 1.0, 1.2, 1.8, 4.0, 15.0])  # of the half width that is to be expected
STIFF = 30.0  # of the spring, against the loss's own curvature

Quantity = Callable[[Array, NDArray[np.int64]], Array]


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """Points, the curve that was fitted to them, and how well any other would do.

    Fields:
      law: the curve.
      x: in units of its geometric mean, [points] or [variables, points].
      y: [points].
      weights: of their losses, > 0, [points].
      group: number of the group that each point belongs to, from 0, [points].
      measure: of the distance between curve and points.
      unit: of x, one number or [variables].
      scaled: parameters at the minimum, for x in these units, [parameters].
      loss: there.
    """

    law: Law
    x: Array
    y: Array
    weights: Array
    group: NDArray[np.int64]
    measure: Measure
    unit: Array
    scaled: Array
    loss: float

    @cached_property
    def values(self) -> Array:
        """The same parameters for x in ones."""
        return self._in_ones(self.scaled)

    def _in_ones(self, scaled: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return self.law.in_ones(self.unit, *scaled)

    @cached_property
    def residuals(self) -> Array:
        return self.measure.residuals(self.law.predict(self.x, *self.scaled), self.y)

    @cached_property
    def slopes(self) -> Array:
        """Of the residuals by the coordinates, [parameters, points]."""
        slopes = self.law.derivatives(self.x, *self.scaled)
        return slopes / self.law.predict(self.x, *self.scaled) if self.measure.log else slopes

    @cached_property
    def scatter(self) -> Scatter:
        """Of the coordinates, as the residuals have it."""
        roots, bend = np.sqrt(self.weights), self.measure.huber
        place = np.log(np.atleast_2d(self.x)).sum(axis=0)  # of several variables their product
        pull = self.measure.pull(self.residuals) * roots
        found = scatter(place, self.slopes * roots, pull, self.group, neighbours=self.x.ndim == 1)
        soft = np.average(np.abs(self.residuals) <= bend, weights=self.weights)
        return replace(found, bread=found.bread / max(float(soft), 1 / len(pull)))

    @cached_property
    def covariance(self) -> Array:
        """Of the coordinates, to first order, [parameters, parameters]."""
        found = self.scatter
        return found.bread @ found.together @ found.bread

    @property
    def scatter_of_one_run(self) -> float:
        """Standard deviation of the residual of a run of weight 1; of Huber's loss, as large as
        the noise would be under squares that made the fit as sure as it is.
        """
        freedom = max(len(self.y) - len(self.scaled), 1)
        psi = self.measure.pull(self.residuals)
        inside = np.average(np.abs(self.residuals) <= self.measure.huber, weights=self.weights)
        size = np.sqrt((self.weights * psi**2).sum() / freedom)
        return float(size / max(float(inside), 1 / len(self.y)))

    def interval(self, quantity: Quantity, count: int, level: float) -> tuple[Array, Array]:
        """Low and high ends for the quantities 0 ... count - 1, each [count].

        Args:
          quantity: (parameters for x in ones [parameters, places], which [places]) -> value.
          count: of quantities.
          level: of the intervals.

        Returns:
          Where nothing within reach is objected to, or there is no scatter to ask, infinities.
        """
        law, every = self.law, np.arange(count)

        def asked(scaled: Array, which: NDArray[np.int64]) -> Array:
            return quantity(self._in_ones(scaled), which)

        here = Pin(asked, every, np.zeros(count), np.zeros(count))
        at = np.tile(law.to_unconstrained(*self.scaled), (count, 1))
        centre, slopes = here.excess(law, at), here.slopes(law, at)
        stiff, spread, allowed = self.scatter.along(slopes, level)
        side, reach, which = (
            axis.ravel() for axis in np.meshgrid([-1.0, 1.0], REACH, every, indexing="ij")
        )
        which = which.astype(np.int64)
        away = side * reach * (allowed * spread)[which]
        leaving = (slopes @ self.scatter.bread) * stiff[:, None]  # along the profile, per unit
        least, most = law.to_unconstrained(*np.array(law.bounds)).T
        start = np.clip(at[which] + leaving[which] * away[:, None], least, most)
        pin = Pin(asked, which, centre[which] + away, STIFF * stiff[which])
        values, losses = descend(
            law,
            self.x,
            self.y,
            np.broadcast_to(self.weights, (len(which), len(self.y))),
            law.from_unconstrained(*start.T),
            measure=self.measure,
            pin=pin,
            gain=1e-7,
        )
        reached = asked(values, which).reshape(2, len(REACH), count)
        rise = np.maximum(losses - self.loss, 0)
        objection = (np.sqrt(2 * rise / stiff[which]) / spread[which]).reshape(reached.shape)
        ends = [
            [
                _crossing(2 * s - 1, centre[k], reached[s, :, k], objection[s, :, k], allowed[k])
                for k in every
            ]
            for s in (0, 1)
        ]
        low, high = np.where(np.isfinite(allowed), ends, np.nan)
        return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)


def _crossing(side: int, centre: float, reached: Array, objection: Array, allowed: float) -> float:
    """Where on one side (-1, 1) the objection first exceeds what is allowed; nan if nowhere.

    An objection above that of a place farther out is of a descent that lost its way: left out.
    """
    found = objection <= np.fmin.accumulate(objection[::-1])[::-1]
    x, z = np.r_[centre, reached[found]], np.r_[0.0, objection[found]]
    beyond = np.flatnonzero(z > allowed)
    if not len(beyond):
        return np.nan
    k = int(beyond[0])
    end = np.interp(allowed, z[k - 1 : k + 1], x[k - 1 : k + 1])
    return float(max(end, centre) if side > 0 else min(end, centre))
