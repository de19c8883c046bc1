"""fit-laws next TABLE --x COL --y COL --predict X --budget FLOPS --candidates TABLE [options]
fit-laws next TABLE --x COL --y COL --predict X --budget FLOPS --grid COL=V,V,... [options]

Which runs to launch next: those, of the candidates, that together narrow the interval of the error
at X most for the FLOPs there are. Fits the law to the runs in TABLE, and asks of every candidate
how much it would add to what they say. Nothing is written unless --json names a file.

  scaling plan larger.toml --table planned.csv
  fit-laws next results.csv --x flops --y value --where metric=upstream_error \\
    --predict 1e18 --budget 3e16 --candidates planned.csv
  fit-laws next runs.csv --x params --x images --y loss --y-is loss --law chinchilla \\
    --predict 1e9,1e10 --budget 1e19 --grid params=1e7,3e7,1e8,3e8 --grid images=1e8,3e8,1e9,3e9

options:
  --x COL --y COL --y-is KIND --where COL=VALUE --all-points --law NAME
  --loss NAME --huber DELTA --on SCALE --weights COL --together COL --level P
                     as fit-laws --help says; a law of several variables takes --x once for each,
                     and all points
  --predict X        where the law's error is wanted; for several variables X,X,... in their order
  --budget FLOPS     of all runs together, in the unit of their costs
  --candidates TABLE the runs that may be launched: CSV or Parquet with the columns of --x and the
                     cost of each, as `scaling plan STUDY --table FILE` writes it; a --where holds
                     here too if there is such a column
  --cost COL         its column of costs; left out: flops, or else --x where there is one
  --grid COL=V,V,... the candidates as a grid, once for each --x
  --times K          cost of a run of the grid: K times the product of its x; left out: 6 for two
                     variables (parameters x tokens), 1 for one
  --repeat N         no x is run more than N times, with other seeds (default 16), or more often
                     than the candidates have rows of it; runs in TABLE count
  --json FILE        write the plan as JSON; - prints JSON and nothing else
  -h, --help         print this

The runs come in the order in which each narrows the interval most for its cost, each with the
interval to be expected after it; several of one x in a row stand on one line, "4-9", with what the
last of them leaves. Left out are runs that all together would narrow it by less than half a
percent; many cheap ones that together give more stay, however little each gives. That holds if the
law does; a plan that pays for all its far points at once learns late that it does not: launch the
first few, fit again, ask again.
With the frontier alone (no --all-points), every candidate is taken to reach it: offer such as may.
JSON: {x, y, y_is, law, level, predict, error, now: [low, high], cost_in, budget, cost, runs,
held_out as in fit-laws --help, warnings};
runs: [{candidate, x, cost, spent, low, high}], candidate the line of the table, or null.

exit status: 0 done, 2 a mistake in what was typed or in a table, no candidate within the budget, or
runs that cannot be fitted: all mistakes are named, and nothing is written.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fits.base.errors import UserError
from fits.base.names import short
from fits.cli.shared import (
    Parser,
    add_asked,
    asked,
    asked_mistakes,
    ending,
    error_name,
    file_mistakes,
    finite,
    number_mistakes,
    place_mistakes,
    read,
    told,
    write_json,
)
from fits.data.tables import is_number, number, read_numbers, read_table

if TYPE_CHECKING:
    from fits.base.numbers import Array
    from fits.data.points import Points
    from fits.decisions.design import Plan
    from fits.regression.fit import Fit
    from fits.spec import Asked

MOST = 5000  # candidates
FLOPS = "FLOPs"
OFTEN = 16  # times that an x is run at most, unless --repeat says otherwise


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Runs that may be launched.

    Fields:
      x: one tuple a run, a number a variable.
      cost: of each.
      times: how often each may be run.
      lines: where each stands in its table; None for a grid.
      unit: what the cost is counted in.
      notes: what was left out.
    """

    x: list[tuple[float, ...]]
    cost: list[float]
    times: list[int]
    lines: list[int | None]
    unit: str = FLOPS
    notes: tuple[str, ...] = ()


def main(argv: Sequence[str]) -> int:
    parser = Parser("fit-laws next", __doc__)
    parser.add_argument("table", metavar="TABLE", type=Path, nargs="?")
    add_asked(parser)
    parser.add_argument("--predict", metavar="X")
    parser.add_argument("--budget", metavar="FLOPS")
    parser.add_argument("--candidates", metavar="TABLE", type=Path)
    parser.add_argument("--cost", metavar="COL")
    parser.add_argument("--grid", metavar="COL=V,V", action="append", default=[])
    parser.add_argument("--times", metavar="K")
    parser.add_argument("--repeat", metavar="N", default=str(OFTEN))
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.read(argv)
    needed = {"TABLE": options.table, "--x": options.x, "--y": options.y}
    needed |= {"--predict": options.predict, "--budget": options.budget}
    parser.require(needed)
    if bool(options.grid) == bool(options.candidates):
        parser.error("name the runs that may be launched, by --candidates or by --grid")
    return ending(lambda: _run(options), options.table)


def _run(options: argparse.Namespace) -> int:
    wanted = asked(options)
    kinds = _mistakes(options)
    offered = Candidates(x=[], cost=[], times=[], lines=[])
    try:
        offered = _from_grid(options) if options.grid else _from_table(options)
    except UserError as error:
        kinds += error.kinds
    except OSError as error:
        kinds.append([told(error, options.candidates)])
    (points,) = read(kinds, [(wanted, options.table)])
    wanted = wanted.with_seeds(points)
    offered = _not_yet_run(offered, points, int(options.repeat))
    fit, plan, scatter = _planned(options, wanted, points, offered)
    answer = _answer(options, wanted, fit, plan, offered)
    trials = wanted.trials(wanted.runs(points))
    answer["held_out"] = trials and trials.plain()
    answer["warnings"] = [*points.notes, *offered.notes, *fit.warnings]
    if options.json:
        write_json(options.json, answer)
    if str(options.json) == "-":
        for warning in answer["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)
        return 0
    print(f"{options.table}: {error_name(wanted)}, law {wanted.law} through {fit.n} runs")
    if trials is not None:
        print(f"  {trials.in_short(wanted.law)}")
    _print(answer, fit, scatter, len(offered.x))
    if options.json:
        print(f"\nwritten: {options.json}")
    return 0


def _mistakes(options: argparse.Namespace) -> list[list[str]]:
    from fits.base.numbers import X_RANGE

    times = [] if options.times is None else number_mistakes("--times", [options.times], *X_RANGE)
    if options.candidates and options.times is not None:
        times.append("--times: the cost of candidates stands in their table. Leave it out.")
    if options.grid and options.cost is not None:
        times.append("--cost: a grid has no columns. Say --times K.")
    repeat = options.repeat
    if not (repeat.isdecimal() and repeat.isascii() and 1 <= int(repeat[:9]) <= 1000):
        times.append(f"--repeat: {short(repeat)} is not a whole number from 1 to 1000.")
    tables = [table for table in (options.table, options.candidates) if table]
    return [
        asked_mistakes(options),
        place_mistakes("--predict", [options.predict], len(options.x), X_RANGE),
        number_mistakes("--budget", [options.budget], 1e-300, 1e300),
        times,
        file_mistakes({"--json": options.json}, tables),
    ]


def _from_grid(options: argparse.Namespace) -> Candidates:
    from fits.base.numbers import X_RANGE

    axes: dict[str, list[float]] = {}
    said = []
    for text in options.grid:
        name, equals, listed = text.partition("=")
        values = listed.split(",")
        if not equals or name not in options.x or name in axes:
            said.append(f"--grid: '{short(text)}': write COL=V,V,... once for each --x.")
            continue
        said += number_mistakes(f"--grid {name}", values, *X_RANGE)
        axes[name] = [number(value) for value in values if is_number(value)]
    if not said:
        said = [f"--grid: no values of {name}." for name in options.x if name not in axes]
    if not said and (size := math.prod(map(len, axes.values()))) > MOST:
        said.append(f"--grid: {size:,} runs; at most {MOST:,} are weighed.")
    if said:
        raise UserError(said)
    runs = list(itertools.product(*(dict.fromkeys(axes[name]) for name in options.x)))
    default = 6.0 if len(options.x) == 2 else 1.0
    times = number(options.times) if is_number(options.times or "") else default
    return Candidates(
        x=runs,
        cost=[times * math.prod(run) for run in runs],
        times=[1] * len(runs),
        lines=[None] * len(runs),
        unit=options.x[0] if len(options.x) == 1 and options.times is None else FLOPS,
    )


def _from_table(options: argparse.Namespace) -> Candidates:
    table = read_table(options.candidates)
    costs = options.cost
    if costs is None:
        costs = "flops" if "flops" in table.columns or len(options.x) > 1 else options.x[0]
    if missing := table.missing([*options.x, costs]):
        raise UserError(missing, table.ragged)
    for condition in options.where:
        name, _, value = condition.partition("=")
        if name.removesuffix("!") in table.columns:
            table = table.where(name.removesuffix("!"), value, equal=not name.endswith("!"))
    if len(table) > MOST:
        raise UserError([f"{table.path}: {len(table):,} rows; at most {MOST:,} are weighed."])
    columns, wrong = [], [list(table.ragged)]
    for name in dict.fromkeys([*options.x, costs]):
        numbers, mistakes = read_numbers(table, name, _judge)
        columns.append(numbers)
        wrong += mistakes
    if any(wrong):
        raise UserError(*wrong)
    runs = list(zip(*columns[: len(options.x)], strict=True))
    lines: list[int | None] = list(table.numbers)
    return Candidates(
        x=runs,
        cost=columns[-1],
        times=[1] * len(runs),
        lines=lines,
        unit=FLOPS if costs.lower() == "flops" else costs,
    )


def _judge(value: float) -> str | None:
    from fits.base.numbers import X_RANGE

    low, high = X_RANGE
    return None if low <= value <= high else f"not from {low:g} to {high:g}. Leave the run out."


def _not_yet_run(offered: Candidates, points: Points, repeat: int) -> Candidates:
    """Each x and cost once, and how often it may still be run: other runs of it are other seeds."""
    import numpy as np

    there = Counter(map(tuple, np.atleast_2d(points.x).T.tolist()))
    rows: dict[tuple[tuple[float, ...], float], list[int]] = {}
    for k, run in enumerate(zip(offered.x, offered.cost, strict=True)):
        rows.setdefault(run, []).append(k)
    left = {run: max(repeat, len(its)) - there[run[0]] for run, its in rows.items()}
    keep = [run for run in rows if left[run] > 0]
    notes: tuple[str, ...] = ()
    if less := len(rows) - len(keep):
        often = "once" if repeat == 1 else f"{repeat} times"
        notes = (f"{less} of {len(rows)} candidates have been run {often}, and are left out",)
    if not keep:
        raise UserError(["every candidate has been run already. Offer others."])
    return Candidates(
        x=[x for x, _ in keep],
        cost=[cost for _, cost in keep],
        times=[left[run] for run in keep],
        lines=[offered.lines[rows[run][0]] for run in keep],
        unit=offered.unit,
        notes=notes,
    )


def _planned(
    options: argparse.Namespace, wanted: Asked, points: Points, offered: Candidates
) -> tuple[Fit, Plan, float]:
    import numpy as np

    from fits.decisions.design import ask, plan

    budget, cost = number(options.budget), np.array(offered.cost)
    if cost.min() > budget:
        cheapest = f"the cheapest candidate costs {cost.min():.3g} {offered.unit}"
        raise UserError([f"--budget: {cheapest}. Give more, or offer smaller runs."])
    try:
        fit = wanted.fit(wanted.runs(points))
    except ValueError as wrong:
        raise UserError([f"{options.table}: {wrong}"]) from None
    used = wanted.chosen(wanted.runs(points))
    scatter = max(fit.rms * math.sqrt(fit.n / max(fit.n - len(fit.values), 1)), 1e-4)
    question = ask(
        fit.law,
        np.array(fit.values),
        points.x[..., used],
        _as_x(offered.x),
        _as_x([tuple(_at(options))])[..., 0],
        scatter=scatter,
        level=fit.level,
    )
    return fit, plan(question, cost, budget, np.array(offered.times)), scatter


def _at(options: argparse.Namespace) -> list[float]:
    return [number(text) for text in options.predict.split(",")]


def _as_x(runs: Sequence[tuple[float, ...]]) -> Array:
    """[runs], or [variables, runs]."""
    import numpy as np

    x = np.array(runs, float).T
    return x[0] if len(x) == 1 else x


def _answer(
    options: argparse.Namespace, wanted: Asked, fit: Fit, plan: Plan, offered: Candidates
) -> dict[str, Any]:
    at = _at(options)
    error = float(fit.predict(_as_x([tuple(at)]))[0])
    costs = [offered.cost[run] for run in plan.runs]
    return {
        "x": list(wanted.x),
        "y": wanted.y,
        "y_is": wanted.y_is,
        "law": wanted.law,
        "level": fit.level,
        "predict": at,
        "error": error,
        "now": _ends(error, plan.before),
        "cost_in": offered.unit,
        "budget": number(options.budget),
        "cost": sum(costs),
        "runs": [
            {
                "candidate": offered.lines[run],
                "x": list(offered.x[run]),
                "cost": cost,
                "spent": spent,
                "low": _ends(error, width)[0],
                "high": _ends(error, width)[1],
            }
            for run, cost, spent, width in zip(
                plan.runs, costs, itertools.accumulate(costs), plan.widths.tolist(), strict=True
            )
        ],
    }


def _ends(error: float, width: float) -> list[float | None]:
    reach = math.exp(min(width / 2, 600))
    return [finite(error / reach), finite(error * reach)]


def _print(answer: dict[str, Any], fit: Fit, scatter: float, offered: int) -> None:
    at = ", ".join(f"{each:g}" for each in answer["predict"])
    low, high = answer["now"]
    print(f"  scatter of runs about it: {100 * scatter:.2g} % of the error")
    print(
        f"  E({at}) = {answer['error']:.4g}, {100 * fit.level:g}% interval [{low:.4g}, {high:.4g}]"
    )
    runs, unit = answer["runs"], answer["cost_in"]
    print(
        f"\n{len(runs)} runs of {offered} candidates, {answer['cost']:.4g} of "
        f"{answer['budget']:.4g} {unit}; the interval to be expected after each:\n"
    )
    cost = FLOPS if unit == FLOPS else "cost"  # which may be one of the x
    head = "".join(f"{short(name):>13}" for name in [*answer["x"], cost, "spent", "low", "high"])
    print(f"{'run':>7}{head}")
    last = 0
    for _, alike in itertools.groupby(runs, lambda run: (run["x"], run["cost"])):
        *_, run = its = list(alike)
        first, last = last + 1, last + len(its)
        which = f"{first}-{last}" if len(its) > 1 else f"{first}"
        numbers = [*run["x"], run["cost"], run["spent"], run["low"], run["high"]]
        cells = "".join(f"{each:13.4g}" for each in numbers)
        line = f"   line {run['candidate']}" if run["candidate"] is not None else ""
        print(f"{which:>7}{cells}{line}")
    if answer["warnings"]:
        print()
    for warning in answer["warnings"]:
        print(f"warning: {warning}")
