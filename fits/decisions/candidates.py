"""Runs that may be launched, from a grid or a table, what each costs and whose trunk it shares."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.numbers import X_RANGE, Array
from fits.data.conditions import columns_of
from fits.data.numerals import number_alone
from fits.data.points import Points
from fits.data.selection import chosen
from fits.data.tables import Table, read_numbers, read_table
from fits.decisions.costs import Costs
from fits.report import Place
from fits.spec import FLOPS_PER_EXAMPLE

MOST = 5000  # candidates
FLOPS = "FLOPs"
COOLDOWN = "cooldown"  # column of a plan: part of a run's cost that lies behind its trunk


@dataclass(frozen=True)
class Candidate:
    """A run that may be launched.

    Fields:
      x, cost: of the run, trained alone.
      line: where it stands in its table, None for a grid.
      trunk: what it has in common with the runs whose trunk it shares; None: it shares none.
      cooldown: part of its cost that lies behind its trunk, in [0, 1].
    """

    x: Place
    cost: float
    line: int | None = None
    trunk: tuple[str, ...] | None = None
    cooldown: float = 0.0


@dataclass(frozen=True)
class Candidates:
    """Runs that may be launched.

    Fields:
      unit: of their cost.
      column: of the cost, in any table of runs; None: it is `per` times the product of x.
      trunk: columns in which runs of one trunk agree; empty: none share one.
      cooldown: of every run; None: as the tables have it.
    """

    runs: Sequence[Candidate]
    unit: str = FLOPS
    column: str | None = None
    per: float = 1.0
    trunk: tuple[str, ...] = ()
    cooldown: float | None = None
    notes: tuple[Diagnostic, ...] = ()  # on their table


def candidates_of_grid(
    axes: Mapping[str, Sequence[float]],
    per: float | None,
    *,
    trunk: Sequence[str] = (),
    cooldown: float | None = None,
) -> Candidates:
    """Every combination of x; a run costs `per` times the product of its x.

    Args:
      trunk, cooldown: as of `Candidates`.

    Raises:
      UserError: there are too many, or a trunk is named by what is no x.
    """
    if strange := [name for name in trunk if name not in axes]:
        raise UserError([f"--trunk: {strange[0]} is none of --x, and a grid has no other columns."])
    if (size := math.prod(map(len, axes.values()))) > MOST:
        raise UserError(
            [f"--grid: {size:,} runs; at most {MOST:,} are weighed. Name fewer values."]
        )
    unit = FLOPS if len(axes) > 1 or per is not None else next(iter(axes))
    factor = per or (FLOPS_PER_EXAMPLE if len(axes) == 2 else 1.0)
    runs = itertools.product(*map(dict.fromkeys, axes.values()))
    places = [list(axes).index(name) for name in trunk]

    def shared(run: Place) -> tuple[str, ...] | None:
        return tuple(_told(run[k]) for k in places) if trunk else None

    offered = [
        Candidate(run, factor * math.prod(run), None, shared(run), cooldown or 0.0) for run in runs
    ]
    return Candidates(offered, unit, None, factor, tuple(trunk), cooldown)


def candidates_of_table(
    path: str | Path,
    x: Sequence[str],
    *,
    cost: str | None = None,
    where: Sequence[str] = (),
    trunk: Sequence[str] = (),
    cooldown: float | None = None,
) -> Candidates:
    """The rows of a table, under those of the conditions that it has the column of.

    Args:
      cost: its column; None: flops, or else the only x.
      trunk, cooldown: as of `Candidates`.

    Raises:
      UserError: all mistakes in the table, or it has too many rows.
      OSError: it cannot be read.
    """
    table = read_table(path)
    if cost is None:
        cost = "flops" if "flops" in table.columns or len(x) > 1 else x[0]
    if missing := table.missing([*x, cost, *trunk]):
        raise UserError(missing, table.ragged)
    notes = table.read_as([*x, cost])
    where = [each for each in where if not table.missing(columns_of([each], table))]
    for step in chosen(table, x, cost, where=where):
        table, notes = step.after, [*notes, *step.notes]
    if len(table) > MOST:
        raise UserError(
            [
                f"{table.path}: {len(table):,} rows; at most {MOST:,} are weighed. Leave out those "
                "that cost too much, or every second one."
            ]
        )
    read = {name: read_numbers(table, name, _judge) for name in (*x, cost)}
    wrong = [list(table.ragged), *(kind for _, kinds in read.values() for kind in kinds)]
    if any(wrong):
        raise UserError(*wrong)
    runs = zip(*(read[name][0].tolist() for name in x), strict=True)
    behind = _cooldowns(table, cooldown) if trunk else None
    rows = zip(
        *(runs, read[cost][0].tolist(), table.numbers, _trunks(table, trunk)),
        behind or itertools.repeat(0.0, len(table)),
        strict=True,
    )
    unit = FLOPS if cost.lower() == "flops" else cost
    offered = [Candidate(*row) for row in rows]
    return Candidates(offered, unit, cost, 1.0, tuple(trunk), cooldown, tuple(notes))


def _trunks(table: Table, columns: Sequence[str]) -> list[tuple[str, ...] | None]:
    """Of each row."""
    if not columns:
        return [None] * len(table)
    cells = zip(*(table.column(name) for name in columns), strict=True)
    return [tuple(map(_told, row)) for row in cells]


def _told(value: float | str) -> str:
    """A number in one way, however it was written."""
    found = number_alone(value) if isinstance(value, str) else value
    return str(value) if found is None else f"{found:.12g}"


def _cooldowns(table: Table, given: float | None) -> list[float] | None:
    """Of each row; None: nothing says."""
    if given is not None:
        return [given] * len(table)
    if COOLDOWN not in table.columns:
        return None
    found, wrong = read_numbers(table, COOLDOWN, _judge_share)
    if any(wrong):
        raise UserError(*wrong)
    return [float(each) for each in found]


def costs_of(offered: Candidates, runs: Sequence[Candidate], points: Points) -> Costs:
    """What the runs cost together, where those in the table have been paid for.

    Args:
      runs: some of the candidates.
      points: the runs that there are.

    Raises:
      UserError: the table has no column of the trunk, or of the cost.
    """
    alone = np.array([run.cost for run in runs])
    if not offered.trunk:
        return Costs.apart(alone)
    known: dict[tuple[str, ...] | None, int] = {}
    trunk = np.array([known.setdefault(run.trunk, len(known)) for run in runs], np.int64)
    own = alone * np.array([run.cooldown for run in runs])
    there = _there(offered, runs, points)
    branches: dict[int, list[list[float]]] = defaultdict(list)
    often: Counter[tuple[Place, tuple[str, ...] | None]] = Counter()
    for x, its, left in sorted(there, key=lambda run: run[2]):
        seed, which = often[x, its], known.get(its, -1)
        often[x, its] += 1
        branches[which] += [[] for _ in range(seed + 1 - len(branches[which]))]
        branches[which][seed].append(left)
    return Costs(
        alone=alone,
        shared=alone - own,
        trunk=trunk,
        done=np.array([often[run.x, run.trunk] for run in runs], np.int64),
        branches={k: [np.array(each) for each in seeds] for k, seeds in branches.items() if k >= 0},
    )


def _there(
    offered: Candidates, runs: Sequence[Candidate], points: Points
) -> list[tuple[Place, tuple[str, ...] | None, float]]:
    """Of each run in the table its x, its trunk, and what had been spent where it left that."""
    table, x = points.table, np.atleast_2d(points.x).T
    if missing := table.missing([*offered.trunk, *filter(None, [offered.column])]):
        raise UserError([f"{each} --trunk looks there for what is paid for." for each in missing])
    if offered.column is None:
        cost: Array = offered.per * x.prod(axis=1)
    else:
        read, wrong = read_numbers(table, offered.column, _judge)
        if any(wrong):
            raise UserError(*wrong)
        cost = np.array(read)
    trunks = _trunks(table, offered.trunk)
    behind = _cooldowns(table, offered.cooldown)
    if behind is None:
        behind = [_cooldown_like(runs, *each) for each in zip(trunks, cost.tolist(), strict=True)]
    left = cost * (1 - np.array(behind))
    return list(zip(map(tuple, x.tolist()), trunks, left.tolist(), strict=True))


def _cooldown_like(runs: Sequence[Candidate], trunk: tuple[str, ...] | None, cost: float) -> float:
    """Of a run that does not tell: as those of its trunk have it, in parts or else in all."""
    alike = [run for run in runs if run.trunk == trunk]
    shares = [run.cooldown for run in alike] or [0.0]
    if max(shares) - min(shares) < 1e-3:
        return shares[0]
    return min(1.0, max(run.cooldown * run.cost for run in alike) / cost)


def _judge_share(value: float) -> str | None:
    return None if 0 <= value <= 1 else "not a part, from 0 to 1."


def _judge(value: float) -> str | None:
    low, high = X_RANGE
    return None if low <= value <= high else f"not from {low:g} to {high:g}. Leave the run out."
