"""Numbers as people write them: 3,41 and 330,000, 11 %, 124M, 3.2 GFLOPs, N/A.

A column is read as a whole: what one cell leaves open, the others decide, and after them the other
columns of the file. What stays open, as 1.234 among decimal commas, is refused with both readings.
This file knows no table.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fits.base.numbers import Array, Mask

NOT_MEASURED = frozenset([
    *("", "-", "--", "---", "–", "—", "−", ".", "?", "n/a", "na", "#n/a", "<na>", "n.a.", "none"),
    *("null", "nil", "nat", "missing", "#null!", "not available", "nd", "n.d.", r"\n", "..", "..."),
])  # fmt: skip
DIVERGED = frozenset([
    *("nan", "+nan", "-nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"),
    *("∞", "-∞", "1.#inf", "-1.#inf", "1.#ind", "-1.#ind", "1.#qnan", "#div/0!", "#num!"),
    *("#value!", "nan%", "nan %", "inf%", "inf %", "overflow"),
])  # fmt: skip
INFINITE = frozenset(word for word in DIVERGED if word.lstrip("+-").startswith(("inf", "∞")))

FACTORS = {"k": 3, "K": 3, "M": 6, "m": 6, "mn": 6, "Mn": 6, "B": 9, "b": 9, "bn": 9, "Bn": 9}
FACTORS |= {"Mio": 6, "Mrd": 9, "Tsd": 3, "million": 6, "billion": 9, "trillion": 12}
FACTORS |= {"G": 9, "T": 12, "t": 12, "tn": 12, "P": 15, "E": 18, "Z": 21}
ALONE = frozenset(FACTORS) - {"P", "E", "Z"}  # the others only before a word
EXPONENTS = {each: f"e{FACTORS[each]}" for each in ALONE if len(each) == 1}
COUNTED = "flops?|params?|parameters|tokens?|images?|samples?|examples?|sequences?|steps?"

_SPACE = " \u00a0\u2009\u202f"
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)(?P<body>(?:(?:\d[\d.,'’_{_SPACE}]*)?[.,]?\d|[.,]\d+)[.,]?)"
    r"(?:[eEdD](?P<exponent>[+-]?\d+)|\s*[x×*·]\s*10\s*(?:\^|\*\*)\s*(?P<ten>[+-]?\d+))?"
    r"\s*(?P<rest>[^\d\s](?:[^\d]*[^\d\s])?)?"
)
_POWER_OF_TEN = re.compile(r"10\s*(?:\^|\*\*)\s*([+-]?\d+)")
_SPACED = re.compile(rf"\d{{1,3}}(?P<mark>['’_{_SPACE}])\d{{3}}(?:(?P=mark)\d{{3}})*(?:[.,]\d*)?")
_GROUPED = re.compile(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*|\d{1,2}(?:,\d\d)+,\d{3}")  # lakh too
_COUNTED = re.compile(rf"(?P<factor>{'|'.join(FACTORS)})?[\s-]*(?P<word>(?i:{COUNTED}))?")
_FORTRAN = re.compile(r"\d[.,]?\d*[dD][+-]?\d")
_PLUS_MINUS = re.compile(
    r"(?P<value>.*\d.*?)\s*(?:±|\+/-|\+-)\s*[.,]?\d[\d.,]*(?:[eE][+-]?\d+)?\s*(?P<percent>%)?"
)
_CONCISE = re.compile(
    r"(?P<value>[^()]*\d)\s*\((?:±\s*)?(?:\d{1,3}|\d*[.,]\d+)\)(?P<after>(?:[eE][+-]?\d+)?\s*%?)"
)
_REAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_INTERVAL = re.compile(
    rf"(?P<value>{_REAL})\s*(?P<percent>%)?\s*"
    rf"[\[(]\s*(?P<low>{_REAL})\s*%?\s*(?:,|;|\.\.|to|–|-)\s*(?P<high>{_REAL})\s*%?\s*[\])]"
)
_ABOUT = re.compile(r"[~≈∼]\s*(?P<value>[^~≈∼\s].*)")
_WRAPPED = re.compile(
    r"\$(.+)\$|\*\*(.+)\*\*|\\(?:text|math)?(?:bf|it|rm|underline)\{(.+)\}|`(.+)`"
)
_LATEX = {r"\times": "×", r"\cdot": "·", r"\pm": "±", r"\%": "%", r"\,": " ", "{,}": ","}
_POWER = re.compile(r"(?<=10)(?:\^\{([+-]?\d+)\}|([⁺⁻]?[⁰¹²³⁴-⁹]+))")
_RAISED = str.maketrans("⁺⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "+-0123456789")
_CURRENCY = re.compile(r"(?P<sign>[+-]?)(?:US|A|C)?(?P<currency>[$€£¥])\s*(?P<number>\d.*)")
_UNIT = re.compile(r"[^\W\d_][^\d,;#]*|[$€£¥°]")


class Written(NamedTuple):
    """A cell that may be a number."""

    sign: str
    digits: str  # with dots and commas
    exponent: int
    mark: str  # the dot or comma in question: "" where there is none
    role: str  # of it: "decimal", "thousands", "either", or "both" where both marks stand
    rest: str  # what follows: "%", a unit
    spaced: bool  # with spaces, apostrophes or underscores between thousands
    suffix: bool  # whether a factor such as M follows
    odd: tuple[str, ...] = ()  # further ways of writing that are named: codes of `How.kind`


@lru_cache(maxsize=4096)
def written(cell: str) -> Written | None:
    """The parts of a cell that may be a number; None: it is none, whatever the others say."""
    cell, currency, odd = _bare(cell)
    if ten := _POWER_OF_TEN.fullmatch(cell):
        return Written("", "1", int(ten[1]), "", "", "", False, False, ("power_of_ten", *odd))
    found = _NUMBER.fullmatch(cell)
    if found is None:
        return None
    body, rest = found["body"], found["rest"] or ""
    if found["ten"]:
        odd = ("power_of_ten", *odd)
    elif found["exponent"] and _FORTRAN.search(cell):
        odd = ("fortran", *odd)
    exponent = found["exponent"] or found["ten"] or "0"
    if len(exponent) > 6:
        return None
    spaced = re.search(rf"['’_{_SPACE}]", body) is not None
    if spaced and not _SPACED.fullmatch(body):
        return None
    body = re.sub(rf"['’_{_SPACE}]", "", body)
    factor, rest = factor_of(rest)
    if currency and rest not in ("", currency):
        return None
    rest = rest or currency
    dots, commas = body.count("."), body.count(",")
    mark = "," if commas > dots else "." if dots else ""
    role = ""
    if dots and commas:
        mark = body[max(body.rfind("."), body.rfind(","))]
        whole, _, part = body.rpartition(mark)
        if mark in whole or not _GROUPED.fullmatch(whole) or spaced or not part.isdigit():
            return None
        role = "both"
    elif dots + commas > 1:
        if not _GROUPED.fullmatch(body) or spaced:
            return None
        role = "thousands"
    elif mark:
        whole, part = body.split(mark)
        open_ = len(part) == 3 and 0 < len(whole) <= 3 and whole[0] != "0" and not spaced
        role = "either" if open_ and not (found["exponent"] or found["ten"]) else "decimal"
        if role == "either" and currency and not factor:  # no money has three decimals
            role = "thousands"
        if mark == "," and not part:
            return None
    power = int(exponent) + factor
    return Written(found["sign"], body, power, mark, role, rest, spaced, factor > 0, odd)


def _bare(cell: str) -> tuple[str, str, tuple[str, ...]]:
    """A cell less its comment, its error, "about", and the currency before it; what was left out.

    An error is what follows ±, the last digits' in brackets, 41.2(3), or an interval about the
    number, 41.2 [40.9, 41.5]. Brackets of anything else, such as a footnote, leave no number.
    """
    number, mark, _ = cell.replace("\u2212", "-").partition(" #")
    odd = ("comment_in_cell",) if mark else ()
    number = _without_markup(number.strip())
    if with_error := _PLUS_MINUS.fullmatch(number):
        shared = with_error["percent"] if "%" not in with_error["value"] else ""
        number, odd = with_error["value"] + (shared or ""), (*odd, "plus_minus")
    elif concise := _CONCISE.fullmatch(number):
        number, odd = concise["value"] + concise["after"], (*odd, "brackets")
    elif (between := _INTERVAL.fullmatch(number)) and (
        float(between["low"]) <= float(between["value"]) <= float(between["high"])
    ):
        number, odd = between["value"] + (between["percent"] or ""), (*odd, "brackets")
    elif about := _ABOUT.fullmatch(number):
        number, odd = about["value"], (*odd, "about")
    if priced := _CURRENCY.fullmatch(number):
        return priced["sign"] + priced["number"], priced["currency"], odd
    return number, "", odd


def _without_markup(number: str) -> str:
    """ "$3.3 \\times 10^{17}$" and "3.3 × 10¹⁷" are 3.3 × 10^17, and "**3.41**" is 3.41."""
    while wrapped := _WRAPPED.fullmatch(number):
        number = next(filter(None, wrapped.groups())).strip()
    for command, plain_text in _LATEX.items():
        number = number.replace(command, plain_text)
    return _POWER.sub(lambda power: f"^{power[1] or power[2].translate(_RAISED)}", number)


def factor_of(rest: str) -> tuple[int, str]:
    """Power of ten that a suffix stands for, and what is left: "GFLOPs" is 9 and "FLOPs"."""
    found = _COUNTED.fullmatch(rest)
    if not rest or found is None or not (found["word"] or found["factor"] in ALONE):
        return 0, rest
    word = found["word"] or ""
    word = "FLOPs" if word.lower().startswith("flop") else word
    return FACTORS.get(found["factor"] or "", 0), word


class How(NamedTuple):
    """How cells were read that could be read otherwise: what it was, an example, its value."""

    kind: str
    example: str
    value: float


@dataclass(frozen=True, eq=False)
class Numerals:
    """A column as numbers."""

    values: Array  # NaN where there is none, [rows]; percentages as they are written
    absent: Mask  # not measured, or diverged: empty, "-", N/A, NaN, inf, [rows]
    diverged: Mask  # NaN and infinity, [rows]
    wrong: dict[str, str] = field(default_factory=dict)  # cell -> why it is no number, in words
    percent: bool = False  # whether the cells say so
    unit: str | None = None  # that the cells name
    how: tuple[How, ...] = ()
    suffixed: int = 0  # cells with a factor, such as M


Elsewhere: TypeAlias = Callable[[str], str]
"""The first number in another column that is a "decimal_comma" or "decimal_point", or that has
"thousands_commas" or "thousands_points", beyond doubt; that is an "open_comma" or "open_point",
which may be either; "": there is none."""


def plain(cells: Any) -> Numerals | None:
    """Of cells that are all empty or what float() takes, [rows] of text; None: some are not.

    Nothing is decided here: whether 1.234 could be 1234 depends on the rest of the file.
    """
    full = cells != ""
    if (np.strings.find(cells, "_") >= 0).any():
        return None
    values = np.full(len(cells), np.nan)
    try:
        with np.errstate(over="ignore"):
            values[full] = cells[full].astype(float)
    except ValueError:
        return None
    diverged = full & ~np.isfinite(values)
    values[diverged] = np.nan
    return Numerals(values, ~full | diverged, diverged)


def has_decimal(cells: Iterable[str], mark: str) -> str:
    """The first of these that has this decimal mark beyond doubt; "": none has."""
    for cell in cells:
        if mark in cell:
            found = written(cell)
            if found and found.mark == mark and found.role in ("decimal", "both"):
                return cell
    return ""


def has_thousands(cells: Iterable[str], mark: str) -> str:
    """The first of these that has this mark between thousands beyond doubt; "": none has."""
    for cell in cells:
        if cell.count(mark) > 1:
            found = written(cell)
            if found and found.mark == mark and found.role == "thousands":
                return cell
    return ""


def has_open(cells: Iterable[str], mark: str) -> str:
    """The first of these in which this mark may be decimal or between thousands; "": none has."""
    likely = re.compile(rf"\D*\d{{1,3}}\{mark}\d{{3}}(?![\d.,])").match
    for cell in filter(likely, cells):
        found = written(cell)
        if found and found.mark == mark and found.role == "either":
            return cell
    return ""


class _Seen:
    """What the cells of a column say, gathered in one pass."""

    def __init__(self) -> None:
        self.decimal: dict[str, str] = {}  # mark -> a cell that shows it to be decimal
        self.thousands: dict[str, str] = {}  # mark -> a cell that shows it between thousands
        self.open: dict[str, str] = {}  # mark -> a cell that does not show which
        self.rests: dict[str, int] = {}  # what follows the numbers -> how often
        self.plain = 0  # cells that nothing follows
        self.suffixed = 0  # cells with a factor
        self.kinds: dict[str, tuple[str, float]] = {}  # unusual ways of writing: cell, value

    def certain(self, cell: str) -> float | None:
        """The number in a cell that can be read in one way only and quickly; None: look closer."""
        factor = EXPONENTS.get(cell[-1:], "")
        body = cell[:-1] if factor else cell
        if body[-4:-3] in (".", ",") or "_" in body or not body:
            return None
        comma = "," in body
        try:
            value = float((body.replace(",", ".", 1) if comma else body) + factor)
        except ValueError:
            return None
        if not math.isfinite(value):
            return None
        self.plain += 1
        if factor:
            self.suffixed += 1
            self.kinds.setdefault("suffix", (cell, value))
        if comma and "," not in self.decimal:
            self.decimal[","] = cell
            self.kinds["decimal_comma"] = (cell, value)
        elif not comma and "." not in self.decimal and "." in cell:
            self.decimal["."] = cell
        return value

    def add(self, cell: str, found: Written) -> float:
        """The number, its mark decimal where that is open."""
        role = "decimal" if found.role == "either" else found.role
        value = _value(found, role)
        self.rests[found.rest] = self.rests.get(found.rest, 0) + 1
        self.suffixed += found.suffix
        if found.role == "either":
            self.open.setdefault(found.mark, cell)
            return value
        if found.role in ("decimal", "both"):
            self.decimal.setdefault(found.mark, cell)
        if found.role == "both":
            self.thousands.setdefault("," if found.mark == "." else ".", cell)
        elif found.role == "thousands":
            self.thousands.setdefault(found.mark, cell)
        self.note(cell, found, role, value)
        return value

    def note(self, cell: str, found: Written, role: str, value: float) -> None:
        """What in it another program would read otherwise."""
        if found.mark == "," and role in ("decimal", "both"):
            self.kinds.setdefault("decimal_comma", (cell, value))
        if role in ("thousands", "both") or found.spaced:
            self.kinds.setdefault("thousands", (cell, value))
        if found.rest:
            self.kinds.setdefault("percent" if found.rest == "%" else "unit", (cell, value))
        for kind in found.odd:
            self.kinds.setdefault(kind, (cell, value))
        if found.suffix:
            self.kinds.setdefault("suffix", (cell, value))


def read_numerals(cells: Iterable[str], elsewhere: Elsewhere, between: str = "") -> Numerals:
    """The numbers of a column, with what the whole file says where it alone does not.

    Args:
      elsewhere: looks at the other columns.
      between: what stands between the cells of the file: a comma inside a cell had to be quoted
        where it is one; "": the file is no such text.
    """
    seen, values, kinds = _Seen(), array("d"), bytearray()
    wrong: dict[str, str] = {}
    late: dict[int, str] = {}  # rows to look at again when all are known
    for row, cell in enumerate(cells):
        value, kind = seen.certain(cell), NUMBER
        if value is None:
            low, value = cell.lower(), math.nan
            found = None if low in DIVERGED or low in NOT_MEASURED else written(cell)
            if found is not None:
                value = seen.add(cell, found)
                if found.role == "either":
                    late[row] = cell
            elif low in DIVERGED:
                kind = LOST
            elif low in NOT_MEASURED:
                kind = ABSENT
            else:
                wrong[cell] = NO_NUMBER
        if math.isinf(value):
            value, kind = math.nan, LOST
        values.append(value)
        kinds.append(kind)
    numbers, states = np.array(values), np.frombuffer(bytes(kinds), np.uint8)
    if seen.plain:
        seen.rests[""] = seen.plain
    unit = _common_unit(seen.rests)
    marks = _Marks(seen, elsewhere, between)
    for row, cell in late.items():
        found = written(cell)
        assert found is not None
        role = marks.role(found)
        if role == "either":
            wrong[cell] = marks.why(cell, found)
        elif found.role == "either":
            numbers[row] = value = _value(found, role)
            seen.note(cell, found, role, value)
            if found.mark in marks.unproven:
                seen.kinds.setdefault("decimal_point", (cell, value))
    _refuse(cells, seen, unit, marks, wrong)
    return Numerals(
        values=numbers,
        absent=states != NUMBER,
        diverged=states == LOST,
        wrong=wrong,
        percent=unit == "%",
        unit=unit,
        how=tuple(How(kind, *each) for kind, each in seen.kinds.items()),
        suffixed=seen.suffixed,
    )


NUMBER, ABSENT, LOST = range(3)  # what a cell holds; a mistake counts as a number
NO_NUMBER = "not a number. Write it in digits, say 1200 or 1.2e3, or leave the cell empty."


def _common_unit(rests: dict[str, int]) -> str | None:
    """What follows the numbers, such as "h" or "%"; None: nothing does, not the same, or rarely."""
    named = [rest for rest in rests if rest]
    if named == ["%"]:
        return "%"
    if len(named) != 1 or not _UNIT.fullmatch(named[0]) or rests[named[0]] < rests.get("", 0):
        return None
    return named[0]


def _refuse(
    cells: Iterable[str], seen: _Seen, unit: str | None, marks: _Marks, wrong: dict[str, str]
) -> None:
    """Adds to `wrong` the cells that contradict others: in what follows them, or in their mark."""
    torn = set(seen.decimal) & set(seen.thousands)
    if set(seen.rests) <= {unit or ""} and not torn:
        return
    for cell in cells:
        found = None if _missing(cell) or cell in wrong else written(cell)
        if found is None:
            continue
        if found.rest and found.rest != unit:
            wrong[cell] = NO_NUMBER
        elif found.rest != (unit or ""):
            wrong[cell] = f"without the {unit} that others have."
            if unit == "%":
                value = _value(found, marks.role(found))
                either = f"is it {value:g} % or {100 * value:g} %?"
                wrong[cell] = f"without the % that others have: {either}"
        elif found.mark in torn and found.role == "decimal":
            wrong[cell] = marks.why(cell, found)


def _missing(cell: str) -> bool:
    low = cell.lower()
    return low in NOT_MEASURED or low in DIVERGED


class _Marks:
    """What dots and commas mean in a column: decimal marks, or between thousands."""

    def __init__(self, seen: _Seen, elsewhere: Elsewhere, between: str):
        self.seen, self.elsewhere, self.between = seen, elsewhere, between
        self.unproven = set[str]()  # decimal marks that no number shows to be that
        self.open = {mark: self._decided(mark) for mark in seen.open}

    def _decided(self, mark: str) -> str:
        """Of numbers such as 1.234, from the rest of the column and of the file."""
        other = "," if mark == "." else "."
        decimal, thousands = self.seen.decimal, self.seen.thousands
        if mark in thousands or mark in decimal:
            one = not (mark in thousands and mark in decimal)
            return ("thousands" if mark in thousands else "decimal") if one else "either"
        if other in thousands:
            return "decimal"
        if other in decimal:
            return "either"
        comma, point = self.elsewhere("decimal_comma"), self.elsewhere("decimal_point")
        commas, points = self.elsewhere("thousands_commas"), self.elsewhere("thousands_points")
        if mark == ".":
            if comma or points:
                return "thousands" if points and not point else "either"
            if not (point or commas):
                if self._open(","):
                    return "either"
                self.unproven |= set(mark) if self.between not in ("", ",") else set()
            return "decimal"
        if commas and not comma:
            return "thousands"
        if points and not point:
            return "decimal"
        if comma or point:
            return ("decimal" if comma else "thousands") if not (comma and point) else "either"
        return "thousands" if self.between == "," and not self._open(".") else "either"

    def _open(self, mark: str) -> str:
        """A number of this column, or of another, in which this mark may be either."""
        what = "open_comma" if mark == "," else "open_point"
        return self.seen.open.get(mark, "") or self.elsewhere(what)

    def role(self, found: Written) -> str:
        """Of the mark of a number: decimal, thousands, both or "either"."""
        if found.role == "either":
            return self.open[found.mark]
        return found.role

    def why(self, cell: str, found: Written) -> str:
        """Both readings of a cell that could be read in two ways, and what speaks for the other."""
        one, two = _value(found, "decimal"), _value(found, "thousands")
        other = "," if found.mark == "." else "."
        shown = self.seen.decimal.get(other) or self.seen.thousands.get(found.mark)
        likely = ("decimal_comma", "thousands_points") if other == "," else ("decimal_point",)
        shown = shown or next(filter(None, map(self.elsewhere, likely)), "") or self._open(other)
        because = f" ({shown} stands elsewhere)" if shown and shown != cell else ""
        return (
            f"which may be {one:.15g} or {two:.15g}{because}. Write it without a separator of "
            "thousands."
        )


def _value(found: Written, role: str) -> float:
    """The number, its mark read so."""
    digits = found.digits
    if role == "thousands":
        digits = digits.replace(found.mark, "")
    elif found.mark:
        whole, _, part = digits.rpartition(found.mark)
        digits = f"{whole.replace('.', '').replace(',', '')}.{part}"
    return float(f"{found.sign}{digits}e{found.exponent}")


def number_alone(cell: str) -> float | None:
    """The number in a text that stands alone, 11 % as 0.11; None: none, or of two readings."""
    found = written(cell.strip())
    if found is None or (found.role == "either" and found.mark == ","):
        return None
    if {"about", "brackets"} & set(found.odd):
        return None
    value = _value(found, "decimal" if found.role == "either" else found.role)
    return value / 100 if found.rest == "%" else None if found.rest and not found.suffix else value
