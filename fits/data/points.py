"""From the rows of a table to runs that can be fitted: resource spent and error, both above 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import short
from fits.base.numbers import X_RANGE, Y_RANGE, Array, Indices
from fits.data.conditions import columns_of
from fits.data.selection import chosen
from fits.data.tables import Table, read_numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class Points:
    """Runs to fit."""

    table: Table  # their rows
    x: Array  # resource spent, > 0, [runs], or [variables, runs] where there are several
    error: Array  # as a fraction, in (0, 1], or a loss, > 0, [runs]
    notes: tuple[Diagnostic, ...]  # what was left out, and what looks odd

    def keep(self, rows: Indices) -> Points:
        """Those of the runs, by number."""
        return replace(
            self, table=self.table.keep(rows), x=self.x[..., rows], error=self.error[rows]
        )

    def split(self, by: Sequence[str]) -> Iterator[tuple[dict[str, str], Points]]:
        """The runs of each combination of values in the columns `by`, and those values."""
        group = self.table.groups(by)
        order = np.argsort(group, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
            if not len(rows):
                return
            key = tuple(self.table.column(name)[int(rows[0])] for name in by)
            names = dict(zip(by, key, strict=True))
            notes = tuple(note for note in self.notes if _concerns(note, key))
            yield names, replace(self.keep(rows), notes=notes)


def _concerns(note: Diagnostic, group: tuple[str, ...]) -> bool:
    """Rows without error are counted by group; every other note is on the whole table."""
    return note.code != "zero_error" or note.parameters[1:] == group


def points_of(
    table: Table,
    names: Sequence[str],
    y: str,
    kind: str = "error",
    *,
    where: Sequence[str] = (),
    last_of: Sequence[str] = (),
    best_of: Sequence[str] = (),
    by: Sequence[str] = (),
    more: Sequence[str] = (),
    drop_zeros: bool = False,
) -> Points:
    """The runs of a table.

    Args:
      names, y: columns of the resource spent, one or several, and of what was measured.
      kind: what y is, one of KINDS.
      where: conditions on every row, as `conditions.py` says.
      last_of, best_of: columns; of rows that agree in all of them, and in `by`, the last or the
        best alone is kept.
      by: columns that the caller means to split the rows by.
      more: further columns that the caller means to use.
      drop_zeros: whether rows with an error of 0, which has no logarithm, are left out, with a note
        on how many a group has, and not a mistake.

    Raises UserError: all columns that are missing, or else all mistakes in the rows; either time
    together with the rows that do not fit the header.
    """
    tested = columns_of(where, table)
    missing = table.missing([*names, y, *by, *more, *last_of, *best_of, *tested])
    if missing:
        raise UserError(missing, table.ragged)
    percent = kind.endswith("percent")
    notes = table.read_as([*names, y, *more])
    steps = chosen(
        *(table, names, y),
        where=where,
        last_of=last_of,
        best_of=best_of,
        by=by,
        largest=kind.startswith("accuracy"),
        percent=percent,
    )

    def judge(value: float) -> str | None:
        return judge_y(value, kind)

    worse: list[list[str]] = []
    for step in steps:
        if step.why == "best_of":  # a run is not worse than another for a slip in its row
            tried = _without_zeros(table, y, kind, by)[0] if drop_zeros else table
            worse = read_numbers(tried, y, judge, percent=percent)[1]
        table, notes = step.after, [*notes, *step.notes]
    if drop_zeros:
        table, zeros = _without_zeros(table, y, kind, by)
        notes += zeros
    columns = [read_numbers(table, name, judge_x) for name in names]
    spent = [numbers for numbers, _ in columns]
    wrong_x = [kind for _, wrong in columns for kind in wrong]
    measured, wrong_y = read_numbers(table, y, judge, percent=percent)
    kinds = (
        table.ragged,
        _mixed_metrics(table, y, (*by, *more)),
        *wrong_x,
        *(_named_percent(table, y, kind) or worse or wrong_y),
    )
    if any(kinds):
        raise UserError(*kinds)
    if percent and not table.column(y).in_percent and measured.max(initial=0.0) <= 1 and len(table):
        about, numbers = (y, kind.removesuffix("-percent")), {"largest": float(measured.max())}
        notes.append(Diagnostic("fractions_as_percent", about, numbers))
    if again := table.duplicates():
        row, first = again[0]
        lines = {"line": table.numbers[row], "first": table.numbers[first]}
        notes.append(Diagnostic("equal_rows", (), {"count": len(again), "n": len(table), **lines}))
    return Points(
        table=table,
        x=np.array(spent[0] if len(spent) == 1 else spent),
        error=as_error(measured, kind),
        notes=tuple(notes),
    )


def as_error(measured: Sequence[float] | Array, kind: str) -> Array:
    """Errors as fractions, or losses as they are, of numbers that are of this kind."""
    error = np.array(measured, float) / _whole(kind)
    return 1 - error if kind.startswith("accuracy") else error


def as_measured(error: Array, kind: str) -> Array:
    """The way back: numbers of a kind, of errors as fractions or losses."""
    return (1 - error if kind.startswith("accuracy") else error) * _whole(kind)


def _without_zeros(
    table: Table, y: str, kind: str, by: Sequence[str]
) -> tuple[Table, list[Diagnostic]]:
    """A note for each group that has rows with an error of 0."""

    values = table.values(y, percent=kind.endswith("percent"))
    zero = as_error(values, kind) == 0
    group = table.groups(by)
    dropped, whole = np.bincount(group[zero], minlength=1), np.bincount(group, minlength=1)
    notes = []
    for row in np.unique(group[zero], return_index=True)[1]:
        at = int(np.flatnonzero(zero)[row])
        names = tuple(table.column(name)[at] for name in by)
        numbers = {"count": int(dropped[group[at]]), "n": int(whole[group[at]])}
        notes.append(Diagnostic("zero_error", (y, *names), numbers))
    return table.keep(np.flatnonzero(~zero)), notes


def _mixed_metrics(table: Table, y: str, by: Sequence[str]) -> list[str]:
    """A results table holds many metrics in one column; a frontier across them means nothing."""
    metrics = list(dict.fromkeys(table.columns.get("metric", ())))
    if y != "value" or len(metrics) < 2 or "metric" in by:
        return []
    return [
        f"{table.path}: the rows hold {len(metrics)} metrics ({short(', '.join(metrics))}). Say "
        f"--where metric={metrics[0]}, or --by metric for a fit of each."
    ]


def _named_percent(table: Table, y: str, kind: str) -> list[list[str]]:
    """A column of percentages by its name, said to be one of fractions."""
    if kind not in ("error", "accuracy") or not table.column(y).named_percent:
        return []
    return [
        [
            f"{table.path}: {table.columns.full_name(y)} counts in percent by its name. Say "
            f"--y-is {kind}-percent; where its numbers are fractions, name it without the percent."
        ]
    ]


def _whole(kind: str) -> float:
    return 100.0 if kind.endswith("percent") else 1.0


QUANTITIES = "a best size, batch or rate"


def judge_x(value: float) -> str | None:
    if value <= 0:
        return "not above 0. x is on a log axis: leave such rows out."
    low, high = X_RANGE
    if not low <= value <= high:
        return f"not from {low:g} to {high:g}. Count x in another unit."
    return None


def judge_y(value: float, kind: str) -> str | None:
    """What keeps a number from being an error in (0, 1], or an accuracy in [0, 1)."""
    name, whole, accuracy = kind.removesuffix("-percent"), _whole(kind), kind.startswith("accuracy")
    loss = "" if accuracy else "; for a loss say --y-is loss"
    if kind == "quantity":
        low, high = X_RANGE
        if value <= 0:
            return "not above 0, so that it has no logarithm. Leave such rows out."
        return (
            None if low <= value <= high else f"not from {low:g} to {high:g}. Count it otherwise."
        )
    if value < 0:
        return f"below 0, which no {name} is. Correct it, or leave the row out."
    if kind == "loss":
        low, high = Y_RANGE
        return (
            None
            if low <= value <= high
            else f"not from {low:g} to {high:g}. Count it otherwise; for {QUANTITIES} say "
            "--y-is quantity."
        )
    if value > whole == 100:
        return f"above 100 %. Correct it, or leave the row out{loss}."
    if value > whole:
        other = "" if accuracy else f"{loss}, for {QUANTITIES} --y-is quantity"
        return f"above 1. Rates are fractions; for percentages say --y-is {name}-percent{other}."
    if value == (whole if accuracy else 0):
        return "an error of 0, which has no logarithm. Leave it out, or measure on more images."
    if not accuracy and value / whole < Y_RANGE[0]:
        return f"an error below {Y_RANGE[0]:g}, which nobody can measure. Leave the row out."
    return None
