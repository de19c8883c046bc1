"""Whether a law suits a table's rows: what looks odd in them, and a law that rises where y does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.data.points import Points, as_measured
from fits.data.remarks import of_costliest, of_slips, rising
from fits.laws.growth import GROWTH
from fits.laws.names import EITHER_WAY, RISING
from fits.spec import FORECAST, FitSpec


def suited(spec: FitSpec, points: Points) -> tuple[FitSpec, tuple[Diagnostic, ...]]:
    """The spec, of a law that can rise where y does, and what looks odd in the rows.

    Of an error rate that rises more likely `y_is` is wrong: it is fitted as the spec says.
    """
    x, y, names = points.x, points.error, (spec.x[0], spec.y)
    if len(spec.x) > 1:
        return spec, _rises_along(spec, x, y)
    found = of_slips(names, x, as_measured(y, spec.y_is), spec.y_is)
    if spec.law not in (FORECAST, *EITHER_WAY) and rising(x, y):
        fitted = spec.y_is in ("loss", "quantity")
        found.append(Diagnostic("rises", (spec.y, spec.x[0], spec.law), {"fitted": fitted}))
        spec = replace(spec, law=GROWTH.name, rows="all", average=False) if fitted else spec
    if spec.law in RISING and rising(-x, y):
        found.append(Diagnostic("falls", (spec.y, spec.x[0], spec.law, spec.y_is)))
    if spec.rows != "all":
        found += of_costliest(names, x, y, as_measured(y, spec.y_is))
    return spec, tuple(found)


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
