"""From a budget to downstream error: a law of the loss, and one of the error against it.

Two fits of one table, chained (Gadre et al. 2024; Bhagia et al. 2024, "Establishing Task Scaling
Laws via Compute-Efficient Model Ladders"). The second is of the error at a loss that was measured,
so what the first leaves of the loss tells nothing of it: the errors of the two are independent to
first order, and add in squares, on a logarithmic scale, as they come through the chain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.numbers import Array, Estimate
from fits.data.tables import Table, read_table
from fits.regression.fit import Fit
from fits.report import FitReport, Place, as_x, fit_table
from fits.report_json import DiagnosticField, EstimateField, JsonModel, ReportJson
from fits.spec import FitSpec

LEAST = 1e-300  # error that has a logarithm


class ChainedPrediction(JsonModel):
    """What the chain says at one place."""

    x: tuple[float, ...]
    loss: EstimateField
    error: EstimateField
    """With the errors of both laws."""
    error_of_loss: EstimateField
    """With those of the loss alone."""
    diagnostics: tuple[DiagnosticField, ...]


class Downstream(JsonModel):
    """Two fits of a table, and predictions through both."""

    table: Path
    loss: ReportJson
    """Of the loss against what was spent."""
    task: ReportJson
    """Of the downstream error against the loss."""
    predictions: tuple[ChainedPrediction, ...]


def downstream(
    table: str | Path | Table, loss: FitSpec, task: FitSpec, at: Sequence[Place]
) -> tuple[Downstream, FitReport, FitReport]:
    """Fit both laws, and predict the downstream error at some places.

    Args:
      table: a file, or one that was read.
      loss: of the loss, any law.
      task: of the error, a law of one variable, which is the loss.
      at: where predictions are wanted, a number a variable of the law of the loss.

    Returns:
      The answer, and the two reports it is made of.

    Raises:
      UserError: all mistakes in the rows, or why one of the two cannot be fitted.
      OSError: the table cannot be read.
    """
    if task.x != (loss.y,):
        raise UserError([f"the second law is of {', '.join(task.x)}; the first is of {loss.y}."])
    whole = table if isinstance(table, Table) else read_table(table)
    first = fit_table(whole, loss, at=at)
    one = first.groups[0].law
    reached = [(_above_zero(float(one.predict(as_x(place)))),) for place in at]
    second = fit_table(whole, task, at=reached)
    other = second.groups[0].law
    answer = Downstream(
        table=whole.path,
        loss=ReportJson.model_validate(first),
        task=ReportJson.model_validate(second),
        predictions=tuple(chained(one, other, place) for place in at),
    )
    return answer, first, second


def chained(loss: Fit, task: Fit, place: Place) -> ChainedPrediction:
    """The downstream error at a place, by the law of the loss and that of the error against it."""
    x = as_x(place)
    spent = np.reshape(np.asarray(x, float), (-1, 1) if np.ndim(x) else (1,))
    low, high = (float(end[0]) for end in loss.band(spent))
    reached = Estimate(float(loss.predict(x)), low, high)
    centre = _log(task, reached.value)

    def at_the_loss(*values: Array) -> Array:
        curve = task.law.predict(np.array([reached.value]), *values)
        return np.log(np.maximum(curve, LEAST))

    ends = task.interval(at_the_loss)
    carried = sorted(_log(task, end) for end in (low, high))
    with np.errstate(over="ignore"):
        below = math.hypot(centre - min(ends[0], centre), centre - min(carried[0], centre))
        above = math.hypot(max(ends[1], centre) - centre, max(carried[1], centre) - centre)
        error = _error(centre, centre - below, centre + above)
        alone = _error(centre, *carried)
    beyond: list[Diagnostic] = [
        *loss.diagnostics,
        *loss.extrapolates(x),
        *task.diagnostics,
        *task.extrapolates(reached.value),
    ]
    return ChainedPrediction(
        x=place,
        loss=reached,
        error=error,
        error_of_loss=alone,
        diagnostics=tuple(beyond),
    )


def _log(task: Fit, loss: float) -> float:
    """Log error at a loss; where the law is below 0, that of the least error."""
    return math.log(max(float(task.predict(_above_zero(loss))), LEAST))


def _above_zero(loss: float) -> float:
    """A loss without end, or from 0 down, as the most or least there is."""
    return min(max(loss, 1e-30), 1e30)


def _error(*logs: float) -> Estimate:
    """0 where the law is below it."""
    value, low, high = (0.0 if log <= math.log(LEAST) else float(np.exp(log)) for log in logs)
    return Estimate(value, low, high)
