"""A law with numbers: values, intervals, and in words what is wrong with them.

`fit` is the only thing here that looks at data. It knows any Law and no file, table or figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fits.descent import descend
from fits.doubts import bends_otherwise, few_points, floor_unknown, on_bounds
from fits.laws import X_RANGE, Y_RANGE, Array, Law

Mask = NDArray[np.bool_]
DRAWS = 1.5  # of a replicate, per run
CELLS = 200_000  # replicates x points worked on at once, to bound memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A law with numbers.

    Fields:
      law: the curve.
      values: one number a parameter, in the order of `law.parameters`.
      intervals: (low, high) of each parameter at `level`.
      level: probability that an interval is meant to hold the truth.
      rms: root mean square of log(measured / predicted) over the points fitted.
      n: points fitted.
      span: smallest and largest x of these points.
      warnings: what a reader should know before trusting the numbers; empty is good.
      replicates: values refitted to resampled runs, [replicates, parameters]; as `fit` explains,
        they lie closer together than repeated studies would.
    """

    law: Law
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    level: float
    rms: float
    n: int
    span: tuple[float, float]
    warnings: tuple[str, ...]
    replicates: Array

    def predict(self, x: ArrayLike) -> Array:
        """Error at `x`, same shape as `x`."""
        with np.errstate(over="ignore"):
            return self.law.predict(x, *self.values)

    def band(self, x: ArrayLike, level: float | None = None) -> tuple[Array, Array]:
        """Low and high end of the curve at `x`, each of the shape of `x`; level None: the fit's.

        As the intervals: as far as the resampled curves lie from the fitted one, on either side.
        """
        x = np.asarray(x, float)
        with np.errstate(over="ignore"):
            centre = _log(self.predict(x))
            curves = _log(self.law.predict(x[..., None], *self.replicates.T))
            reach = _reach(curves - centre[..., None], self.level if level is None else level)
            return np.exp(centre - reach), np.exp(centre + reach)

    def beyond(self, x: float) -> str | None:
        """In words how far `x` lies outside the points fitted; None where it lies among them."""
        first, last = self.span
        if first <= x <= last:
            return None
        side, factor = ("above", x / last) if x > last else ("below", first / x)
        edge = "largest" if x > last else "smallest"
        return f"x = {x:g} is {factor:.3g} times {side} the {edge} x fitted"


def every_point(x: Array, y: Array, present: Mask) -> Mask:
    """Fit all the points there are."""
    return present


def fit(
    law: Law,
    x: ArrayLike,
    y: ArrayLike,
    *,
    choose: Callable[[Array, Array, Mask], Mask] = every_point,
    replicates: int = 1000,
    level: float = 0.9,
    seed: int = 0,
) -> Fit:
    """Least squares on log error, with intervals from a bootstrap over runs.

    Each replicate draws runs with replacement, chooses anew among those drawn (say their
    frontier) and refits. As many draws as runs would miss 37 % of the best runs and fit a
    frontier that lies too high; half as many again miss 22 %, and distances are stretched by the
    square root of 1.5 to make up for it (as where fewer are drawn: Bickel, Götze and van Zwet
    1997). What retreat is left pushes all replicates to one side, so intervals are symmetric: the
    fitted value plus and minus the distance that `level` of the replicates keep (Hall 1988), cut
    at the parameter's bounds. `benchmarks/interval_coverage.py` measures how often they hold the
    truth.

    Args:
      law: the curve.
      x: resource spent by each run, > 0, any unit, [runs].
      y: its error, > 0, [runs].
      choose: (x, y, present [replicates, runs]) -> which of the runs present are to be fitted,
        of the same shape; `frontier.on_frontier` or all of them.
      replicates: number of refits; more make the intervals' own digits steadier.
      level: of the intervals.
      seed: of the draws; the same seed gives the same digits.

    Raises:
      ValueError: fewer different x to fit than the law has parameters, or numbers that have no
        logarithm or lie outside X_RANGE and Y_RANGE, or a curve too steep for x in this unit.
    """
    compute, error = _checked(x, y)
    chosen = choose(compute, error, np.ones((1, len(compute)), bool))
    points_x, points_y = compute[chosen[0]], error[chosen[0]]
    _refuse_too_few(law, points_x, len(compute))
    weights = _draws(law, compute, error, choose, replicates, np.random.default_rng(seed))
    unit = float(np.exp(np.log(compute).mean()))  # from here on x is a plain number
    values = _refit(law, compute / unit, error, chosen.astype(float))[:, 0]
    drawn = _refit(law, compute / unit, error, weights)
    residuals = np.log(points_y / law.predict(points_x / unit, *values))
    resting = on_bounds(law, points_x / unit, values)
    rms = float(np.sqrt(np.mean(residuals**2)))
    highest = _highest_floor(law, points_x / unit, points_y, values, level)
    lowest = float(points_y.min() * np.exp(2 * rms))  # the best run may have been lucky
    with np.errstate(over="ignore"):
        values, drawn = law.rescale(unit, *values), law.rescale(unit, *drawn)
    if not (np.isfinite(values).all() and np.isfinite(drawn).all()):
        raise ValueError(
            f"the points fall so steeply that the a of x = 1 is beyond all numbers. Count x in "
            f"units of {unit:.0e}."
        )
    intervals = _intervals(law, values, drawn, level, highest, lowest)
    return Fit(
        law=law,
        values=tuple(values.tolist()),
        intervals=intervals,
        level=level,
        rms=rms,
        n=len(points_x),
        span=(float(points_x.min()), float(points_x.max())),
        warnings=(
            *few_points(law, len(points_x)),
            *resting,
            *floor_unknown(law, intervals, level, float(points_y.min())),
            *bends_otherwise(residuals[np.argsort(points_x)]),
        ),
        replicates=drawn.T,
    )


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; give one x and one y for every run."
        )
    for name, numbers, (low, high) in (("x", x, X_RANGE), ("y", y, Y_RANGE)):
        wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers > 0)))
        if len(wrong):
            raise ValueError(
                f"{name}[{wrong[0]}] is {numbers[wrong[0]]:g}; the fit is on log axes, so every "
                f"{name} must be above 0 and finite ({len(wrong)} are not). Leave those runs out."
            )
        beyond = np.flatnonzero((numbers < low) | (numbers > high))
        if len(beyond):
            raise ValueError(
                f"{name}[{beyond[0]}] is {numbers[beyond[0]]:g}, not from {low:g} to {high:g} "
                f"({len(beyond)} are not). Count {name} in another unit, or leave those runs out."
            )
    return x, y


def _refuse_too_few(law: Law, x: Array, runs: int) -> None:
    different = len(np.unique(x))
    if different < len(law.parameters):
        raise ValueError(
            f"{len(x)} of {runs} points are to be fitted, with {different} different x; law "
            f"{law.name} has {len(law.parameters)} parameters ({', '.join(law.parameters)}) and "
            "needs at least as many."
        )


def _draws(
    law: Law,
    x: Array,
    y: Array,
    choose: Callable[[Array, Array, Mask], Mask],
    replicates: int,
    rng: np.random.Generator,
) -> Array:
    """Weight of each run in each replicate: how often it was drawn, or 0 if it was not chosen.

    Draws with fewer different x than the law has parameters determine no curve: drawn again.
    """
    _, group = np.unique(x, return_inverse=True)
    draws = math.ceil(DRAWS * len(x))
    found: list[Array] = []
    while sum(map(len, found)) < replicates:
        times = rng.multinomial(draws, np.full(len(x), 1 / len(x)), size=replicates)
        weights = times * choose(x, y, times > 0)
        different = np.zeros((replicates, group.max() + 1), bool)
        rows, columns = np.nonzero(weights)
        different[rows, group[columns]] = True
        found.append(weights[different.sum(axis=1) >= len(law.parameters)].astype(float))
    return np.concatenate(found)[:replicates]


def _refit(law: Law, x: Array, y: Array, weights: Array) -> Array:
    """Parameters of a fit for each row of weights, [parameters, replicates]."""
    used = (weights > 0).any(axis=0)
    x, y, weights = x[used], y[used], weights[:, used]
    chunks = np.array_split(weights, -(-weights.size // CELLS))
    fits = [descend(law, x, y, rows, law.guess(x, y, rows)) for rows in chunks]
    return np.concatenate(fits, axis=1)


def _log(curve: Array) -> Array:
    """Finite even where a curve, far from its points, leaves the numbers there are."""
    return np.log(np.clip(curve, 1e-300, 1e300))


def _reach(distances: Array, level: float) -> Array:
    """How far from 0 `level` of the distances go, along the last axis, as of N draws from N."""
    return np.sqrt(DRAWS) * np.quantile(np.abs(distances), level, axis=-1)


def _intervals(
    law: Law, values: Array, drawn: Array, level: float, highest_floor: float, lowest_error: float
) -> tuple[tuple[float, float], ...]:
    """Fitted value plus and minus, or for what cannot be 0 times and divided by, the reach.

    Cut where a parameter cannot be: outside its bounds, or a floor above the lowest error there is.
    """
    intervals = []
    bounds = zip(law.parameters, values, drawn, law.bounds, strict=True)
    for name, value, draws, (low, top) in bounds:
        if low > 0:
            with np.errstate(over="ignore"):  # an end beyond all numbers is infinite
                factor = np.exp(_reach(np.log(draws / value), level))
                ends = float(value / factor), float(value * factor)
            if name == "b":  # the bounds of a and d are in another unit
                ends = max(ends[0], low), min(ends[1], top)
            intervals.append(ends)
            continue
        reach = float(_reach(draws - value, level))
        high = float(value) + reach
        if name == "c" and value - reach <= low:
            high = max(high, highest_floor)
        if name == "c":
            high = min(high, lowest_error)
        intervals.append((max(float(value) - reach, low), high))
    return tuple(intervals)


def _highest_floor(law: Law, x: Array, y: Array, values: Array, level: float) -> float:
    """The largest c whose best curve is no worse than noise allows; 0 for a law without c.

    Where the floor rests on its bound 0, so do most replicates, and the bootstrap sees too little
    (Andrews 2000). This asks the squares themselves: with c held, the others free, by how much do
    they grow? Noise allows Student's t squared (Fisher's expansion) times the residual variance.
    """
    if "c" not in law.parameters:
        return 0.0
    k = law.parameters.index("c")
    floors = np.linspace(0, 1.2 * y.min(), 61)
    start = np.tile(values[:, None], len(floors))
    start[k] = floors
    held = descend(law, x, y, np.ones((len(floors), len(x))), start, hold=k)
    squares = (np.log(law.predict(x, *held[..., None]) / y) ** 2).sum(axis=1)
    least = (np.log(law.predict(x, *values) / y) ** 2).sum()
    freedom = max(len(x) - len(values), 1)
    z = NormalDist().inv_cdf((1 + level) / 2)
    allowed = least * (1 + (z + (z**3 + z) / (4 * freedom)) ** 2 / freedom)
    beyond = np.flatnonzero((squares > allowed) & (floors > values[k]))
    if not len(beyond):
        return float(floors[-1])
    after = beyond[0]
    ends = [max(floors[after - 1], values[k]), floors[after]]
    return float(np.interp(allowed, [min(squares[after - 1], allowed), squares[after]], ends))
