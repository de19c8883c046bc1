"""fit-laws optimal: how to divide compute between a larger model and more data."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.cli.options import Json, Plot, TableFile, all_of, numbers, spec_of
from fits.cli.output import check_files, ending, say_written, write_json

if TYPE_CHECKING:
    from fits.allocation.allocation import Allocation, Trainings
    from fits.allocation.parametric import Surface
    from fits.base.numbers import Estimate
    from fits.data.points import Points
    from fits.regression.holdout import Trials
    from fits.spec import FitSpec

DATA = "data seen"  # the column made of --flops and --size


def optimal(
    table: TableFile,
    spec: dict[str, Any],
    size: Annotated[str, typer.Option(metavar="COL", help="Parameters of the model, N.")],
    data: Annotated[
        str | None, typer.Option(metavar="COL", help="Images or tokens, D; default: from --flops.")
    ] = None,
    flops: Annotated[
        str | None, typer.Option(metavar="COL", help="Compute; default: K times N times D.")
    ] = None,
    per: Annotated[float, typer.Option(metavar="K", help="FLOPs a parameter and image.")] = 6.0,
    curve: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="Rows equal in COL are one learning curve; repeatable."),
    ] = None,
    compute: Annotated[
        list[str] | None, typer.Option(metavar="C", help="Budgets to divide; repeatable.")
    ] = None,
    reach: Annotated[
        list[str] | None,
        typer.Option(metavar="E", help="Target errors; prints the least compute for each."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="N,D", help="A model as trained; prints what the best size saves."),
    ] = None,
    budgets: Annotated[
        list[str] | None,
        typer.Option(
            metavar="C",
            help="Budgets of the IsoFLOP profiles; default: those with at least 5 sizes.",
        ),
    ] = None,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """How to divide compute between a larger model and more data, by three methods.

    The envelope of all runs, IsoFLOP profiles, and the law L(N, D) = E + A / N^alpha + B / D^beta
    (Hoffmann et al. 2022, approaches 1 to 3) assume different things; says where they disagree and
    which assumption failed. The law is fitted as `fit-laws TABLE --law chinchilla` fits it, with
    weights, clusters (a --curve is one), loss and scale. Answers other than the best size come from
    the law alone.

    Exit status: 0 done; 2 a mistake on the command line or in the table, or not one method that its
    runs allow: all mistakes are named, and nothing is written.
    """
    columns = Columns(size, data, flops, per, curve or [])
    options = {"--compute": compute, "--reach": reach, "--against": against, "--budgets": budgets}
    typed = {name: value or [] for name, value in options.items()}
    raise typer.Exit(ending(lambda: _run(table, spec, columns, typed, json_file, plot)))


@dataclass(frozen=True)
class Columns:
    """Where size, data and compute stand."""

    size: str
    data: str | None
    flops: str | None
    per: float
    curve: list[str]


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is to be answered."""

    table: Path
    compute: list[float]
    reach: list[float]
    against: list[tuple[float, float]]
    budgets: list[float]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the three methods say.

    Fields:
      spec: how the law was fitted.
      points: the rows.
      runs: their numbers.
      ways: those that the runs allow.
      refused: why not, by the name of the method.
      law: the method that answers all other questions; None where there is none.
      trials: how well it predicts large runs; None where it cannot be tried.
    """

    spec: FitSpec
    points: Points
    runs: Trainings
    ways: list[Allocation]
    refused: dict[str, str]
    law: Surface | None
    trials: Trials | None


def _run(
    table: Path,
    options: dict[str, Any],
    columns: Columns,
    typed: dict[str, list[str]],
    json_file: Path | None,
    plot: Path | None,
) -> int:
    from fits.allocation.allocation import disagreements

    spec, wanted, *_ = all_of(
        lambda: _spec(options, columns),
        lambda: _questions(table, typed),
        lambda: check_files({"--json": json_file, "--plot": plot}, [table]),
    )
    found = _answers(table, spec, columns, wanted)
    runs = found.runs
    last = float(runs.compute.max())
    middle = math.sqrt(float(runs.compute.min()) * last)
    diagnostics = [
        *_not_used(spec, options, found.ways),
        *disagreements(found.ways, [middle, last, *wanted.compute]),
        *(
            Diagnostic("extrapolates", ("compute",), {"at": c, "edge": last, "times": c / last})
            for c in wanted.compute
            if c > last
        ),
    ]
    warnings = [
        *(f"{way.approach}: {each.words}" for way in found.ways for each in way.diagnostics),
        *found.points.notes,
        *(each.words for each in diagnostics),
    ]
    if plot:
        _draw(found, wanted, columns, plot)
    if json_file:
        write_json(json_file, _answer(wanted, found, diagnostics))
    if str(json_file) == "-":
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return 0
    _print(wanted, found, warnings)
    say_written((json_file, plot))
    return 0


def _not_used(
    spec: FitSpec, options: dict[str, Any], ways: Sequence[Allocation]
) -> list[Diagnostic]:
    """Options of the fit that the envelope and the profiles know nothing of."""
    from fits.allocation.allocation import BY_LAW

    used = {
        "--weights": bool(spec.weights),
        "--cluster": bool(options["cluster"]),
        "--loss huber": spec.loss == "huber",
        "--scale linear": spec.scale == "linear",
    }
    names = tuple(name for name, on in used.items() if on)
    others = [way.approach for way in ways if way.approach != BY_LAW]
    return [Diagnostic("options_not_used", (each, *names)) for each in others if names]


def _spec(options: dict[str, Any], columns: Columns) -> FitSpec:
    clusters = tuple(options["cluster"] or columns.curve)
    x = (columns.size, columns.data or DATA)
    spec, _ = all_of(
        lambda: spec_of(options, law="chinchilla", x=x, rows="all", clusters=clusters),
        lambda: _check(columns),
    )
    return cast("FitSpec", spec)


def _check(columns: Columns) -> None:
    wrong = []
    if columns.data is None and columns.flops is None:
        wrong.append("size alone says nothing of compute; give --data, --flops, or both.")
    if not 1e-30 <= columns.per <= 1e30:
        wrong.append(f"--per: {columns.per:g} is not from 1e-30 to 1e+30.")
    if wrong:
        raise UserError(wrong)


def _questions(table: Path, typed: dict[str, list[str]]) -> Questions:
    from fits.base.numbers import X_RANGE, Y_RANGE

    compute, reach, against, budgets = all_of(
        lambda: [c for (c,) in numbers("--compute", typed["--compute"], X_RANGE)],
        lambda: [e for (e,) in numbers("--reach", typed["--reach"], Y_RANGE)],
        lambda: numbers("--against", typed["--against"], X_RANGE, 2),
        lambda: [c for (c,) in numbers("--budgets", typed["--budgets"], X_RANGE)],
    )
    return Questions(table=table, compute=compute, reach=reach, against=against, budgets=budgets)


def _answers(table: Path, spec: FitSpec, columns: Columns, wanted: Questions) -> Answer:
    from fits.allocation.allocation import BY_ENVELOPE, BY_LAW, BY_PROFILES
    from fits.allocation.envelope import envelope
    from fits.allocation.isoflop import isoflop
    from fits.allocation.parametric import Surface, parametric
    from fits.report import observations, with_seeds

    points, runs = _read(table, spec, columns)
    spec = with_seeds(spec, points)
    numbers_to_fit = observations(points, spec)
    tries: dict[str, Callable[[], Allocation]] = {
        BY_ENVELOPE: lambda: envelope(runs),
        BY_PROFILES: lambda: isoflop(runs, budgets=wanted.budgets or None),
        BY_LAW: lambda: parametric(runs, numbers_to_fit.fit(spec)),
    }
    ways: list[Allocation] = []
    refused: dict[str, str] = {}
    for name, way in tries.items():
        try:
            ways.append(way())
        except ValueError as why:
            refused[name] = str(why)
    if not ways:
        raise UserError([f"{table}: {name}: {why}" for name, why in refused.items()])
    law = next((way for way in ways if isinstance(way, Surface)), None)
    return Answer(
        spec=spec,
        points=points,
        runs=runs,
        ways=ways,
        refused=refused,
        law=law,
        trials=numbers_to_fit.hold_out(spec) if law else None,
    )


def _read(table: Path, spec: FitSpec, columns: Columns) -> tuple[Points, Trainings]:
    """The rows, the data seen made of compute where there is no column of it."""
    from fits.allocation.allocation import trainings
    from fits.data.points import points_of
    from fits.data.tables import read_table
    from fits.report import read_points

    named = [name for name in (columns.size, columns.data, columns.flops) if name]
    whole = read_table(table)
    by = (*columns.curve, *spec.clusters, *filter(None, [spec.weights]))
    first = points_of(whole, named, spec.y, spec.y_is, where=spec.where, by=by)
    spent = dict(zip(named, first.x, strict=True))
    size, flops = spent[columns.size], spent.get(columns.flops or "")
    data = spent[columns.data] if columns.data else flops / (columns.per * size)
    labels = None
    if columns.curve:
        cells = (first.table.column(name) for name in columns.curve)
        labels = list(zip(*cells, strict=True))
    runs = trainings(size, data, first.error, compute=flops, per=columns.per, run=labels)
    filled = first.table
    if columns.data is None:
        made = {**filled.columns, DATA: [repr(float(each)) for each in data]}
        filled = replace(filled, columns=made)
    points = read_points(filled, replace(spec, where=()))
    return replace(points, notes=(*first.notes, *points.notes)), runs


def _draw(found: Answer, wanted: Questions, columns: Columns, path: Path) -> None:
    from fits.plotting import canvas, draw_allocations, save

    figure, (panel,) = canvas()
    draw_allocations(
        *(found.ways, found.runs, wanted.compute),
        xlabel="FLOPs",
        ylabel=columns.size,
        level=found.spec.level,
        ax=panel,
    )
    save(figure, path)


def _print(wanted: Questions, found: Answer, warnings: list[str]) -> None:
    from fits.report_text import holdout_line, interval

    level, y = found.spec.level, found.spec.y
    print(f"{wanted.table}: {len(found.runs.loss)} points; {100 * level:g}% intervals")
    print("\nthe best size grows as compute to the power of")
    for way in found.ways:
        print(f"  {interval(*way.exponent(level)):24} {way.approach}")
    for name, why in found.refused.items():
        print(f"  none: {name}: {why}")
    if found.trials is not None and found.law:
        print(f"\n{next(holdout_line(found.trials, found.law.fit.law.name))}")
    for compute in wanted.compute:
        print(f"\nof {compute:g} FLOPs")
        for way in found.ways:
            print(f"  size   {interval(*way.size(compute, level)):28} {way.approach}")
        if found.law:
            print(f"  data   {interval(*found.law.data(compute, level))}")
            print(f"  {y}   {interval(*found.law.loss(compute, level))}")
    if found.law:
        _print_law(wanted, found)
    print()
    for warning in warnings:
        print(f"warning: {warning}")


def _print_law(wanted: Questions, found: Answer) -> None:
    """What the law of size and data alone can say."""
    from fits.report_text import interval

    law, level, y = found.law, found.spec.level, found.spec.y
    assert law is not None
    for loss in wanted.reach:
        print(f"\n{y} {loss:g} takes FLOPs {_open(law.compute(loss, level))}")
    for size, data in wanted.against:
        cheaper = interval(*law.saved(size, data, level))
        print(f"\na model of size {size:g}, trained on {data:g}")
        print(f"  {y}   {interval(*law.at(size, data, level))}")
        print(f"  the best size does the same {cheaper} times cheaper")
        print(f"  twice the data: {y} times {_fine(law.more_data(size, data, 2, level))}")


def _open(found: Estimate) -> str:
    from fits.report_text import interval

    value, low, _ = found
    if math.isfinite(value):
        return interval(*found)
    if not math.isfinite(low):
        return "without end: the floor is fitted above it, with all of its interval"
    least = f"; at least {low:.3g}" if low > 0 else ""
    return f"without end: the floor is fitted above it{least}"


def _fine(found: Estimate) -> str:
    value, low, high = found
    return f"{value:.4f} [{low:.4f}, {high:.4f}]"


def _answer(wanted: Questions, found: Answer, diagnostics: list[Diagnostic]) -> dict[str, Any]:
    from fits.report_json import holdout_json

    law, level = found.law, found.spec.level
    return {
        "table": str(wanted.table),
        "y": found.spec.y,
        "y_is": found.spec.y_is,
        "level": level,
        "points": len(found.runs.loss),
        "ways": [
            *(
                {
                    "way": way.approach,
                    "exponent": _plain(way.exponent(level)),
                    "best": [
                        {"compute": c, "size": n} for c, n in zip(*map(list, way.best), strict=True)
                    ],
                    "diagnostics": [each.to_json() for each in way.diagnostics],
                }
                for way in found.ways
            ),
            *({"way": name, "refused": why} for name, why in found.refused.items()),
        ],
        "compute": [
            {
                "compute": compute,
                "sizes": [
                    {"way": way.approach, **_plain(way.size(compute, level))} for way in found.ways
                ],
                "data": law and _plain(law.data(compute, level)),
                "error": law and _plain(law.loss(compute, level)),
            }
            for compute in wanted.compute
        ],
        "reach": [
            {"error": error, "compute": law and _plain(law.compute(error, level))}
            for error in wanted.reach
        ],
        "against": [
            {
                "size": size,
                "data": data,
                "error": law and _plain(law.at(size, data, level)),
                "cheaper": law and _plain(law.saved(size, data, level)),
                "twice_the_data": law and _plain(law.more_data(size, data, 2, level)),
            }
            for size, data in wanted.against
        ],
        "holdout": holdout_json(found.trials).model_dump() if found.trials else None,
        "notes": list(found.points.notes),
        "diagnostics": [each.to_json() for each in diagnostics],
    }


def _plain(found: Estimate) -> dict[str, float | None]:
    from fits.report_json import finite

    return dict(zip(("value", "low", "high"), map(finite, found), strict=True))
