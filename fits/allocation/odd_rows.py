"""Rows whose compute, size or data are not in the unit of the others, or have a slip.

`odd_units.py` judges whole columns; these are single rows of them. On a log axis the rows of a
study lie near each other, and one in another unit is apart from all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fits.allocation.odd_units import LEAST_LARGEST
from fits.allocation.units import Units
from fits.base.diagnostic import Diagnostic, Numbers
from fits.base.errors import UserError
from fits.base.numbers import Array, Indices
from fits.data.tables import Table

UNIT = 300.0  # gap between neighbouring rows that another unit alone makes: they differ by 1,000
SLIP = 4.0  # the same of a ratio, that a slip makes where few rows lie beyond it
FEW = 0.1  # of the rows
SHOWN = 3  # rows that are named


def refuse_mixed_units(
    table: Table,
    size: Array,
    data: Array,
    compute: Array,
    columns: Mapping[str, str | None],
    units: Units,
) -> None:
    """Where some rows are in another unit than the others.

    Args:
      table: of these rows.
      size, data, compute: in the units of the table, [rows].
      columns: role -> column; None: it was made of the other two.

    Raises:
      UserError: what differs, and in which rows.
    """
    c, n, d = columns["flops"], columns["size"], columns["data"]
    least = {name: LEAST_LARGEST / units.factor(name) for name in ("size", "data")}
    names = {
        "size": n or f"the size that follows from {c} and {d}",
        "data": d or f"the data that follow from {c} and {n}",
    }
    looked_at = [(compute / size / data, f"{c} / ({n} x {d})")] if c and n and d else []
    looked_at += [
        (values, names[role])
        for role, values in (("size", size), ("data", data))
        if values.min() < least[role]
    ]
    for values, name in looked_at:
        if len(apart := _apart(values, UNIT)):
            others = np.delete(values, apart)
            rows = f"{len(apart)} of {len(values)} rows ({_places(table, apart)})"
            raise UserError(
                [
                    f"{table.path}: {name} is {_range(values[apart])} in {rows}, and "
                    f"{_range(others)} in the others: not all rows are in one unit, or these have "
                    "a slip. Write all in one unit, or leave these out with --where."
                ]
            )


def slips_of_ratio(
    table: Table, size: Array, data: Array, compute: Array, columns: Mapping[str, str | None]
) -> Iterator[Diagnostic]:
    """Few rows whose compute over size times data is far from that of all others."""
    if not all(columns.values()):
        return
    ratio = compute / size / data
    apart = _apart(ratio, SLIP)
    if 0 < len(apart) <= max(1, FEW * len(ratio)):
        others = np.delete(ratio, apart)
        names = (*(str(columns[role]) for role in ("flops", "size", "data")), table.counted_in)
        numbers: Numbers = {
            "rows": tuple(float(table.numbers[row]) for row in apart),
            "n": len(ratio),
            "ratio": (float(ratio[apart].min()), float(ratio[apart].max())),
            "others": (float(others.min()), float(others.max())),
        }
        yield Diagnostic("slip_of_ratio", names, numbers)


def _apart(values: Array, gap: float) -> Indices:
    """Rows that a gap on a log axis parts from most of the others, in their order."""
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(np.log(values[order])) > np.log(gap)) + 1
    together = max(np.split(order, cuts), key=len)
    return np.setdiff1d(order, together)


def _places(table: Table, rows: Indices) -> str:
    shown = [f"{table.counted_in} {table.numbers[row]}" for row in rows[:SHOWN]]
    return ", ".join(shown) + (", ..." if len(rows) > SHOWN else "")


def _range(values: Array) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"
