"""What is asked of a table: all that decides the digits of a fit, the table itself aside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fits.descent import Measure
from fits.fit import Fit, every_point, fit
from fits.forecast import Forecast, forecast
from fits.frontier import on_frontier, on_hull
from fits.laws import LAWS, Array
from fits.points import Points, read_points
from fits.surfaces import SURFACES
from fits.tables import InputError, read_numbers

CURVES = LAWS | SURFACES
FORECAST = "forecast"  # what --law says where no single law is wanted
WHICH = {"frontier": on_frontier, "hull": on_hull, "all": every_point}
LOSSES = ("squares", "huber")
SCALES = ("log", "linear")


@dataclass(frozen=True, kw_only=True, eq=False)
class Runs:
    """Numbers to fit, in the order of the table.

    Fields:
      x: resource spent, [runs], or [variables, runs].
      error: [runs].
      weights: how much each counts, [runs]; None: all alike.
      groups: number of the group each may err with, [runs]; None: each errs alone.
    """

    x: Array
    error: Array
    weights: Array | None = None
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Foretold:
    """A forecast with the manners of a Fit, for those who print and draw.

    Its band is of one more measurement, wider than that of a curve.
    """

    forecast: Forecast
    level: float

    @property
    def n(self) -> int:
        return self.forecast.n

    @property
    def span(self) -> tuple[float, float]:
        return self.forecast.span

    @property
    def rms(self) -> float:
        return self.forecast.rms

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.forecast.warnings

    def predict(self, x: ArrayLike) -> Array:
        return self.forecast(x, self.level)[0]

    def band(self, x: ArrayLike, level: float | None = None) -> tuple[Array, Array]:
        _, low, high = self.forecast(x, self.level if level is None else level)
        return low, high

    def beyond(self, x: float) -> str | None:
        return self.forecast.beyond(x)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A fit still without its table.

    Fields:
      x: columns of the resource spent, one a variable of the law.
      y: column of what was measured.
      y_is: what y is, one of `points.KINDS`.
      where: conditions on every row, "COL=VALUE" or "COL!=VALUE".
      which: the points to fit, a key of WHICH: the frontier of the runs, its hull, or all of them.
      law: the curve, a key of CURVES.
      loss: one of LOSSES; Huber's, so that outliers cannot rule.
      on: one of SCALES; errors count as ratios or as differences.
      weights: column of how much each run counts; "": all alike.
      groups: columns; runs that agree in all of them may err together.
      level: of the intervals.
      replicates: refits behind the intervals, where there are any.
      seed: of their draws.
    """

    x: tuple[str, ...]
    y: str
    y_is: str = "error"
    where: tuple[str, ...] = ()
    which: str = "frontier"
    law: str = "saturating"
    loss: str = "squares"
    on: str = "log"
    weights: str = ""
    groups: tuple[str, ...] = ()
    level: float = 0.9
    replicates: int = 1000
    seed: int = 0

    def read(self, table: Path, by: tuple[str, ...] = ()) -> Points:
        """The rows; `by` are columns along which the caller means to split.

        Raises:
          InputError: all mistakes in what is asked for, or all in the rows.
          OSError: the file cannot be read.
        """
        columns = (*by, *self.groups, *filter(None, [self.weights]))
        found = read_points(table, self.x, self.y, self.y_is, where=self.where, by=columns)
        if self.weights and (wrong := read_numbers(found.table, self.weights, _judge_weight)[1]):
            raise InputError(*wrong)
        return found

    def runs(self, points: Points) -> Runs:
        columns = points.table.columns
        weights = [float(cell) for cell in columns[self.weights]] if self.weights else None
        labels = list(zip(*(columns[name] for name in self.groups), strict=True))
        first = {label: k for k, label in enumerate(dict.fromkeys(labels))}
        return Runs(
            x=points.x,
            error=points.error,
            weights=None if weights is None else np.array(weights),
            groups=np.array([first[label] for label in labels]) if labels else None,
        )

    @property
    def measure(self) -> Measure:
        return Measure(log=self.on == "log")

    def fit(self, runs: Runs) -> Fit:
        """Raises ValueError where there can be no fit."""
        return fit(
            CURVES[self.law],
            runs.x,
            runs.error,
            choose=WHICH[self.which],
            weights=runs.weights,
            groups=None if runs.groups is None else runs.groups.tolist(),
            measure=self.measure,
            huber="auto" if self.loss == "huber" else None,
            replicates=self.replicates,
            level=self.level,
            seed=self.seed,
        )

    def foretell(self, runs: Runs) -> Foretold:
        """A forecast instead; weights, groups and loss say nothing to it."""
        chosen = self.chosen(runs)
        return Foretold(forecast=forecast(runs.x[chosen], runs.error[chosen]), level=self.level)

    def chosen(self, runs: Runs) -> NDArray[np.bool_]:
        """Which of the runs are fitted, [runs]."""
        return WHICH[self.which](runs.x, runs.error, np.ones((1, len(runs.error)), bool))[0]


def _judge_weight(value: float) -> str | None:
    return None if 1e-12 <= value <= 1e12 else "a weight not from 1e-12 to 1e12."
