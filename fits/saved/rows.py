"""The rows of a table as a saved law keeps them, and how two sets of such rows differ.

A row is its line, x (every variable), y, and where there are such its weight and the number of its
cluster, all as the table says them. Rows are told apart by their numbers, wherever they stand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.numbers import Array
from fits.data.points import Points, as_error
from fits.data.tables import Table
from fits.observations import Observations, observations
from fits.spec import FitSpec


def rows_of(points: Points, spec: FitSpec) -> Array:
    """Every row of the points, [runs, columns]."""
    found = observations(points, spec)
    y = points.table.values(spec.y, percent=spec.y_is.endswith("percent"))
    more = [each for each in (found.weights, found.clusters) if each is not None]
    return np.array([points.table.numbers, *np.atleast_2d(points.x), y, *more], float).T


def x_of(rows: Array, spec: FitSpec) -> Array:
    """[variables, rows]."""
    return rows[:, 1 : 1 + len(spec.x)].T


def observations_of(rows: Array, spec: FitSpec) -> Observations:
    """Such rows as they are fitted."""
    x, columns = x_of(rows, spec), iter(rows.T[1 + len(spec.x) :])
    return Observations(
        x=x[0] if len(x) == 1 else x,
        error=as_error(next(columns).tolist(), spec.y_is),
        weights=next(columns) if spec.weights else None,
        clusters=next(columns).astype(int) if spec.clusters else None,
    )


def lines_between(before: Table, after: Table) -> list[tuple[int, int]]:
    """First and last of the lines that are in one and not in the other, of neighbours at once."""
    kept = set(after.numbers)
    spans: list[tuple[int, int]] = []
    for line in (each for each in before.numbers if each not in kept):
        if spans and line == spans[-1][1] + 1:
            spans[-1] = spans[-1][0], line
        else:
            spans.append((line, line))
    return spans


def surplus(rows: Array, others: Array) -> list[Array]:
    """Those that the others do not have, or have less often."""
    there = Counter(map(tuple, others[:, 1:].tolist()))
    more = []
    for row in rows:
        numbers = tuple(row[1:].tolist())
        if there[numbers]:
            there[numbers] -= 1
        else:
            more.append(row)
    return more


def renumbered(now: Array, kept: Array, spec: FitSpec) -> Array:
    """The rows there are now, their clusters numbered as in the file, new ones beyond.

    A row added at the top of a table moves all numbers. A cluster is the one in the file with
    which it has most rows in common.
    """
    if not spec.clusters:
        return now
    cluster_of = {tuple(row[1:-1].tolist()): int(row[-1]) for row in kept}
    mine = now[:, -1].astype(int).tolist()
    theirs = [cluster_of.get(tuple(row[1:-1].tolist())) for row in now]
    number: dict[int, int] = {}
    for (one, other), _ in Counter(zip(mine, theirs, strict=True)).most_common():
        if other is not None and one not in number and other not in number.values():
            number[one] = other
    beyond = int(kept[:, -1].max()) + 1
    for one in mine:
        if one not in number:
            number[one], beyond = beyond, beyond + 1
    return np.column_stack([now[:, :-1], [number[one] for one in mine]])


class Changes(NamedTuple):
    """Rows that the table has now and had not, [rows, columns]; and all changes."""

    added: Array
    found: tuple[Diagnostic, ...]


def changes(before: Array, now: Array, spec: FitSpec) -> Changes:
    """Of rows that are not in both, those of the same x belong together."""
    at, y_at = slice(1, 1 + len(spec.x)), 1 + len(spec.x)
    new: dict[tuple[float, ...], list[Array]] = defaultdict(list)
    for row in surplus(now, before):
        new[tuple(row[at].tolist())].append(row)
    was, changed, gone = [], [], []
    for row in surplus(before, now):
        if twins := new[tuple(row[at].tolist())]:
            was.append(row)
            changed.append(twins.pop(0))
        else:
            gone.append(row)
    fresh = [row for rows in new.values() for row in rows]
    then = {"was": _flat([row[y_at:] for row in was])}
    found = (
        *_listed("rows_changed", changed, spec, then),
        *_listed("rows_new", fresh, spec),
        *_listed("rows_gone", gone, spec),
    )
    return Changes(np.array(fresh + changed).reshape(-1, now.shape[1]), found)


def _listed(
    code: str,
    rows: Sequence[Array],
    spec: FitSpec,
    more: Mapping[str, tuple[float, ...]] | None = None,
) -> Iterator[Diagnostic]:
    """Line, x and y of such rows, if there are any."""
    if rows:
        numbers = {
            "line": tuple(float(row[0]) for row in rows),
            "x": _flat([row[1 : 1 + len(spec.x)] for row in rows]),
            "y": tuple(float(row[1 + len(spec.x)]) for row in rows),
        }
        yield Diagnostic(code, (*spec.x, spec.y), {**numbers, **(more or {})})


def _flat(rows: Sequence[Array]) -> tuple[float, ...]:
    return tuple(each for row in rows for each in row.tolist())
