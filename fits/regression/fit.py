"""A law with numbers: values, intervals, and diagnostics.

`fit` is the only thing here that looks at data. It knows any Law and no file, table or figure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array, Indices, Mask
from fits.laws.constrained import Constraint, constrained
from fits.laws.law import Law
from fits.regression import diagnostics, outliers
from fits.regression.bootstrap import Bootstrap, Choose, bootstrap_weights, jackknife, refits
from fits.regression.inputs import (
    checked_points,
    checked_weights,
    in_order,
    refuse_options,
    refuse_too_few,
    refuse_too_steep,
)
from fits.regression.loss import LOG, Loss
from fits.regression.profile import Profile, profile_of
from fits.regression.solver import in_units, unit_of, with_threshold
from fits.regression.squash import MANY, minimise_many, near_frontier, sample_of, squashed
from fits.regression.two_stage import Steps, TwoStage, two_stage
from fits.spec import LEVEL, REPLICATES, SEED, Huber

FREE = Constraint()
LOWEST = 1e-300  # an error has a logarithm down to here


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A law with numbers."""

    law: Law
    values: tuple[float, ...]  # in the order of `law.parameters`
    intervals: tuple[tuple[float, float], ...]  # low and high end of each parameter at `level`
    level: float  # probability that an interval is meant to hold the truth
    rms: float  # root mean square of the residuals, log(predicted / measured) if errors are ratios
    n: int  # points fitted
    span: tuple[float, float] | tuple[Array, Array]
    """Smallest and largest x of these points, each [variables] where there are several."""
    diagnostics: tuple[Diagnostic, ...]  # what a reader should know first; empty is good
    inference: Profile | Bootstrap | TwoStage
    """Tells how far a quantity may lie from its fitted value."""
    objective: float  # the loss at the minimum: half the sum of squares, or of Huber's rho
    cells: int | None = None
    """Means of neighbouring points that the intervals are from, `squash.py`; None: the points."""

    @property
    def profile(self) -> Profile:
        """Of the points fitted."""
        found = self.inference
        return found if isinstance(found, Profile) else found.profile

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

        def prediction(values: Array, which: Indices) -> Array:
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
            scale where its errors are about normal: the logarithm of what is above 0.
          level: None: the fit's.
        """
        low, high = self._ends(lambda values, which: quantity(*values), 1, level)
        return float(low[0]), float(high[0])

    def _ends(
        self, quantity: Callable[[Array, Indices], Array], count: int, level: float | None
    ) -> tuple[Array, Array]:
        level = self.level if level is None else level
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return self.inference.interval(quantity, count, level)

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
            f"x is {x[~(x >= 0)].ravel()[0]:g} somewhere; a law predicts at x of 0 or above."
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
    clusters: Sequence[Hashable] | None = None,
    loss: Loss = LOG,
    huber: Huber = None,
    constraint: Constraint = FREE,
    steps: Steps = (),
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Fit:
    """The curve nearest to the points, and how sure it is.

    Intervals come from the profile likelihood, scaled by the cluster-robust covariance
    (`profile.py`); where the points are chosen, as those of a frontier are, they are no narrower
    than a bootstrap of the clusters says that chooses anew each time (`bootstrap.py`).
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
      clusters: a label a run, [runs]; errors of runs of one label may be correlated: the points of
        one learning curve, the seeds of one configuration. None: each run is one of its own, and
        neighbours in x may be autocorrelated, as far as the residuals say so.
      loss: `Loss(log=False)` for errors that count as differences rather than as ratios.
      huber: threshold of Huber's loss: residuals beyond it count in proportion to their size, not
        to its square; "auto": `spec.EFFICIENT` times the noise; None: as `loss` says, squares by
        default.
      constraint: parameters that are held at a number, or equal to another.
      steps: how uncertain those held at a number are (`two_stage.py`); none: they are exact.
      replicates: number of refits of a bootstrap; more make the digits steadier.
      level: of the intervals, between 0 and 1.
      seed: of the draws; the same seed gives the same digits, in whatever order the runs are.

    Raises:
      ValueError: fewer different x to fit than the law has free parameters, or numbers that have
        no logarithm or lie outside X_RANGE and Y_RANGE, or a curve too steep for x in this unit,
        or below 0 whatever its parameters; or a level, huber or replicates out of range; or a
        constraint that the law cannot have.
    """
    if not isinstance(law, Law):
        raise TypeError(f"law is {law!r}; give a Law, one of fits.laws.registry.EVERY_LAW.")
    refuse_options(level, huber, replicates)
    x, y = checked_points(law, x, y)
    counts = checked_weights(weights, len(y))
    order, cluster = in_order(x, y, counts, clusters)
    x, y, counts = x[..., order], y[order], counts[order]
    chosen = choose(x, y, np.ones((1, len(y)), bool))[0]
    unit = unit_of(law, x)  # from here on x is a plain number
    whole, law = law, constrained(law, constraint, unit)
    refuse_too_few(law, x[..., chosen], len(y))
    plain = in_units(x, unit)
    points = plain[..., chosen], y[chosen], counts[chosen]
    many = len(points[1]) > MANY
    if many:
        loss, scaled, minimum = minimise_many(law, *points, loss, huber)
        exact = Profile(law, *points, cluster[chosen], loss, unit, scaled, minimum)
        profile = squashed(exact)
    else:
        loss = with_threshold(loss, huber, law, *points)
        exact = profile = profile_of(law, *points, cluster[chosen], loss, unit)
    refuse_too_steep(profile.values, unit, profile.x, profile.y)
    inference: Profile | Bootstrap = profile
    every = near = np.ones(len(y), bool)
    if choose is not every_point:
        rng, needs = np.random.default_rng(seed), len(law.parameters)
        near = near_frontier(x, y) if len(y) > MANY else every
        some = near if cluster.max() + 1 == len(y) else every
        few = x[some], y[some], np.unique(cluster[some], return_inverse=True)[1]
        drawn = bootstrap_weights(
            needs, *few, choose, replicates, rng, clusters=int(cluster.max()) + 1
        )
        found = refits(law, plain[some], y[some], drawn, counts[some], profile.scaled, loss)
        with np.errstate(over="ignore"):
            inference = Bootstrap(profile, law.in_ones(unit, *found.T).T)
        refuse_too_steep(inference.replicates, unit, profile.x, profile.y)
    both = two_stage(whole, constraint, steps, inference) if len(steps) else inference
    residuals = exact.residuals
    rms = float(np.sqrt(np.mean(residuals**2)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lowest = float(y[chosen].min() * np.exp(2 * rms))
        intervals = _intervals(whole, both, level, lowest, tuple(constraint.fix))
    fitted = Fit(
        law=whole,
        values=tuple(profile.values.tolist()),
        intervals=intervals,
        level=level,
        rms=rms,
        n=len(residuals),
        span=_span(x[..., chosen]),
        diagnostics=(),
        inference=both,
        objective=exact.minimum,
        cells=len(profile.y) if many else None,
    )
    without = jackknife(profile, plain[..., near], y[near], counts[near], choose, chosen[near])
    said = _diagnostics(fitted, exact, profile, without, order[chosen])
    return replace(fitted, diagnostics=tuple(said))


def _span(x: Array) -> tuple[float, float] | tuple[Array, Array]:
    low, high = x.min(axis=-1), x.max(axis=-1)
    return (float(low), float(high)) if x.ndim == 1 else (low, high)


def _diagnostics(
    found: Fit, exact: Profile, profile: Profile, without: Array, rows: Indices
) -> list[Diagnostic]:
    """Of many points, outliers are looked for in a sample, and all else in their cells."""
    law, lowest = profile.law, float(exact.y.min())
    single = profile if found.cells is None else sample_of(exact)
    rows = rows if found.cells is None else np.arange(found.cells)
    clusters = int(profile.cluster.max()) + 1
    misfit = found.rms if profile.loss.log else found.rms / lowest
    said = diagnostics.few_points(law, found.n, clusters, misfit)
    unfinished, flat = diagnostics.unfinished(exact), diagnostics.flat(profile)
    sound = not (unfinished or flat)  # else the other points predict nothing
    centred = sound and profile.loss.symmetric  # else the curve is not amid the points
    said += unfinished
    if found.n > len(law.parameters) and not flat:
        said += diagnostics.few_beside(exact)
        said += diagnostics.on_bounds(profile)
        ends = dict(zip(found.law.parameters, found.intervals, strict=True))
        free = [ends[name] for name in law.parameters]
        said += diagnostics.floor_unknown(law, free, found.level, lowest)
        said += diagnostics.not_identifiable(profile, free)
        said += outliers.off_the_curve(single) if centred else []
    said += flat
    if clusters == len(profile.y):
        said += diagnostics.autocorrelated(profile, rows)
    if centred:
        said += outliers.off_at_an_end(profile)
    if sound and len(without) and not law.rises:
        ahead = np.asarray(found.span[1]) * outliers.AHEAD
        said += outliers.influential(profile, ahead, without, lambda: _width(*found.band(ahead)))
    return said


def _width(low: Array, high: Array) -> float:
    """Of an interval, as a logarithm; 0 where it has no end."""
    bottom, top = float(np.ravel(low)[0]), float(np.ravel(high)[0])
    return float(np.log(top / bottom)) if bottom > 0 and np.isfinite(top) else 0.0


def _intervals(
    law: Law,
    inference: Profile | Bootstrap | TwoStage,
    level: float,
    lowest: float,
    held: Sequence[str],
) -> tuple[tuple[float, float], ...]:
    """Of each parameter, cut where it cannot be: outside its bounds, or a floor above all errors.

    What must be above 0 is looked at on a logarithmic scale; what is held has the interval that an
    earlier fit gave it, or none.
    """
    values = (inference if isinstance(inference, Profile) else inference.profile).values
    above = np.array([low > 0 for low, _ in law.bounds])
    places = np.array([k for k, name in enumerate(law.parameters) if name not in held])

    def parameter(drawn: Array, which: Indices) -> Array:
        mine = drawn[places[which], np.arange(len(which))]
        return np.where(above[places[which]], np.log(np.maximum(mine, 1e-300)), mine)

    lows, highs = inference.interval(parameter, len(places), level)
    if held and isinstance(inference, TwoStage):
        count, places = len(places), np.r_[places, [law.parameters.index(name) for name in held]]
        centre, reach = (each[count:] for each in inference.carried(parameter, len(places), level))
        lows, highs = np.r_[lows, centre - reach], np.r_[highs, centre + reach]
    ends = [(float(value), float(value)) for value in values]
    for k, low, high in zip(places.tolist(), lows.tolist(), highs.tolist(), strict=True):
        name, (bottom, top) = law.parameters[k], law.bounds[k]
        if above[k]:
            low, high = np.exp(low), np.exp(high)
            if law.roles.get(name) == "exponent":  # other bounds are in another unit
                low, high = max(low, bottom), min(high, top)
        else:
            low = max(low, bottom)
        if name == law.floor:
            high = min(high, max(lowest, float(values[k])))
        value = float(values[k])  # not lost to rounding
        ends[k] = (min(float(low), value), max(float(high), value))
    return tuple(ends)
