"""fit-laws TABLE: fit a law to a table of runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.errors import UserError
from fits.cli.options import Json, Plot, TableFile, all_of, numbers, read_columns, spec_of
from fits.cli.output import check_files, ending, say_written, write_json

if TYPE_CHECKING:
    from fits.report import FitReport
    from fits.spec import FitSpec


def fit(
    ctx: typer.Context,
    table: TableFile,
    spec: dict[str, Any],
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="COL", help="A fit for each value of COL; repeatable."),
    ] = None,
    predict: Annotated[
        list[str] | None,
        typer.Option(metavar="X", help="Predict the error at X (X,X,... of several); repeatable."),
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Every fit in full, and every law's hold-out error.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="LAW.json", help="Keep the law and its rows, for fit-laws check."),
    ] = None,
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Fit a law to the frontier of a table of runs, error against the resource spent.

    Prints one fit with its intervals and diagnostics, or of several (--by) a table with one row
    each; --details prints the rest. A law of several variables, and a forecast, take all points.
    Rows without x or y are skipped and reported. Seeds of one setting, where rows differ in the
    columns seed and run alone, are a cluster unless --cluster says otherwise (--cluster run takes
    each run as independent). The hold-out fits each law to the smallest two thirds of the points
    and scores it on the largest third.

    TABLE is never changed, and nothing is written unless --save, --json or --plot names a file.
    `fit-laws schema` prints the JSON schema of what --json writes.

    Exit status: 0 done; 2 a mistake on the command line or in the table, or no group that can be
    fitted: all mistakes are named, and nothing is written.
    """
    raise typer.Exit(
        ending(
            lambda: _run(
                table, spec, by or [], predict or [], details, save, json_file, plot, ctx.obj or []
            )
        )
    )


def _run(
    table: Path,
    options: dict[str, Any],
    by: list[str],
    predict: list[str],
    details: bool,
    save: Path | None,
    json_file: Path | None,
    plot: Path | None,
    words: list[str],
) -> int:
    from fits.base.numbers import X_RANGE
    from fits.report import fit_table
    from fits.report_json import to_json
    from fits.report_text import print_report, warnings_of

    files = {"--save": save, "--json": json_file, "--plot": plot}
    spec, at, *_, rows = all_of(
        lambda: spec_of(options),
        lambda: numbers("--predict", predict, X_RANGE, len(options["x"])),
        lambda: check_files(files, [table]),
        lambda: _check(options, save, plot),
        lambda: read_columns(table, options, by),
    )
    report = fit_table(rows, spec, by=by, at=at)
    if save:
        save_law(report, save, words)
    if plot:
        draw(report, spec, plot)
    if json_file:
        write_json(json_file, to_json(report))
    if str(json_file) == "-":
        for line in warnings_of(report.groups, report):
            print(line, file=sys.stderr)
        return 0
    print_report(report, details=details)
    say_written((save, json_file, plot))
    return 0


def _check(options: dict[str, Any], save: Path | None, plot: Path | None) -> None:
    wrong = []
    if plot and len(options["x"]) > 1:
        wrong.append("--plot: a law of several variables is no line. Leave it out.")
    if save and options["law"] == "forecast":
        wrong.append("--save: a forecast is no law that could be kept. Say --json FILE.")
    if wrong:
        raise UserError(wrong)


def save_law(report: FitReport, path: Path, words: list[str]) -> None:
    """Keep the law of the only group; `words` are those of the command."""
    from fits.saved.law_file import saved, write_law

    if len(report.groups) > 1:
        name, value = next(iter(report.groups[0].names.items()))
        raise UserError(
            [
                f"--save: a file holds one law, and there are {len(report.groups)} groups. Choose "
                f"one with --where, say --where '{name}={value}'."
            ]
        )
    (group,) = report.groups
    said = f", {group.title}" if group.title else ""
    title = f"{group.spec.error_name}{said} against {', '.join(group.spec.x)}"
    command = shlex.join(["fit-laws", *words])
    write_law(path, saved(group, path.resolve().parent, command, title))


def draw(report: FitReport, spec: FitSpec, path: Path) -> None:
    """One panel a group."""
    from fits.data.frontier import frontier
    from fits.plotting import canvas, draw_frontier, save

    figure, panels = canvas(len(report.groups))
    for group, panel in zip(report.groups, panels, strict=True):
        points = group.points
        draw_frontier(
            group.fit,
            points.x,
            points.error,
            frontier=frontier(points.x, points.error) if spec.rows != "all" else None,
            labels=points.table.columns.get("model"),
            series=points.table.columns.get("data_size"),
            xlabel=spec.x[0],
            ylabel=spec.error_name,
            title=group.title or None,
            ax=panel,
        )
    save(figure, path)
