"""Which runs to launch next: candidates from a grid or a table, and the plan that `design` makes.

The law is fitted as `fits.report` fits it, so that the interval before any run is that of the fit.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.numbers import X_RANGE, Array, Estimate
from fits.data.conditions import columns_of
from fits.data.points import Points
from fits.data.selection import chosen
from fits.data.tables import read_numbers, read_table
from fits.decisions.design import design_problem, plan
from fits.report import Place, as_x, fit_table
from fits.report_json import DiagnosticField, EstimateField, GroupField, JsonModel
from fits.spec import FLOPS_PER_EXAMPLE, REPEATS, FitSpec

MOST = 5000  # candidates
FLOPS = "FLOPs"


@dataclass(frozen=True)
class Candidate:
    """A run that may be launched; `line` is where it stands in its table, None for a grid."""

    x: Place
    cost: float
    line: int | None = None


@dataclass(frozen=True)
class Candidates:
    """Runs that may be launched, and the unit of their cost."""

    runs: Sequence[Candidate]
    unit: str = FLOPS
    notes: tuple[Diagnostic, ...] = ()  # on their table


class PlannedRun(JsonModel):
    line: int | None
    """Where it stands in the table of candidates; null for a grid."""
    x: Place
    cost: float
    spent: float
    """On it and all before it."""
    error: EstimateField
    """The prediction, with the interval to be expected after it."""


class NextRuns(JsonModel):
    table: Path
    spec: FitSpec
    fit: GroupField
    predict: Place
    error: EstimateField
    """The prediction before any run."""
    residual_deviation: float
    unit: str
    """Of all costs."""
    budget: float
    cost: float
    candidates: int
    runs: tuple[PlannedRun, ...]
    notes: tuple[DiagnosticField, ...]


def next_runs(
    table: str | Path,
    spec: FitSpec,
    predict: Place,
    budget: float,
    candidates: Candidates,
    *,
    repeat: int = REPEATS,
) -> NextRuns:
    """The runs that together narrow the interval of a prediction most.

    Args:
      spec: of a law.
      predict: where the error is wanted, a number a variable.
      budget: of all runs, in the unit of their cost.
      repeat: how often an x may be run, runs in the table included.

    Raises:
      UserError: all mistakes in the table, or why there is no fit, or no run to launch.
      OSError: the table cannot be read.
    """
    (group,) = fit_table(table, spec).groups
    fit = group.law
    left = _left(candidates.runs, group.points, repeat)
    if not left:
        raise UserError(["every candidate has been run already. Offer others."])
    runs, cost = list(left), np.array([run.cost for run in left])
    if cost.min() > budget:
        cheapest = f"the cheapest candidate costs {cost.min():.3g} {candidates.unit}"
        raise UserError([f"--budget: {cheapest}. Give more, or offer smaller runs."])
    problem = design_problem(fit, _stacked(runs), np.asarray(as_x(predict)), seed=spec.seed)
    found = plan(problem, cost, budget, np.array(list(left.values())))
    error, spent = group.prediction(predict), np.cumsum(found.cost).tolist()
    return NextRuns(
        table=group.points.table.path,
        spec=group.spec,
        fit=group,
        predict=predict,
        error=error,
        residual_deviation=problem.deviation,
        unit=candidates.unit,
        budget=budget,
        cost=spent[-1] if spent else 0.0,
        candidates=len(runs),
        runs=tuple(
            PlannedRun(**vars(runs[run]), spent=so_far, error=_about(error.value, width))
            for run, so_far, width in zip(found.runs, spent, found.widths.tolist(), strict=True)
        ),
        notes=(
            *candidates.notes,
            *_run_before(len({(r.x, r.cost) for r in candidates.runs}), len(runs), repeat),
        ),
    )


def _left(offered: Iterable[Candidate], points: Points, repeat: int) -> dict[Candidate, int]:
    """Each x and cost once, and how often it may still be run: other runs of it are other seeds."""
    there = Counter(map(tuple, np.atleast_2d(points.x).T.tolist()))
    alike: dict[tuple[Place, float], list[Candidate]] = {}
    for run in offered:
        alike.setdefault((run.x, run.cost), []).append(run)
    left = {its[0]: max(repeat, len(its)) - there[its[0].x] for its in alike.values()}
    return {run: times for run, times in left.items() if times > 0}


def _run_before(offered: int, left: int, repeat: int) -> tuple[Diagnostic, ...]:
    numbers = {"count": offered - left, "n": offered, "times": repeat}
    return (Diagnostic("candidates_run", numbers=numbers),) if left < offered else ()


def _stacked(runs: Sequence[Candidate]) -> Array:
    """Their x, [runs] or [variables, runs]."""
    x = np.array([run.x for run in runs], float).T
    return x[0] if len(x) == 1 else x


def _about(error: float, width: float) -> Estimate:
    """An interval of this width on log error."""
    reach = math.exp(min(width / 2, 600))
    return Estimate(error, error / reach, error * reach)


def candidates_of_grid(axes: Mapping[str, Sequence[float]], per: float | None) -> Candidates:
    """Every combination of x; a run costs `per` times the product of its x.

    Raises:
      UserError: there are too many.
    """
    if (size := math.prod(map(len, axes.values()))) > MOST:
        raise UserError([f"--grid: {size:,} runs; at most {MOST:,} are weighed."])
    unit = FLOPS if len(axes) > 1 or per is not None else next(iter(axes))
    factor = per or (FLOPS_PER_EXAMPLE if len(axes) == 2 else 1.0)
    runs = itertools.product(*map(dict.fromkeys, axes.values()))
    return Candidates([Candidate(run, factor * math.prod(run)) for run in runs], unit)


def candidates_of_table(
    path: str | Path, x: Sequence[str], *, cost: str | None = None, where: Sequence[str] = ()
) -> Candidates:
    """The rows of a table, under those of the conditions that it has the column of.

    Args:
      cost: its column; None: flops, or else the only x.

    Raises:
      UserError: all mistakes in the table, or it has too many rows.
      OSError: it cannot be read.
    """
    table = read_table(path)
    if cost is None:
        cost = "flops" if "flops" in table.columns or len(x) > 1 else x[0]
    if missing := table.missing([*x, cost]):
        raise UserError(missing, table.ragged)
    notes = table.read_as([*x, cost])
    where = [each for each in where if not table.missing(columns_of([each], table))]
    for step in chosen(table, x, cost, where=where):
        table, notes = step.after, [*notes, *step.notes]
    if len(table) > MOST:
        raise UserError([f"{table.path}: {len(table):,} rows; at most {MOST:,} are weighed."])
    read = {name: read_numbers(table, name, _judge) for name in (*x, cost)}
    wrong = [list(table.ragged), *(kind for _, kinds in read.values() for kind in kinds)]
    if any(wrong):
        raise UserError(*wrong)
    runs = zip(*(read[name][0].tolist() for name in x), strict=True)
    rows = zip(runs, read[cost][0].tolist(), table.numbers, strict=True)
    unit = FLOPS if cost.lower() == "flops" else cost
    return Candidates([Candidate(*row) for row in rows], unit, tuple(notes))


def _judge(value: float) -> str | None:
    low, high = X_RANGE
    return None if low <= value <= high else f"not from {low:g} to {high:g}. Leave the run out."
