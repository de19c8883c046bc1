"""Rows of a text table, whatever stands between its cells, each with the lines it stands on."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from typing import NamedTuple

from fits.base.errors import UserError
from fits.data.raw import Layout, Source, is_comment, is_rule

END = "end-of-the-table"
NOT_PLAIN = b'"', b"#", b"\0"  # where one of these is, csv must look


class Row(NamedTuple):
    """Cells of a row, surrounding blanks removed, and the lines it stands on."""

    first: int
    last: int
    cells: list[str]

    @property
    def advice(self) -> str:
        if self.first == self.last:
            return ""
        return f" The row starts on line {self.first}: close the quote that opens there."


class Rows:
    """All rows but blank ones; `comments` counts the lines passed over that begin with #, and
    `rules` those of dashes. Bars around a row are no cells.

    A quote that is never closed would swallow `END`, which is how it is known.
    """

    def __init__(self, source: Source, layout: Layout):
        self.source, self.layout = source, layout
        self.comments = self.rules = 0
        self._line = self._first = 0  # read last; the first of the row
        self._between = True  # rows, not inside a quoted cell

    def _lines(self) -> Iterator[str]:
        for line in self.source.lines():
            self._line += 1
            if self._line <= self.layout.skip:
                continue
            if self._between:
                if "#" in line and is_comment(line):
                    self.comments += 1
                    continue
                if self._is_rule(line):
                    continue
                self._first, self._between = self._line, False
            yield line.strip(" \t\r\n") + "\n" if self.layout.mark == " " else line
        self._line += 1
        yield END

    def _is_rule(self, line: str) -> bool:
        found = self.layout.mark == "|" and is_rule(line)
        self.rules += found
        return found

    def __iter__(self) -> Iterator[Row]:
        """Raises UserError where a row cannot be read."""
        rows = self._rows()
        if self.layout.mark != "|" or (header := next(rows, None)) is None:
            yield from rows
            return
        around = _has_bars_around(header)
        for row in itertools.chain([header], rows):
            bare = around and _has_bars_around(row)
            yield row._replace(cells=row.cells[1:-1]) if bare else row

    def _rows(self) -> Iterator[Row]:
        plain = self.layout.mark != " " and not any(each in self.source.raw for each in NOT_PLAIN)
        try:
            yield from self._split() if plain else self._parsed()
        except csv.Error as error:
            raise UserError(
                [
                    f"{self.source.path}, line {self._first}: not a CSV file ({error}). If a quote "
                    "opens there, close it."
                ]
            ) from None

    def _split(self) -> Iterator[Row]:
        """Of a text without quotes and comments, in which a row is a line."""
        mark, skip, longest = self.layout.mark, self.layout.skip, csv.field_size_limit()
        for line, text in enumerate(self.source.lines(), 1):
            if mark == "|" and self._is_rule(text):
                continue
            if len(text) > longest:
                self._first = line
                next(csv.reader([text], delimiter=mark))  # says which cell is too long
            words = [] if mark == "\t" else text.split(None, 1)
            if len(words) == 1:  # no blanks in the cells, which is faster
                cells = words[0].split(mark)
            else:
                cells = list(map(str.strip, text.split(mark)))
            if line > skip and any(cells):
                yield Row(line, line, cells)

    def _parsed(self) -> Iterator[Row]:
        mark = self.layout.mark
        reader = csv.reader(self._lines(), delimiter=mark, skipinitialspace=True)
        cells: list[str] = []
        row: Row | None = None
        for cells in reader:
            if row is not None and any(row.cells):
                yield row
            row = Row(self._first, self._line, list(map(str.strip, cells)))
            self._between = True
        if cells != [END]:
            opened = self._line - len(io.StringIO(cells[-1], newline="").readlines()) + 1
            raise UserError(
                [
                    f"{self.source.path}, line {opened}: a quote opens here and never closes. "
                    "Close it."
                ]
            )


def _has_bars_around(row: Row) -> bool:
    """Whether it is such as | 1e18 | 3.41 |: nothing before the first bar, nor after the last."""
    return len(row.cells) > 2 and not row.cells[0] and not row.cells[-1]
