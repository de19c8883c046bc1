"""Conditions on rows, as --where takes them: flops>=1e18, 1e18<=flops<1e20, loss!=nan, model=S.

    COL=VALUE  COL!=VALUE                 as text or as a number; VALUE nan: not measured
    COL<V  COL<=V  COL>V  COL>=V          numbers; a cell that holds none does not meet it
    COL=LOW..HIGH  LOW<=COL<HIGH          ranges; the first holds both ends

Importing this file loads no numpy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fits.base.errors import SHOWN, UserError
from fits.base.names import short

if TYPE_CHECKING:
    from fits.base.numbers import Mask
    from fits.data.tables import Table

FORMS = "COL=VALUE, COL!=VALUE, COL>=NUMBER (<, <=, >) or COL=LOW..HIGH"
_SIGN = re.compile(r"<=|>=|!=|==|=|<|>")
_TWO_SIDED = re.compile(
    r"(?P<low>[^<>=!]+)(?P<at_low><=?)(?P<name>.+?)(?P<at_high><=?)(?P<high>[^<>=!]+)"
)


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a value."""

    text: str  # as it was typed
    name: str  # of the column
    sign: str  # "=", "!=", "<", "<=", ">", ">="
    value: str


def parsed(text: str, columns: Iterable[str] = ()) -> list[Condition]:
    """The comparisons of a condition, two of a range; none: it holds no sign.

    Args:
      columns: names that may hold signs themselves; of several ways to part the text the first is
        taken that names one.
    """
    known = set(columns)
    ways = [_split(text, found) for found in _SIGN.finditer(text)]
    named = [way for way in ways if way.name in known]
    two = _TWO_SIDED.fullmatch(text)
    if two and not named:
        turned = {"<": ">", "<=": ">="}[two["at_low"]]
        name = two["name"].strip()
        return [
            Condition(text, name, turned, two["low"].strip()),
            Condition(text, name, two["at_high"], two["high"].strip()),
        ]
    for way in (named or ways)[:1]:
        low, dots, high = way.value.partition("..")
        if way.sign == "=" and dots and _number(low) is not None and _number(high) is not None:
            ends = ((">=", low), ("<=", high))
            return [Condition(text, way.name, sign, end.strip()) for sign, end in ends]
        return [way]
    return []


def _split(text: str, found: re.Match[str]) -> Condition:
    sign = "=" if found[0] == "==" else found[0]
    exact = sign in ("=", "!=")  # whose value may be text with blanks about it
    value = text[found.end() :]
    return Condition(text, text[: found.start()].strip(), sign, value if exact else value.strip())


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


def keep_where(table: Table, text: str) -> Table:
    """The rows that meet a condition.

    Raises UserError: no row does, or a number is compared with what is none.
    """
    for condition in parsed(text, table.columns):
        met = _met(table, condition)
        if not met.any():
            where = f"{condition.name}{condition.sign}{short(condition.value)}"
            raise UserError([f"{table.path}: no row has {where}. {_values(table, condition)}"])
        table = table.keep(met.nonzero()[0])
    return table


def _met(table: Table, condition: Condition) -> Mask:
    import numpy as np

    from fits.data.numerals import INFINITE

    column, value = table.column(condition.name), condition.value
    number = _number(value)
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
        raise UserError([f"--where {condition.text}: {short(value)} is no number."])
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
    if condition.sign not in ("=", "!="):
        found = column.values[~column.absent]
        if not len(found):
            return f"{condition.name} holds no number."
        return f"{condition.name} is from {found.min():g} to {found.max():g}."
    known = list(dict.fromkeys(column))
    shown = ", ".join(map(short, known[:SHOWN])) + (", ..." if len(known) > SHOWN else "")
    return f"Values of {condition.name}: {shown}."
