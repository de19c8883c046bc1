"""From a file to a Table: text with a header, JSON lines or an array, Parquet, Feather."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.names import short
from fits.data.columns import BLOCK, Columns, columns_of, is_unit, text_cells
from fits.data.csv_rows import Row, Rows
from fits.data.json_tables import read_json
from fits.data.numerals import DIVERGED, NOT_MEASURED, written
from fits.data.raw import (
    MARKS,
    Layout,
    Source,
    is_first_number,
    is_json,
    layout_of,
    source_of,
)
from fits.data.tables import Table, is_number

PARQUET, FEATHER = b"PAR1", b"ARROW1"  # first bytes
PARQUET_SUFFIXES = frozenset([".parquet", ".pq"])


def read_file(path: Path) -> Table:
    """As `tables.read_table` says."""
    with path.open("rb") as file:
        head = file.read(len(FEATHER))
    is_parquet = head.startswith(PARQUET) or path.suffix.lower() in PARQUET_SUFFIXES
    if is_parquet or head == FEATHER:
        return _read_arrow(path, "Parquet" if is_parquet else "Feather")
    source = source_of(path)
    return read_json(source) if is_json(source) else _read_text(source)


# ------------------------------------------------------------------------------------------- text


def _read_text(source: Source) -> Table:
    layout, path = layout_of(source), source.path
    rows = Rows(source, layout)
    body = iter(rows)
    names, place, header = layout.header, f"{path}, comment on top", None
    if names is None:
        top = next(body, None)
        if top is None:
            raise UserError([f"{path} is empty. A table starts with a line of column names."])
        names, place, header = top.cells, f"{path}, line {top.last}", list(top.cells)
    _check_header(place, names)
    names, body, units = _with_units(names, body)
    names, twice = _told_apart(names)
    fitting = _Fitting(path, names, layout, header)
    whole: list[list[str]] = []
    blocks: list[list[Any]] = []
    numbers: list[int] = []
    for cells, line in fitting.rows(body):
        whole.append(cells)
        numbers.append(line)
        if len(whole) == BLOCK:
            blocks.append(_block(whole))
            whole = []
    if whole:
        blocks.append(_block(whole))
    if fitting.ragged and not numbers:
        title = "If it is a title, take it out, or write # before it."
        raise UserError(
            [f"{place}: no row has as many cells as this header. {title}"], fitting.ragged
        )
    if not numbers:
        hidden = rows.comments - (header is None)
        are = "begins with #, and is none." if hidden == 1 else "begin with #, and are none."
        said = f" {counted(hidden, 'line')} {are}" if hidden > 0 else ""
        raise UserError([f"{path} has column names and no rows.{said}"])
    columns = columns_of(names, blocks, layout.mark)
    columns, repeated = _one_of_equal(columns, twice)
    found = {
        "" if layout.mark == "," else MARKS.get(layout.mark, "other_mark"): True,
        "header_in_comment": header is None,
        "units_below": units,
        "comments": rows.comments > (header is None),
        "mark_at_end": fitting.cut,
        "row_numbers": fitting.first is not None,
        "repeated_headers": fitting.repeats > 0,
        "rules": rows.rules > 0,
        "repeated_names": bool(repeated),
    }
    how = (*source.how, *(code for code, is_so in found.items() if code and is_so))
    return Table(path, columns, numbers, ragged=tuple(fitting.ragged), how=how, repeated=repeated)


class _Fitting:
    """The rows of as many cells as there are names, and what had to be done for them to be."""

    def __init__(self, path: Path, names: list[str], layout: Layout, header: list[str] | None):
        self.path, self.layout, self.wide, self.header = path, layout, len(names), header
        self.ragged: list[str] = []  # other rows, in words
        self.cut = False  # whether rows ended in an empty cell beyond the header
        self.repeats = 0  # of the header
        self.first: int | None = None  # number of the first row, where rows are numbered

    def rows(self, body: Iterator[Row]) -> Iterator[tuple[list[str], int]]:
        """Cells, and the line they end on."""
        count = 0
        for row in body:
            cells = row.cells
            if len(cells) == self.wide + 1:
                self._shorten(cells, count)
            if len(cells) != self.wide:
                self.ragged.append(_ragged(self.path, row, self.wide, self.layout))
            elif cells == self.header:
                self.repeats += 1
            else:
                count += 1
                yield cells, row.last

    def _shorten(self, cells: list[str], count: int) -> None:
        """Takes off an empty cell at the end, or the row's number before it."""
        if not cells[-1]:
            cells.pop()
            self.cut = True
            return
        if not count and self.layout.mark in " \t" and is_first_number(cells[0]):
            self.first = int(cells[0])
        if self.first is not None and cells[0] == str(self.first + count):
            cells.pop(0)


def _is_text(cell: str) -> bool:
    return not written(cell) and cell.lower() not in NOT_MEASURED | DIVERGED


def _with_units(names: list[str], body: Iterator[Row]) -> tuple[list[str], Iterator[Row], bool]:
    """Names with the units that stand in a row of their own below them, where one does."""
    first = next(body, None)
    if first is None:
        return names, body, False
    units = [cell.strip("()[]-–—") for cell in first.cells]
    said = [unit for unit in units if unit]
    are_units = all(is_unit(unit) and not written(unit) for unit in said)
    if len(units) != len(names) or not said or not are_units:
        return names, itertools.chain([first], body), False
    second = next(body, None)
    below = [] if second is None else [second]
    body = itertools.chain(below, body)
    of_units = [c for row in below for u, c in zip(units, row.cells, strict=False) if u]
    if any(_is_text(cell) for cell in of_units):  # the first row is of a model B, not measured
        return names, itertools.chain([first], body), False
    pairs = zip(names, units, strict=True)
    return [f"{name} ({unit})" if unit else name for name, unit in pairs], body, True


def _block(rows: Sequence[Sequence[str]]) -> list[Any]:
    return [text_cells(cells) for cells in zip(*rows, strict=True)]


def _ragged(path: Path, row: Row, wide: int, layout: Layout) -> str:
    marks = MARKS.get(layout.mark, "marks")
    return (
        f"{path}, line {row.last}: {counted(len(row.cells), 'cell')}, but the header names "
        f"{counted(wide, 'column')}. "
        f"Write every row with as many {marks} as the header has.{row.advice}"
    )


def _check_header(place: str, header: list[str]) -> None:
    if all(is_number(cell) for cell in header):
        raise UserError(
            [
                f"{place}: {short(', '.join(header))} are numbers, not column names. Put a line of "
                "column names on top."
            ]
        )
    if header.count("") > 1:  # which nobody can name: told apart by their places
        for k, name in enumerate(header):
            header[k] = name or f"column {k + 1}"


def _told_apart(header: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Names that are all different, a repeated one with its place: loss#2; and those, by name."""
    names, twice = list(header), dict[str, list[str]]()
    for k, name in enumerate(header):
        if header.count(name) > 1:
            names[k] = f"{name}#{k + 1}"
            twice.setdefault(name, []).append(names[k])
    return names, twice


def _one_of_equal(
    columns: Columns, twice: dict[str, list[str]]
) -> tuple[Columns, dict[str, tuple[str, ...]]]:
    """Repeated columns of the same cells are one; those that differ, by the name they share."""
    found, differ = dict(columns), dict[str, tuple[str, ...]]()
    for name, places in twice.items():
        if all(list(columns[place]) == list(columns[places[0]]) for place in places[1:]):
            whole = columns[places[0]].whole
            whole.name = name
            found = {name if key == places[0] else key: each for key, each in found.items()}
            found = {key: each for key, each in found.items() if key not in places}
        else:
            differ[name] = tuple(places)
    return Columns(found), differ


# ----------------------------------------------------------------------------- Parquet and Feather


def _read_arrow(path: Path, kind: str) -> Table:
    import pyarrow
    import pyarrow.ipc
    import pyarrow.parquet

    try:
        with path.open("rb") as file:  # threads that lack memory would wait for each other
            if kind == "Parquet":
                table = pyarrow.parquet.read_table(file, use_threads=False, pre_buffer=False)
            else:
                table = pyarrow.ipc.open_file(file).read_all()
    except pyarrow.ArrowMemoryError:
        raise MemoryError from None
    except pyarrow.ArrowException as error:
        said = str(error).splitlines()[0]
        if "worker thread" in said:  # which had no memory
            raise MemoryError from None
        raise UserError([f"{path}: not a readable {kind} file ({said})"]) from None
    if not table.num_rows:
        raise UserError([f"{path} has no rows."])
    names = list(dict.fromkeys(table.column_names))
    fields = [table.schema.field(table.column_names.index(name)) for name in names]
    typed = {each.name for each in fields if _is_number(each.type)}
    columns = columns_of(names, _arrow_blocks(table, names), typed=typed)
    return Table(path, columns, list(range(1, table.num_rows + 1)), "row")


def _is_number(kind: Any) -> bool:
    from pyarrow import types

    return types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind)


def _arrow_blocks(table: Any, names: Iterable[str]) -> Iterator[list[Any]]:
    for first in range(0, table.num_rows, BLOCK):
        part = table.slice(first, BLOCK)
        yield [
            text_cells(["" if c is None else str(c).strip() for c in part[name].to_pylist()])
            for name in names
        ]
