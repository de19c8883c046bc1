"""Conditions on rows, as --where takes them: flops>=1e18, 1e18<=flops<1e20, loss!=nan, model=S.

    COL=VALUE  COL!=VALUE                 as text or as a number; VALUE nan: not measured
    COL<V  COL<=V  COL>V  COL>=V          numbers; a cell that holds none does not meet it
    COL=LOW..HIGH  LOW<=COL<HIGH          ranges; the first holds both ends, either of which may be
                                          left out; HIGH>COL>=LOW and NUMBER<COL are turned round
    COL!=LOW..HIGH                        numbers outside a range

Importing this file loads no numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fits.base.errors import SHOWN, UserError
from fits.base.names import short

if TYPE_CHECKING:
    from fits.base.numbers import Mask
    from fits.data.tables import Table

FORMS = "COL=VALUE, COL!=VALUE, COL>=NUMBER (<, <=, >) or COL=LOW..HIGH"
_SIGN = re.compile(r"<=|>=|!=|==|=|<|>")
_UPWARDS = re.compile(r"(?P<first>[^<>=!]+)(?P<one><=?)(?P<name>.+?)(?P<two><=?)(?P<last>[^<>=!]+)")
_DOWNWARDS = re.compile(
    r"(?P<first>[^<>=!]+)(?P<one>>=?)(?P<name>.+?)(?P<two>>=?)(?P<last>[^<>=!]+)"
)
_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_SPELLED = {"≥": ">=", "⩾": ">=", "≤": "<=", "⩽": "<=", "≠": "!=", "<>": "!="}
MEANT = {"=>": ">=", "=<": "<=", "=!": "!=", "===": "="}  # that is no sign: what is meant
_BETWEEN = re.compile(r"\s*(?P<low>\S*?)\s*(?:\.\.\.?|…)\s*(?P<high>\S*?)\s*")
_OTHER_RANGES = re.compile(  # as LOW..HIGH is written elsewhere
    r"\s*[\[(]?\s*(?P<low>[^\s:,\[\]()]+?)\s*(?::|,|\s-\s|-(?=\d)|\bto\b|–)\s*(?P<high>[^\s:,\[\]()]+?)\s*[\])]?\s*"
)


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a value."""

    text: str  # as it was typed
    name: str  # of the column
    sign: str  # "=", "!=", "<", "<=", ">", ">=", or "!..": outside a range
    value: str


def parsed(text: str, columns: Iterable[str] = ()) -> list[Condition]:
    """The comparisons of a condition, two of a range; none: it holds no sign.

    Args:
      columns: names that may hold signs themselves; of several ways to part the text the first is
        taken that names one.
    """
    known = set(columns)
    text, typed = _plain_signs(text, known), text
    ways = [_split(text, typed, found) for found in _SIGN.finditer(text)]
    named = [way for way in ways if way.name in known]
    if not named:
        for form in (_UPWARDS, _DOWNWARDS):
            if two := form.fullmatch(text):
                name = two["name"].strip()
                return [
                    Condition(typed, name, _TURNED[two["one"]], two["first"].strip()),
                    Condition(typed, name, two["two"], two["last"].strip()),
                ]
    for way in (named or ways)[:1]:
        if not named and way.sign in _TURNED and _number(way.name) is not None:
            return [Condition(typed, way.value.strip(), _TURNED[way.sign], way.name)]
        return _range(way) or [way]
    return []


def _plain_signs(text: str, known: set[str]) -> str:
    """With ≥ as >= and the like, but for names of columns that hold such signs."""
    if any(sign in name for name in known for sign in _SPELLED):
        return text
    for sign, plain in _SPELLED.items():
        text = text.replace(sign, plain)
    return text


def _range(way: Condition) -> list[Condition]:
    """The two ends of LOW..HIGH, either of which may be left out; none: it is no range."""
    found = _BETWEEN.fullmatch(way.value)
    if found is None or way.sign not in ("=", "!="):
        return []
    ends = [(sign, end) for sign, end in ((">=", found["low"]), ("<=", found["high"])) if end]
    if not ends or any(_number(end) is None for _, end in ends):
        return []
    if way.sign == "!=":
        return [Condition(way.text, way.name, "!..", way.value)]
    return [Condition(way.text, way.name, sign, end) for sign, end in ends]


def mistake(text: str, columns: Iterable[str] = ()) -> str:
    """What is wrong with how a condition is written, in words; "": nothing is.

    What a column's name or a cell may hold is no mistake unless the column holds numbers; that is
    for `keep_where` to find.
    """
    found = parsed(text, columns)
    if not found:
        between = re.fullmatch(r"\s*(\S+)\s+in\s+(.+)|\s*(\S+?)\s*:\s*(\S+\.\.\S*)", text)
        if between:
            name, value = (each for each in between.groups() if each)
            way = Condition(text, name, "=", value)
            meant = _did_you_mean(f"{name}={value}") if _range(way) else ""
            return f"'{short(text)}' compares nothing.{meant} Write {FORMS}."
        return f"'{short(text)}' compares nothing. Write {FORMS}."
    first = found[0]
    if _joined(first):
        return (
            f"'{short(text)}' holds two conditions. Say --where once for each, or COL=LOW..HIGH "
            "for a range."
        )
    wrong = next((sign for sign in MEANT if _has_sign(text, sign, columns)), None)
    if wrong and first.sign == "=":
        name, _, value = text.partition(wrong)
        meant = f"{name.strip()}{MEANT[wrong]}{value.strip()}"
        return f"'{short(text)}': {wrong} is no sign.{_did_you_mean(meant)}"
    outside = first.sign == "!.."
    ends = _range(replace(first, sign="=")) if outside else found
    if [each.sign for each in ends] == [">=", "<="]:
        low, high = (_number(each.value) for each in ends)
        if low is not None and high is not None and low > high:
            meant = f"{first.name}{'!=' if outside else '='}{ends[1].value}..{ends[0].value}"
            return f"'{short(text)}': no number is that.{_did_you_mean(meant)}"
    return ""


def _joined(first: Condition) -> bool:
    """Whether a value holds another condition: "1e18 and C<1e20", "1e18,C<1e20"."""
    if first.sign in ("=", "!="):
        return re.search(r"\s(and|or|&&?|\|\|?)\s.*(<|>|=)", first.value) is not None
    return re.search(r"(,|;|\s(and|or)\s|&|\|).*(<|>|=)", first.value) is not None


def _has_sign(text: str, sign: str, columns: Iterable[str]) -> bool:
    return sign in text and not any(sign in name for name in columns)


def _did_you_mean(text: str) -> str:
    return f" Did you mean '{short(text)}'?"


def _split(text: str, typed: str, found: re.Match[str]) -> Condition:
    sign = "=" if found[0] == "==" else found[0]
    return Condition(typed, text[: found.start()].strip(), sign, text[found.end() :].strip())


def _number(text: str) -> float | None:
    """As a table's cells are read, less what only other cells could decide."""
    from fits.data.numerals import INFINITE, number_alone

    text = text.strip()
    if text.lower() in INFINITE:
        return float("-inf") if text.startswith("-") else float("inf")
    return number_alone(text)


def columns_of(texts: Iterable[str], table: Table) -> list[str]:
    """The columns that conditions name."""
    return [each.name for text in texts for each in parsed(text, table.columns)[:1]]


def excluded(text: str, table: Table) -> tuple[str, str] | None:
    """Column and cell of COL!=CELL; None: the condition is another, or leaves out what is NaN."""
    first = parsed(text, table.columns)[0]
    low = first.value.lower()
    return (first.name, first.value) if first.sign == "!=" and low != "nan" else None


def keep_where(table: Table, text: str) -> Table:
    """The rows that meet a condition.

    Raises UserError: no row does, or a number is compared with what is none.
    """
    if wrong := mistake(text, table.columns):
        raise UserError([f"--where: {wrong}"])
    for condition in parsed(text, table.columns):
        met = _met(table, condition)
        if not met.any():
            sign = "!=" if condition.sign == "!.." else condition.sign
            where = f"{condition.name}{sign}{short(condition.value)}"
            said = f"{table.path}: no row has {where}.{_other_range(table, condition)}"
            raise UserError([f"{said} {_values(table, condition)}"])
        table = table.keep(met.nonzero()[0])
    return table


def _other_range(table: Table, condition: Condition) -> str:
    """LOW..HIGH, where numbers are compared with a range that is written in another way."""
    found = _OTHER_RANGES.fullmatch(condition.value)
    column = table.column(condition.name)
    if condition.sign != "=" or found is None or column.absent.all() or column.wrong():
        return ""
    if _number(found["low"]) is None or _number(found["high"]) is None:
        return ""
    if "," in condition.value and condition.value.strip()[0] not in "[(":  # a list of values
        return ""
    return _did_you_mean(f"{condition.name}={found['low']}..{found['high']}")


def _met(table: Table, condition: Condition) -> Mask:
    import numpy as np

    from fits.data.numerals import INFINITE, factor_of, written

    column, value = table.column(condition.name), condition.value
    if condition.sign == "!..":
        inside = [_met(table, end) for end in _range(replace(condition, sign="="))]
        return ~np.logical_and.reduce(inside) & ~column.absent
    number = _number(value)
    if number is not None and "%" in value and column.named_percent:
        number *= 100
    if number is not None and column.unit and (found := written(value)) and found.suffix:
        number /= 10.0 ** factor_of(column.unit)[0]  # 8B of a column that counts in B
    if condition.sign in ("=", "!="):
        met = np.fromiter((cell == value for cell in column), bool, len(column))
        low = value.strip().lower()
        if low == "nan":
            met |= column.absent
        elif low in INFINITE:
            met |= np.fromiter((_number(cell) == number for cell in column), bool, len(column))
        elif number is not None:
            percent = column.in_percent and "%" not in value
            met |= table.values(condition.name, percent=percent) == number
        return met if condition.sign == "=" else ~met
    if number is None:
        raise UserError(
            [f"--where {condition.text}: {short(value)} is no number. Write 1200 or 1.2e3."]
        )
    if wrong := column.wrong():
        said = (f"{table.place(row)}: {condition.name} is {short(column[row])}" for row in wrong)
        raise UserError([f"{each}, {why}" for each, why in zip(said, wrong.values(), strict=True)])
    values = table.values(condition.name, percent=column.in_percent and "%" not in value)
    with np.errstate(invalid="ignore"):
        return {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}[
            condition.sign
        ](values, number)


def _values(table: Table, condition: Condition) -> str:
    column = table.column(condition.name)
    numbers = not column.absent.all() and not column.wrong()
    if condition.sign not in ("=", "!=") or (numbers and len(column) > SHOWN):
        found = column.values[~column.absent]
        if not len(found):
            return f"{condition.name} holds no number."
        return f"{condition.name} is from {found.min():g} to {found.max():g}."
    known = list(dict.fromkeys(column))
    shown = ", ".join(map(short, known[:SHOWN])) + (", ..." if len(known) > SHOWN else "")
    return f"Values of {condition.name}: {shown}."
