"""Which run of a table to do next, where only some of its rows have an error yet.

Rows with an error are known; rows without one are on offer, but for those of the target region,
whose errors are to be predicted. The choice is that of `pool.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import did_you_mean, short
from fits.base.numbers import Array, Estimate, Indices, Mask
from fits.data.conditions import columns_of, keep_where
from fits.data.points import as_error, judge_x, judge_y
from fits.data.tables import Table, read_numbers, read_table
from fits.decisions.pool import Chooser, Prediction, pool_of
from fits.laws.law import Law
from fits.laws.names import ALIASES
from fits.laws.registry import SEVERAL, within
from fits.report import Place
from fits.report_json import DiagnosticField, EstimateField, JsonModel
from fits.spec import FLOPS_PER_EXAMPLE, FitSpec

FLOPS = "flops"
FEWEST = 4  # runs done, before anything is predicted
MOST = 20_000  # rows


class OfferedRun(JsonModel):
    line: int
    x: Place
    cost: float
    spent: float
    """On it and all before it."""
    width: float | None
    """log(high / low) in the target region after it, a mean, were it to shrink as what is uncertain
    in the laws does; null: too few runs are done, and it is one of the first, drawn at random."""


class Target(JsonModel):
    line: int | None
    """Where it stands in the table; null: it was asked for by its x."""
    x: Place
    error: EstimateField | None
    """What will be measured there, with its interval; null: too few runs are done."""


class PoolChoice(JsonModel):
    table: Path
    spec: FitSpec
    """Its law is that of most variables."""
    laws: tuple[str, ...]
    unit: str
    """Of all costs."""
    budget: float
    done: int
    offered: int
    smallest: Place
    """Of each x, among those."""
    largest: Place
    runs: tuple[OfferedRun, ...]
    """What to do next, before the laws should be fitted anew."""
    targets: tuple[Target, ...]
    width: float | None
    """log(high / low) there today, a mean."""
    notes: tuple[DiagnosticField, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """A table, parted.

    Fields:
      done, offered, target: places of its rows.
      x: [variables, rows].
      cost: [rows]; NaN in the target region.
      error: of those that are done, [done].
    """

    table: Table
    done: Indices
    offered: Indices
    target: Indices
    x: Array
    cost: Array
    error: Array
    unit: str
    notes: tuple[Diagnostic, ...]


def next_of_pool(
    table: str | Path,
    spec: FitSpec,
    laws: Sequence[Law],
    budget: float,
    *,
    target: Sequence[str] = (),
    predict: Sequence[Place] = (),
    cost: str | None = None,
) -> PoolChoice:
    """The runs to do next, and what is known of the target region.

    Args:
      spec: of what the columns mean; rows whose y is empty have not been run.
      laws: from `laws_of`; all are fitted.
      budget: of all further runs, in the unit of cost.
      target: conditions that rows of the target region meet, all of them.
      predict: further places of it, a number a variable.
      cost: column; None: flops, or else 6 times the product of two x.

    Raises:
      UserError: all mistakes in the table, or nothing to choose or to predict.
      OSError: the table cannot be read.
    """
    rows = _rows(read_table(table), spec, target, cost)
    aims = [tuple(each) for each in rows.x[:, rows.target].T.tolist()] + list(predict)
    _refuse_nothing(rows, aims, budget)
    if small := SEVERAL[spec.law].out_of_range(spec.x, rows.x):
        raise UserError([f"{rows.table.path}: {each}" for each in small])
    places = np.concatenate([rows.done, rows.offered])
    pool = pool_of(rows.x[:, places], rows.cost[places], np.array(aims).T, laws)
    done = dict(enumerate(rows.error.tolist()))
    chooser = Chooser(pool, _never, spec.seed, done=done)
    found = chooser.plan((chooser.spent + budget) * (1 + 1e-9), spec.level)
    prediction = chooser.predict(spec.level) if len(done) >= FEWEST else None
    numbers = rows.table.numbers
    lines = [numbers[row] for row in rows.target.tolist()] + [None] * len(predict)
    spent = np.cumsum([pool.cost[each.run] for each in found]).tolist()
    return PoolChoice(
        table=rows.table.path,
        spec=spec,
        laws=tuple(law.name for law in laws),
        unit=rows.unit,
        budget=budget,
        done=len(done),
        offered=len(rows.offered),
        smallest=tuple(pool.x.min(axis=1).tolist()),
        largest=tuple(pool.x.max(axis=1).tolist()),
        runs=tuple(
            OfferedRun(
                line=numbers[int(places[each.run])],
                x=tuple(pool.x[:, each.run].tolist()),
                cost=float(pool.cost[each.run]),
                spent=so_far,
                width=each.width,
            )
            for each, so_far in zip(found, spent, strict=True)
        ),
        targets=tuple(
            Target(line=line, x=aim, error=each)
            for line, aim, each in zip(lines, aims, _estimates(prediction, len(aims)), strict=True)
        ),
        width=None
        if prediction is None
        else float(np.log(prediction.high / prediction.low).mean()),
        notes=rows.notes,
    )


def laws_of(names: Sequence[str], x: Sequence[str]) -> list[Law]:
    """The laws of these names as laws of all x: one of fewer holds in some of them.

    Raises:
      UserError: one is none, or does not suit the x.
    """
    if len(x) < 2:
        raise UserError(["--x: a pool needs several, as its laws are of several variables."])
    known = {name: law for name, law in SEVERAL.items() if law.gives != "y"}
    if not names and len(x) != 2:
        said = ", ".join(n for n, law in known.items() if len(law.variables) == len(x))
        raise UserError(
            [f"--law: name one or more of {len(x)} variables: {said or 'there is none'}."]
        )
    typed = [ALIASES.get(name.lower(), name) for name in names] or ["chinchilla"]
    wrong = [
        f"--law: no {short(name)} of several variables. {did_you_mean(name, known)}"
        f"There are {', '.join(known)}."
        for name in typed
        if name not in known
    ]
    if wrong:
        raise UserError(wrong)
    found = [known[name] for name in dict.fromkeys(typed)]
    largest = max(found, key=lambda law: len(law.variables))
    if len(largest.variables) != len(x):
        needs = ", ".join(largest.variables)
        raise UserError([f"--law: {largest.name} is of {needs}; name --x once for each, in order."])
    if strange := [law for law in found if not set(law.variables) <= set(largest.variables)]:
        said = ", ".join(strange[0].variables)
        raise UserError([f"--law: {strange[0].name} is of {said}, which {largest.name} is not of."])
    return [
        law if law.variables == largest.variables else within(law, largest, law.variables)
        for law in found
    ]


def _rows(table: Table, spec: FitSpec, target: Sequence[str], cost: str | None) -> Rows:
    if cost is None and (FLOPS in table.columns or len(spec.x) != 2):
        cost = FLOPS
    table, notes = _kept(table, spec, target, [] if cost is None else [cost])
    inside = _met(table, target)
    absent = table.column(spec.y).absent
    done = np.flatnonzero(~absent)
    read = [read_numbers(table, name, judge_x) for name in spec.x]
    measured, wrong_y = read_numbers(
        table.keep(done),
        spec.y,
        lambda value: judge_y(value, spec.y_is),
        percent=spec.y_is.endswith("percent"),
    )
    needed = np.flatnonzero(~inside | ~absent)
    costs, wrong_cost = _costs(table, [values for values, _ in read], needed, cost)
    wrong = (table.ragged, *(kind for _, kinds in read for kind in kinds), *wrong_y, *wrong_cost)
    if any(wrong):
        raise UserError(*wrong)
    return Rows(
        table=table,
        done=done,
        offered=np.flatnonzero(absent & ~inside),
        target=np.flatnonzero(absent & inside),
        x=np.array([values for values, _ in read]),
        cost=costs,
        error=as_error(measured, spec.y_is),
        unit="FLOPs" if cost is None or cost.lower() == FLOPS else cost,
        notes=tuple(notes),
    )


def _kept(
    table: Table, spec: FitSpec, target: Sequence[str], paid: Sequence[str]
) -> tuple[Table, list[Diagnostic]]:
    """The rows that meet the conditions and have not diverged, with notes on the others."""
    tested = columns_of([*spec.where, *target], table)
    if missing := table.missing([*spec.x, spec.y, *paid, *tested]):
        raise UserError(missing, table.ragged)
    notes = table.read_as([*spec.x, spec.y, *paid])
    for condition in spec.where:
        table = keep_where(table, condition)
    diverged = table.column(spec.y).diverged
    if diverged.any():
        numbers = {"count": int(diverged.sum()), "n": len(table)}
        notes.append(Diagnostic("no_number", (spec.y, "NaN"), numbers))
        table = table.keep(np.flatnonzero(~diverged))
    if len(table) > MOST:
        raise UserError(
            [
                f"{table.path}: {len(table):,} rows; at most {MOST:,} are weighed. Choose with "
                "--where."
            ]
        )
    return table, notes


def _met(table: Table, conditions: Sequence[str]) -> Mask:
    """Which rows meet all conditions; none where there is no condition."""
    if not conditions:
        return np.zeros(len(table), bool)
    some = table
    for condition in conditions:
        some = keep_where(some, condition)
    return np.isin(table.numbers, some.numbers)


def _costs(
    table: Table, x: Sequence[Array], needed: Indices, cost: str | None
) -> tuple[Array, list[list[str]]]:
    """Of the rows that are needed, NaN elsewhere, [rows], and what is wrong with them."""
    if cost is None:
        return FLOPS_PER_EXAMPLE * x[0] * x[1], []
    column = table.column(cost)
    absent = column.absent
    empty = [
        f"{table.place(row)}: {cost} is {short(column[row]) or 'empty'}. Write what the run costs, "
        "or leave its row out."
        for row in needed[absent[needed]].tolist()
    ]
    told = needed[~absent[needed]]
    read, wrong = read_numbers(
        table.keep(told), cost, lambda v: None if v > 0 else "not above 0, which every cost is."
    )
    found = np.full(len(table), np.nan)
    found[told] = read
    return found, [empty, *wrong] if empty else wrong


def _refuse_nothing(rows: Rows, aims: Sequence[Place], budget: float) -> None:
    path, wrong = rows.table.path, []
    if not aims:
        wrong.append(
            f"{path}: nothing is to be predicted. Say by --target which rows that are not run yet "
            "are the target region, or by --predict where it is."
        )
    if not len(rows.offered):
        wrong.append(f"{path}: every row outside the target region has an error: none is on offer.")
    elif rows.cost[rows.offered].min() > budget:
        least = f"{rows.cost[rows.offered].min():.3g} {rows.unit}"
        wrong.append(f"--budget: the cheapest run on offer costs {least}. Give more.")
    if wrong:
        raise UserError(wrong)


def _estimates(found: Prediction | None, count: int) -> list[Estimate | None]:
    if found is None:
        return [None] * count
    rows = zip(found.error.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
    return [Estimate(*row) for row in rows]


def _never(run: int) -> float:
    raise AssertionError(f"run {run} of a table cannot be measured")
