"""fit-laws compare: recipe A against recipe B."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import short
from fits.cli.options import Json, Plot, all_of, numbers, spec_of
from fits.cli.output import check_files, ending, say_written, write_json

if TYPE_CHECKING:
    from fits.base.numbers import Estimate
    from fits.data.points import Points
    from fits.decisions.compare import At, Saved
    from fits.report import FitReport
    from fits.spec import FitSpec

AB = "A", "B"


def compare(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE [TABLE]", help="One with --by.")],
    spec: dict[str, Any],
    by: Annotated[
        str | None, typer.Option(metavar="COL", help="Two studies in one table, A's value first.")
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="X", help="Where to compare; default: the largest x of both."),
    ] = None,
    error: Annotated[
        list[str] | None,
        typer.Option(metavar="E", help="Errors to reach; default: those of A at each X."),
    ] = None,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Recipe A against recipe B: the ratio of their errors, and how much x (say compute) B saves.

    Fits a law to each of two studies and prints E_B / E_A at chosen x, and how many times less x B
    needs for the same error, both with intervals. Where the interval of a ratio contains 1, the
    runs show no difference between the two, and the study whose runs would help most is named. The
    studies are taken as independent.

    Exit status: 0 done; 2 a mistake on the command line or in a table, or a study that cannot be
    fitted: all mistakes are named, and nothing is written.
    """
    raise typer.Exit(ending(lambda: _run(tables, spec, by, at or [], error or [], json_file, plot)))


def _run(
    tables: list[Path],
    options: dict[str, Any],
    by: str | None,
    at: list[str],
    error: list[str],
    json_file: Path | None,
    plot: Path | None,
) -> int:
    from fits.base.numbers import X_RANGE, Y_RANGE
    from fits.decisions import compare

    if len(tables) != (1 if by else 2):
        wanted = "--by splits one table" if by else "give two tables, or one and --by COL"
        raise UserError([f"{len(tables)} tables; {wanted}."])
    spec, places, errors, *_ = all_of(
        lambda: spec_of(options),
        lambda: numbers("--at", at, X_RANGE),
        lambda: numbers("--error", error, Y_RANGE),
        lambda: check_files({"--json": json_file, "--plot": plot}, tables),
    )
    if len(spec.x) > 1 or spec.law == "forecast":
        raise UserError([f"--law: {spec.law} is no law of one x. Choose one that is."])
    names, reports = _two(tables, spec, by)
    (a, b), studies = _fits(reports), [report.groups[0] for report in reports]
    xs = [x for (x,) in places] or [min(compare.span(a)[1], compare.span(b)[1])]
    reports = [replace(report, at=tuple((x,) for x in xs)) for report in reports]
    ats = [compare.at(a, b, x) for x in xs]
    saved = [compare.saved(a, b, e) for e in [e for (e,) in errors] or [o.error_a for o in ats]]
    found = compare.diagnostics(a, b)
    if not by:
        found = [*_shared_runs(studies[0].points, studies[1].points), *found]
    warnings = [
        *(f"{n}: {note}" for n, its in zip(AB, studies, strict=True) for note in its.points.notes),
        *(
            f"{name}: {each.words}"
            for name, report in zip(AB, reports, strict=True)
            for each in report.groups[0].diagnostics(report.at)
        ),
        *(each.words for each in found),
    ]
    if plot:
        _draw(a, b, names, spec, plot)
    if json_file:
        write_json(json_file, _answer(spec, names, reports, ats, saved, found))
    if str(json_file) == "-":
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        return 0
    _print(spec, names, reports, ats, saved, warnings)
    say_written((json_file, plot))
    return 0


def _two(tables: list[Path], spec: FitSpec, by: str | None) -> tuple[list[str], list[FitReport]]:
    """The names of the two studies, and each fitted."""
    from fits.report import fit_table

    if not by:
        return [str(table) for table in tables], all_of(
            *(lambda table=table: fit_table(table, spec) for table in tables)
        )
    whole = fit_table(tables[0], spec, by=[by])
    names = [group.title for group in whole.groups]
    if len(names) != 2:
        raise UserError(
            [
                f"--by: {len(names)} values of {by}, not two ({short(', '.join(names))}). "
                f"Leave rows out, say with --where '{by}!=VALUE'."
            ]
        )
    return names, [replace(whole, groups=(group,)) for group in whole.groups]


def _fits(reports: Sequence[FitReport]) -> list[Any]:
    groups = [report.groups[0] for report in reports]
    if refused := [f"{g.title}: {g.refusal}" for g in groups if g.fit is None]:
        raise UserError(refused)
    return [group.fit for group in groups]


def _draw(a: Any, b: Any, names: Sequence[str], spec: FitSpec, path: Path) -> None:
    from fits.plotting import canvas, draw_ratio, save

    title = "\n".join(f"{ab}: {short(Path(n).name)}" for ab, n in zip(AB, names, strict=True))
    figure, (panel,) = canvas()
    draw_ratio(a, b, xlabel=spec.x[0], title=title, ax=panel)
    save(figure, path)


def _print(
    spec: FitSpec,
    names: Sequence[str],
    reports: Sequence[FitReport],
    ats: Sequence[At],
    saved: Sequence[Saved],
    warnings: Sequence[str],
) -> None:
    from fits.report_text import holdout_line

    what = f"{spec.error_name} against {spec.x[0]}"
    print(f"{what}, law {spec.law}; {100 * spec.level:g}% intervals")
    for letter, name, report in zip(AB, names, reports, strict=True):
        (group,) = report.groups
        assert group.fit is not None
        print(f"  {letter}: {name}, through {group.fit.n} of {len(group.points.error)} runs")
        if group.holdout is not None:
            print(f"     {next(holdout_line(group.holdout, spec.law))}")
    for each in ats:
        _print_at(each)
    for one in saved:
        _print_saved(one)
    print()
    for warning in warnings:
        print(f"warning: {warning}")


def _shared_runs(a: Points, b: Points) -> list[Diagnostic]:
    """Runs that both have make the two agree by more than chance."""
    both = set(zip(a.x.tolist(), a.error.tolist(), strict=True))
    both &= set(zip(b.x.tolist(), b.error.tolist(), strict=True))
    return [Diagnostic("shared_runs", numbers={"n": len(both)})] if both else []


def _verdict(at: At) -> str:
    if at.is_decided:
        better, times = ("B", at.ratio) if at.ratio.high < 1 else ("A", at.ratio)
        return f"{better} is better: B's error is {times.value:.3g} times that of A"
    more = "A" if at.share_a > 0.5 else "B"
    share = max(at.share_a, 1 - at.share_a)
    return (
        f"no difference found; {share:.0%} of the variance is that of {more}: runs of {more} at or "
        f"above x = {at.x:.3g} would help most"
    )


def _print_at(at: At) -> None:
    from fits.report_text import interval

    print(f"\nat x = {at.x:.4g}: E_A = {at.error_a:.4g}, E_B = {at.error_b:.4g}")
    print(f"  E_B / E_A = {interval(at.ratio.value, at.ratio.low, at.ratio.high)}")
    print(f"  {_verdict(at)}")


def _print_saved(saved: Saved) -> None:
    from fits.report_text import interval

    print(f"\nto reach an error of {saved.error:.4g}:")
    for letter, x in zip(AB, (saved.x_a, saved.x_b), strict=True):
        print(f"  {letter} needs x = {x:.4g}" if x else f"  {letter}: out of reach of its law")
    if (factor := saved.factor) is not None:
        print(f"  x_A / x_B = {interval(factor.value, factor.low, factor.high)}")
        if factor.low > 1:
            print(f"  B needs {factor.value:.3g} times less")
        elif factor.high < 1:
            print(f"  B needs {1 / factor.value:.3g} times more")
        else:
            print("  no difference found")


def _answer(
    spec: FitSpec,
    names: Sequence[str],
    reports: Sequence[FitReport],
    ats: Sequence[At],
    saved: Sequence[Saved],
    found: Sequence[Diagnostic],
) -> dict[str, Any]:
    from fits.report_json import to_json

    a, b = (
        {"name": name, **to_json(report)["groups"][0]}
        for name, report in zip(names, reports, strict=True)
    )
    return {
        "spec": to_json(reports[0])["spec"],
        "a": a,
        "b": b,
        "at": [
            {"x": each.x, "error_a": each.error_a, "error_b": each.error_b}
            | _ends("ratio", each.ratio)
            | {"verdict": _verdict(each)}
            for each in ats
        ],
        "saved": [
            {"error": each.error, "x_a": each.x_a, "x_b": each.x_b} | _ends("factor", each.factor)
            for each in saved
        ],
        "diagnostics": [each.to_json() for each in found],
    }


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    from fits.report_json import finite

    if estimate is None:
        return {name: None, "low": None, "high": None}
    return {
        name: finite(estimate.value),
        "low": finite(estimate.low),
        "high": finite(estimate.high),
    }
