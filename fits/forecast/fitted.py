"""A forecast of the rows of a table, with the methods of a Fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import short
from fits.base.numbers import Array, Mask
from fits.data.points import Points
from fits.data.tables import Table
from fits.forecast.forecast import Forecast, forecast
from fits.forecast.schedule import Schedule
from fits.forecast.scheduled import ScheduledForecast, scheduled
from fits.spec import COOLED, NOT_COOLED, FitSpec, RateSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastFit:
    """A forecast with the methods of a Fit. Its band is of one more measurement, not of a curve."""

    made: Forecast | ScheduledForecast
    level: float
    trunk: int = 0  # points of a trunk that are in no row of the table

    @property
    def n(self) -> int:
        return self.made.n

    @property
    def rms(self) -> float:
        return self.made.rms

    @property
    def span(self) -> tuple[float, float]:
        return self.made.span

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self.made.diagnostics

    def extrapolates(self, x: float) -> list[Diagnostic]:
        return self.made.extrapolates(x)

    def predict(self, x: ArrayLike) -> Array:
        return self.made(x, self.level)[0]

    def band(self, x: ArrayLike, level: float | None = None) -> tuple[Array, Array]:
        _, low, high = self.made(x, self.level if level is None else level)
        return low, high


def fit_forecast(
    x: Array, y: Array, rows: Table, spec: FitSpec, trunk: Points | None
) -> ForecastFit:
    """The forecast of a curve, under the schedule of the spec where there is one.

    Args:
      x, y: resource spent, and error or loss, [rows].
      rows: of the table, those of x and y.
      trunk: the curve of the trunk from which all of these branched off, where it has a table of
        its own.

    Raises:
      ValueError: why there can be none.
      UserError: every row that does not say whether it has cooled down.
    """
    told = spec.rate
    if told is None:
        return ForecastFit(made=forecast(x, y), level=spec.level)
    cooled = np.full(len(x), bool(told.trunk))
    if told.cooled:
        cooled = _cooled(rows, told.cooled)
    if told.trunk and trunk is None:
        raise ValueError(f"{told.trunk} has no row of its trunk.")
    more = 0 if trunk is None else len(trunk.error)
    if trunk is not None:
        x, y = np.append(x, trunk.x), np.append(y, trunk.error)
        cooled = np.append(cooled, np.zeros(more, bool))
    made = scheduled(x, y, schedule_of(told), cooled=cooled)
    return ForecastFit(made=made, level=spec.level, trunk=more)


def schedule_of(told: RateSpec) -> Schedule:
    """The schedule that a spec tells."""
    return Schedule(
        kind=told.schedule,
        until=told.until,
        final=told.final,
        cooldown=told.cooldown,
        timescale=told.timescale,
    )


def _cooled(rows: Table, name: str) -> Mask:
    """Whether each row was measured at the end of a cooldown. Raises UserError: some do not say."""
    cells = [str(cell).strip().lower() for cell in rows.columns[name]]
    if wrong := list(_no_answers(rows, name, cells)):
        raise UserError(wrong)
    return np.isin(cells, COOLED)


def _no_answers(rows: Table, name: str, cells: list[str]) -> Iterator[str]:
    for row, cell in enumerate(cells):
        if cell not in (*COOLED, *NOT_COOLED):
            yield (
                f"{rows.place(row)}: {short(name)} is {short(cell) or 'empty'}. Write yes in a row "
                "measured at the end of a cooldown, no in one of the trunk."
            )
