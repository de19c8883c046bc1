"""Which runs to launch next: a table, candidates, and the plan that `design` makes.

The law is fitted as `fits.report` fits it, so that the interval before any run is that of the fit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.numbers import Array, Estimate
from fits.data.points import Points
from fits.decisions.candidates import Candidate, Candidates, costs_of
from fits.decisions.design import design_problem, plan
from fits.report import Place, as_x, fit_table
from fits.report_json import DiagnosticField, EstimateField, GroupField, JsonModel
from fits.spec import REPEATS, FitSpec


class PlannedRun(JsonModel):
    line: int | None
    """Where it stands in the table of candidates; null for a grid."""
    x: Place
    cost: float
    """What it adds: where runs share a trunk, a longer one costs its difference."""
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
    runs = list(left)
    cost = costs_of(candidates, runs, group.points)
    if (least := cost.of_one_more(np.zeros(len(runs), np.int64)).min()) > budget:
        cheapest = f"the cheapest candidate costs {least:.3g} {candidates.unit}"
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
            PlannedRun(
                line=runs[run].line,
                x=runs[run].x,
                cost=cost,
                spent=so_far,
                error=_about(error.value, width),
            )
            for run, cost, so_far, width in zip(
                found.runs, found.cost.tolist(), spent, found.widths.tolist(), strict=True
            )
        ),
        notes=(
            *candidates.notes,
            *_run_before(len({_setting(r) for r in candidates.runs}), len(runs), repeat),
        ),
    )


def _left(offered: Iterable[Candidate], points: Points, repeat: int) -> dict[Candidate, int]:
    """Each x and cost once, and how often it may still be run: other runs of it are other seeds."""
    there = Counter(map(tuple, np.atleast_2d(points.x).T.tolist()))
    alike: dict[tuple[object, ...], list[Candidate]] = {}
    for run in offered:
        alike.setdefault(_setting(run), []).append(run)
    left = {its[0]: max(repeat, len(its)) - there[its[0].x] for its in alike.values()}
    return {run: times for run, times in left.items() if times > 0}


def _setting(run: Candidate) -> tuple[object, ...]:
    return run.x, run.cost, run.trunk


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
