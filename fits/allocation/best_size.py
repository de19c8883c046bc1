"""The best size for a budget by any law of size and data, found numerically.

`parametric.py` has the closed form of the law that Hoffmann et al. give; here the law may be one
whose exponents change with size, or of further variables that are known, such as how many different
data there are: then a budget and the data at hand decide the size, and how often the data are seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fits.allocation.allocation import trainings
from fits.allocation.beyond import beyond, outside, refuse_far_from
from fits.allocation.odd_rows import refuse_mixed_units
from fits.allocation.odd_units import of_a_token, refuse_odd_units
from fits.allocation.units import Units
from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.extrapolation import refuse_far
from fits.base.numbers import Array, Estimate
from fits.data.points import Points
from fits.data.tables import Table
from fits.laws.law import Law
from fits.laws.repeated import REPEATED
from fits.regression.fit import Fit
from fits.report import FitReport, Place, fit_table
from fits.report_json import DiagnosticField, EstimateField, JsonModel, ReportJson
from fits.spec import FLOPS_PER_EXAMPLE, FitSpec
from fits.suited import refuse_risen

PLACES = 41  # of sizes that are tried at once
ROUNDS = 5  # each looks between the neighbours of the best of the one before
BEYOND = 1e4  # sizes are looked for up to so many times beyond those fitted


class Sized(JsonModel):
    """The best size for a budget."""

    compute: float
    known: dict[str, float]
    """Further variables of the law, such as different data."""
    size: EstimateField
    data: EstimateField
    error: EstimateField
    within: bool
    """Whether the best lies inside the sizes that were tried, not at their end."""


class BestSizes(JsonModel):
    """A law fitted to a table, and the best size for some budgets."""

    fit: ReportJson
    units: dict[str, str]
    """Of flops, size and data, wherever they stand here; "1": counted one by one."""
    per: float
    """k of compute = k N D."""
    budgets: tuple[Sized, ...]
    diagnostics: tuple[DiagnosticField, ...]
    """Of the budgets, and of the units; those of the fit are there."""


def takes_size_and_data(law: Law) -> bool:
    return law.variables[:2] == ("N", "D")


def best_sizes(
    table: str | Path | Table,
    spec: FitSpec,
    budgets: Sequence[Place],
    per: float | None = None,
    units: Units = Units(),  # noqa: B008  frozen
    *,
    far: bool = False,
) -> tuple[BestSizes, FitReport]:
    """Fit a law and divide budgets by it.

    Args:
      table: a file, or one that was read.
      spec: of a law whose first two variables are size N and data D.
      budgets: compute, then the law's further variables, each.
      per: k of compute = k N D, of sizes and data in ones and compute in FLOPs; None:
        FLOPS_PER_EXAMPLE. k of the answer is of their columns and of the budgets.
      units: of the budgets (flops), of size and of data; those of the table where none is told.
      far: whether budgets may lie more than 1,000 times outside the runs.

    Returns:
      The answer, and the report of the fit.

    Raises:
      UserError: all mistakes in the table, units that cannot be, a budget too far from the runs,
        or the law is not of size and data.
      OSError: the table cannot be read.
    """
    report = fit_table(table, spec)
    refuse_risen(spec, report.groups[0].points)
    fit, points = report.groups[0].law, report.groups[0].points
    if not takes_size_and_data(fit.law):
        raise UserError([f"law {fit.law.name} is not of size N and data D."])
    rows, (n, d) = points.table, points.x[:2]
    counted = dict(zip(("size", "data"), spec.x[:2], strict=True))
    units = units.or_of({role: rows.unit(name) for role, name in counted.items()})
    told, per = per, units.per(per or FLOPS_PER_EXAMPLE)
    runs = trainings(n, d, points.error, per=per)
    columns = {"flops": None, **counted}
    refuse_mixed_units(rows, n, d, per * n * d, columns, units)
    refuse_odd_units(runs, units, columns, None)
    _refuse_units_of_unique(fit.law, spec, rows, units)
    known, flops = _known(fit.law, spec, points, budgets), units.of("flops")
    if not far:
        refuse_far_from(runs, [("--budget", compute) for compute, *_ in budgets], flops)
        for each in known:
            refuse_far(f"--budget, {each.name}", each.at, each.first, each.last)
    return BestSizes(
        fit=ReportJson.model_validate(report),
        units={"flops": "FLOP", "size": "1", "data": "1"} | dict(units.names),
        per=per,
        budgets=tuple(sized(fit, budget, per) for budget in budgets),
        diagnostics=(
            *runs.diagnostics(fit.law),
            *of_a_token(columns, told),
            *_none_repeated(fit.law, spec, points),
            *beyond(runs, [compute for compute, *_ in budgets], flops),
            *(
                found
                for each in known
                for found in outside(each.name, each.at, each.first, each.last)
            ),
        ),
    ), report


@dataclass(frozen=True)
class _Known:
    """A further variable of a budget: its column, its number, and its range in the runs."""

    name: str
    at: float
    first: float
    last: float


def _known(law: Law, spec: FitSpec, points: Points, budgets: Sequence[Place]) -> list[_Known]:
    """What further variables the budgets have.

    Raises:
      UserError: all that are smaller than they can be.
    """
    places = np.array([budget[1:] for budget in budgets], float).T
    further = replace(law, variables=law.variables[2:])
    if wrong := further.out_of_range(spec.x[2:], places):
        raise UserError([f"--budget: {each}" for each in wrong])
    return [
        _Known(name, at, float(x.min()), float(x.max()))
        for name, x, mine in zip(spec.x[2:], points.x[2:], places, strict=True)
        for at in mine.tolist()
    ]


def _refuse_units_of_unique(law: Law, spec: FitSpec, table: Table, units: Units) -> None:
    """Where data and the different ones among them are counted in two units.

    Raises:
      UserError: they are, by the names or the cells of their columns.
    """
    data = spec.x[1]
    for name, of in zip(spec.x[2:], law.units[2:], strict=True):
        mine = Units().or_of({"data": table.unit(name)})
        if of == law.units[1] and mine.names and mine.factor("data") != units.factor("data"):
            raise UserError(
                [
                    f"{table.path}: {name} is in {mine.of('data') or 'ones'}, and {data} in "
                    f"{units.of('data') or 'ones'}. Write both in one unit."
                ]
            )


def _none_repeated(law: Law, spec: FitSpec, points: Points) -> list[Diagnostic]:
    """Where no run saw any of its data again, though the law is of repeated data."""
    if law.name != REPEATED.name or (points.x[2] < points.x[1]).any():
        return []
    return [Diagnostic("none_repeated", (spec.x[1], spec.x[2]))]


def sized(fit: Fit, budget: Place, per: float = FLOPS_PER_EXAMPLE) -> Sized:
    """The best size for compute and further variables, with intervals of the fit's level."""
    search = _Search(fit, budget[0] / per, budget[1:])

    def size(*values: Array) -> Array:
        return search.best(values)[0]

    def error(*values: Array) -> Array:
        return np.log(np.maximum(search.best(values)[1], 1e-300))

    n = _estimate(fit, size)
    flops = float(np.log(search.product))
    data = Estimate(flops - n.value, flops - n.high, flops - n.low)
    low, high = search.ends
    return Sized(
        compute=budget[0],
        known=dict(zip(fit.law.variables[2:], budget[1:], strict=True)),
        size=_exp(n),
        data=_exp(data),
        error=_exp(_estimate(fit, error)),
        within=bool(low + 1e-6 < n.value < high - 1e-6),
    )


def _estimate(fit: Fit, quantity: Callable[..., Array]) -> Estimate:
    value = float(quantity(*(np.array([each]) for each in fit.values))[0])
    low, high = fit.interval(quantity)
    return Estimate(value, min(low, value), max(high, value))


def _exp(found: Estimate) -> Estimate:
    with np.errstate(over="ignore"):
        return Estimate(*np.exp(found).tolist())


@dataclass(frozen=True, eq=False)
class _Search:
    """Fields: the law; N D that can be paid; its further variables."""

    fit: Fit
    product: float
    known: Place

    @property
    def ends(self) -> tuple[float, float]:
        """Log sizes between which the best is looked for."""
        smallest, largest = (float(np.ravel(end)[0]) for end in self.fit.span)
        middle = self.product**0.5
        low, high = min(smallest, middle) / BEYOND, max(largest, middle) * BEYOND
        return float(np.log(low)), float(np.log(high))

    def best(self, values: Sequence[Array]) -> tuple[Array, Array]:
        """Log size, and the error there, for each of many curves, [curves].

        Of a valley where there is one, whatever the ends: so far from the runs a law of many
        parameters may fall without end.
        """
        count = len(np.ravel(values[0]))
        low, high = (np.full(count, end) for end in self.ends)
        shares = np.linspace(0, 1, PLACES)[:, None]
        every = np.arange(count)
        for k in range(ROUNDS):
            n = low + (high - low) * shares
            curve = self._error(n, values)
            best = np.clip(np.argmin(_valleys(curve) if k == 0 else curve, axis=0), 1, PLACES - 2)
            low, high = n[best - 1, every], n[best + 1, every]
        left, middle, right = (curve[best + k, every] for k in (-1, 0, 1))
        bend = left - 2 * middle + right
        step = np.where(bend > 0, (left - right) / (2 * np.where(bend > 0, bend, 1)), 0.0)
        at = n[best, every] + np.clip(step, -1, 1) * (high - low) / 2
        return at, self._error(at[None], values)[0]

    def _error(self, n: Array, values: Sequence[Array]) -> Array:
        """At log sizes [sizes, curves]."""
        more = [np.full_like(n, each) for each in self.known]
        x = np.stack([np.exp(n), self.product / np.exp(n), *more])
        with np.errstate(all="ignore"):
            curve = self.fit.law.predict(x, *values)
        return np.where(np.isfinite(curve), curve, 1e300)


def _valleys(curve: Array) -> Array:
    """Curves at their lowest points alone, where they have some between their ends; else 1e300.

    Args:
      curve: [places, curves].
    """
    inside = curve[1:-1]
    low = np.zeros(curve.shape, bool)
    low[1:-1] = (inside < curve[:-2]) & (inside <= curve[2:])
    return np.where(low | ~low.any(axis=0), curve, 1e300)
