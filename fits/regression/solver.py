"""Least squares and Huber's loss on log error, or on error, for many replicates at once.

Levenberg-Marquardt, written over a leading axis of replicates: a thousand refits of a bootstrap
cost about as much as ten one after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fits.base.numbers import Array
from fits.laws.law import Law

STEPS = 200
IDLE = 2  # steps that promise no gain after which a replicate is at its minimum
CELLS = 24_000  # parameters x replicates x points worked on at once: what a cache holds


@dataclass(frozen=True)
class Measure:
    """What a fit makes small.

    Fields:
      log: residuals are log(law / y), so that errors count as ratios; else law - y.
      huber: a residual beyond this counts in proportion to its size, no longer to its square, so
        that outliers cannot rule (Huber 1964); in the unit of the residuals; infinity: squares.
    """

    log: bool = True
    huber: float = np.inf

    def residuals(self, curve: Array, y: Array) -> Array:
        return np.log(curve / y) if self.log else curve - y

    def losses(self, residuals: Array) -> Array:
        """Half the square up to `huber`, then a straight line that goes on without a bend."""
        if np.isinf(self.huber):
            return residuals**2 / 2
        size = np.abs(residuals)
        inside = np.minimum(size, self.huber)
        return inside * (size - inside / 2)

    def pull(self, residuals: Array) -> Array:
        """Derivative of the losses."""
        return np.clip(residuals, -self.huber, self.huber)


@dataclass(frozen=True, eq=False)
class Pin:
    """A spring that draws each replicate to where some quantity has a wanted value.

    Whatever the spring's strength, the place where it comes to rest has the smallest loss of all
    places with the same value of the quantity: a point of its profile.

    Fields:
      quantity: (parameters [parameters, replicates], which [replicates]) -> value [replicates].
      which: of several quantities the one meant, by replicate.
      target: wanted value, by replicate.
      strength: of the spring, loss per half squared distance, by replicate.
    """

    quantity: Callable[[Array, NDArray[np.int64]], Array]
    which: NDArray[np.int64]
    target: Array
    strength: Array

    def keep(self, rows: slice | NDArray[np.bool_]) -> Pin:
        return Pin(self.quantity, self.which[rows], self.target[rows], self.strength[rows])

    def excess(self, law: Law, at: Array) -> Array:
        return self.quantity(law.from_unconstrained(*at.T), self.which) - self.target

    def slopes(self, law: Law, at: Array) -> Array:
        """Of the quantity by the coordinates, [replicates, parameters], by central differences."""
        steps = np.concatenate([np.eye(at.shape[1]), -np.eye(at.shape[1])])
        size = 1e-5 * natural(law, at)
        moved = (at + steps[:, None] * size).reshape(-1, at.shape[1])
        ends = self.quantity(law.from_unconstrained(*moved.T), np.tile(self.which, len(steps)))
        up, down = ends.reshape(2, at.shape[1], len(at))
        return (up - down).T / (2 * size)


@dataclass(frozen=True, eq=False)
class Place:
    """Where replicates stand.

    Fields:
      at: coordinates, [replicates, parameters].
      slopes: of the residuals by the coordinates, [parameters, replicates, points].
      residuals: [replicates, points].
      loss: weighted sum of the losses, with the spring's, [replicates].
      strain: the spring's share of it.
    """

    at: Array
    slopes: Array
    residuals: Array
    loss: Array
    strain: Array

    def pick(self, better: NDArray[np.bool_], other: Place) -> Place:
        """`other` where it is better, else this."""
        if better.all():
            return other
        return Place(
            np.where(better[:, None], other.at, self.at),
            np.where(better[:, None], other.slopes, self.slopes),
            np.where(better[:, None], other.residuals, self.residuals),
            np.where(better, other.loss, self.loss),
            np.where(better, other.strain, self.strain),
        )

    def keep(self, rows: NDArray[np.bool_]) -> Place:
        return Place(
            self.at[rows],
            self.slopes[:, rows],
            self.residuals[rows],
            self.loss[rows],
            self.strain[rows],
        )


def descend(
    law: Law,
    x: Array,
    y: Array,
    weights: Array,
    start: Array,
    *,
    measure: Measure = Measure(),
    pin: Pin | None = None,
    gain: float = 1e-13,
) -> tuple[Array, Array]:
    """Minimise the weighted sum of losses within the law's bounds.

    Args:
      x: in units of its geometric mean, [points] or [variables, points].
      y: [points], or [replicates, points]; > 0 if the measure is logarithmic.
      weights: >= 0, [replicates, points].
      start: parameters to start from, [parameters, replicates].
      measure: of the distance between curve and points.
      pin: a spring on each replicate.
      gain: a replicate is done when steps promise to lower its loss by less than this share.

    Returns:
      Parameters at the minimum, [parameters, replicates], and the loss there, [replicates],
      without that of a spring.

    Source: Marquardt 1963; bounds by cutting the step, and by holding a coordinate on its bound
    while the loss would fall only beyond it.
    """
    y = np.broadcast_to(y, weights.shape)
    pieces = range(0, len(weights), max(1, CELLS // (weights.shape[1] * len(law.parameters))))
    with np.errstate(over="ignore", invalid="ignore"):  # a spring may pull beyond all numbers
        found = [
            _descend(
                *(law, x, y[rows], weights[rows], start[:, rows]),
                *(measure, pin and pin.keep(rows), gain),
            )
            for first in pieces
            for rows in [slice(first, first + pieces.step)]
        ]
    places, losses = zip(*found, strict=True)
    return np.concatenate(places, axis=1), np.concatenate(losses)


def _descend(
    law: Law,
    x: Array,
    y: Array,
    weights: Array,
    start: Array,
    measure: Measure,
    pin: Pin | None,
    gain: float,
) -> tuple[Array, Array]:
    low, high = law.to_unconstrained(*np.array(law.bounds)).T
    with np.errstate(divide="ignore"):  # the logarithm of a start at 0 is then cut at its bound
        begin = np.clip(law.to_unconstrained(*start).T, low, high)
    place = _look(law, x, y, weights, begin, measure, pin)
    with np.errstate(invalid="ignore"):  # both are infinite where a curve leaves the numbers
        found, losses = place.at.copy(), place.loss - place.strain
    going = np.arange(len(found))  # the replicates still on their way
    damping, idle = np.full(len(found), 1e-3), np.zeros(len(found), np.int64)
    least = 1e-30 if measure.log else 1e-30 * float(np.mean(y**2))  # what rounding leaves
    for _ in range(STEPS):
        at, promised = _step(law, place, weights, damping, low, high, measure, pin)
        trial = _look(law, x, y, weights, at, measure, pin)
        better = trial.loss < place.loss
        idle = np.where(promised > gain * place.loss + least, 0, idle + 1)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-12, 1e12)
        place = place.pick(better, trial)
        found[going], losses[going] = place.at, place.loss - place.strain

        on = idle < IDLE
        if not on.any():
            break
        if not on.all():
            going, idle, damping = going[on], idle[on], damping[on]
            place, weights, y, pin = place.keep(on), weights[on], y[on], pin and pin.keep(on)
    return law.from_unconstrained(*found.T), losses


def _look(
    law: Law, x: Array, y: Array, weights: Array, at: Array, measure: Measure, pin: Pin | None
) -> Place:
    with np.errstate(all="ignore"):  # a step too far may leave the numbers: its loss is no better
        values = law.from_unconstrained(*at.T[..., None])
        curve = law.predict(x, *values)
        residuals = measure.residuals(curve, y)
        slopes = law.derivatives(x, *values)
        if measure.log:
            slopes = slopes / curve
        losses = np.einsum("rn,rn->r", weights, measure.losses(residuals))
        strain = np.zeros(len(at)) if pin is None else pin.strength * pin.excess(law, at) ** 2 / 2
    return Place(at, slopes, residuals, losses + strain, strain)


def _step(
    law: Law,
    place: Place,
    weights: Array,
    damping: Array,
    low: Array,
    high: Array,
    measure: Measure,
    pin: Pin | None,
) -> tuple[Array, Array]:
    """The coordinates to try next, [replicates, parameters], and how much lower they may lie.

    Residuals beyond Huber's bend have no curvature of their own. Their share in the curvature of
    the parabola that touches the loss from above (reweighted least squares) enters with the
    damping: far from the minimum it keeps steps short, near it they are Newton's.
    """
    gradient = np.einsum("prn,rn->rp", place.slopes, weights * measure.pull(place.residuals))
    rows = place.slopes.transpose(1, 0, 2)
    if np.isinf(measure.huber):
        bent = weights
    else:
        size = np.abs(place.residuals)
        above = np.minimum(1, measure.huber / np.maximum(size, 1e-300))
        bent = weights * ((size <= measure.huber) + damping[:, None] * above)
    hessian = (rows * bent[:, None]) @ rows.transpose(0, 2, 1)
    if pin is not None:
        slopes = pin.slopes(law, place.at)
        gradient += (pin.strength * pin.excess(law, place.at))[:, None] * slopes
        hessian += pin.strength[:, None, None] * slopes[:, :, None] * slopes[:, None, :]
    held = (place.at <= low) & (gradient > 0) | (place.at >= high) & (gradient < 0)
    each = np.arange(len(low))
    gradient = np.where(held, 0, gradient)
    hessian = np.where(held[:, :, None] | held[:, None, :], 0, hessian)
    diagonal = hessian[:, each, each]
    scale = np.where(diagonal > 0, diagonal, 1.0) ** -0.5  # so that steps know no units
    hessian = hessian * scale[:, :, None] * scale[:, None, :]
    hessian[:, each, each] = 1 + damping[:, None]
    step = np.linalg.solve(hessian, (gradient * scale)[..., None])[..., 0] * scale
    return np.clip(place.at - step, low, high), (gradient * step).sum(axis=1)


def natural(law: Law, at: Array) -> Array:
    """What each coordinate is counted in: the error at x = 1, or 1 if it has no unit, like `at`."""
    middle = np.ones((len(law.variables), *at.shape[:-1]))
    with np.errstate(all="ignore"):
        curve = law.predict(
            middle if len(middle) > 1 else middle[0], *law.from_unconstrained(*at.T)
        )
    error = np.where(np.isfinite(curve) & (curve > 0), curve, 1.0)
    return np.where(_in_errors(law), error[..., None], 1.0)


@cache
def _in_errors(law: Law) -> NDArray[np.bool_]:
    """Which coordinates have the unit of the error: those in which the law is linear, such as a
    floor; scales enter as logarithms. Tried at some place or other.
    """
    count = len(law.parameters)
    at = law.to_unconstrained(*(0.3 + 0.1 * np.arange(count)))
    x = np.exp(np.sin(np.arange(1.0, 1 + 8 * len(law.variables)))).reshape(-1, 8)
    moved = np.concatenate([at[None], at + 0.1 * np.eye(count)])
    slopes = law.derivatives(
        x if len(x) > 1 else x[0], *law.from_unconstrained(*moved.T)[..., None]
    )
    slopes = np.broadcast_to(slopes, (count, count + 1, 8))
    each = np.arange(count)
    same = np.isclose(slopes[each, 0], slopes[each, 1 + each], rtol=1e-9, atol=0).all(axis=1)
    return same & slopes[:, 0].any(axis=1)


def unit_of(law: Law, x: Array) -> Array:
    """The geometric mean of x, or of each of its variables; of those of one unit together."""
    if law.rescale is None:
        return np.ones(x.shape[:-1])
    if x.ndim == 1:
        return np.exp(np.log(x).mean())
    means, units = np.log(x).mean(axis=1), np.array(law.units)
    return np.exp([means[units == unit].mean() for unit in units])


def in_units(x: Array, unit: Array) -> Array:
    return x / unit if x.ndim == 1 else x / unit[:, None]


def minimise(
    law: Law, x: Array, y: Array, weights: Array, measure: Measure = Measure()
) -> tuple[Array, float]:
    """The best of the descents from the law's own starts: parameters, and the loss there.

    Args:
      x: in units of its geometric mean, [points] or [variables, points].
      y: > 0, [points].
      weights: of the losses, > 0, [points].
      measure: of the distance between curve and points.

    Raises:
      ValueError: nowhere among the law's starts has the loss a value.
    """
    with np.errstate(all="ignore"):  # some places of a grid are beyond all numbers, and not chosen
        starts = law.guess(x, y, weights)
    rows = np.broadcast_to(weights, (starts.shape[1], len(y)))
    found, losses = descend(law, x, y, rows, starts, measure=measure)
    best = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
    if not np.isfinite(losses[best]):
        raise ValueError(
            f"no curve of law {law.name} that was tried is above 0 at every point, as errors that "
            "count as ratios must be. Try another law, or let errors count as differences."
        )
    return found[:, best], float(losses[best])
