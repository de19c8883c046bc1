"""Which of several trainings can be stopped now: a table of their learning curves, raced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.extrapolation import refuse_far
from fits.base.numbers import Array, Estimate
from fits.data.conditions import keep_where
from fits.data.points import Points
from fits.data.remarks import rising
from fits.data.tables import Table, read_numbers, read_table
from fits.decisions.racing import DELTA, Race, race
from fits.forecast.fitted import schedule_of
from fits.observations import read_points
from fits.report_json import DiagnosticField, EstimateField, JsonModel
from fits.spec import FitSpec

FLOPS = "flops"


class Rival(JsonModel):
    run: tuple[str, ...]
    lower: float
    """Probability that it ends lower."""


class RacedRun(JsonModel):
    run: tuple[str, ...]
    """Its cells in the columns that tell runs apart."""
    points: int
    x: float
    """How far it is."""
    last: float
    """The error there."""
    error: EstimateField
    """What it will end at, with a 90 % interval; a run that is done: what was measured."""
    done: bool
    diverged: bool
    """Whether no number was measured after `x`, but NaN or infinity: it takes no part."""
    stopped: bool
    """Whether it can be stopped now."""
    rivals: tuple[Rival, ...]
    """As many as matter of those that most probably end lower, the surest first."""
    diagnostics: tuple[DiagnosticField, ...]
    """What speaks against its forecast."""
    left: float
    """What it costs to train it on."""


class RacedGroup(JsonModel):
    names: dict[str, str]
    runs: tuple[RacedRun, ...]
    left: float
    """What it costs to train all of them on."""
    saved: float
    """The part of it that stopping saves."""


class Races(JsonModel):
    table: Path
    spec: FitSpec
    run: tuple[str, ...]
    until: float
    keep: int
    delta: float
    unit: str
    """Of all costs."""
    groups: tuple[RacedGroup, ...]
    notes: tuple[DiagnosticField, ...]


def races(
    table: str | Path,
    spec: FitSpec,
    until: float,
    *,
    run: Sequence[str] = ("run",),
    by: Sequence[str] = (),
    cost: str | None = None,
    keep: int = 1,
    delta: float = DELTA,
    far: bool = False,
) -> Races:
    """Which runs cannot be among the best where they are compared.

    Args:
      spec: of a forecast, with x and y of the curves.
      until: x where the runs are compared, in the unit of x.
      run: columns that tell runs apart.
      by: columns; runs are compared with those that agree in all of them.
      cost: column of what a run has cost up to each row; None: flops, or else x.
      keep, delta: as of `race`.
      far: whether `until` may lie more than 1,000 times beyond the largest x.

    Raises:
      UserError: all mistakes in the table, or what is measured rises in every run, or may.
      OSError: it cannot be read.
    """
    if spec.y_is == "quantity":
        raise UserError(
            ["--y-is: of a quantity no end is the better one. Say loss, or accuracy of what rises."]
        )
    whole = read_table(table)
    if cost is None:
        cost = FLOPS if FLOPS in whole.columns else spec.x[0]
    if missing := whole.missing([*spec.x, spec.y, *by, *run, cost]):
        raise UserError(missing, whole.ragged)
    points = read_points(whole, spec, (*by, *run))
    if not far:
        largest = float(points.x.max())
        refuse_far("--until", until, 0.0, largest)
    _refuse_rising(points, (*by, *run), spec.y)
    ends = _diverged(whole, points, spec, (*by, *run))
    groups = tuple(
        _group(names, its, spec, until, tuple(run), cost, keep, delta, ends)
        for names, its in points.split(by)
    )
    return Races(
        table=whole.path,
        spec=spec,
        run=tuple(run),
        until=until,
        keep=keep,
        delta=delta,
        unit="FLOPs" if cost.lower() == FLOPS else cost,
        groups=groups,
        notes=points.notes,
    )


def _refuse_rising(points: Points, names: Sequence[str], y: str) -> None:
    """Raises UserError where the error rises in every run, as an accuracy taken for one does."""
    if all(rising(its.x, its.error) for _, its in points.split(names)):
        raise UserError(
            [
                f"{points.table.path}: {y} rises in every run, and the lowest is sought. Say "
                f"--y-is accuracy if {y} grows as runs get better."
            ]
        )


def _diverged(
    whole: Table, points: Points, spec: FitSpec, names: Sequence[str]
) -> dict[tuple[str, ...], float]:
    """Runs that hold NaN or infinity after their last number, and the x from which on.

    Not those that hold one for every two neighbouring numbers: what was not measured is NaN there.
    """
    for condition in spec.where:
        whole = keep_where(whole, condition)
    names = tuple(dict.fromkeys(names))
    runs = {
        tuple(key.values()): (float(its.x.max()), len(its.x)) for key, its in points.split(names)
    }
    x, lost = whole.values(spec.x[0]), whole.column(spec.y).diverged
    found: dict[tuple[str, ...], float] = {}
    before = dict.fromkeys(runs, 0)
    for row in np.flatnonzero(lost).tolist():
        key = tuple(whole.column(name)[row] for name in names)
        if key in runs and x[row] > runs[key][0]:
            found[key] = min(float(x[row]), found.get(key, np.inf))
        elif key in runs:
            before[key] += 1
    return {key: end for key, end in found.items() if before[key] < runs[key][1] - 1}


def _group(
    names: dict[str, str],
    points: Points,
    spec: FitSpec,
    until: float,
    run: tuple[str, ...],
    cost: str,
    keep: int,
    delta: float,
    diverged: Mapping[tuple[str, ...], float],
) -> RacedGroup:
    curves = list(points.split(run))
    schedule = schedule_of(spec.rate) if spec.rate else None
    given = [(its.x, its.error) for _, its in curves]
    ends = [diverged.get(tuple((names | key).values())) for key, _ in curves]
    out = [k for k, end in enumerate(ends) if end is not None and curves[k][1].x.max() < until]
    try:
        found = race(given, until, keep=keep, delta=delta, schedule=schedule, diverged=out)
    except ValueError as wrong:
        raise UserError([f"{points.table.path}: {wrong}"]) from None
    keys = [tuple(key.values()) for key, _ in curves]
    spent = [_spent(its.table, cost)[int(np.argmax(its.x))] for _, its in curves]
    notes = {
        k: Diagnostic("run_diverged", (spec.y, spec.x[0]), {"x": float(ends[k] or np.nan)})
        for k in out
    }
    runs = tuple(_runs(keys, given, spent, found, until, keep, notes))
    saved = sum(each.left for each in runs if each.stopped)
    return RacedGroup(names=names, runs=runs, left=sum(each.left for each in runs), saved=saved)


def _runs(
    keys: Sequence[tuple[str, ...]],
    curves: Sequence[tuple[Array, Array]],
    spent: Sequence[float],
    found: Race,
    until: float,
    keep: int,
    diverged: Mapping[int, Diagnostic],
) -> Iterator[RacedRun]:
    """The lowest forecast first, and those that have diverged last."""
    out = [k in diverged for k in range(len(keys))]
    for k in np.lexsort((found.error, np.array(out))).tolist():
        x, y = curves[k]
        last = int(np.argmax(x))
        done = bool(x[last] >= until)
        lower = [
            Rival(run=keys[other], lower=float(found.lower[k, other]))
            for other in np.argsort(-found.lower[k], kind="stable").tolist()
            if other != k
        ]
        yield RacedRun(
            run=keys[k],
            points=len(x),
            x=float(x[last]),
            last=float(y[last]),
            error=Estimate(*(float(each[k]) for each in (found.error, found.low, found.high))),
            done=done,
            diverged=out[k],
            stopped=bool(found.stopped[k]) and not done,
            rivals=tuple(lower[:keep]),
            diagnostics=(*filter(None, [diverged.get(k)]), *found.diagnostics[k]),
            left=0.0 if done else spent[k] * (until / float(x[last]) - 1),
        )


def _spent(table: Table, name: str) -> Array:
    """Up to each row of a run, [rows]. Raises UserError: a cell that is no cost."""
    found, wrong = read_numbers(
        table, name, lambda v: None if v > 0 else "not above 0, which every cost so far is."
    )
    if any(wrong):
        raise UserError(*wrong)
    return found
