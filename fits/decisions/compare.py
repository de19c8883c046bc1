"""Recipe A against recipe B: the ratio of their laws, and compute saved at equal error.

Both come from bands alone, so whatever has a curve and a band can be compared. The two studies are
taken as independent: on log axes their reaches add as the sides of a right angle do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError, all_of
from fits.base.names import short
from fits.base.numbers import Array, Estimate, Mask
from fits.data.points import Points
from fits.regression.fit import Fit
from fits.report import GroupReport, fit_table
from fits.report_json import DiagnosticField, EstimateField, GroupField, JsonModel
from fits.spec import FitSpec

REACH = 1e3  # how far beyond the points fitted an equal error is looked for, as a factor
GRID = 13


Side: TypeAlias = Literal["below", "above"]


class ErrorRatio(JsonModel):
    """The two laws at one x; of a quantity, its values in place of errors."""

    x: float
    error_a: float
    error_b: float
    error_ratio: EstimateField
    """Error of B over that of A."""
    share_a: float
    """Of the variance of the ratio's logarithm: the share that comes from A."""

    @property
    def is_decided(self) -> bool:
        """Whether the interval of the ratio excludes 1."""
        return self.error_ratio.low > 1 or self.error_ratio.high < 1


class EqualError(JsonModel):
    """The two laws at one error, or value of a quantity.

    x is null where it lies more than REACH times beyond the x fitted, and `beyond` says on which
    side: "below", where it is reached at less, or "above", where it is not.
    """

    error: float
    x_a: float | None
    x_b: float | None
    beyond_a: Side | None = None
    beyond_b: Side | None = None
    x_ratio: EstimateField | None
    """x of A over that of B: how many times less B needs."""


class Comparison(JsonModel):
    spec: FitSpec
    name_a: str
    name_b: str
    a: GroupField
    b: GroupField
    predictions: tuple[ErrorRatio, ...]
    target_errors: tuple[EqualError, ...]
    diagnostics: tuple[DiagnosticField, ...]
    """Of the comparison; those of either fit are with it."""


def compare_tables(
    tables: Sequence[str | Path],
    spec: FitSpec,
    *,
    by: str | None = None,
    predict: Sequence[float] = (),
    target_errors: Sequence[float] = (),
) -> Comparison:
    """Compare two tables, or the two values of a column in one.

    Args:
      spec: how either is fitted, of a law of one x.
      by: the column, where there is one table.
      predict: x to compare at; none: the largest that both have.
      target_errors: to reach; none: those of A at each x.

    Raises:
      UserError: all mistakes in the tables, or which study cannot be fitted, or where a law is not
        above 0.
    """
    names, groups = _studies(tables, spec, by)
    a, b = all_of(*(lambda group=group: group.law for group in groups))
    xs = predict or [min(span(a)[1], span(b)[1])]
    _refuse_below_zero(names, (a, b), xs)
    ratios = tuple(error_ratio(a, b, x) for x in xs)
    first, second = (replace(group, at=tuple((x,) for x in xs)) for group in groups)
    return Comparison(
        spec=first.spec,
        name_a=names[0],
        name_b=names[1],
        a=first,
        b=second,
        predictions=ratios,
        target_errors=tuple(
            equal_error(a, b, e) for e in target_errors or [r.error_a for r in ratios]
        ),
        diagnostics=(
            *([] if by else _shared_runs(first.points, second.points)),
            *diagnostics(a, b),
        ),
    )


def _refuse_below_zero(names: Sequence[str], fits: Sequence[Fit], xs: Sequence[float]) -> None:
    """Places at which there is no ratio."""
    wrong = [
        f"{name}: at x = {x:.4g} law {fit.law.name} is {float(fit.predict(x)):.3g}, not above 0, "
        f"and has no ratio. Compare nearer to the runs ({span(fit)[0]:.4g} to {span(fit)[1]:.4g}), "
        "or by another law."
        for name, fit in zip(names, fits, strict=True)
        for x in xs
        if not fit.predict(x) > 0
    ]
    if wrong:
        raise UserError(wrong)


def _studies(
    tables: Sequence[str | Path], spec: FitSpec, by: str | None
) -> tuple[list[str], list[GroupReport]]:
    """The names of the two studies, and each fitted."""
    if not by:
        found = all_of(*(lambda table=table: fit_table(table, spec) for table in tables))
        return [str(table) for table in tables], [report.groups[0] for report in found]
    groups = list(fit_table(tables[0], spec, by=[by]).groups)
    names = [group.title for group in groups]
    if len(names) != 2:
        raise UserError(
            [
                f"--by: {len(names)} values of {by}, not two ({short(', '.join(names))}). "
                f"Leave rows out, say with --where '{by}!=VALUE'."
            ]
        )
    return names, groups


def _shared_runs(a: Points, b: Points) -> list[Diagnostic]:
    """Runs that both have make the two agree by more than chance."""
    both = np.intersect1d(a.x + 1j * a.error, b.x + 1j * b.error)
    return [Diagnostic("shared_runs", numbers={"n": len(both)})] if len(both) else []


def span(fit: Fit) -> tuple[float, float]:
    """Smallest and largest x fitted, of a law of one variable."""
    first, last = fit.span
    return float(first), float(last)


def ratio(a: Fit, b: Fit, x: ArrayLike) -> tuple[Array, Array, Array]:
    """E_B / E_A at `x` and the ends of its interval, each of the shape of `x`."""
    (log_a, down_a, up_a), (log_b, down_b, up_b) = _reaches(a, x), _reaches(b, x)
    centre = log_b - log_a
    low, high = centre - np.hypot(down_b, up_a), centre + np.hypot(up_b, down_a)
    return np.exp(centre), np.exp(low), np.exp(high)


def _reaches(fit: Fit, x: ArrayLike) -> tuple[Array, Array, Array]:
    """Log of the curve, and how far the band reaches below and above it: without end where an end
    of it is 0, as of a law that the runs do not determine."""
    with np.errstate(divide="ignore"):
        centre, (low, high) = np.log(fit.predict(x)), np.log(fit.band(x))
    return centre, centre - low, high - centre


def error_ratio(a: Fit, b: Fit, x: float) -> ErrorRatio:
    value, low, high = (float(each) for each in ratio(a, b, x))
    spread_a, spread_b = (float(sum(each**2 for each in _reaches(fit, x)[1:])) for fit in (a, b))
    return ErrorRatio(
        x=x,
        error_a=float(a.predict(x)),
        error_b=float(b.predict(x)),
        error_ratio=Estimate(value, low, high),
        share_a=_share(spread_a, spread_b),
    )


def _share(a: float, b: float) -> float:
    """Of their sum, that comes from `a`; half of it where both are infinite."""
    if math.isinf(a):
        return 0.5 if math.isinf(b) else 1.0
    return float(a / max(a + b, 1e-300))


def equal_error(a: Fit, b: Fit, error: float) -> EqualError:
    """What x either has at `error`; interval ends where the band, not the curve, does."""
    costs = _costs(a, error), _costs(b, error)
    side_a, side_b = (_side(float(each[0])) for each in costs)
    x_a, x_b = (float(each[0]) if 0 < each[0] < np.inf else None for each in costs)
    found = None
    if x_a and x_b and rises(a) == rises(b):
        with np.errstate(divide="ignore"):
            (log_a, least_a, most_a), (log_b, least_b, most_b) = np.log(costs)
        low = log_a - log_b - np.hypot(log_a - least_a, most_b - log_b)
        high = log_a - log_b + np.hypot(most_a - log_a, log_b - least_b)
        found = Estimate(*np.exp([log_a - log_b, low, high]).tolist())
    return EqualError(
        error=error, x_a=x_a, x_b=x_b, beyond_a=side_a, beyond_b=side_b, x_ratio=found
    )


def _side(x: float) -> Side | None:
    return "below" if x == 0 else "above" if np.isinf(x) else None


def rises(fit: Fit) -> bool:
    """Whether the curve rises all along the x fitted, as that of a quantity may."""
    return bool((np.diff(fit.predict(np.geomspace(*span(fit), GRID))) > 0).all())


def _costs(fit: Fit, error: float) -> Array:
    """x at which the curve reaches `error`, and the least and the most at which its band does.

    Both ends are looked for from the curve's x on: far outside the runs a band may be wide open,
    and holds any error. 0 or infinite where an x is more than REACH times beyond the x fitted.
    """
    first, last = span(fit)
    x = np.geomspace(first / REACH, last * REACH, GRID)
    sign = 1 if rises(fit) else -1

    def reached(height: Array) -> Mask:
        return np.asarray(sign * height >= sign * error, bool)

    def between(curve: Callable[[Array], Array], after: int) -> float:
        return _crossing(error, curve, x[after - 1], x[after])

    there = np.flatnonzero(reached(fit.predict(x)))
    if not len(there) or there[0] == 0:
        return np.full(3, 0.0 if len(there) else np.inf)
    after, bands = int(there[0]), fit.band(x)
    early, late = (1, 0) if sign > 0 else (0, 1)
    before = np.flatnonzero(~reached(bands[early][:after]))
    since = np.flatnonzero(reached(bands[late][after:]))
    return np.array(
        [
            between(fit.predict, after),
            between(lambda x: fit.band(x)[early], int(before[-1]) + 1) if len(before) else 0.0,
            between(lambda x: fit.band(x)[late], after + int(since[0])) if len(since) else np.inf,
        ]
    )


def _crossing(error: float, curve: Callable[[Array], Array], first: float, last: float) -> float:
    """The x at which a curve has an error, between two x on either side of it."""
    from scipy.optimize import brentq  # which takes a tenth of a second to load

    def above(log_x: float) -> float:
        return float(np.log(np.maximum(curve(np.exp(log_x)), 1e-300) / error))

    return float(np.exp(brentq(above, np.log(first), np.log(last), xtol=1e-6)))


def diagnostics(a: Fit, b: Fit) -> list[Diagnostic]:
    """What the intervals of a comparison do not tell, beside what is doubtful of each fit."""
    (first_a, last_a), (first_b, last_b) = span(a), span(b)
    first, last = max(first_a, first_b), min(last_a, last_b)
    if first >= last:
        return [Diagnostic("no_common_range")]
    grid = np.geomspace(first, last, 200)
    above = b.predict(grid) > a.predict(grid)
    crossings = tuple(grid[1:][above[1:] != above[:-1]].tolist())
    return [Diagnostic("curves_cross", numbers={"x": crossings})] if crossings else []
