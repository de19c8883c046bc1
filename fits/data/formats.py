"""From a file to a Table: text with a header, JSON lines or an array of objects, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.names import short
from fits.data.columns import BLOCK, Columns, columns_of, text_cells
from fits.data.csv_rows import Row, Rows
from fits.data.raw import MARKS, Layout, Source, is_comment, is_json, layout_of, source_of
from fits.data.tables import Table, is_number

PARQUET = b"PAR1"
PARQUET_SUFFIXES = frozenset([".parquet", ".pq"])


def read_file(path: Path) -> Table:
    """As `tables.read_table` says."""
    with path.open("rb") as file:
        is_parquet = file.read(len(PARQUET)) == PARQUET
    if is_parquet or path.suffix.lower() in PARQUET_SUFFIXES:
        return _read_parquet(path)
    source = source_of(path)
    return _read_json(source) if is_json(source) else _read_text(source)


# ------------------------------------------------------------------------------------------- text


def _read_text(source: Source) -> Table:
    layout, path = layout_of(source), source.path
    rows = Rows(source, layout)
    body = iter(rows)
    names, place = layout.header, f"{path}, comment on top"
    if names is None:
        header = next(body, None)
        if header is None:
            raise UserError([f"{path} is empty. A table starts with a line of column names."])
        names, place = header.cells, f"{path}, line {header.last}"
    _check_header(place, names)
    names, twice = _told_apart(names)
    cut = False
    whole: list[list[str]] = []
    blocks: list[list[Any]] = []
    numbers: list[int] = []
    ragged: list[str] = []
    for row in body:
        if len(row.cells) == len(names) + 1 and not row.cells[-1]:
            row.cells.pop()
            cut = True
        if len(row.cells) != len(names):
            ragged.append(_ragged(path, row, len(names), layout))
            continue
        whole.append(row.cells)
        numbers.append(row.last)
        if len(whole) == BLOCK:
            blocks.append(_block(whole))
            whole = []
    if whole:
        blocks.append(_block(whole))
    if ragged and not numbers:
        title = "If it is a title, take it out, or write # before it."
        raise UserError([f"{place}: no row has as many cells as this header. {title}"], ragged)
    if not numbers:
        raise UserError([f"{path} has column names and no rows."])
    how = [*source.how, *([] if layout.mark == "," else [MARKS.get(layout.mark, "other_mark")])]
    how += ["header_in_comment"] if layout.header else []
    how += ["comments"] if rows.comments > (layout.header is not None) else []
    how += ["mark_at_end"] if cut else []
    how += ["rules"] if rows.rules else []
    columns = columns_of(names, blocks, layout.mark == ",")
    columns, repeated = _one_of_equal(columns, twice)
    how += ["repeated_names"] if repeated else []
    return Table(path, columns, numbers, ragged=tuple(ragged), how=tuple(how), repeated=repeated)


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


# ------------------------------------------------------------------------------------------- JSON


def _read_json(source: Source) -> Table:
    lines = _json_lines(source)
    objects, numbers, how = _json_whole(source) if lines is None else (*lines, "json_lines")
    if not numbers:
        raise UserError([f"{source.path} is empty. Write one JSON object a row."])
    if not objects.names:
        raise UserError([f"{source.path}: objects without keys. A key is a column."])
    columns = columns_of(list(objects.names), objects.filled())
    counted_in = "line" if how == "json_lines" else "object"
    return Table(source.path, columns, numbers, counted_in, how=(*source.how, how))


class _Objects:
    """Objects as blocks of columns; a key that an object lacks is an empty cell."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.blocks: list[tuple[int, dict[str, Any]]] = []
        self.open: list[dict[str, str]] = []

    def add(self, value: dict[str, Any]) -> None:
        self.open.append(dict(_flat(value)))
        self.names.update(dict.fromkeys(self.open[-1]))
        if len(self.open) == BLOCK:
            self.close()

    def close(self) -> None:
        keys = dict.fromkeys(key for each in self.open for key in each)
        cells = {key: text_cells([each.get(key, "") for each in self.open]) for key in keys}
        self.blocks.append((len(self.open), cells))
        self.open = []

    def filled(self) -> Iterator[list[Any]]:
        self.close()
        for count, cells in self.blocks:
            empty = text_cells([""] * count)
            yield [cells.get(name, empty) for name in self.names]


def _json_lines(source: Source) -> tuple[_Objects, list[int]] | None:
    """An object a line, and the lines; None: the first is no whole object, or holds columns."""
    objects, numbers = _Objects(), list[int]()
    wrong: list[str] = []
    for line, text in enumerate(source.lines(), 1):
        if not text.strip() or is_comment(text):
            continue
        try:
            value = _parsed(text)
            said = "" if isinstance(value, dict) else short(text)
        except ValueError as error:
            value, said = None, str(error)
        if not numbers and (said or _columns(value) or _frame(value)):
            return None
        if said:
            wrong.append(f"{source.path}, line {line}: no JSON object ({said}). Correct the line.")
            continue
        objects.add(value)
        numbers.append(line)
    if wrong:
        raise UserError(wrong)
    if len(numbers) == 1 and _rows_under_a_key(value):
        return None
    return objects, numbers


def _columns(value: dict[str, Any]) -> bool:
    """Whether an object holds whole columns: lists of one length."""
    wide = {len(each) if isinstance(each, list) else -1 for each in value.values()}
    if len(wide) != 1 or wide == {-1}:
        return False
    return not any(isinstance(cell, dict) for each in value.values() for cell in each)


def _json_whole(source: Source) -> tuple[_Objects, list[int], str]:
    """An array of objects or of rows, an object of columns, or a data frame; rows from 1."""
    try:
        value = _parsed("".join(source.lines()))
    except ValueError as error:
        raise UserError([f"{source.path}: no JSON that can be read ({error})."]) from None
    how = "json"
    if isinstance(value, dict) and _columns(value):
        value = [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    elif isinstance(value, dict):
        value, how = _frame(value) or _rows_under_a_key(value) or ([value], "json")
    elif isinstance(value, list) and (rows := _rows_below_names(value)) is not None:
        value = rows
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UserError(
            [f"{source.path}: no table. Write JSON lines: an object a row, a key a column."]
        )
    objects = _Objects()
    for each in value:
        objects.add(each)
    return objects, list(range(1, len(value) + 1)), how


def _frame(value: dict[str, Any]) -> tuple[list[dict[str, Any]], str] | None:
    """The rows of a data frame, and in which of the orientations of `DataFrame.to_json` it is.

    None: it is none of split, columns (the default), index and table, nor rows under one key.
    """
    names, data = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(data, list) and _same_length(data, len(names)):
        keys = [name if isinstance(name, str) else _cell(name) for name in names]
        return [dict(zip(keys, row, strict=True)) for row in data], "json_split"
    if (len(value) == 1 or "schema" in value) and (rows := _rows_under_a_key(value)):
        return rows
    inner = list(value.values())
    if len(inner) < 2 or not all(isinstance(each, dict) and each for each in inner):
        return None
    keys = list(inner[0])
    if any(list(each) != keys for each in inner) or _nested(inner):
        return None
    if all(key.lstrip("-").isdigit() for key in value):
        return inner, "json_index"
    return [{name: each[key] for name, each in value.items()} for key in keys], "json_columns"


def _rows_under_a_key(value: dict[str, Any]) -> tuple[list[dict[str, Any]], str] | None:
    """The only list of objects among what else is said of a whole table; None: there is none."""
    lists = [
        each
        for each in value.values()
        if isinstance(each, list) and each and all(isinstance(row, dict) for row in each)
    ]
    return (lists[0], "json_table") if len(lists) == 1 else None


def _same_length(rows: list[Any], count: int) -> bool:
    return all(isinstance(row, list) and len(row) == count for row in rows)


def _nested(inner: list[dict[str, Any]]) -> bool:
    return any(isinstance(cell, (dict, list)) for each in inner for cell in each.values())


def _rows_below_names(value: list[Any]) -> list[dict[str, Any]] | None:
    """Rows of an array of arrays whose first holds names; None: it is none."""
    if len(value) < 2 or not isinstance(value[0], list) or not _same_length(value, len(value[0])):
        return None
    names = value[0]
    if not all(isinstance(name, str) and name and not is_number(name) for name in names):
        return None
    return [dict(zip(names, row, strict=True)) for row in value[1:]]


def _parsed(text: str) -> Any:
    """Numbers as they are written. Raises ValueError."""
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _flat(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Keys and cells; what lies inside an object is named outer.inner."""
    for key, each in value.items():
        name = f"{before}{key.strip()}"
        if isinstance(each, dict):
            yield from _flat(each, f"{name}.")
        else:
            yield name, _cell(each)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ---------------------------------------------------------------------------------------- Parquet


def _read_parquet(path: Path) -> Table:
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as file:  # threads that lack memory would wait for each other
            table = pyarrow.parquet.read_table(file, use_threads=False, pre_buffer=False)
    except pyarrow.ArrowMemoryError:
        raise MemoryError from None
    except pyarrow.ArrowException as error:
        said = str(error).splitlines()[0]
        raise UserError([f"{path}: not a readable Parquet file ({said})"]) from None
    if not table.num_rows:
        raise UserError([f"{path} has no rows."])
    names = list(dict.fromkeys(table.column_names))
    columns = columns_of(names, _parquet_blocks(table, names))
    return Table(path, columns, list(range(1, table.num_rows + 1)), "row")


def _parquet_blocks(table: Any, names: Iterable[str]) -> Iterator[list[Any]]:
    for first in range(0, table.num_rows, BLOCK):
        part = table.slice(first, BLOCK)
        yield [
            text_cells(["" if c is None else str(c).strip() for c in part[name].to_pylist()])
            for name in names
        ]
