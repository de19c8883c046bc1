"""From a file to a Table: text with a header, JSON lines or an array of objects, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fits.base.errors import UserError
from fits.base.names import short
from fits.data.columns import BLOCK, columns_of, text_cells
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
    whole: list[list[str]] = []
    blocks: list[list[Any]] = []
    numbers: list[int] = []
    ragged: list[str] = []
    for row in body:
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
    if not numbers:
        raise UserError(ragged or [f"{path} has column names and no rows."])
    how = [*source.how, *([] if layout.mark == "," else [MARKS.get(layout.mark, "other_mark")])]
    how += ["header_in_comment"] if layout.header else []
    how += ["comments"] if rows.comments > (layout.header is not None) else []
    columns = columns_of(names, blocks, layout.mark == ",")
    return Table(path, columns, numbers, ragged=tuple(ragged), how=tuple(how))


def _block(rows: Sequence[Sequence[str]]) -> list[Any]:
    return [text_cells(cells) for cells in zip(*rows, strict=True)]


def _ragged(path: Path, row: Row, wide: int, layout: Layout) -> str:
    marks = MARKS.get(layout.mark, "marks")
    return (
        f"{path}, line {row.last}: {len(row.cells)} cells, but the header names {wide} columns. "
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
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    empty = header.count("") > 1
    if repeated:
        raise UserError(
            [f"{place}: column '{short(name)}' is named twice. Rename one." for name in repeated]
        )
    if empty:  # which nobody can name: told apart by their places
        for k, name in enumerate(header):
            header[k] = name or f"column {k + 1}"


# ------------------------------------------------------------------------------------------- JSON


def _read_json(source: Source) -> Table:
    found, how = _json_lines(source), "json_lines"
    if found is None:
        found, how = _json_whole(source), "json"
    objects, numbers = found
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
        if not numbers and (said or _columns(value)):
            return None
        if said:
            wrong.append(f"{source.path}, line {line}: no JSON object ({said}). Correct the line.")
            continue
        objects.add(value)
        numbers.append(line)
    if wrong:
        raise UserError(wrong)
    return objects, numbers


def _columns(value: dict[str, Any]) -> bool:
    """Whether an object holds whole columns: lists of one length."""
    wide = {len(each) if isinstance(each, list) else -1 for each in value.values()}
    return len(wide) == 1 and wide != {-1}


def _json_whole(source: Source) -> tuple[_Objects, list[int]]:
    """An array of objects, or an object of columns; rows are counted from 1."""
    try:
        value = _parsed("".join(source.lines()))
    except ValueError as error:
        raise UserError([f"{source.path}: no JSON that can be read ({error})."]) from None
    if isinstance(value, dict):
        rows = zip(*value.values(), strict=True) if _columns(value) else None
        value = [value] if rows is None else [dict(zip(value, row, strict=True)) for row in rows]
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UserError(
            [f"{source.path}: no table. Write JSON lines: an object a row, a key a column."]
        )
    objects = _Objects()
    for each in value:
        objects.add(each)
    return objects, list(range(1, len(value) + 1))


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
        with path.open("rb") as file:
            table = pyarrow.parquet.read_table(file)
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
