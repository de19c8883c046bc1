"""Tables of text and the mistakes in them; of any origin, CSV or Parquet.

A table is kept as the text of its cells, so that a mistake is shown as it was written, together
with the line it stands on. Every check gathers all it finds before it complains.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from fits.base.errors import SHOWN, UserError
from fits.base.names import did_you_mean, short

END = "end of the table"


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of text, with the place of every row."""

    path: Path  # the file it came from
    columns: dict[str, list[str]]  # one cell a row, surrounding blanks removed; empty is ""
    numbers: list[int]  # where each row stands in the file, counted as `counted_in`
    counted_in: str = "line"  # of a text file, or "row" of a Parquet file
    ragged: tuple[str, ...] = ()
    """Rows that do not fit the header and are in no column, in words; whoever reads the table
    complains of them together with what else is wrong."""

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        return f"{self.path}, {self.counted_in} {self.numbers[row]}"

    def column(self, name: str) -> list[str]:
        if missing := self.missing([name]):
            raise UserError(missing)
        return self.columns[name]

    def missing(self, names: Iterable[str]) -> list[str]:
        """In words, every name that is no column."""
        known = list(self.columns)
        named = ", ".join(map(short, known))
        return [
            f"{self.path}: no column '{short(name)}'. {did_you_mean(name, known)}Columns: {named}."
            for name in dict.fromkeys(names)
            if name not in self.columns
        ]

    def keep(self, rows: Sequence[int]) -> Table:
        """The same table with these rows only."""
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return replace(self, columns=columns, numbers=[self.numbers[row] for row in rows])

    def where(self, name: str, value: str, *, equal: bool = True) -> Table:
        """The rows whose cell in column `name` is `value` (or is not), as text or as a number."""
        cells = self.column(name)
        rows = [row for row, cell in enumerate(cells) if _same(cell, value) == equal]
        if not rows:
            sign = "=" if equal else "!="
            raise UserError(
                [f"{self.path}: no row has {name}{sign}{short(value)}. {_values(name, cells)}"]
            )
        return self.keep(rows)

    def duplicates(self) -> list[str]:
        """In words, every row that equals an earlier row in every column."""
        first: dict[tuple[str, ...], int] = {}
        duplicates = []
        for row, cells in enumerate(zip(*self.columns.values(), strict=True)):
            if first.setdefault(cells, row) != row:
                duplicates.append(
                    f"{self.place(row)}: the same as {self.counted_in} "
                    f"{self.numbers[first[cells]]} in every column. Remove one of them, or add "
                    "a column that tells them apart (a seed, a run)."
                )
        return duplicates


def read_table(path: str | Path) -> Table:
    """Read a table; the suffix .parquet says Parquet, all else is CSV in UTF-8 with a header.

    Raises:
      UserError: every mistake of the table's form, with its line.
      OSError: the file cannot be read.
    """
    path = Path(path)
    return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)


def _read_csv(path: Path) -> Table:
    rows = [row for row in _rows(path) if any(row.cells)]  # blank lines are no rows
    if not rows:
        raise UserError([f"{path} is empty. A table starts with a line of column names."])
    header, *body = rows
    names = header.cells
    _check_header(f"{path}, line {header.last}", names)
    if not body:
        raise UserError([f"{path} has column names and no rows."])
    ragged = [
        f"{path}, line {row.last}: {len(row.cells)} cells, but the header names {len(names)} "
        f"columns. Write every row with as many commas as the header has.{row.advice}"
        for row in body
        if len(row.cells) != len(names)
    ]
    whole = [row for row in body if len(row.cells) == len(names)]
    if not whole:
        raise UserError(ragged)
    columns = {name: [row.cells[k] for row in whole] for k, name in enumerate(names)}
    return Table(path, columns, [row.last for row in whole], ragged=tuple(ragged))


@dataclass(frozen=True)
class _Row:
    """Cells of a row, surrounding blanks removed, and the lines it stands on."""

    first: int
    last: int
    cells: list[str]

    @property
    def advice(self) -> str:
        if self.first == self.last:
            return ""
        return f" The row starts on line {self.first}: close the quote that opens there."


def _rows(path: Path) -> list[_Row]:
    """All rows; a quote that is never closed would swallow `END`, which is how it is known."""
    text = _text(path)
    text += "" if text.endswith(("\n", "\r")) else "\n"
    reader = csv.reader(chain(io.StringIO(text, newline=""), [END]))
    rows: list[_Row] = []
    after, cells = 0, []  # the last line of the row before; the row as it was written
    try:
        for cells in reader:
            rows.append(_Row(after + 1, reader.line_num, [cell.strip() for cell in cells]))
            after = reader.line_num
    except csv.Error as error:
        raise UserError(
            [
                f"{path}, line {after + 1}: not a CSV file ({error}). If a quote opens there, "
                "close it."
            ]
        ) from None
    if cells != [END]:
        opened = reader.line_num - len(io.StringIO(cells[-1], newline="").readlines()) + 1
        raise UserError([f"{path}, line {opened}: a quote opens here and never closes. Close it."])
    return rows[:-1]


def _text(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            [
                f"{path}, line {line}: byte {raw[error.start]:#04x} is not UTF-8 text. Save the "
                "table as CSV in UTF-8, or name a Parquet file .parquet."
            ]
        ) from None


def _check_header(place: str, header: list[str]) -> None:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise UserError(
            [f"{place}: one column named '{short(header[0])}'. Separate columns with commas."]
        )
    if all(is_number(cell) for cell in header):
        raise UserError(
            [
                f"{place}: {short(', '.join(header))} are numbers, not column names. Put a line of "
                "column names on top."
            ]
        )
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise UserError(
            [f"{place}: column '{short(name)}' is named twice. Rename one." for name in repeated]
        )


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:
            table = pyarrow.parquet.read_table(file)
    except pyarrow.ArrowException as error:
        said = str(error).splitlines()[0]
        raise UserError([f"{path}: not a readable Parquet file ({said})"]) from None
    if not table.num_rows:
        raise UserError([f"{path} has no rows."])
    columns = {
        name: ["" if cell is None else str(cell).strip() for cell in table[name].to_pylist()]
        for name in table.column_names
    }
    return Table(path, columns, list(range(1, table.num_rows + 1)), "row")


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


def _same(cell: str, value: str) -> bool:
    return cell == value or (is_number(cell) and is_number(value) and number(cell) == number(value))


def _values(name: str, cells: Sequence[str]) -> str:
    known = list(dict.fromkeys(cells))
    shown = ", ".join(map(short, known[:SHOWN])) + (", ..." if len(known) > SHOWN else "")
    return f"Values of {name}: {shown}."


def read_numbers(
    table: Table, name: str, judge: Callable[[float], str | None]
) -> tuple[list[float], list[list[str]]]:
    """The numbers of a column, and every mistake found in it.

    Args:
      judge: says in words what is wrong with a finite number, or None where all is well.

    Returns:
      One number a row, NaN where the cell is mistaken; the mistakes, each with its place, those
      of a kind together.
    """
    values: list[float] = []
    kinds: dict[str, list[str]] = {}
    for row, cell in enumerate(table.column(name)):
        wrong = _no_number(cell) or judge(number(cell))
        if wrong:
            mistake = f"{table.place(row)}: {name} is {short(cell)}, {wrong}"
            kinds.setdefault(wrong, []).append(mistake)
        values.append(math.nan if wrong else number(cell))
    return values, list(kinds.values())


def _no_number(cell: str) -> str | None:
    if not is_number(cell):
        return "not a number. Write it in digits, say 1200 or 1.2e3."
    if not math.isfinite(number(cell)):
        return "not finite. A failed run is a missing row: take it out."
    return None
