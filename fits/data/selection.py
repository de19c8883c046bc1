"""Which rows of a table are points: conditions, empty cells, the last of each run, the best.

Each step is named, so that a saved law can say of every row why it was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import short
from fits.base.numbers import Indices, Mask
from fits.data.conditions import excluded, keep_where
from fits.data.tables import Table

PROGRESS = (  # columns that grow while a run goes on
    *("step", "steps", "_step", "iteration", "iter", "global_step", "train/global_step", "epoch"),
    *("tokens", "images_seen", "samples_seen", "examples_seen", "flops", "_runtime", "time"),
)
SHOWN = 4  # ways of writing that nothing was measured


Why: TypeAlias = Literal["where", "no_x", "no_y", "last_of", "best_of"]
"""A condition that a row does not meet, a number that it lacks, or rows of its run or setting that
are later or better."""


@dataclass(frozen=True)
class Step:
    """Rows left out for one reason."""

    why: Why
    name: str  # of the column, or the condition
    after: Table  # what is left
    notes: tuple[Diagnostic, ...] = ()


def chosen(
    table: Table,
    x: Sequence[str],
    y: str,
    *,
    where: Sequence[str] = (),
    last_of: Sequence[str] = (),
    best_of: Sequence[str] = (),
    by: Sequence[str] = (),
    largest: bool = False,
    percent: bool = False,
) -> Iterator[Step]:
    """One step after another; rows that are mistaken stay.

    A run's last row is the last that has all x and a y; where that is NaN, the run has diverged and
    is left out. The best is looked for among the rows that are left then.

    Args:
      x, y: columns that a row must have.
      where: conditions.
      last_of, best_of: columns; of rows that agree in all of them one is kept.
      by: columns that last_of and best_of never cross.
      largest: whether the best y is the largest.
      percent: as of `Table.values`, of y.

    Raises UserError where no row is left.
    """
    for condition in where:
        kept = keep_where(table, condition)
        yield Step("where", condition, kept, _nothing_excluded(table, kept, condition))
        table = kept
    names = dict.fromkeys((*x, y))
    if len(table):
        _refuse_empty(table, names)
    if last_of:
        _refuse_unnamed(table, last_of)
        for name in names:
            if step := _without(table, name, x, _not_measured):
                table = step.after
                yield step
        yield (last := _last(table, (*last_of, *by), last_of))
        table = last.after
    for name in names:
        if step := _without(table, name, x, _absent):
            table = step.after
            yield step
        if name in x and (step := _without(table, name, x, _is_zero, "zero_x")):
            table = step.after
            yield step
    if names and not len(table):
        raise UserError([f"{table.path}: no row has numbers as {', '.join(names)}."], table.ragged)
    if best_of:
        yield _best(table, y, (*best_of, *by), best_of, largest, percent)


def _nothing_excluded(table: Table, kept: Table, condition: str) -> tuple[Diagnostic, ...]:
    """A note on COL!=CELL where no cell is that, as where it is mistyped."""
    named = excluded(condition, table) if len(kept) == len(table) else None
    if named is None:
        return ()
    name, cell = named
    return (Diagnostic("nothing_excluded", (condition, name, short(cell))),)


def _not_measured(table: Table, name: str) -> Mask:
    column = table.column(name)
    return column.absent & ~column.diverged


def _absent(table: Table, name: str) -> Mask:
    return table.column(name).absent


def _is_zero(table: Table, name: str) -> Mask:
    return table.column(name).values == 0


def _refuse_empty(table: Table, names: Any) -> None:
    empty = [name for name in names if table.column(name).absent.all()]
    if empty:
        raise UserError(
            [f"{table.path}: column {name} is empty in every row to be fitted." for name in empty],
            table.ragged,
        )


def _refuse_unnamed(table: Table, names: Sequence[str]) -> None:
    """Rows of no run, where others name theirs: together they would be taken for one."""
    blank = np.logical_and.reduce([table.column(name).cells == "" for name in names])
    of = " and ".join(names)
    unnamed = [
        f"{table.place(row)}: no {of}, so that its run is not known. Fill it in, or leave such "
        f"rows out with --where '{names[0]}!='."
        for row in np.flatnonzero(blank).tolist()
    ]
    if 0 < len(unnamed) < len(table):
        raise UserError(unnamed)


def _without(
    table: Table,
    name: str,
    x: Sequence[str],
    judge: Callable[[Table, str], Mask],
    code: str = "empty_cells",
) -> Step | None:
    """Without the rows so judged, counted; None: there are none."""
    out = judge(table, name)
    if not out.any():
        return None
    cells = dict.fromkeys(cell for cell in table.columns[name].keep(np.flatnonzero(out)))
    words = [cell for cell in cells if cell and code == "empty_cells"]
    numbers = {"count": int(out.sum()), "n": len(table)}
    shown = [*words[:SHOWN], *(["..."] if len(words) > SHOWN else [])]
    code = "no_number" if words else code
    after = table.keep(np.flatnonzero(~out))
    why: Why = "no_x" if name in x else "no_y"
    return Step(why, name, after, (Diagnostic(code, (name, *shown), numbers),))


def _last(table: Table, names: Sequence[str], typed: Sequence[str]) -> Step:
    """The last row of each run, in the order of the file."""
    run = table.groups(names)
    last = np.zeros(int(run.max(initial=-1)) + 1, np.int64)
    last[run] = np.arange(len(run))  # later rows overwrite earlier ones
    kept = np.sort(last)
    numbers = {"count": len(kept), "n": len(table)}
    notes = [Diagnostic("last_of", tuple(typed), numbers)]
    known = {name.lower(): name for name in table.columns}
    for name in (known[each] for each in PROGRESS if each in known):
        values = table.column(name).values
        most = np.full(len(last), -np.inf)
        np.fmax.at(most, run, values)
        behind = int((values[last] < most).sum())
        if behind and name not in names:
            notes.append(Diagnostic("not_in_order", (name,), {"count": behind, "n": len(last)}))
            break
    return Step("last_of", ", ".join(typed), table.keep(kept), tuple(notes))


def _best(
    table: Table, y: str, names: Sequence[str], typed: Sequence[str], largest: bool, percent: bool
) -> Step:
    """The row of the best y of each setting; of equals the first."""
    setting = _settings(table, names)
    values = table.values(y, percent=percent)
    order = np.lexsort((np.arange(len(values)), -values if largest else values, setting))
    first = np.r_[True, np.diff(setting[order]) > 0] if len(order) else np.zeros(0, bool)
    kept = np.sort(order[first])
    numbers = {"count": len(kept), "n": len(table)}
    return Step(
        "best_of",
        ", ".join(typed),
        table.keep(kept),
        (Diagnostic("best_of", tuple(typed), numbers),),
    )


def _settings(table: Table, names: Sequence[str]) -> Indices:
    """As `Table.groups`, but 1e9 and 1000000000 are the same."""
    keys = []
    for name in names:
        column = table.column(name)
        text = column.codes()
        numbers = column.values
        plain = np.isfinite(numbers)
        key = np.unique(numbers[plain], return_inverse=True)[1].ravel()
        code = -1 - text
        code[plain] = key
        keys.append(code)
    return np.unique(np.array(keys), axis=1, return_inverse=True)[1].ravel()
