"""From the rows of a table to runs that can be fitted: resource spent and error, both above 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fits.laws import Array
from fits.tables import InputError, Table, read_numbers, read_table

KINDS = ("error", "error-percent", "accuracy", "accuracy-percent")


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Runs to fit.

    Fields:
      table: their rows.
      x: resource spent, > 0, [runs].
      error: as a fraction, in (0, 1], [runs].
      notes: what was left out, and what looks odd.
    """

    table: Table
    x: Array
    error: Array
    notes: tuple[str, ...]

    def split(self, by: Sequence[str]) -> Iterator[tuple[dict[str, str], Points]]:
        """The runs of each combination of values in the columns `by`, and those values."""
        members: dict[tuple[str, ...], list[int]] = {}
        for row in range(len(self.table)):
            key = tuple(self.table.column(name)[row] for name in by)
            members.setdefault(key, []).append(row)
        for key, rows in members.items():
            points = Points(
                table=self.table.keep(rows),
                x=self.x[rows],
                error=self.error[rows],
                notes=self.notes,
            )
            yield dict(zip(by, key, strict=True)), points


def read_points(
    path: str | Path,
    x: str,
    y: str,
    kind: str = "error",
    *,
    where: Sequence[str] = (),
    by: Sequence[str] = (),
) -> Points:
    """Read runs from any table.

    Args:
      path: CSV or Parquet.
      x, y: columns of the resource spent and of what was measured.
      kind: what y is, one of KINDS.
      where: conditions on every row, "COL=VALUE" or "COL!=VALUE".
      by: columns along which the caller means to split.

    Raises:
      InputError: all mistakes in the columns' names, or else all in the rows, or in the numbers.
      OSError: the file cannot be read.
    """
    table = read_table(path)
    conditions = [condition.partition("=")[::2] for condition in where]
    table.require([x, y, *by, *(name.removesuffix("!") for name, _ in conditions)])
    for name, value in conditions:
        table = table.where(name.removesuffix("!"), value, equal=not name.endswith("!"))
    table, notes = _without_blanks(table, [x, y])
    table.refuse_twins()
    _refuse_mixed_metrics(table, y, by)
    spent, mistakes = read_numbers(table, x, _judge_x)
    measured, more = read_numbers(table, y, lambda value: _judge_y(value, kind))
    if mistakes or more:
        raise InputError([*mistakes, *more])
    if kind.endswith("percent") and max(measured) <= 1:
        notes.append(
            f"no {y} is above 1 %; if these are fractions, say {kind.removesuffix('-percent')}"
        )
    error = np.array(measured) / _whole(kind)
    return Points(
        table=table,
        x=np.array(spent),
        error=1 - error if kind.startswith("accuracy") else error,
        notes=tuple(notes),
    )


def _without_blanks(table: Table, names: Sequence[str]) -> tuple[Table, list[str]]:
    """A run that was not measured is an empty cell in many a table: left out, and said."""
    notes = []
    for name in dict.fromkeys(names):
        cells = table.column(name)
        full = [row for row, cell in enumerate(cells) if cell]
        if not full:
            raise InputError([f"{table.path}: column {name} is empty in every row to be fitted."])
        if left_out := len(cells) - len(full):
            notes.append(f"{left_out} of {len(cells)} rows have no {name} and are left out")
            table = table.keep(full)
    return table, notes


def _refuse_mixed_metrics(table: Table, y: str, by: Sequence[str]) -> None:
    """A results table holds many metrics in one column; a frontier across them means nothing."""
    metrics = list(dict.fromkeys(table.columns.get("metric", ())))
    if y == "value" and len(metrics) > 1 and "metric" not in by:
        raise InputError(
            [
                f"{table.path}: the rows hold {len(metrics)} metrics ({', '.join(metrics)}). Say "
                f"--where metric={metrics[0]}, or --by metric for a fit of each."
            ]
        )


def _whole(kind: str) -> float:
    return 100.0 if kind.endswith("percent") else 1.0


def _judge_x(value: float) -> str | None:
    return None if value > 0 else "not above 0. x is on a log axis: leave such rows out."


def _judge_y(value: float, kind: str) -> str | None:
    """What keeps a number from being an error in (0, 1], or an accuracy in [0, 1)."""
    name, whole, accuracy = kind.removesuffix("-percent"), _whole(kind), kind.startswith("accuracy")
    if value < 0:
        return f"below 0, which no {name} is. Correct it, or leave the row out."
    if value > whole == 100:
        return "above 100 %. Correct it, or leave the row out."
    if value > whole:
        return f"above 1. Rates are fractions; for percentages say --y-is {name}-percent."
    if value == (whole if accuracy else 0):
        return "an error of 0, which has no logarithm. Leave it out, or measure on more images."
    return None
