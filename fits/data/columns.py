"""Columns of text that are numbers where one wants them; a million cells take 16 MB.

Rows are chosen without copying a cell: a column is the whole column of the file and which of its
rows. So a column is read as numbers but once, by all its cells, whatever rows are wanted.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from fits.base.numbers import Array, Indices, Mask
from fits.data.numerals import (
    Numerals,
    factor_of,
    has_decimal,
    has_open,
    has_thousands,
    plain,
    read_numerals,
    written,
)

BLOCK = 10_000  # rows handled at once as Python's own text
TEXT = np.dtypes.StringDType()
SPELLED = "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta"
UNIT_WORDS = frozenset([  # less a plural's s; "min" is more often the least
    *(f"{prefix}{word}" for word in ("flop", "mac") for prefix in ("", *"kmgtpezy", *SPELLED)),
    *("pf", "tf", "ef", "zf", "pflop", "fop", "op", "core", "chip", "device", "node"),
    *("h", "hr", "hour", "minute", "s", "sec", "second", "ms", "d", "day", "week", "year", "yr"),
    *("nat", "bit", "byte", "bpb", "bpc", "ppl", "token", "word", "char", "character", "pixel"),
    *("image", "sample", "example", "pair", "sequence", "step", "epoch", "iteration", "batch"),
    *("param", "parameter", "weight", "%", "percent", "pct", "point", "pp", "fraction", "$", "€"),
    *("£", "usd", "eur", "gbp", "dollar", "euro", "k", "m", "mn", "b", "bn", "t", "tn", "g", "p"),
    *("e", "z", "x", "one", "thousand", "million", "billion", "trillion", "mio", "mrd", "per"),
    *("kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib", "w", "kw", "wh", "kwh", "mwh", "j"),
])  # fmt: skip
PERCENT = frozenset(["%", "percent", "pct"])  # units
_CHIP = re.compile(r"(gpu|tpu|cpu|tpuv\d+[a-z]?|[avhbpt]\d+|mi\d+x?)s?")
_UNIT = re.compile(r"(?P<name>.*\S)\s*(?:\((?P<round>[^()]+)\)|\[(?P<square>[^\[\]]+)\])")


def text_cells(cells: Sequence[str]) -> Any:
    """[cells] of text; what UTF-8 cannot hold is replaced."""
    try:
        return np.array(cells, TEXT)
    except UnicodeEncodeError:
        return np.array([cell.encode("utf-8", "replace").decode() for cell in cells], TEXT)


def name_and_unit(header: str) -> tuple[str, str | None]:
    """ "flops (PF-days)" is flops in PF-days; "loss [val]" may be called loss, and has no unit."""
    found = _UNIT.fullmatch(header)
    if found is None:
        return header, None
    unit = (found["round"] or found["square"]).strip()
    return found["name"], unit if is_unit(unit) else None


def is_unit(text: str) -> bool:
    """Whether it is made of words of units: "TPUv3-core-days", "bits/byte", "10^18 FLOPs", "%"."""
    words = re.findall(r"[^\W\d_]+(?:v?\d+[a-z]?)?|[%$€£]", text.lower())
    return bool(words) and all(
        word in UNIT_WORDS or word.removesuffix("s") in UNIT_WORDS or _CHIP.fullmatch(word)
        for word in words
    )


class WholeColumn:
    """Every cell of a column of the file.

    Args:
      typed: whether the file holds numbers, not texts: a point in them is decimal.
    """

    def __init__(
        self, name: str, cells: Any, file: list[WholeColumn], between: str, typed: bool
    ) -> None:
        self.name, self.cells, self.file, self.between = name, cells, file, between
        self.typed = typed

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self.cells), BLOCK):
            yield from self.cells[first : first + BLOCK].tolist()

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def codes(self) -> Indices:
        """As of a `Column`, of all cells."""
        return coded(self, len(self))

    @cached_property
    def numerals(self) -> Numerals:
        found = plain(self.cells)
        if found is not None and not self._doubtful():
            return found
        return read_numerals(self, self._elsewhere, self.between)

    def _doubtful(self) -> bool:
        """Whether points in numbers that float() takes may stand between thousands."""
        if self.typed:
            return False
        if self._elsewhere("decimal_comma") or self._elsewhere("thousands_points"):
            return True
        alone = self.between not in ("", ",") and not self._elsewhere("decimal_point")
        if not (alone or self._elsewhere("open_comma")) or self.decimal_point:
            return False
        return self.open_point != ""

    def _elsewhere(self, what: str) -> str:
        """The first number of the other columns that shows this mark; "": none does."""
        others = (getattr(each, what) for each in self.file if each is not self)
        return next(filter(None, others), "")

    @cached_property
    def decimal_point(self) -> str:
        """A cell of it that has one beyond doubt; "": none has."""
        if self.typed:
            return next((cell for cell in self if "." in cell), "")
        return has_decimal(self, ".")

    @cached_property
    def decimal_comma(self) -> str:
        """A cell of it that has one beyond doubt; "": none has."""
        if not (np.strings.find(self.cells, ",") >= 0).any():
            return ""
        return has_decimal(self, ",")

    @cached_property
    def thousands_commas(self) -> str:
        """A cell of it that has commas between thousands beyond doubt; "": none has."""
        return self._thousands(",")

    @cached_property
    def thousands_points(self) -> str:
        """A cell of it that has dots between thousands beyond doubt; "": none has."""
        return self._thousands(".")

    @cached_property
    def open_comma(self) -> str:
        """A cell in which a comma may be decimal or between thousands; "": there is none."""
        return has_open(self, ",") if (np.strings.find(self.cells, ",") >= 0).any() else ""

    @cached_property
    def open_point(self) -> str:
        """A cell in which a dot may be decimal or between thousands; "": there is none."""
        return "" if self.typed else has_open(self, ".")

    def _thousands(self, mark: str) -> str:
        twice = np.strings.count(self.cells, mark) > 1
        return has_thousands(self, mark) if twice.any() else ""


class Column(Sequence[str]):
    """Cells of a column, surrounding blanks removed; empty is "". Equal to a list of the same."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, whole: WholeColumn, rows: Indices | None = None):
        self.whole, self.rows = whole, rows

    @property
    def cells(self) -> Any:
        """[rows] of text."""
        return self.whole.cells if self.rows is None else self.whole.cells[self.rows]

    def __len__(self) -> int:
        return len(self.whole.cells) if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        found = self.whole.cells[row if self.rows is None else self.rows[row]]
        return found.tolist() if isinstance(row, slice) else str(found)

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self), BLOCK):
            yield from self[first : first + BLOCK]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    @property
    def unit(self) -> str | None:
        """From the column's name, or else from its cells; None: neither says one.

        A factor in the cells, such as M, is counted in their numbers, and once.
        """
        named, numerals = name_and_unit(self.whole.name)[1], self.whole.numerals
        if named is None or not numerals.suffixed:
            return named or numerals.unit
        factor, word = factor_of(named)
        return (word or numerals.unit) if factor else named

    @property
    def in_percent(self) -> bool:
        return self.whole.numerals.percent

    @property
    def is_read(self) -> bool:
        """Whether its cells were read as numbers already."""
        return "numerals" in vars(self.whole)

    @property
    def named_percent(self) -> bool:
        """Whether its name alone says that its numbers are percentages."""
        return not self.in_percent and (self.unit or "").lower() in PERCENT

    @property
    def values(self) -> Array:
        """Its numbers as they are written, NaN where a cell holds none, [rows]."""
        return self._of_rows(self.whole.numerals.values)

    @property
    def absent(self) -> Mask:
        """Where nothing was measured, or it diverged: empty, "-", N/A, NaN, inf, [rows]."""
        return self._of_rows(self.whole.numerals.absent)

    @property
    def diverged(self) -> Mask:
        """Where it is NaN or infinite, [rows]."""
        return self._of_rows(self.whole.numerals.diverged)

    def keep(self, rows: Indices) -> Column:
        return Column(self.whole, rows if self.rows is None else self.rows[rows])

    def _of_rows(self, numbers: Any) -> Any:
        return numbers if self.rows is None else numbers[self.rows]

    def wrong(self) -> dict[int, str]:
        """Rows whose cell is no number, and why, in words."""
        wrong = self.whole.numerals.wrong | self._without_factor()
        return {row: wrong[cell] for row, cell in enumerate(self) if cell in wrong} if wrong else {}

    def _without_factor(self) -> dict[str, str]:
        """Cells without the factor that others have and the column's name has too, and why not."""
        named, numerals = name_and_unit(self.whole.name)[1], self.whole.numerals
        count = int((~numerals.absent).sum()) - len(numerals.wrong)
        if named is None or not 0 < numerals.suffixed < count or not factor_of(named)[0]:
            return {}
        said = (
            f"without the factor that others have, which may be {named} as in the column's name. "
            "Write it in every cell, or in none."
        )
        cells = ((cell, written(cell)) for cell in dict.fromkeys(self.whole))
        return {cell: said for cell, found in cells if found and not found.suffix}

    def codes(self) -> Indices:
        """A number for each different cell, in order of first appearance, [rows]."""
        return self.whole.codes if self.rows is None else coded(self, len(self))


def coded(cells: Iterable[str], count: int) -> Indices:
    """A number for each different cell, in order of first appearance, [rows]."""
    known: dict[str, int] = {}
    first = np.fromiter(map(known.setdefault, cells, itertools.count()), np.int64, count)
    return np.unique(first, return_inverse=True)[1].ravel()


class Columns(Mapping[str, Column]):
    """Columns by name; the name without its unit will do, where only one column has it."""

    def __init__(self, columns: Mapping[str, Column]):
        self._columns = dict(columns)
        short: dict[str, list[str]] = {}
        for name in self._columns:
            short.setdefault(name_and_unit(name)[0], []).append(name)
        self._short = {name: full[0] for name, full in short.items() if len(full) == 1}

    def full_name(self, name: str) -> str:
        """As it stands in the file. Raises KeyError."""
        return name if name in self._columns else self._short[name]

    def __getitem__(self, name: str) -> Column:
        return self._columns[self.full_name(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return repr(self._columns)

    def keep(self, rows: Indices) -> Columns:
        """The same with these rows only."""
        first = next(iter(self._columns.values())).rows
        kept = rows if first is None else first[rows]
        return Columns({name: Column(each.whole, kept) for name, each in self._columns.items()})


def columns_of(
    names: Sequence[str],
    blocks: Iterable[Sequence[Any]],
    between: str = "",
    typed: Collection[str] = (),
) -> Columns:
    """Of blocks of rows, in each of which every column is [rows] of text.

    Args:
      between: as of `numerals.read_numerals`.
      typed: columns of which the file holds numbers, not texts.
    """
    parts = [list(part) for part in zip(*blocks, strict=True)]
    file: list[WholeColumn] = []
    for name, pieces in zip(names, parts, strict=True):
        cells = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
        pieces.clear()
        file.append(WholeColumn(name, cells, file, between, name in typed))
    return Columns({each.name: Column(each) for each in file})


def numbered_rows(columns: Sequence[Column], count: int) -> Indices:
    """A number for each combination of cells, in order of first appearance, [rows]."""
    group = np.zeros(count, np.int64)
    for column in columns:
        if group.max(initial=0) == count - 1:  # each row alone: no further column parts any
            return np.arange(count)
        codes = column.codes()
        if not group.any():
            group = codes
            continue
        pair = group * (int(codes.max(initial=0)) + 1) + codes
        group = np.unique(pair, return_inverse=True)[1].ravel()
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return order[inverse.ravel()]
