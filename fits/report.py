"""From a table and a FitSpec to a FitReport: the one way in.

The command line, `scaling report` and notebooks call `fit_table`; `allocate` and `fit-laws check`,
which have rows already, fit their `Observations` by the same FitSpec. So the same question has the
same interval everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fits.average.average import Average
from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import short
from fits.base.numbers import Estimate
from fits.data.points import Points
from fits.data.tables import Table
from fits.forecast.fitted import ForecastFit, fit_forecast
from fits.observations import HeldTooHigh, Observations, observations, read_points, with_seeds
from fits.regression.fit import Fit
from fits.regression.holdout import Trials
from fits.spec import BEST, FORECAST, FitSpec
from fits.suited import slips_among, suited

Place: TypeAlias = tuple[float, ...]
"""One x a variable of the law."""


def as_x(place: Place) -> Any:
    """As a law takes it: a number, or [variables]."""
    return place[0] if len(place) == 1 else np.array(place)


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupReport:
    """Rows that share a fit.

    Fields:
      names: their value of each column that the table was split by.
      spec: how they were fitted, clusters found in the table included.
      points: the rows.
      at: where predictions are wanted.
      fit: None where there can be none.
      average: over laws, where predictions are its and not those of `fit`.
      holdout: how well each law predicts the large runs from the small; None: it cannot be tried.
      refusal: why there is no fit.
      remarks: what looks odd in the rows, or in the law for them.
      trunk: rows of the trunk from which all of these branched off, where it has its own table.
    """

    names: dict[str, str]
    spec: FitSpec
    points: Points
    at: tuple[Place, ...] = ()
    fit: Fit | ForecastFit | Average | None = None
    average: Average | None = None
    holdout: Trials | None = None
    refusal: str = ""
    remarks: tuple[Diagnostic, ...] = ()
    trunk: Points | None = None

    @property
    def title(self) -> str:
        """Say "model=S, data_size=1000"; empty where nothing tells groups apart."""
        return ", ".join(f"{name}={short(value)}" for name, value in self.names.items())

    def saying(self, words: str) -> str:
        """A mistake, with the table and the group that it is in."""
        return f"{self.points.table.path}{f', {self.title}' if self.title else ''}: {words}"

    @property
    def causes(self) -> list[str]:
        """What looks odd in the rows and may be why a fit, or a prediction, is impossible."""
        rises = [each for each in self.remarks if each.code == "rises"]
        words = [each.words for each in (*slips_among(self.remarks), *rises)]
        return [self.saying(said if said.endswith("?") else f"{said}.") for said in words]

    @property
    def observations(self) -> Observations:
        return observations(self.points, self.spec)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All that speaks against the fit, and against its predictions."""
        if self.fit is None:
            return list(self.remarks)
        source = self.average or self.fit
        beyond = (each for place in self.at for each in source.extrapolates(as_x(place)))
        known = {each.code for each in self.fit.diagnostics}
        more = self.average.diagnostics if self.average else ()
        of_average = (each for each in more if each.code not in known)  # say outliers once
        return [*self.remarks, *self.fit.diagnostics, *of_average, *beyond]

    @property
    def law(self) -> Fit:
        """The fit of a law. Raises UserError: there is none."""
        if not isinstance(self.fit, Fit):
            why = self.refusal or f"{self.spec.law} has no parameters. Name a law."
            raise UserError([f"{self.title or self.points.table.path}: {why}"])
        return self.fit

    def prediction(self, place: Place) -> Estimate:
        """The error at a place, and its interval."""
        source = self.average or self.fit
        assert source is not None
        x = as_x(place)
        return Estimate(*map(float, (source.predict(x), *source.band(x))))


@dataclass(frozen=True, kw_only=True, eq=False)
class FitReport:
    """A table, fitted.

    Fields:
      table: where the rows came from.
      spec: how they were fitted.
      notes: on the whole table; those of a group's own rows stand beside its points as well.
      groups: one a combination of values of the columns that the table was split by; none where
        every row was left out, as a note says.
    """

    table: Path
    spec: FitSpec
    notes: tuple[Diagnostic, ...]
    groups: tuple[GroupReport, ...]


def fit_table(
    table: str | Path | Table,
    spec: FitSpec,
    *,
    by: Sequence[str] = (),
    at: Sequence[Place] = (),
    holdout: bool = True,
    strict: bool = True,
    drop_zeros: bool = False,
) -> FitReport:
    """Fit a table as a spec says, one fit for each combination of values in the columns `by`.

    Args:
      table: a file, CSV or Parquet, or one that was read.
      spec: everything else that decides the digits.
      by: columns to split the rows by.
      at: where predictions are wanted, a number a variable.
      holdout: whether to try how well each law predicts the largest runs.
      strict: whether it is an error that no group has a fit.
      drop_zeros: whether rows with an error of 0 are left out, with a note, and not a mistake.

    Raises:
      UserError: all mistakes in the spec's columns, or all in the rows, or why no group has a fit.
      OSError: the file cannot be read.
    """
    points = read_points(table, spec, by, drop_zeros=drop_zeros)
    spec = with_seeds(spec, points)
    trunks = _trunks(spec, by)
    found = [
        GroupReport(names=names, spec=spec, points=its, at=tuple(at), trunk=trunks.get(_key(names)))
        for names, its in points.split(by)
    ]
    groups = tuple(_fit_group(each, holdout=holdout) for each in found)
    if strict and not any(group.fit for group in groups):
        wrong = [said for group in groups for said in (*group.causes, group.saying(group.refusal))]
        raise UserError(wrong or [f"{points.table.path}: no row has an error above 0."])
    return FitReport(table=points.table.path, spec=spec, notes=points.notes, groups=groups)


def _trunks(spec: FitSpec, by: Sequence[str]) -> dict[tuple[str, ...], Points]:
    """The rows of trunks that have a table of their own, by the names of their group."""
    if spec.rate is None or not spec.rate.trunk:
        return {}
    rows = read_points(spec.rate.trunk, replace(spec, rate=None), by)
    return {_key(names): its for names, its in rows.split(by)}


def _key(names: dict[str, str]) -> tuple[str, ...]:
    return tuple(names.values())


def _fit_group(group: GroupReport, *, holdout: bool = True) -> GroupReport:
    """The same with its fit, or with the reason why there is none."""
    spec, remarks = suited(group.spec, group.points)
    group = replace(group, spec=spec, remarks=remarks)
    found = group.observations
    try:
        if spec.law == FORECAST:
            chosen = found.fitted(spec)
            rows = group.points.table.keep(np.flatnonzero(chosen).tolist())
            fitted: Fit | ForecastFit | Average = fit_forecast(
                found.x[chosen], found.error[chosen], rows, spec, group.trunk
            )
        elif spec.law == BEST:
            fitted = found.average(spec)
        else:
            fitted = found.fit(spec)
        predicted = found.average(spec) if spec.average and spec.law != BEST and group.at else None
    except ValueError as wrong:
        plain = spec.rate is not None or isinstance(wrong, HeldTooHigh)
        advice = "" if plain else f" {_advice(spec, group.names)}"
        return replace(group, refusal=f"{wrong}{advice}")
    holdout = holdout and spec.rate is None  # laws in x alone know nothing of a rate
    tried = found.hold_out(spec) if holdout else None
    return replace(group, fit=fitted, average=predicted, holdout=tried)


def _advice(spec: FitSpec, names: dict[str, str]) -> str:
    advice = ["Add runs"]
    if spec.law != "power" and len(spec.x) == 1:
        advice.append("try --law power, which has 2")
    if spec.rows != "all":
        advice.append("say --all-points to fit more than the frontier")
    advice += [f"leave the group out with --where '{name}!={names[name]}'" for name in names]
    if spec.y_is.startswith("error"):
        advice.append(f"say --y-is accuracy if {spec.y} grows as runs get better")
    return "; or ".join(advice) + "."


# ------------------------------------------------------------------------ rows, weights, clusters
