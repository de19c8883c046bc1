"""fit-laws next: which runs to launch next."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.counted import counted
from fits.base.errors import UserError, all_of
from fits.base.names import short
from fits.cli.far import Far, refuse_impossible, refuse_places
from fits.cli.held import with_first_stage
from fits.cli.options import Json, TableArgument, Texts, numbers, option, singles, spec_of
from fits.cli.output import check_files, put
from fits.spec import BEST, FORECAST, REPEATS

if TYPE_CHECKING:
    from fits.decisions.candidates import Candidates
    from fits.decisions.next_runs import NextRuns


def next_runs(
    table: TableArgument,
    options: dict[str, Any],
    predict: Annotated[str, option("X", "Where the error is wanted; X,X,...")],
    budget: Annotated[str, option("FLOPS", "Of all runs, in the unit of cost.")],
    candidates: Annotated[
        Path | None, option("TABLE", "Runs on offer: columns of --x, and of their costs.")
    ] = None,
    cost: Annotated[str | None, option("COL", "Costs; default: flops, or else --x.")] = None,
    grid: Annotated[Texts, option("COL=V,V", "Runs on offer as a grid, once for each --x.")] = None,
    per: Annotated[
        str | None, option("K", "FLOPs of a run of the grid: K times the product of its x.")
    ] = None,
    trunk: Annotated[Texts, option("COL", "Runs equal in COL share a trunk; repeatable.")] = None,
    cooldown: Annotated[
        str | None, option("F", "Part of a run behind its trunk; default: column cooldown, or 0.")
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=1, max=1000, help="Most runs of one x, those in TABLE included.")
    ] = REPEATS,
    far: Far = False,
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

    Runs that differ in their duration alone may share a trunk: --trunk says which columns they
    agree in. The trunk is paid for once, by the runs in TABLE too, which must have these columns
    and that of the cost: a longer run costs its difference, and its part behind the trunk.

    Exit status: 0 done; 2 a mistake on the command line or in a table, no candidate within the
    budget, or runs that cannot be fitted: all mistakes are named, and nothing is written.
    """
    from fits.base.numbers import X_RANGE
    from fits.decisions import candidates as candidate_runs
    from fits.decisions import next_runs as decisions

    def sharing() -> dict[str, Any]:
        if cooldown is not None and not trunk:
            raise UserError(["--cooldown: say by --trunk which runs share a trunk."])
        part = None if cooldown is None else singles("--cooldown", [cooldown], (0, 1))[0]
        return {"trunk": tuple(dict.fromkeys(trunk or ())), "cooldown": part}

    def offered() -> Candidates:
        if bool(grid) == bool(candidates):
            raise UserError(["name the runs that may be launched, by --candidates or by --grid."])
        if grid and cost is not None:
            raise UserError(["--cost: a grid has no columns. Say --per K."])
        if grid:
            axes = _axes(options["x"], grid)
            factor = singles("--per", [per], X_RANGE)[0] if per is not None else None
            return candidate_runs.candidates_of_grid(axes, factor, **sharing())
        if per is not None:
            raise UserError(["--per: the cost of candidates stands in their table. Leave it out."])
        where = options["where"] or []
        return candidate_runs.candidates_of_table(
            candidates or "", options["x"], cost=cost, where=where, **sharing()
        )

    tables = [each for each in (table, candidates) if each]
    spec, (at,), (money,), runs, _ = all_of(
        lambda: spec_of(options),
        lambda: numbers("--predict", [predict], X_RANGE, len(options["x"])),
        lambda: singles("--budget", [budget], (1e-300, 1e300)),
        offered,
        lambda: check_files({"--json": json_file}, tables),
    )
    if spec.law in (BEST, FORECAST):
        what = "a forecast" if spec.law == FORECAST else "an average over laws"
        raise UserError([f"--law: {what} has no parameters to make surer. Name a law."])
    offered_by = "--grid" if grid else "--candidates"
    all_of(
        lambda: refuse_impossible("--predict", spec.law, spec.x, [at]),
        lambda: refuse_impossible(offered_by, spec.law, spec.x, [each.x for each in runs.runs]),
    )
    found = decisions.next_runs(table, spec, at, money, runs, repeat=repeat)
    found = found.model_copy(update={"fit": with_first_stage(found.fit, options["from_law"])})
    refuse_places("--predict", [at], found.fit.law.span, far=far, causes=found.fit.causes)
    notes = [each.words for each in (*found.fit.points.notes, *found.notes)]
    warnings = [each.words for each in found.fit.diagnostics]
    put(found, _lines(found), warnings, json_file, notes=notes)


def _axes(x: Sequence[str], grid: Sequence[str]) -> dict[str, list[float]]:
    """The values of each x, in the order of the law's variables."""
    from fits.base.numbers import X_RANGE

    axes: dict[str, list[float]] = {}
    wrong: list[str] = []
    for text in grid:
        name, equals, listed = text.partition("=")
        if not equals or name not in x or name in axes:
            wrong.append(f"--grid: '{short(text)}': write COL=V,V,... once for each --x.")
            continue
        try:
            axes[name] = singles(f"--grid {name}", listed.split(","), X_RANGE)
        except UserError as error:
            wrong += error.mistakes
            axes[name] = []
    wrong = wrong or [f"--grid: no values of {name}." for name in x if name not in axes]
    if wrong:
        raise UserError(wrong)
    return {name: axes[name] for name in x}


def _lines(found: NextRuns) -> Iterator[str]:
    from fits.report_text import holdout_line

    spec, fit = found.spec, found.fit
    yield f"{found.table}: {spec.error_name}, law {spec.law} through {fit.law.n} runs"
    if fit.holdout is not None:
        yield f"  {next(holdout_line(fit.holdout, spec.law))}"
    deviation = found.residual_deviation
    size = f"{100 * deviation:.2g} % of the error" if spec.scale == "log" else f"{deviation:.2g}"
    yield f"  residual standard deviation: {size}"
    at = ", ".join(f"{each:g}" for each in found.predict)
    value, low, high = found.error
    interval = f"{100 * spec.level:g}% interval if the law holds [{low:.4g}, {high:.4g}]"
    yield f"  E({at}) = {value:.4g}, {interval}"
    yield (
        f"\n{counted(len(found.runs), 'run')} of {counted(found.candidates, 'candidate')}, "
        f"{found.cost:.4g} of "
        f"{found.budget:.4g} {found.unit}; the interval to be expected after each:\n"
    )
    cost = "FLOPs" if found.unit == "FLOPs" else "cost"  # which may be one of the x
    head = "".join(f"{short(name):>13}" for name in (*spec.x, cost, "spent", "low", "high"))
    yield f"{'run':>7}{head}"
    last = 0
    for _, alike in itertools.groupby(found.runs, lambda run: (run.x, run.cost)):
        *_, run = its = list(alike)
        first, last = last + 1, last + len(its)
        which = f"{first}-{last}" if len(its) > 1 else f"{first}"
        cells = (*run.x, run.cost, run.spent, run.error.low, run.error.high)
        line = f"   line {run.line}" if run.line is not None else ""
        yield f"{which:>7}" + "".join(f"{each:13.4g}" for each in cells) + line
