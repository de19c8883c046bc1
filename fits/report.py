"""From a table and a FitSpec to a FitReport: the one way in.

The command line, `scaling report` and notebooks call `fit_table`; `allocate` and `fit-laws check`,
which have rows already, fit their `Observations` by the same FitSpec. So the same question has the
same interval everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fits.average.average import Average, average
from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import short
from fits.base.numbers import Array, Estimate, Indices, Mask
from fits.data.frontier import on_frontier, on_hull
from fits.data.points import Points, as_measured, points_of
from fits.data.remarks import of_costliest, of_slips, rising
from fits.data.tables import Table, read_numbers, read_table
from fits.forecast.fitted import ForecastFit, fit_forecast
from fits.laws.constrained import Constraint
from fits.laws.growth import GROWTH
from fits.laws.names import EITHER_WAY
from fits.laws.registry import EVERY_LAW, LAWS, RISING, rivals
from fits.regression.fit import Fit, every_point, fit
from fits.regression.holdout import Trials, choose_law
from fits.regression.inputs import checked_weights, in_order
from fits.regression.loss import Loss
from fits.spec import BEST, FORECAST, FitSpec

_CHOOSE = {"frontier": on_frontier, "hull": on_hull, "all": every_point}
SEED_COLUMN, RUN_COLUMN = "seed", "run"  # by which the runs of one setting differ

Place: TypeAlias = tuple[float, ...]
"""One x a variable of the law."""


def as_x(place: Place) -> Any:
    """As a law takes it: a number, or [variables]."""
    return place[0] if len(place) == 1 else np.array(place)


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Numbers to fit, in the order of the table.

    Fields:
      x: resource spent, [runs], or [variables, runs].
      error: [runs].
      weights: how much each counts, [runs]; None: all alike.
      clusters: number of each run's cluster, [runs]; None: each is one of its own.
    """

    x: Array
    error: Array
    weights: Array | None = None
    clusters: Indices | None = None

    def fit(self, spec: FitSpec) -> Fit:
        """Raises ValueError where there can be no fit."""
        return fit(
            EVERY_LAW[spec.law],
            self.x,
            self.error,
            choose=_CHOOSE[str(spec.rows)],
            **self._terms(spec),
            constraint=Constraint(spec.fix, spec.tie),
            steps=spec.fix_steps,
            replicates=spec.replicates,
            level=spec.level,
            seed=spec.seed,
        )

    def average(self, spec: FitSpec) -> Average:
        """Over laws. Raises ValueError where there are too few runs."""
        return average(
            self.x,
            self.error,
            choose=_CHOOSE[str(spec.rows)],
            clusters=self._terms(spec)["clusters"],
            level=spec.level,
            seed=spec.seed,
        )

    def hold_out(self, spec: FitSpec) -> Trials | None:
        """How well each law predicts the large runs from the small; None: all are of one size."""
        laws = rivals(EVERY_LAW[spec.law]) if spec.law in EVERY_LAW else LAWS.values()
        choose = _CHOOSE[str(spec.rows)]
        try:
            held = {spec.law: Constraint(spec.fix, spec.tie)}
            terms = {**self._terms(spec), "choose": choose, "constraints": held}
            if spec.law in RISING:  # the best models have the lowest loss
                terms["by"] = -np.log(self.x)
            return choose_law(self.x, self.error, laws, **terms)
        except ValueError:
            return None

    def _terms(self, spec: FitSpec) -> dict[str, Any]:
        return {
            "weights": self.weights,
            "clusters": None if self.clusters is None else self.clusters.tolist(),
            "loss": Loss(
                log=spec.scale == "log", one_sided=spec.loss == "one-sided", tau=spec.quantile
            ),
            "huber": spec.huber,
        }

    def fitted(self, spec: FitSpec) -> Mask:
        """Which of the runs the law goes through, [runs]."""
        counts = checked_weights(self.weights, len(self.error))
        order, _ = in_order(self.x, self.error, counts, self._terms(spec)["clusters"])
        chosen = np.empty(len(order), bool)
        present = np.ones((1, len(order)), bool)
        chosen[order] = _CHOOSE[str(spec.rows)](self.x[..., order], self.error[order], present)[0]
        return chosen


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
        of_average = self.average.diagnostics if self.average else ()
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
        wrong = [f"{f', {g.title}' if g.title else ''}: {g.refusal}" for g in groups]
        wrong = wrong or [": no row has an error above 0."]
        raise UserError([f"{points.table.path}{each}" for each in wrong])
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
    group = with_remarks(group)
    spec, found = group.spec, group.observations
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
        advice = "" if spec.rate is not None else f" {_advice(spec, group.names)}"
        return replace(group, refusal=f"{wrong}{advice}")
    holdout = holdout and spec.rate is None  # laws in x alone know nothing of a rate
    tried = found.hold_out(spec) if holdout else None
    return replace(group, fit=fitted, average=predicted, holdout=tried)


def with_remarks(group: GroupReport) -> GroupReport:
    """The same with what looks odd in its rows; with a law that can rise where y does.

    Of an error rate that rises more likely `y_is` is wrong: it is fitted as the spec says.
    """
    spec, points = group.spec, group.points
    x, y, names = points.x, points.error, (spec.x[0], spec.y)
    if len(spec.x) > 1:
        return replace(group, remarks=_rises_along(spec, x, y))
    found = of_slips(names, x, as_measured(y, spec.y_is), spec.y_is)
    if spec.law not in (FORECAST, *EITHER_WAY) and rising(x, y):
        fitted = spec.y_is in ("loss", "quantity")
        found.append(Diagnostic("rises", (spec.y, spec.x[0], spec.law), {"fitted": fitted}))
        spec = replace(spec, law=GROWTH.name, rows="all", average=False) if fitted else spec
    if spec.rows != "all":
        found += of_costliest(names, x, y, as_measured(y, spec.y_is))
    return replace(group, spec=spec, remarks=tuple(found))


def _rises_along(spec: FitSpec, x: Array, y: Array) -> tuple[Diagnostic, ...]:
    """Variables along which y rises, by least squares on log axes, where the law can't."""
    if spec.law in (FORECAST, *EITHER_WAY) or len(y) < 3 * len(x):
        return ()
    logs, height = np.log(x), np.log(y)
    logs, height = logs - logs.mean(axis=1, keepdims=True), height - height.mean()
    slopes, *_ = np.linalg.lstsq(logs.T, height, rcond=None)
    left = ((height - slopes @ logs) ** 2).sum() / (len(y) - len(x) - 1)
    errors = np.sqrt(left * np.diag(np.linalg.pinv(logs @ logs.T)))
    named = [
        name
        for name, slope, error in zip(spec.x, slopes, errors, strict=True)
        if slope > max(5 * error, 0.01)
    ]
    return (Diagnostic("rises_along", (spec.y, spec.law, *named)),) if named else ()


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


def read_points(
    table: str | Path | Table,
    spec: FitSpec,
    by: Sequence[str] = (),
    x: Sequence[str] = (),
    *,
    drop_zeros: bool = False,
) -> Points:
    """The rows of a table as a spec wants them.

    Args:
      by: further columns that must be there.
      x: columns to read in place of those of the spec.
      drop_zeros: as of `fit_table`.

    Raises:
      UserError: all columns that are missing, or all mistakes in the rows.
      OSError: the file cannot be read.
    """
    whole = table if isinstance(table, Table) else read_table(table)
    cooled = spec.rate.cooled if spec.rate else ""
    more = (*spec.clusters, *filter(None, [spec.weights, cooled]))
    spent = tuple(x) or spec.x
    found = points_of(
        *(whole, spent, spec.y, spec.y_is),
        where=spec.where,
        last_of=spec.last_of,
        best_of=spec.best_of,
        by=by,
        more=more,
        drop_zeros=drop_zeros,
    )
    if spec.weights and (wrong := read_numbers(found.table, spec.weights, judge_weight)[1]):
        raise UserError(*wrong)
    return replace(found, notes=(*found.notes, *_seeds_apart(found.table, spec, spent)))


def observations(points: Points, spec: FitSpec) -> Observations:
    """The numbers in the rows."""
    weights = points.table.values(spec.weights) if spec.weights else None
    return Observations(
        x=points.x,
        error=points.error,
        weights=weights,
        clusters=points.table.groups(spec.clusters)
        if spec.clusters and len(points.table)
        else None,
    )


def with_seeds(spec: FitSpec, points: Points) -> FitSpec:
    """The same, seeds of one setting a cluster, where no clusters were named.

    One setting is what rows agree in that differ in the columns `seed` and `run`, in what was
    measured and in their weights, and in no other. A results table is made so.
    """
    if spec.clusters or spec.law == FORECAST or not _has_seeds(points.table, spec):
        return spec
    return replace(spec, clusters=_setting(points.table, spec))


def _setting(table: Table, spec: FitSpec) -> tuple[str, ...]:
    known = [name for name in (spec.y, spec.weights) if name in table.columns]
    apart = (SEED_COLUMN, RUN_COLUMN, *map(table.columns.full_name, known))
    return tuple(name for name in table.columns if name not in apart)


def _has_seeds(table: Table, spec: FitSpec, columns: tuple[str, ...] | None = None) -> bool:
    """Whether rows that agree in these columns, or else in their setting, differ in seed."""
    names = _setting(table, spec) if columns is None else columns
    if SEED_COLUMN not in table.columns or SEED_COLUMN in (*spec.x, spec.y):
        return False
    apart, together = table.groups((*names, SEED_COLUMN)), table.groups(names)
    return int(together.max(initial=-1)) < int(apart.max(initial=-1))


def _seeds_apart(table: Table, spec: FitSpec, x: tuple[str, ...]) -> Iterator[Diagnostic]:
    """A note where rows of one x and several seeds differ in yet another column."""
    if spec.clusters or spec.law == FORECAST or _has_seeds(table, spec):
        return
    if _has_seeds(table, spec, x):
        yield Diagnostic("seeds_apart", x)


def judge_weight(value: float) -> str | None:
    return None if 1e-12 <= value <= 1e12 else "a weight not from 1e-12 to 1e12."
