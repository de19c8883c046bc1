"""Two-stage fits: parameters of an earlier fit are held, and their errors carried into intervals.

To first order, and where the two stages are of different runs, the variance of a quantity is that
of the second stage with the held parameters at their values, plus what it changes, once the second
stage is fitted anew, as they move by their standard errors (Murphy and Topel 1985, "Estimation and
Inference in Two-Step Econometric Models").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fits.base.numbers import Array, Indices
from fits.laws.constrained import Constraint, constrained
from fits.laws.law import STEP, Law
from fits.regression.bootstrap import DRAWS, Bootstrap
from fits.regression.covariance import ClusterRobust
from fits.regression.profile import Profile, Quantity
from fits.regression.solver import levenberg_marquardt
from fits.spec import LEVEL

Steps = Sequence[Sequence[float]]
"""[directions, held parameters]: how far parameters move together, one standard error in each of
some independent directions; the logarithm of what is bounded above 0."""


@dataclass(frozen=True, eq=False)
class TwoStage:
    """What the second stage says, and what the first leaves uncertain."""

    second: Profile | Bootstrap
    moved: Array
    """Parameters refitted with those held one standard error up, and down, in each direction, for x
    in ones, [2, directions, parameters]."""

    @property
    def profile(self) -> Profile:
        return self.second if isinstance(self.second, Profile) else self.second.profile

    def interval(self, quantity: Quantity, count: int, level: float) -> tuple[Array, Array]:
        """Args and returns as those of `Profile.interval`."""
        low, high = self.second.interval(quantity, count, level)
        centre, reach = self.carried(quantity, count, level)
        return centre - np.hypot(centre - low, reach), centre + np.hypot(high - centre, reach)

    def carried(self, quantity: Quantity, count: int, level: float) -> tuple[Array, Array]:
        """Fitted values, and how far the first stage's errors alone may move them, each [count]."""
        every = np.arange(count)
        centre = quantity(np.repeat(self.profile.values[:, None], count, axis=1), every)
        up, down = (self._at(each, quantity, every) for each in self.moved)
        with np.errstate(invalid="ignore"):
            reach = np.sqrt((((up - down) / 2) ** 2).sum(axis=0))
        reach = np.where(np.isfinite(reach), reach, np.inf) * NormalDist().inv_cdf((1 + level) / 2)
        return centre, reach

    @staticmethod
    def _at(values: Array, quantity: Quantity, every: Indices) -> Array:
        """[directions, quantities]."""
        which = np.repeat(every, len(values))
        return quantity(np.tile(values.T, len(every)), which).reshape(len(every), -1).T


def two_stage(
    law: Law,
    constraint: Constraint,
    steps: Steps,
    second: Profile | Bootstrap,
) -> TwoStage:
    """The second stage fitted anew as the held parameters move.

    Args:
      law: the whole law.
      constraint: what was held in `second`.
      steps: of `constraint.fix`, in its order.
    """
    profile = second if isinstance(second, Profile) else second.profile
    moved = [
        [_refitted(law, constraint, sign * np.asarray(step), profile) for step in steps]
        for sign in (1, -1)
    ]
    return TwoStage(second, np.array(moved))


def _refitted(law: Law, constraint: Constraint, step: Array, profile: Profile) -> Array:
    fix = {}
    for (name, value), by in zip(constraint.fix.items(), step, strict=True):
        low, high = law.bounds[law.parameters.index(name)]
        moved = value * float(np.exp(by)) if low > 0 else max(value + float(by), low)
        fix[name] = moved if law.roles.get(name) in ("scale", "shift") else min(moved, high)
        if law.roles.get(name) == "exponent":
            fix[name] = max(fix[name], low)
    there = constrained(law, Constraint(fix, constraint.tie), profile.unit)
    found, _ = levenberg_marquardt(
        there,
        profile.x,
        profile.y,
        profile.weights[None],
        profile.scaled[:, None],
        loss=profile.loss,
        gain=1e-9,
    )
    with np.errstate(over="ignore", invalid="ignore"):
        return there.in_ones(profile.unit, *found[:, 0])


def steps_of(inference: Profile | Bootstrap | TwoStage, names: Sequence[str]) -> list[list[float]]:
    """How far some parameters of a fit may move together, as `Steps`.

    Student's t at level LEVEL is in it: a step is so long that the normal quantile will do.

    Raises:
      ValueError: nothing is known of their errors.
    """
    profile = inference.profile if not isinstance(inference, Profile) else inference
    law = profile.law.whole or profile.law
    places = [law.parameters.index(name) for name in names]
    logs = np.array([law.bounds[k][0] > 0 for k in places])

    def held(values: Array) -> Array:
        """[held, ...] of parameters for x in ones, [parameters, ...]."""
        mine = values[places]
        shape = (-1,) + (1,) * (mine.ndim - 1)
        return np.where(logs.reshape(shape), np.log(np.maximum(mine, 1e-300)), mine)

    def of_coordinates(at: Array) -> Array:
        values = profile.law.from_unconstrained(*at)
        return held(profile.law.in_ones(profile.unit, *values))

    at = profile.law.to_unconstrained(*profile.scaled)
    size = STEP * np.maximum(1.0, np.abs(at))
    ends = [of_coordinates(at[:, None] + sign * np.diag(size)) for sign in (1, -1)]
    gradients = (ends[0] - ends[1]) / (2 * size)  # [held, coordinates]
    sandwich = profile.sandwich
    if isinstance(sandwich, ClusterRobust):
        meat = sandwich.scores.T @ sandwich.scores
    else:
        meat = sandwich.meat
    covariance = gradients @ sandwich.bread @ meat @ sandwich.bread @ gradients.T
    if isinstance(inference, Bootstrap):
        drawn = DRAWS * np.atleast_2d(np.cov(held(inference.replicates.T)))
        covariance = max(covariance, drawn, key=np.trace)
    if isinstance(inference, TwoStage):
        up, down = (held(each.T).T for each in inference.moved)  # [directions, held]
        covariance = covariance + ((up - down) / 2).T @ ((up - down) / 2)
    values, vectors = np.linalg.eigh(covariance)
    _, _, quantile = sandwich.standard_errors(vectors.T @ gradients, LEVEL)
    normal = NormalDist().inv_cdf((1 + LEVEL) / 2)
    steps = vectors * (np.sqrt(values.clip(0)) * quantile / normal)
    if not np.isfinite(steps).all():
        raise ValueError(f"the errors of {', '.join(names)} are not known.")
    return [list(map(float, each)) for each in steps.T]
