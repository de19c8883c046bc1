"""What is asked of a table: all that decides the digits of a fit, the table itself aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fits.base.errors import UserError
from fits.base.numbers import Array
from fits.data.frontier import on_frontier, on_hull
from fits.data.points import Points, read_points
from fits.data.tables import Table, read_numbers
from fits.forecast.forecast import Forecast, forecast
from fits.laws.registry import LAWS, MANY_BREAKS, SURFACES, rivals
from fits.regression.fit import Fit, every_point, fit
from fits.regression.holdout import Trials, choose_law
from fits.regression.solver import Measure

CURVES = LAWS | MANY_BREAKS | SURFACES
FORECAST = "forecast"  # what --law says where no single law is wanted
WHICH = {"frontier": on_frontier, "hull": on_hull, "all": every_point}
LOSSES = ("squares", "huber")
SCALES = ("log", "linear")
BENDS = 1e-9, 10.0  # of Huber's loss: log errors, or errors
SEED, RUN = "seed", "run"  # columns by which the runs of one setting differ


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
      bend: residuals beyond it count in proportion, by Huber's loss; None: 1.345 times the noise.
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
    bend: float | None = None
    on: str = "log"
    weights: str = ""
    groups: tuple[str, ...] = ()
    level: float = 0.9
    replicates: int = 1000
    seed: int = 0

    def read(self, table: Path, by: tuple[str, ...] = ()) -> Points:
        """The rows; `by` are columns along which the caller means to split.

        Raises:
          UserError: all mistakes in what is asked for, or all in the rows.
          OSError: the file cannot be read.
        """
        columns = (*by, *self.groups, *filter(None, [self.weights]))
        found = read_points(table, self.x, self.y, self.y_is, where=self.where, by=columns)
        if self.weights and (wrong := read_numbers(found.table, self.weights, _judge_weight)[1]):
            raise UserError(*wrong)
        return replace(found, notes=(*found.notes, *self._untold_seeds(found.table)))

    def with_seeds(self, points: Points) -> Asked:
        """The same, seeds of one setting as a group, where no groups were asked for.

        One setting is what rows agree in that differ in the columns `seed` and `run`, in what was
        measured and in their weights, and in no other. A results table is made so.
        """
        if self.groups or self.law == FORECAST or not self._seeds(points.table):
            return self
        return replace(self, groups=self._setting(points.table))

    def _setting(self, table: Table) -> tuple[str, ...]:
        return tuple(
            name for name in table.columns if name not in (SEED, RUN, self.y, self.weights)
        )

    def _seeds(self, table: Table, columns: tuple[str, ...] | None = None) -> bool:
        """Whether rows that agree in these columns, or else in their setting, differ in seed."""
        names = self._setting(table) if columns is None else columns
        if SEED not in table.columns or SEED in (*self.x, self.y):
            return False
        rows = [table.columns[name] for name in (*names, SEED)]
        different = set(zip(*rows, strict=True))
        return len({row[:-1] for row in different}) < len(different)

    def _untold_seeds(self, table: Table) -> Iterator[str]:
        """A doubt where rows of one x and several seeds differ in yet another column.

        None where no law is fitted to these x: a forecast, or columns that are only read.
        """
        fitted = self.law in CURVES and len(CURVES[self.law].variables) == len(self.x)
        if self.groups or not fitted or self._seeds(table):
            return
        if self._seeds(table, self.x):
            yield (
                f"rows of equal {', '.join(self.x)} differ in seed, but never in seed alone: each "
                "is taken to err on its own. Where they are seeds of one setting, say --together "
                "with the columns that make the setting"
            )

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

    @property
    def huber(self) -> float | Literal["auto"] | None:
        """As `fit` takes it."""
        if self.loss != "huber":
            return None
        return "auto" if self.bend is None else self.bend

    def fit(self, runs: Runs) -> Fit:
        """Raises ValueError where there can be no fit."""
        return fit(
            CURVES[self.law],
            runs.x,
            runs.error,
            choose=WHICH[self.which],
            weights=runs.weights,
            groups=_labels(runs),
            measure=self.measure,
            huber=self.huber,
            replicates=self.replicates,
            level=self.level,
            seed=self.seed,
        )

    def trials(self, runs: Runs) -> Trials | None:
        """How well each law foretells the large runs from the small, fitted as this one is.

        None: all runs are of one size.
        """
        laws = rivals(CURVES[self.law]) if self.law in CURVES else LAWS.values()
        try:
            return choose_law(
                runs.x,
                runs.error,
                laws,
                choose=WHICH[self.which],
                weights=runs.weights,
                groups=_labels(runs),
                measure=self.measure,
                huber=self.huber,
            )
        except ValueError:
            return None

    def terms(self, runs: Runs) -> dict[str, Any]:
        """What the fit and the choice among laws used, as JSON knows it."""
        return {
            "weights": self.weights or None,
            "together": list(self.groups),
            "groups": None if runs.groups is None else len(np.unique(runs.groups)),
            "loss": self.loss,
            "huber": self.huber,
            "on": self.on,
        }

    def in_words(self, runs: Runs) -> Iterator[str]:
        """The same for a person, but for what is always so unless asked otherwise."""
        if self.weights:
            yield f"rows count as column {self.weights} says"
        if runs.groups is not None:
            count = len(np.unique(runs.groups))
            yield (
                f"{count} groups of rows that may err together, those that agree in "
                f"{', '.join(self.groups)}"
            )
        if self.loss == "huber":
            bend = "1.345 times the noise" if self.bend is None else f"{self.bend:g}"
            yield f"Huber's loss: residuals beyond {bend} count in proportion, not squared"
        if self.on == "linear":
            yield "errors count as differences, not as ratios"

    def foretell(self, runs: Runs) -> Foretold:
        """A forecast instead; weights, groups and loss say nothing to it."""
        chosen = self.chosen(runs)
        return Foretold(forecast=forecast(runs.x[chosen], runs.error[chosen]), level=self.level)

    def chosen(self, runs: Runs) -> NDArray[np.bool_]:
        """Which of the runs are fitted, [runs]."""
        return WHICH[self.which](runs.x, runs.error, np.ones((1, len(runs.error)), bool))[0]


def _labels(runs: Runs) -> list[int] | None:
    return None if runs.groups is None else runs.groups.tolist()


def _judge_weight(value: float) -> str | None:
    return None if 1e-12 <= value <= 1e12 else "a weight not from 1e-12 to 1e12."
