"""fit-laws next: which runs to launch next."""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.errors import UserError
from fits.base.names import short
from fits.cli.options import Json, TableFile, all_of, numbers, spec_of
from fits.cli.output import check_files, ending, say_written, write_json

if TYPE_CHECKING:
    from fits.base.numbers import Array
    from fits.data.points import Points
    from fits.decisions.design import Plan
    from fits.regression.fit import Fit
    from fits.report import FitReport

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


def next_runs(
    table: TableFile,
    spec: dict[str, Any],
    predict: Annotated[str, typer.Option(metavar="X", help="Where the error is wanted; X,X,...")],
    budget: Annotated[str, typer.Option(metavar="FLOPS", help="Of all runs, in the unit of cost.")],
    candidates: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Runs on offer: columns of --x, and of their costs."),
    ] = None,
    cost: Annotated[
        str | None, typer.Option(metavar="COL", help="Costs; default: flops, or else --x.")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="COL=V,V", help="Runs on offer as a grid, once for each --x."),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(metavar="K", help="FLOPs of a run of the grid: K times the product of its x."),
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=1, max=1000, help="Most runs of one x, those in TABLE included.")
    ] = OFTEN,
    json_file: Json = None,
) -> None:
    """Which runs to launch next for a budget, to narrow the interval of a prediction most.

    Fits the law to the runs in TABLE and chooses, of the candidates, those that together narrow the
    interval of the error at --predict most (Bayesian c-optimal design). The interval before any of
    them is that of the fit, clusters, weights and loss included. `scaling plan STUDY --table FILE`
    writes a table of candidates. Runs come in the order in which each narrows the interval most for
    its cost, each with the interval to be expected after it; runs that all together narrow it by
    less than half a percent are left out. The plan assumes the law: launch the first few, fit again
    and plan again. If only the frontier is fitted, every candidate is assumed to lie on it.

    Exit status: 0 done; 2 a mistake on the command line or in a table, no candidate within the
    budget, or runs that cannot be fitted: all mistakes are named, and nothing is written.
    """
    offer = Offer(candidates, cost, grid or [], times, repeat)
    raise typer.Exit(ending(lambda: _run(table, spec, predict, budget, offer, json_file)))


@dataclass(frozen=True)
class Offer:
    """Options that say which runs may be launched."""

    table: Path | None
    cost: str | None
    grid: list[str]
    times: str | None
    repeat: int


def _run(
    table: Path,
    options: dict[str, Any],
    predict: str,
    budget: str,
    offer: Offer,
    json_file: Path | None,
) -> int:
    from fits.base.numbers import X_RANGE
    from fits.report import fit_table
    from fits.report_text import holdout_line

    tables = [each for each in (table, offer.table) if each]
    spec, (at,), ((money,),), offered, *_ = all_of(
        lambda: spec_of(options),
        lambda: numbers("--predict", [predict], X_RANGE, len(options["x"])),
        lambda: numbers("--budget", [budget], (1e-300, 1e300)),
        lambda: _offered(options, offer),
        lambda: check_files({"--json": json_file}, tables),
    )
    if spec.law == "forecast":
        raise UserError(["--law: a forecast has no parameters to make surer. Name a law."])
    report = fit_table(table, spec)
    (group,) = report.groups
    offered = _not_yet_run(offered, group.points, offer.repeat)
    fit, plan, deviation = _planned(report, at, money, offered)
    answer = _answer(report, fit, at, money, plan, offered)
    if json_file:
        write_json(json_file, answer)
    if str(json_file) == "-":
        for warning in answer["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)
        return 0
    print(f"{table}: {spec.error_name}, law {spec.law} through {fit.n} runs")
    if group.holdout is not None:
        print(f"  {next(holdout_line(group.holdout, spec.law))}")
    _print(answer, deviation, len(offered.x))
    say_written((json_file,))
    return 0


def _offered(options: dict[str, Any], offer: Offer) -> Candidates:
    """Raises UserError: all that is wrong with it."""
    if bool(offer.grid) == bool(offer.table):
        raise UserError(["name the runs that may be launched, by --candidates or by --grid."])
    if offer.table and offer.times is not None:
        raise UserError(["--times: the cost of candidates stands in their table. Leave it out."])
    if offer.grid and offer.cost is not None:
        raise UserError(["--cost: a grid has no columns. Say --times K."])
    return _from_grid(options["x"], offer) if offer.grid else _from_table(options, offer)


def _from_grid(x: list[str], offer: Offer) -> Candidates:
    from fits.base.numbers import X_RANGE

    axes: dict[str, list[float]] = {}
    wrong: list[str] = []
    for text in offer.grid:
        name, equals, listed = text.partition("=")
        if not equals or name not in x or name in axes:
            wrong.append(f"--grid: '{short(text)}': write COL=V,V,... once for each --x.")
            continue
        try:
            values = numbers(f"--grid {name}", listed.split(","), X_RANGE)
            axes[name] = [value for (value,) in values]
        except UserError as error:
            wrong += error.mistakes
            axes[name] = []
    if not wrong:
        wrong = [f"--grid: no values of {name}." for name in x if name not in axes]
    if not wrong and (size := math.prod(map(len, axes.values()))) > MOST:
        wrong.append(f"--grid: {size:,} runs; at most {MOST:,} are weighed.")
    if wrong:
        raise UserError(wrong)
    runs = list(itertools.product(*(dict.fromkeys(axes[name]) for name in x)))
    times = 6.0 if len(x) == 2 else 1.0
    if offer.times is not None:
        (times,) = numbers("--times", [offer.times], X_RANGE)[0]
    return Candidates(
        x=runs,
        cost=[times * math.prod(run) for run in runs],
        times=[1] * len(runs),
        lines=[None] * len(runs),
        unit=x[0] if len(x) == 1 and offer.times is None else FLOPS,
    )


def _from_table(options: dict[str, Any], offer: Offer) -> Candidates:
    from fits.data.tables import read_numbers, read_table

    table, x = read_table(offer.table or ""), options["x"]
    costs = offer.cost
    if costs is None:
        costs = "flops" if "flops" in table.columns or len(x) > 1 else x[0]
    if missing := table.missing([*x, costs]):
        raise UserError(missing, table.ragged)
    for condition in options["where"] or []:
        name, _, value = condition.partition("=")
        if name.removesuffix("!") in table.columns:
            table = table.where(name.removesuffix("!"), value, equal=not name.endswith("!"))
    if len(table) > MOST:
        raise UserError([f"{table.path}: {len(table):,} rows; at most {MOST:,} are weighed."])
    columns, wrong = [], [list(table.ragged)]
    for name in dict.fromkeys([*x, costs]):
        found, mistakes = read_numbers(table, name, _judge)
        columns.append(found)
        wrong += mistakes
    if any(wrong):
        raise UserError(*wrong)
    runs = list(zip(*columns[: len(x)], strict=True))
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
    report: FitReport, at: tuple[float, ...], budget: float, offered: Candidates
) -> tuple[Fit, Plan, float]:
    import numpy as np

    from fits.decisions.design import plan, question
    from fits.regression.fit import Fit

    cost = np.array(offered.cost)
    if cost.min() > budget:
        cheapest = f"the cheapest candidate costs {cost.min():.3g} {offered.unit}"
        raise UserError([f"--budget: {cheapest}. Give more, or offer smaller runs."])
    fit = report.groups[0].fit
    assert isinstance(fit, Fit)
    design = question(fit, _as_x(offered.x), _as_x([at])[..., 0])
    return fit, plan(design, cost, budget, np.array(offered.times)), design.deviation


def _as_x(runs: Sequence[tuple[float, ...]]) -> Array:
    """[runs], or [variables, runs]."""
    import numpy as np

    x = np.array(runs, float).T
    return x[0] if len(x) == 1 else x


def _answer(
    report: FitReport,
    fit: Fit,
    at: tuple[float, ...],
    budget: float,
    plan: Plan,
    offered: Candidates,
) -> dict[str, Any]:
    from fits.report_json import finite, to_json

    plain = to_json(report)
    x = _as_x([at])
    error, (low, high) = float(fit.predict(x)[0]), fit.band(x)
    costs = [offered.cost[run] for run in plan.runs]
    spent = itertools.accumulate(costs)
    return {
        "table": plain["table"],
        "spec": plain["spec"],
        "fit": plain["groups"][0],
        "predict": list(at),
        "error": error,
        "now": [finite(low[0]), finite(high[0])],
        "cost_in": offered.unit,
        "budget": budget,
        "cost": sum(costs),
        "runs": [
            {
                "candidate": offered.lines[run],
                "x": list(offered.x[run]),
                "cost": cost,
                "spent": so_far,
                "low": _ends(error, width)[0],
                "high": _ends(error, width)[1],
            }
            for run, cost, so_far, width in zip(
                plan.runs, costs, spent, plan.widths.tolist(), strict=True
            )
        ],
        "warnings": [*report.groups[0].points.notes, *offered.notes, *fit.warnings],
    }


def _ends(error: float, width: float) -> list[float | None]:
    from fits.report_json import finite

    reach = math.exp(min(width / 2, 600))
    return [finite(error / reach), finite(error * reach)]


def _print(answer: dict[str, Any], deviation: float, offered: int) -> None:
    at = ", ".join(f"{each:g}" for each in answer["predict"])
    level = f"{100 * answer['spec']['level']:g}"
    low, high = answer["now"]
    of_log = answer["spec"]["scale"] == "log"
    size = f"{100 * deviation:.2g} % of the error" if of_log else f"{deviation:.2g}"
    print(f"  residual standard deviation: {size}")
    print(f"  E({at}) = {answer['error']:.4g}, {level}% interval [{low:.4g}, {high:.4g}]")
    runs, unit = answer["runs"], answer["cost_in"]
    columns = answer["spec"]["x"]
    print(
        f"\n{len(runs)} runs of {offered} candidates, {answer['cost']:.4g} of "
        f"{answer['budget']:.4g} {unit}; the interval to be expected after each:\n"
    )
    cost = FLOPS if unit == FLOPS else "cost"  # which may be one of the x
    head = "".join(f"{short(name):>13}" for name in [*columns, cost, "spent", "low", "high"])
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
