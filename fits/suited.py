"""Whether a law suits a table's rows: what looks odd in them, and a law that rises where y does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.messages import slip_in_brief
from fits.base.numbers import Array
from fits.data.alike import of_rows_alike
from fits.data.points import Points, as_measured
from fits.data.remarks import (
    of_costliest,
    of_misplaced,
    of_mixed_fractions,
    of_slips,
    rising,
)
from fits.laws.growth import GROWTH, PRODUCT, PRODUCT_3
from fits.laws.names import EITHER_WAY, GROWING, RISING
from fits.spec import FORECAST, FitSpec

NO_ERROR = "loss", "quantity"  # kinds of y that may rise: of a rate more likely `y_is` is wrong
VARIES = 1e-6  # range of a variable's logarithm beyond which it is no constant
_PRODUCTS = {2: PRODUCT.name, 3: PRODUCT_3.name}


def suited(spec: FitSpec, points: Points) -> tuple[FitSpec, tuple[Diagnostic, ...]]:
    """The spec, of a law that can rise where y does, and what looks odd in the rows.

    Of an error rate that rises more likely `y_is` is wrong: it is fitted as the spec says. So it is
    where parameters are held, or a learning rate is told, which are of that law alone.
    """
    x, y, names = points.x, points.error, (spec.x[0], spec.y)
    measured = as_measured(y, spec.y_is)
    mixed = of_mixed_fractions(spec.y, x, measured, spec.y_is)
    alike = _alike(spec, points)
    if len(spec.x) > 1:
        spec, along = _along(spec, rises_along(spec, x, y))
        return spec, (*mixed, *alike, *along)
    found = [*(mixed or of_slips(names, x, measured, spec.y_is)), *alike]
    if spec.law not in (*GROWING, *RISING) and rising(x, y):
        spec, said = _risen(spec)
        found.append(said)
    if spec.law in RISING and rising(-x, y):
        found.append(Diagnostic("falls", (spec.y, spec.x[0], spec.law, spec.y_is)))
    if spec.rows != "all" and not mixed:
        found += of_costliest(names, x, y, measured, spec.y_is)
    if spec.law != FORECAST and not mixed:
        found += of_misplaced(names, x, y, measured, spec.y_is, frontier=spec.rows != "all")
    return spec, tuple(found)


def _alike(spec: FitSpec, points: Points) -> Iterator[Diagnostic]:
    """Rows of equal x that are of several kinds, or of a sweep; a forecast names several curves.

    Clusters are known to be apart, such as curves; not where they are settings, which x is part of.
    """
    table, known = points.table, spec.x
    if spec.law == FORECAST or not all(each in table.columns for each in spec.x):
        return
    if not set(map(table.columns.full_name, spec.x)) <= set(spec.clusters):
        known = (*known, *spec.clusters)
    used = (*known, *filter(None, [spec.weights]), spec.y)
    columns = [each for each in used if each in table.columns]
    yield from of_rows_alike(
        *(table, columns, points.x, spec.y, points.error), frontier=spec.rows != "all"
    )


def slips_among(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Those that name a row and a slip in it as their likely cause, each row once."""
    named = [each for each in found if slip_in_brief(each.code, each.parameters, each.numbers)]
    rows = {row for each in named if each.code == "slip" for row in _rows_of_slip(each)}
    return [
        each
        for each in named
        if each.code != "costliest_not_on_frontier"
        or rows.isdisjoint({each.numbers["x"], each.numbers["better_x"]})
    ]


def _rows_of_slip(found: Diagnostic) -> tuple[float, ...]:
    x = found.numbers["x"]
    return x if isinstance(x, tuple) else (x,)


def _risen(spec: FitSpec) -> tuple[FitSpec, Diagnostic]:
    """Of one variable with which y rises."""
    names, falls = (spec.y, spec.x[0], spec.law), spec.law not in EITHER_WAY
    free = not (spec.fix or spec.tie or spec.rate)
    fitted = spec.y_is in NO_ERROR and (free or not falls)
    numbers = {"fitted": fitted, "falls": falls, "held": bool(spec.fix or spec.tie)}
    if fitted and falls:
        spec = replace(spec, law=GROWTH.name, rows="all", average=False)
    elif fitted:
        spec = replace(spec, rows="all")  # the frontier of what rises is its first run
    return spec, Diagnostic("rises", names, numbers)


def _along(spec: FitSpec, named: list[str]) -> tuple[FitSpec, tuple[Diagnostic, ...]]:
    """Of several variables, with some of which y rises.

    A loss may rise along one of them by chance or for a cause; where it rises along all it is none.
    """
    if not named:
        return spec, ()
    free = not (spec.fix or spec.tie) and len(spec.x) in _PRODUCTS
    is_none = spec.y_is == "quantity" or (spec.y_is == "loss" and len(named) == len(spec.x))
    fitted = free and is_none
    numbers = {"fitted": fitted, "rate": spec.y_is not in NO_ERROR}
    said = Diagnostic("rises_along", (spec.y, spec.law, *named), numbers)
    return replace(spec, law=_PRODUCTS[len(spec.x)]) if fitted else spec, (said,)


def rises_along(spec: FitSpec, x: Array, y: Array) -> list[str]:
    """Variables along which y rises, by least squares on log axes, where the law can't."""
    if spec.law in (FORECAST, *EITHER_WAY) or len(y) < 3 * len(x):
        return []
    logs, height = np.log(x), np.log(y)
    logs, height = logs - logs.mean(axis=1, keepdims=True), height - height.mean()
    slopes, *_ = np.linalg.lstsq(logs.T, height, rcond=None)
    left = ((height - slopes @ logs) ** 2).sum() / (len(y) - len(x) - 1)
    varies = np.ptp(logs, axis=1) > VARIES
    variance = left * np.diag(np.linalg.pinv(logs @ logs.T))
    errors = np.sqrt(np.maximum(variance, 0))  # below it of a variable that hardly varies
    return [
        name
        for name, slope, error, moves in zip(spec.x, slopes, errors, varies, strict=True)
        if moves and slope > max(5 * error, 0.01)
    ]


def refuse_risen(spec: FitSpec, points: Points) -> tuple[Diagnostic, ...]:
    """What looks odd in the rows, where only a y that falls with size and data has an answer.

    Raises:
      UserError: y rises with all variables.
    """
    suits, found = suited(spec, points)
    if suits.law != spec.law or any(set(spec.x) <= set(each.parameters[2:]) for each in found):
        along = " and with ".join(spec.x)
        raise UserError(
            [
                f"{points.table.path}: {spec.y} rises with {along}, and what rises has no best "
                f"size. Say --y-is accuracy if {spec.y} grows as runs get better; a quantity that "
                "grows is fitted by fit-laws TABLE --law product."
            ]
        )
    return found
