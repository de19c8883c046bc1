"""From JSON to a Table: lines, an array, columns, a data frame in any of pandas' orientations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from fits.base.errors import UserError
from fits.base.names import short
from fits.data.columns import BLOCK, columns_of, text_cells
from fits.data.raw import Source, is_comment
from fits.data.tables import Table, is_number


def read_json(source: Source) -> Table:
    lines = _json_lines(source)
    objects, numbers, how = _json_whole(source) if lines is None else (*lines, "json_lines")
    if not numbers:
        raise UserError([f"{source.path} is empty. Write one JSON object a row."])
    if not objects.names:
        raise UserError([f"{source.path}: objects without keys. A key is a column."])
    typed = objects.names.keys() - objects.texts
    columns = columns_of(list(objects.names), objects.filled(), typed=typed)
    counted_in = "line" if how == "json_lines" else "object"
    return Table(source.path, columns, numbers, counted_in, how=(*source.how, how))


class _Number(str):
    """A number of JSON as it is written, in which a point is decimal."""


class _Objects:
    """Objects as blocks of columns; a key that an object lacks is an empty cell."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.texts: set[str] = set()  # names of which some cell is no number
        self.blocks: list[tuple[int, dict[str, Any]]] = []
        self.open: list[dict[str, str]] = []

    def add(self, value: dict[str, Any]) -> None:
        cells = dict(_flat(value))
        self.open.append(cells)
        self.names.update(dict.fromkeys(cells))
        self.texts |= {k for k, cell in cells.items() if cell and not isinstance(cell, _Number)}
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
        if not numbers and said:
            return None
        if said:
            wrong.append(f"{source.path}, line {line}: no JSON object ({said}). Correct the line.")
            continue
        objects.add(value)
        numbers.append(line)
    if wrong:
        raise UserError(wrong)
    if len(numbers) == 1 and (_columns(value) or _frame(value) or _rows_under_a_key(value)):
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
    if any(list(each) != keys for each in inner):
        return None
    if _are_numbers(value):
        return inner, "json_index"
    if not _are_numbers(keys) and _are_rows(inner, keys):
        return [{"index": name, **each} for name, each in value.items()], "json_named"
    if _nested(inner):
        return None
    return [{name: each[key] for name, each in value.items()} for key in keys], "json_columns"


def _are_numbers(names: Iterable[str]) -> bool:
    return all(name.lstrip("-").isdigit() for name in names)


def _are_rows(inner: list[dict[str, Any]], keys: list[str]) -> bool:
    """Whether named objects of the same keys are rows rather than columns: a column is of one
    kind, text or numbers; where that leaves both open, of the two there are more rows."""
    mixed = [
        any(len({is_number(_cell(c)) for c in cells if c is not None}) > 1 for cells in lines)
        for lines in (map(dict.values, inner), [[each[key] for each in inner] for key in keys])
    ]
    return mixed[0] if mixed[0] != mixed[1] else len(inner) > len(keys)


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
        return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
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
    if isinstance(value, _Number):
        return value
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
