"""A law with numbers: values, intervals, and in words what is wrong with them.

`fit` is the only thing here that looks at data. It knows any Law and no file, table or figure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import X_RANGE, Y_RANGE, Array
from fits.laws.law import Law
from fits.regression import diagnostics, outliers
from fits.regression.bootstrap import Choose, Mask, Resampled, draws, refits
from fits.regression.profile import Profile, Quantity
from fits.regression.solver import Measure, in_units, minimise, unit_of
from fits.spec import LEVEL, REPLICATES, SEED, Huber

LOG = Measure()
MANY = 200  # points of which none decides alone
LOWEST = 1e-300  # an error has a logarithm down to here
WEAK = 0.3  # a correlation that is no fall
AUTO = 1.345  # Huber's bend, in standard deviations: 95 % of least squares' worth where all is well


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A law with numbers.

    Fields:
      law: the curve.
      values: one number a parameter, in the order of `law.parameters`.
      intervals: (low, high) of each parameter at `level`.
      level: probability that an interval is meant to hold the truth.
      rms: root mean square of the residuals, log(predicted / measured) if errors count as ratios.
      n: points fitted.
      span: smallest and largest x of these points, each [variables] where there are several.
      diagnostics: what a reader should know before trusting the numbers; empty is good.
      sure: what tells how far a quantity may lie from its fitted value.
      loss: half the sum of squares, or of Huber's losses.
      draw: makes `replicates`; None: `sure` has them.
    """

    law: Law
    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    level: float
    rms: float
    n: int
    span: tuple[float, float] | tuple[Array, Array]
    diagnostics: tuple[Diagnostic, ...]
    sure: Profile | Resampled
    loss: float = np.nan
    draw: Callable[[], Array] | None = None

    @cached_property
    def replicates(self) -> Array:
        """Values refitted to resampled runs, [replicates, parameters]; `resampled.draws` says how.

        They lie closer together than those of repeated studies. For an interval ask `interval`.
        """
        if self.draw is not None:
            return self.draw()
        assert isinstance(self.sure, Resampled)
        return self.sure.replicates

    @property
    def profile(self) -> Profile:
        """Of the points fitted."""
        return self.sure if isinstance(self.sure, Profile) else self.sure.profile

    @property
    def warnings(self) -> tuple[str, ...]:
        """The diagnostics in words."""
        return tuple(each.words for each in self.diagnostics)

    def predict(self, x: ArrayLike) -> Array:
        """Error at `x`, same shape as `x` (less its first axis, where the law has variables).

        Raises:
          ValueError: an x below 0.
        """
        with np.errstate(over="ignore"):
            return self.law.predict(_not_below_zero(x), *self.values)

    def band(self, x: ArrayLike, level: float | None = None) -> tuple[Array, Array]:
        """Low and high end of the curve at `x`, each of the shape of `predict(x)`.

        Args:
          x: as in `predict`.
          level: None: the fit's.
        """
        x = _not_below_zero(x)
        shape = x.shape if len(self.law.variables) == 1 else x.shape[1:]
        flat = x.reshape(*x.shape[: x.ndim - len(shape)], -1)
        different, back = np.unique(flat, axis=-1, return_inverse=True)

        def prediction(values: Array, which: NDArray[np.int64]) -> Array:
            return _log(self.law.predict(different[..., which], *values))

        low, high = self._ends(prediction, different.shape[-1], level)
        back = back.ravel()
        return _error(low[back]).reshape(shape), _error(high[back]).reshape(shape)

    def interval(
        self, quantity: Callable[..., Array], level: float | None = None
    ) -> tuple[float, float]:
        """Of anything that follows from the parameters, say the size of the best model.

        Args:
          quantity: (*parameters) -> its value; each parameter an array of any length. Best on a
            scale where it scatters evenly: the logarithm of what is above 0.
          level: None: the fit's.
        """
        low, high = self._ends(lambda values, which: quantity(*values), 1, level)
        return float(low[0]), float(high[0])

    def _ends(
        self, quantity: Callable[[Array, NDArray[np.int64]], Array], count: int, level: float | None
    ) -> tuple[Array, Array]:
        level = self.level if level is None else level
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return self.sure.interval(quantity, count, level)

    def extrapolates(self, x: ArrayLike) -> list[Diagnostic]:
        """How far `x` lies outside the points fitted; empty where it lies among them."""
        found = diagnostics.extrapolates(self.law, np.asarray(x, float), *self.span)
        if float(self.predict(x)) <= 0:
            found.append(Diagnostic("negative_prediction"))
        return found


def _not_below_zero(x: ArrayLike) -> Array:
    x = np.asarray(x, float)
    if not (x >= 0).all():
        raise ValueError(
            f"x is {x[~(x >= 0)].ravel()[0]:g} somewhere; a law is asked for x of 0 or above."
        )
    return x


def _log(curve: Array) -> Array:
    """Finite even where a curve, far from its points, leaves the numbers there are."""
    return np.log(np.clip(curve, LOWEST, 1 / LOWEST))


def _error(log: Array) -> Array:
    """Back from there: an end below all numbers is 0, one beyond them infinite."""
    with np.errstate(over="ignore"):
        return np.where(log <= np.log(LOWEST) + 1e-6, 0.0, np.exp(log))


def every_point(x: Array, y: Array, present: Mask) -> Mask:
    """Fit all the points there are."""
    return present


def fit(
    law: Law,
    x: ArrayLike,
    y: ArrayLike,
    *,
    choose: Choose = every_point,
    weights: ArrayLike | None = None,
    groups: Sequence[Hashable] | None = None,
    measure: Measure = LOG,
    huber: Huber = None,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Fit:
    """The curve nearest to the points, and how sure it is.

    Intervals come from the profile of the loss, scaled by what the scatter of independent groups
    allows (`profile.py`); where the points are chosen, as those of a frontier are, they are no
    narrower than refits to resampled groups say, chosen anew each time (`resampled.py`).
    `benchmarks/interval_coverage.py` measures how often they hold the truth.

    Args:
      law: the curve.
      x: resource spent by each run, > 0, any unit, [runs]; of a law of several variables a
        sequence of such, [variables, runs].
      y: its error, > 0, [runs].
      choose: (x, y, present [replicates, runs]) -> which of the runs present are to be fitted,
        of the same shape; `frontier.on_frontier` or all of them.
      weights: how much each run counts, > 0, as 1 over the variance of its noise, [runs]; None:
        all alike.
      groups: a label a run, [runs]; runs of one label may err together: the points of one
        learning curve, the seeds of one configuration. None: each run is one of its own, and
        those next to one another in x may err together, as far as the residuals say so.
      measure: `Measure(log=False)` for errors that count as differences rather than as ratios.
      huber: residuals beyond this count in proportion to their size, not to its square, so that
        outliers cannot rule; "auto": 1.345 times the noise; None: squares, or as `measure` says.
      replicates: number of refits where there are any; more make the digits steadier.
      level: of the intervals, between 0 and 1.
      seed: of the draws; the same seed gives the same digits.

    Raises:
      ValueError: fewer different x to fit than the law has parameters, or numbers that have no
        logarithm or lie outside X_RANGE and Y_RANGE, or a curve too steep for x in this unit,
        or below 0 whatever its parameters; a level, a bend or a number of refits that is none.
    """
    if not isinstance(law, Law):
        raise TypeError(f"law is {law!r}; give a Law, such as fits.laws.curves.LAWS['saturating'].")
    _refuse_terms(level, huber, replicates)
    x, y = _checked(law, x, y)
    counts = checked_weights(weights, len(y))
    group = numbered(groups, len(y))
    chosen = choose(x, y, np.ones((1, len(y)), bool))[0]
    _refuse_too_few(law, x[..., chosen], len(y))
    unit = unit_of(law, x)  # from here on x is a plain number
    plain = in_units(x, unit)
    if huber is not None:
        bend = bend_of(law, plain, y, counts, chosen, measure) if huber == "auto" else huber
        measure = replace(measure, huber=float(bend))
    values, loss = minimise(law, plain[..., chosen], y[chosen], counts[chosen], measure)
    profile = Profile(
        law=law,
        x=plain[..., chosen],
        y=y[chosen],
        weights=counts[chosen],
        group=np.unique(group[chosen], return_inverse=True)[1],
        measure=measure,
        unit=unit,
        scaled=values,
        loss=loss,
    )
    _refuse_too_steep(profile.values, unit, profile.x, profile.y)

    def draw() -> Array:
        rng = np.random.default_rng(seed)
        rows = draws(len(law.parameters), x, y, group, choose, replicates, rng) * counts
        found = refits(law, plain, y, rows, values, measure)
        with np.errstate(over="ignore"):
            return law.in_ones(unit, *found.T).T

    sure: Profile | Resampled = profile
    if choose is not every_point:
        sure = Resampled(profile, draw())
        _refuse_too_steep(sure.replicates, unit, profile.x, profile.y)
    residuals = profile.residuals
    rms = float(np.sqrt(np.mean(residuals**2)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        intervals = _intervals(profile, sure, level, float(y[chosen].min() * np.exp(2 * rms)))
    found = Fit(
        law=law,
        values=tuple(profile.values.tolist()),
        intervals=intervals,
        level=level,
        rms=rms,
        n=len(residuals),
        span=_span(x[..., chosen]),
        diagnostics=(),
        sure=sure,
        loss=loss,
        draw=draw if sure is profile else None,
    )
    without = _without_each(profile, plain, y, counts, choose, chosen)
    return replace(found, diagnostics=tuple(_diagnostics(found, profile, without)))


def _refuse_terms(level: float, huber: float | str | None, replicates: int) -> None:
    if not 0 < level < 1:
        raise ValueError(
            f"level is {level:g}; it is a probability between 0 and 1, such as {LEVEL:g}."
        )
    if not (huber is None or huber == "auto" or (isinstance(huber, float | int) and huber > 0)):
        raise ValueError(
            f"huber is {huber!r}; give a residual above 0, such as 0.01, beyond which points count "
            'less, or "auto" for one from the noise, or None for squares.'
        )
    if replicates < 1:
        raise ValueError(f"replicates is {replicates}; give 1 or more.")


def _checked(law: Law, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    several = len(law.variables) > 1
    shape = (len(law.variables), *y.shape) if several else y.shape
    if y.ndim != 1 or x.shape != shape:
        what = f"{', '.join(law.variables)} stacked" if several else "one x"
        raise ValueError(
            f"x and y have shapes {x.shape} and {y.shape}; give {what} and one y for every run."
        )
    named = zip(law.variables, x, strict=True) if several else [("x", x)]
    for name, numbers, (low, high) in (*((n, v, X_RANGE) for n, v in named), ("y", y, Y_RANGE)):
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


def checked_weights(weights: ArrayLike | None, runs: int) -> Array:
    """One number above 0 for each run, 1 where none are given, [runs]."""
    counts = np.ones(runs) if weights is None else np.asarray(weights, float)
    if counts.shape != (runs,) or not (np.isfinite(counts) & (counts > 0)).all():
        raise ValueError(
            f"weights have shape {counts.shape}, from {counts.min(initial=np.inf):g} to "
            f"{counts.max(initial=-np.inf):g}; give one number above 0 for each of {runs} runs, "
            "and leave out the runs that are not to count."
        )
    return counts


def numbered(groups: Sequence[Hashable] | None, runs: int) -> NDArray[np.int64]:
    """The number of each run's group, in order of first appearance, [runs]."""
    if groups is None:
        return np.arange(runs)
    if len(groups) != runs:
        raise ValueError(f"{len(groups)} labels of groups for {runs} runs; give one for each.")
    numbers = {label: k for k, label in enumerate(dict.fromkeys(groups))}
    return np.array([numbers[label] for label in groups])


def _refuse_too_few(law: Law, x: Array, runs: int) -> None:
    different = np.unique(x, axis=-1).shape[-1]
    if different < len(law.parameters):
        raise ValueError(
            f"{x.shape[-1]} of {runs} points are to be fitted, with {different} different x; law "
            f"{law.name} has {len(law.parameters)} parameters ({', '.join(law.parameters)}) and "
            "needs at least as many."
        )


def _refuse_too_steep(values: Array, unit: Array, x: Array, y: Array) -> None:
    if np.isfinite(values).all():
        return
    line, height = np.log(np.atleast_2d(x)), np.log(y)
    fall = -(line - line.mean(axis=1, keepdims=True)) @ (height - height.mean()) / len(y)
    if (fall <= WEAK * line.std(axis=1) * height.std()).all():
        raise ValueError(
            "the points hardly fall with x, and of the curve nearest to them a parameter is beyond "
            "all numbers. Fit points that fall, or a law of fewer parameters."
        )
    raise ValueError(
        "the points fall so steeply that a parameter is beyond all numbers for x in this "
        f"unit. Count x in units of {float(np.max(unit)):.0e}."
    )


def _span(x: Array) -> tuple[float, float] | tuple[Array, Array]:
    low, high = x.min(axis=-1), x.max(axis=-1)
    return (float(low), float(high)) if x.ndim == 1 else (low, high)


def bend_of(law: Law, x: Array, y: Array, weights: Array, chosen: Mask, measure: Measure) -> float:
    """Huber's bend for noise whose size is not known: of what least absolute errors leave over."""
    x, y, weights = x[..., chosen], y[chosen], weights[chosen]
    squares = replace(measure, huber=np.inf)
    size = np.inf
    for _ in range(3):  # squares first, then with what they say of the noise
        bent = replace(measure, huber=size) if np.isfinite(size) else squares
        values, _ = minimise(law, x, y, weights, bent)
        residuals = np.abs(measure.residuals(law.predict(x, *values), y))
        freedom = max(len(y) - len(values), 1) / len(y)
        size = max(AUTO * 1.4826 * float(np.median(residuals)) / np.sqrt(freedom), 1e-9)
    return size


def _diagnostics(found: Fit, profile: Profile, without: Array) -> list[Diagnostic]:
    law, lowest = found.law, float(profile.y.min())
    groups = int(profile.group.max()) + 1
    misfit = found.rms if profile.measure.log else found.rms / lowest
    said = diagnostics.few_points(law, found.n, groups, misfit)
    unfinished, flat = diagnostics.unfinished(profile), diagnostics.flat(profile)
    sound = not (unfinished or flat)  # else the other points have nothing to foretell
    said += unfinished
    if found.n > len(law.parameters) and not flat:
        said += diagnostics.on_bounds(profile)
        said += diagnostics.floor_unknown(law, found.intervals, found.level, lowest)
        said += diagnostics.not_identified(profile, found.intervals)
        said += outliers.off_the_curve(profile) if sound else []
    said += flat
    if groups == found.n:
        said += diagnostics.autocorrelated(profile)
    if sound:
        said += outliers.off_at_an_end(profile)
    if sound and len(without):
        ahead = np.asarray(found.span[1]) * outliers.AHEAD
        said += outliers.decided_by_one(profile, ahead, without, _width(*found.band(ahead)))
    return said


def _width(low: Array, high: Array) -> float:
    """Of an interval, as a logarithm; 0 where it has no end."""
    bottom, top = float(np.ravel(low)[0]), float(np.ravel(high)[0])
    return float(np.log(top / bottom)) if bottom > 0 and np.isfinite(top) else 0.0


def _intervals(
    profile: Profile, sure: Profile | Resampled, level: float, lowest: float
) -> tuple[tuple[float, float], ...]:
    """Of each parameter, cut where it cannot be: outside its bounds, or a floor above all errors.

    What must be above 0 is looked at on a logarithmic scale.
    """
    law, values = profile.law, profile.values
    above = np.array([low > 0 for low, _ in law.bounds])

    def parameter(drawn: Array, which: NDArray[np.int64]) -> Array:
        mine = drawn[which, np.arange(len(which))]
        return np.where(above[which], np.log(np.maximum(mine, 1e-300)), mine)

    lows, highs = sure.interval(parameter, len(values), level)
    ends = []
    for k, (name, (bottom, top)) in enumerate(zip(law.parameters, law.bounds, strict=True)):
        low, high = float(lows[k]), float(highs[k])
        if above[k]:
            low, high = np.exp(low), np.exp(high)
            if law.roles.get(name) == "exponent":  # other bounds are in another unit
                low, high = max(low, bottom), min(high, top)
        else:
            low = max(low, bottom)
        if name == law.floor:
            high = min(high, max(lowest, float(values[k])))
        value = float(values[k])  # not lost to rounding
        ends.append((min(float(low), value), max(float(high), value)))
    return tuple(ends)


def _parameter(k: int) -> Quantity:
    return lambda drawn, which: drawn[k]


def _without_each(
    profile: Profile,
    x: Array,
    y: Array,
    weights: Array,
    choose: Choose,
    chosen: Mask,
) -> Array:
    """Refits that each leave out one of the runs fitted, [runs fitted, parameters].

    None where the others could not carry the law, or where so many leave no say to a single one.
    """
    law, runs = profile.law, np.flatnonzero(chosen)
    if not len(law.parameters) < len(runs) <= MANY:
        return np.empty((0, len(law.parameters)))
    present = np.ones((len(runs), len(y)), bool)
    present[np.arange(len(runs)), runs] = False
    rows = choose(x, y, present) * weights
    found = refits(law, x, y, rows, profile.scaled, profile.measure)
    with np.errstate(over="ignore", invalid="ignore"):
        return law.in_ones(profile.unit, *found.T).T
