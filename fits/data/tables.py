"""Tables of text and the mistakes in them; of any origin, CSV, JSON lines or Parquet.

A table is kept as the text of its cells, so that a mistake is shown as it was written, together
with the line it stands on. Every check gathers all it finds before it complains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import did_you_mean, short
from fits.base.numbers import Array, Indices
from fits.data.columns import (
    Column,
    Columns,
    columns_of,
    name_and_unit,
    numbered_rows,
    text_cells,
)
from fits.data.numerals import NO_NUMBER, How

NOT_FINITE = "not finite. A failed run is a missing row: take it out."


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of text, with the place of every row."""

    path: Path  # the file it came from
    columns: Columns  # one cell a row
    numbers: list[int]  # where each row stands in the file, counted as `counted_in`
    counted_in: str = "line"  # of a text file, or "row" of a Parquet file
    ragged: tuple[str, ...] = ()
    """Rows that do not fit the header and are in no column, in words; whoever reads the table
    complains of them together with what else is wrong."""
    repeated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names that several columns have, and what these are called here: "loss#2", by its place."""
    how: tuple[str, ...] = ()  # what is unusual in the file, a code each: gzip, tabs, comments

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        return f"{self.path}, {self.counted_in} {self.numbers[row]}"

    def column(self, name: str) -> Column:
        if missing := self.missing([name]):
            raise UserError(missing)
        return self.columns[name]

    def missing(self, names: Iterable[str]) -> list[str]:
        """In words, every name that is no column."""
        known = list(self.columns)
        named = ", ".join(map(short, known))
        shorter = (name_and_unit(each)[0] for each in known)  # unless two columns have it
        meant = dict.fromkeys([*known, *(name for name in shorter if name in self.columns)])
        one = " Write commas, tabs or semicolons between the cells." if len(known) == 1 else ""
        return [
            f"{self.path}: {len(self.repeated[name])} columns are named '{short(name)}', and their "
            f"cells differ. Say {' or '.join(self.repeated[name])}."
            if name in self.repeated
            else f"{self.path}: no column '{short(name)}'. {did_you_mean(name, meant)}Columns: "
            f"{named}.{one}"
            for name in dict.fromkeys(names)
            if name not in self.columns
        ]

    def unit(self, name: str) -> str | None:
        """What a column is counted in, from its name or its cells: "PF-days", "%"; None: unsaid."""
        return self.column(name).unit

    def keep(self, rows: Sequence[int] | Indices) -> Table:
        """The same table with these rows only."""
        kept = np.asarray(rows, np.int64)
        if len(kept) == len(self):
            return self
        numbers = [self.numbers[row] for row in kept.tolist()]
        return replace(self, columns=self.columns.keep(kept), numbers=numbers)

    def values(self, name: str, *, percent: bool = False) -> Array:
        """The numbers of a column, NaN where there is none, [rows].

        Args:
          percent: whether percentages are wanted; else 11 % is 0.11.
        """
        column = self.column(name)
        return column.values if percent or not column.in_percent else column.values / 100

    def groups(self, names: Iterable[str]) -> Indices:
        """A number for each combination of cells in these columns, [rows]."""
        return numbered_rows([self.column(name) for name in names], len(self))

    def duplicates(self) -> list[tuple[int, int]]:
        """Rows that equal an earlier row in every column, and the first such row."""
        rows = self._alike()
        few = self.keep(rows)
        group = few.groups(few.columns)
        first = np.unique(group, return_index=True)[1]
        again = np.flatnonzero(first[group] != np.arange(len(group)))
        return list(zip(rows[again].tolist(), rows[first[group[again]]].tolist(), strict=True))

    def _alike(self) -> Indices:
        """Rows that may equal another, by the numbers of columns that were read as such."""
        if len(self) < 2:
            return np.empty(0, np.int64)
        read = [each.values for each in self.columns.values() if each.is_read]
        order = np.lexsort(read) if read else np.arange(len(self))
        same = np.ones(len(self) - 1, bool)
        for values in read:
            before, after = values[order[:-1]], values[order[1:]]
            same &= (before == after) | (np.isnan(before) & np.isnan(after))
        return np.sort(order[np.r_[same, False] | np.r_[False, same]])

    def read_as(self, names: Iterable[str]) -> list[Diagnostic]:
        """A note on how the file and these columns were read; none of a plain table."""
        known = [name for name in dict.fromkeys(names) if name in self.columns]
        columns = {self.columns.full_name(name): self.columns[name] for name in known}
        said: list[tuple[str, str, How]] = [("", "", How(each, "", 0.0)) for each in self.how]
        for full, column in columns.items():
            unit = column.unit
            said += [(full, unit or "", each) for each in column.whole.numerals.how]
            if unit and unit != column.whole.numerals.unit:
                said.append((full, unit, How("named_unit", unit, 0.0)))
        if not said:
            return []
        words = [word for name, unit, how in said for word in (how.kind, name, how.example)]
        values = tuple(how.value for *_, how in said)
        return [Diagnostic("read_as", tuple(words), {"values": values})]


def read_table(path: str | Path) -> Table:
    """Read a table: Parquet, JSON lines, or text with a line of column names.

    Text may be compressed (gzip, bzip2, xz), in UTF-8 or UTF-16, its cells between commas,
    semicolons, tabs, bars or blanks, with comments after #. `Table.how` says what was found.

    Raises:
      UserError: every mistake of the table's form, with its line.
      OSError: the file cannot be read.
    """
    from fits.data.formats import read_file

    return read_file(Path(path))


def table_of(columns: Mapping[str, Iterable[Any]], name: str = "table") -> Table:
    """What is in memory as a table, say a dict of arrays or a data frame's columns.

    Args:
      columns: name -> its values, all of one length: numbers, or text as a cell of a file; None
        is an empty cell.
      name: in place of the file's in what is said of the rows.

    Raises:
      ValueError: no column, or columns of different lengths.
    """
    given = {each: list(values) for each, values in columns.items()}
    typed = {name for name, every in given.items() if not any(isinstance(v, str) for v in every)}
    cells = {each: [_as_cell(value) for value in values] for each, values in given.items()}
    lengths = {each: len(column) for each, column in cells.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"columns of one length make a table, and there are {lengths}.")
    (count,) = set(lengths.values())
    blocks = [[text_cells(column) for column in cells.values()]]
    found = columns_of(list(cells), blocks, typed=typed)
    return Table(Path(name), found, list(range(1, count + 1)), "row")


def _as_cell(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else repr(float(value))


def number(cell: str) -> float:
    """The number a cell holds; unlike float(), 1_000 is text. Raises ValueError."""
    if "_" in cell:
        raise ValueError(cell)
    return float(cell)


def is_number(cell: str) -> bool:
    try:
        number(cell)
    except ValueError:
        return False
    return True


def read_numbers(
    table: Table, name: str, judge: Callable[[float], str | None], *, percent: bool = False
) -> tuple[Array, list[list[str]]]:
    """The numbers of a column, and every mistake found in it.

    Args:
      judge: says in words what is wrong with a finite number, or None where all is well; what is
        well is an interval.
      percent: as of `Table.values`.

    Returns:
      One number a row, NaN where the cell is mistaken; the mistakes, each with its place, those
      of a kind together.
    """
    column, values = table.column(name), table.values(name, percent=percent).copy()
    kinds: dict[str, list[str]] = {}
    for row, wrong in sorted((dict(_judged(column, values, judge)) | column.wrong()).items()):
        mistake = f"{table.place(row)}: {name} is {short(column[row]) or 'empty'}, {wrong}"
        kinds.setdefault(wrong, []).append(mistake)
        values[row] = math.nan
    return values, list(kinds.values())


def _judged(
    column: Column, values: Array, judge: Callable[[float], str | None]
) -> Iterator[tuple[int, str]]:
    """Rows whose number is wrong, and why."""
    diverged = column.diverged
    for row in np.flatnonzero(column.absent).tolist():
        yield row, NOT_FINITE if diverged[row] else NO_NUMBER
    known = values[~np.isnan(values)]
    if not len(known) or not (judge(float(known.min())) or judge(float(known.max()))):
        return
    different, back = np.unique(values, return_inverse=True)
    words = [None if math.isnan(each) else judge(each) for each in different.tolist()]
    wrong = np.array([each is not None for each in words], bool)
    for row in np.flatnonzero(wrong[back]).tolist():
        yield row, str(words[back[row]])
