"""Where a profile likelihood crosses its threshold, on either side of the minimum.

A first grid of profile points lies where the standard error expects the end, each begun from the
linear prediction. Where the profile is no parabola there (a parameter rests on a bound, a valley
bends, the standard error is of another order than the interval), the bracket of the crossing is
made finer by continuation: a new point begins from its neighbours on the profile and between them,
and the far end of the bracket is refitted from the near one, so that no interval ends at a refit
that missed its minimum. This file knows no law.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from fits.base.numbers import Array, Indices

STRENGTH = 100.0  # of the penalty, against the curvature of the profile
COARSE = 0.25  # of the quantile; brackets in which the root grows by more are divided
ROUNDS = 12  # of dividing at most
MISSED = 1e-3  # of the quantile, by which a refit lies below one that missed its minimum

Refit = Callable[[Array, Indices, Array, Array], tuple[Array, Array, Array]]
"""(coordinates to begin with [refits, parameters], which quantity [refits], target [refits],
strength of the penalty [refits]) -> coordinates, quantity reached, rise of the loss [refits]."""


class Point(NamedTuple):
    """Of a profile."""

    away: float  # quantity less its fitted value, > 0 outwards
    root: float  # of twice the rise of the loss, in standard errors
    at: Array  # coordinates, [parameters]


class Bracket(NamedTuple):
    """The last point of a profile before its root first exceeds the quantile, and the next."""

    last: int  # place of the farther one
    near: Point
    far: Point


@dataclass(frozen=True, eq=False)
class Side:
    """The profile of one quantity to one side.

    Fields:
      sign: -1 below the fitted value, 1 above.
      which: number of the quantity.
      centre: its fitted value.
      curvature: of the profile there, to first order.
      error: standard error.
      quantile: that the root is to exceed.
      bounded: whether a parameter rests on a bound at the minimum.
      points: farther and farther out, the minimum first.
    """

    sign: float
    which: int
    centre: float
    curvature: float
    error: float
    quantile: float
    bounded: bool
    points: tuple[Point, ...]

    def point(self, at: Array, reached: float, rise: float) -> Point:
        root = np.sqrt(2 * max(rise, 0.0) / self.curvature) / self.error
        return Point(self.sign * (reached - self.centre), float(root), at)

    @property
    def _sound(self) -> tuple[Array, Indices]:
        """Roots, and the places of those that are below all that lie farther out."""
        root = np.array([each.root for each in self.points])
        return root, np.flatnonzero(root <= np.fmin.accumulate(root[::-1])[::-1])

    @property
    def bracket(self) -> Bracket | None:
        """None where the root does not exceed the quantile.

        A root above that of a place farther out is of a refit that missed its minimum: left out.
        """
        root, sound = self._sound
        beyond = np.flatnonzero(root[sound] > self.quantile)
        if not len(beyond) or not beyond[0]:
            return None
        first, last = sound[beyond[0] - 1 : beyond[0] + 1].tolist()
        return Bracket(last, self.points[first], self.points[last])

    @property
    def end(self) -> float:
        """Where the root exceeds the quantile; nan if nowhere."""
        if (found := self.bracket) is None:
            return np.nan
        _, near, far = found
        away = np.interp(self.quantile, [near.root, far.root], [near.away, far.away])
        return self.centre + self.sign * max(float(away), 0.0)

    @property
    def coarse(self) -> bool:
        if (found := self.bracket) is None:
            return False
        _, near, far = found
        steep = far.root - near.root > COARSE * self.quantile
        return steep and far.away - near.away > 1e-6 * abs(far.away)

    @property
    def doubtful(self) -> bool:
        """Whether the far end of the bracket may have missed its minimum."""
        if (found := self.bracket) is None:
            return False
        missed = np.count_nonzero(self._sound[1] <= found.last) <= found.last
        return self.bounded or self.coarse or bool(missed)

    def strength(self, far: Point) -> float:
        """Of a penalty that holds the quantity where the profile is no parabola of the curvature.

        Against the curvature at the minimum or, if larger, that of the parabola from there to the
        far end of the bracket.
        """
        steeper = far.root * self.error / max(abs(far.away), 1e-300)
        return STRENGTH * self.curvature * max(1.0, steeper**2)

    def divided(self, found: Point) -> Side:
        """With a point inside the bracket; as it was if the point lies elsewhere."""
        if (old := self.bracket) is None or not old.near.away < found.away < old.far.away:
            return self
        return replace(self, points=(*self.points[: old.last], found, *self.points[old.last :]))

    def refitted(self, found: Point) -> Side:
        """With another refit in place of the bracket's far end, where that lies lower there."""
        if (old := self.bracket) is None or not found.away > 0.99 * old.far.away:
            return self
        if not found.root < old.far.root - MISSED * self.quantile:
            return self
        points = (*self.points[: old.last], found, *self.points[old.last + 1 :])
        return replace(self, points=points)


@dataclass(frozen=True, eq=False)
class Search:
    """For the ends of many profiles at once."""

    refit: Refit

    def ends(self, sides: Sequence[Side]) -> list[float]:
        """Where each root exceeds its quantile; nan where it does not within the points.

        Args:
          sides: each with the points of a first grid.
        """
        sides = self._far_again(sides)
        for _ in range(ROUNDS):
            coarse = [k for k, side in enumerate(sides) if side.coarse]
            if not coarse:
                break
            finer = self._far_again(self._divided([sides[k] for k in coarse]))
            for k, side in zip(coarse, finer, strict=True):
                sides[k] = side
        return [side.end for side in sides]

    def _far_again(self, sides: Sequence[Side]) -> list[Side]:
        """The far ends of brackets refitted from the near ones."""
        asked = [
            (side, found.near.at, found.far.away, found.far)
            for side in sides
            if (found := side.bracket) is not None and side.doubtful
        ]
        points = iter(self._points(asked))
        return [side.refitted(next(points)[0]) if side.doubtful else side for side in sides]

    def _divided(self, sides: Sequence[Side]) -> list[Side]:
        """With a point in each bracket where the crossing is to be expected, the lowest of three
        refits: from either end, and from a place between them.
        """
        asked = []
        for side in sides:
            if (found := side.bracket) is not None:
                _, near, far = found
                share = (side.quantile - near.root) / (far.root - near.root)
                share = float(np.clip(share, 0.2, 0.8))
                away = near.away + share * (far.away - near.away)
                middle = near.at + share * (far.at - near.at)
                asked += [(side, at, away, far) for at in (near.at, middle, far.at)]
        points = self._points(asked)
        lowest = [
            min(points[k : k + 3], key=lambda each: each[1])[0] for k in range(0, len(points), 3)
        ]
        return [side.divided(point) for side, point in zip(sides, lowest, strict=True)]

    def _points(
        self, asked: Sequence[tuple[Side, Array, float, Point]]
    ) -> list[tuple[Point, float]]:
        """Refits (side, coordinates to begin with, how far away, the bracket's far end), each with
        what was minimised.
        """
        if not asked:
            return []
        which = np.array([side.which for side, *_ in asked])
        beyond = 1 + 1 / STRENGTH  # what a penalty leaves undone
        target = np.array([side.centre + side.sign * away * beyond for side, _, away, _ in asked])
        strength = np.array([side.strength(far) for side, _, _, far in asked])
        begin = np.array([at for _, at, _, _ in asked])
        at, reached, rise = self.refit(begin, which, target, strength)
        objective = rise + strength * (reached - target) ** 2 / 2
        objective = np.where(np.isnan(objective), np.inf, objective)
        return [
            (side.point(*found), value)
            for (side, *_), *found, value in zip(
                asked, at, reached.tolist(), rise.tolist(), objective.tolist(), strict=True
            )
        ]
