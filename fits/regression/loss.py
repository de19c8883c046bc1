"""What a fit minimises: squares or Huber's loss of the residuals, and a penalty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fits.base.numbers import Array, Indices, Mask
from fits.laws.law import Law
from fits.spec import EFFICIENT

SMOOTH = 0.5  # of the loss of a quantile, in standard deviations


@dataclass(frozen=True)
class Loss:
    """rho of the residuals, of which a fit minimises the weighted sum.

    Beyond a threshold a residual counts in proportion to its size, not to its square (Huber 1964).
    Undertuned runs lie above the curve of those that were trained well. A one-sided loss bounds
    only what a point above the curve can do; that of a quantile (Koenker and Bassett 1978,
    smoothed) weighs a point far above it by tau, and one far below it by 1 - tau.
    """

    log: bool = True  # residuals are log(law / y), so that errors count as ratios; else law - y
    delta: float = np.inf  # Huber's threshold, in the unit of the residuals; infinity: squares
    one_sided: bool = False  # points below the curve count by their square, however far
    tau: float | None = None  # share of the points that the curve of a quantile leaves below it

    @property
    def symmetric(self) -> bool:
        return not self.one_sided and self.tau is None

    @property
    def limits(self) -> tuple[float, float]:
        """Of psi: how much a point above the curve can count, and one below it."""
        if self.tau is not None and np.isfinite(self.delta):
            return -2 * self.tau * self.delta, 2 * (1 - self.tau) * self.delta
        return -self.delta, np.inf if self.one_sided else self.delta

    @property
    def lowest(self) -> float:
        """The residual where rho is 0. Of a quantile not 0: its slopes meet within delta of it."""
        quantile = self.tau is not None and np.isfinite(self.delta)
        return self.delta * (2 * float(self.tau or 0) - 1) if quantile else 0.0

    def residuals(self, curve: Array, y: Array) -> Array:
        return np.log(curve / y) if self.log else curve - y

    def jacobian(self, derivatives: Array, curve: Array) -> Array:
        """Of the residuals, where `derivatives` are those of the curve."""
        return derivatives / curve if self.log else derivatives

    def rho(self, residuals: Array) -> Array:
        if np.isinf(self.delta):
            return residuals**2 / 2
        inside = self.psi(residuals)
        return inside * (residuals - self.lowest - inside / 2)

    def psi(self, residuals: Array) -> Array:
        """Derivative of rho."""
        return np.clip(residuals - self.lowest, *self.limits)

    def within(self, residuals: Array) -> Mask:
        """Which residuals count by their square."""
        low, high = self.limits
        away = residuals - self.lowest
        return (away >= low) & (away <= high)

    def mean_curvature(self, residuals: Array, weights: Array, parameters: int = 0) -> float:
        """Weighted mean of psi', the share of points within the threshold; at least one point's.

        The curve of a quantile is drawn to as many points as it has parameters, whatever the
        density there: these are not counted (Koenker 2005, "Quantile Regression").
        """
        inside, count = float(np.average(self.within(residuals), weights=weights)), len(residuals)
        if self.tau is not None and np.isfinite(self.delta) and count > parameters:
            inside = (inside * count - parameters) / (count - parameters)
        return max(inside, 1 / count)

    def deviation(self, residuals: Array, parameters: int) -> float:
        """Standard deviation of the errors, normal but for some outliers, by a median.

        Where points above the curve may be of another kind, by those below it alone.
        """
        count = len(residuals)
        freedom = max(count - parameters, 1) / count
        if self.one_sided and (residuals > 0).any():
            sizes = residuals[residuals > 0]
        else:
            sizes = np.abs(residuals - (0.0 if self.tau is None else np.median(residuals)))
        return 1.4826 * float(np.median(sizes)) / float(np.sqrt(freedom))

    def threshold(self, deviation: float, points: int, parameters: int) -> float:
        """Delta for errors of that standard deviation.

        Huber's, 95 % efficient if errors are normal; of a quantile half the width of the
        uniform kernel that smooths it, as He et al. 2023 choose it ("Smoothed quantile regression
        with large-scale inference"), and no less than leaves many points within: their share is
        the density that intervals rest on.
        """
        if self.tau is None:
            return EFFICIENT * deviation
        width = ((parameters + np.log(points)) / points) ** 0.4
        smooth = float(np.sqrt(self.tau * (1 - self.tau)) * width)
        return deviation * max(SMOOTH, smooth)


LOG = Loss()


@dataclass(frozen=True, eq=False)
class Penalty:
    """For each replicate the sum of strength / 2 * (quantity - target)^2 over some quantities.

    A normal prior of the quantities; or a constraint: whatever its strength, the minimum has the
    smallest loss of all places with the same value of the quantity, and is a point of its profile.
    """

    quantity: Callable[[Array, Indices], Array]
    """(coordinates [replicates, parameters], which [replicates]) -> [replicates, quantities]."""
    which: Indices  # set of quantities that is meant, [replicates]
    target: Array  # [replicates, quantities]
    strength: Array  # [replicates, quantities]

    def keep(self, rows: slice | Mask) -> Penalty:
        return Penalty(self.quantity, self.which[rows], self.target[rows], self.strength[rows])

    def excess(self, at: Array) -> Array:
        return self.quantity(at, self.which) - self.target

    def value(self, at: Array) -> Array:
        return (self.strength * self.excess(at) ** 2).sum(axis=1) / 2

    def jacobian(self, law: Law, at: Array) -> Array:
        """By central differences, [replicates, quantities, parameters]."""
        steps = np.concatenate([np.eye(at.shape[1]), -np.eye(at.shape[1])])
        size = 1e-5 * coordinate_scale(law, at)
        moved = (at + steps[:, None] * size).reshape(-1, at.shape[1])
        ends = self.quantity(moved, np.tile(self.which, len(steps)))
        up, down = ends.reshape(2, at.shape[1], len(at), ends.shape[1])
        return (up - down).transpose(1, 2, 0) / (2 * size[:, None])


def coordinate_scale(law: Law, at: Array) -> Array:
    """Scale of each coordinate, like `at`: the error at x = 1, or 1 if it has no unit."""
    middle = np.ones((len(law.variables), *at.shape[:-1]))
    with np.errstate(all="ignore"):
        curve = law.predict(
            middle if len(middle) > 1 else middle[0], *law.from_unconstrained(*at.T)
        )
    error = np.where(np.isfinite(curve) & (curve > 0), curve, 1.0)
    return np.where(_in_errors(law), error[..., None], 1.0)


@lru_cache(maxsize=256)  # laws with held parameters are made anew for each fit
def _in_errors(law: Law) -> Mask:
    """Which coordinates have the unit of the error: those in which the law is linear, such as a
    floor; scales enter as logarithms. Tried at some place or other.
    """
    count = len(law.parameters)
    at = law.to_unconstrained(*(0.3 + 0.1 * np.arange(count)))
    x = np.exp(np.sin(np.arange(1.0, 1 + 8 * len(law.variables)))).reshape(-1, 8)
    moved = np.concatenate([at[None], at + 0.1 * np.eye(count)])
    found = law.derivatives(x if len(x) > 1 else x[0], *law.from_unconstrained(*moved.T)[..., None])
    found = np.broadcast_to(found, (count, count + 1, 8))
    each = np.arange(count)
    same = np.isclose(found[each, 0], found[each, 1 + each], rtol=1e-9, atol=0).all(axis=1)
    return same & found[:, 0].any(axis=1)
