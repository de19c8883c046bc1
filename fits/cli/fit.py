"""fit-laws TABLE: fit a law to a table of runs."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from fits.base.errors import UserError, all_of
from fits.cli.far import Far, refuse_impossible, refuse_places
from fits.cli.held import with_first_stage
from fits.cli.options import (
    Json,
    Plot,
    TableArgument,
    Texts,
    averages,
    numbers,
    option,
    read_columns,
    spec_of,
)
from fits.cli.output import check_files, put
from fits.cli.rate import Typed, rate_of
from fits.spec import BEST, HELD_OUT, SCHEDULES, RateSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fits.report import FitReport, GroupReport


def fit(
    ctx: typer.Context,
    table: TableArgument,
    options: dict[str, Any],
    by: Annotated[Texts, option("COL", "A fit for each value of COL; repeatable.")] = None,
    predict: Annotated[
        Texts, option("X", "Predict the error at X (X,X,... of several); repeatable.")
    ] = None,
    far: Far = False,
    details: Annotated[
        bool,
        option(
            None,
            f"Every fit in full; every law's error at the largest {HELD_OUT} of points.",
            "--details",
        ),
    ] = False,
    schedule: Annotated[
        str, option("NAME", f"A forecast's learning rate: {', '.join(SCHEDULES)}.")
    ] = "",
    until: Annotated[
        str, option("X", "Where its run ends; of a trunk (the last two), which run is forecast.")
    ] = "",
    final_rate: Annotated[
        float, option("PART", "Rate at the end of a cosine or a line, of its peak.")
    ] = RateSpec.final,
    cooldown: Annotated[
        float, option("PART", "Cooldown of a trunk's runs, of their whole length.")
    ] = RateSpec.cooldown,
    timescale: Annotated[str, option("X", "Of rsqrt: 1 / sqrt(1 + x / X).")] = "",
    cooled: Annotated[
        str, option("COL", "Says yes in rows measured at the end of a cooldown.")
    ] = "",
    trunk: Annotated[
        Path | None, option("TABLE", "Of the trunk's own curve; all of the first has cooled down.")
    ] = None,
    save: Annotated[
        Path | None, option("LAW.json", "Keep the law and its rows, for fit-laws check.")
    ] = None,
    json_file: Json = None,
    plot: Plot = None,
    title: Annotated[str, option("WORDS", "Title of the figure of --plot.")] = "",
    xlabel: Annotated[str, option("WORDS", "Label of its x axis.")] = "",
    ylabel: Annotated[str, option("WORDS", "Label of its y axis.")] = "",
) -> None:
    """Fit a law to the frontier of a table of runs, error against the resource spent.

    Prints one fit with its intervals and diagnostics, or of several (--by) a table with one row
    each; --details prints the rest. A law of several variables, and a forecast, take all points.
    Rows without x or y are skipped and reported. Seeds of one setting, where rows differ in the
    columns seed and run alone, are a cluster unless --cluster says otherwise (--cluster run takes
    each run as independent). The hold-out fits each law to the smaller points and scores it on the
    larger ones.

    TABLE is never changed, and nothing is written unless --save, --json or --plot names a file.
    `fit-laws schema` prints the JSON schema of what --json writes.

    Exit status: 0 done; 2 a mistake on the command line or in the table, or no group that can be
    fitted: all mistakes are named, and nothing is written.
    """
    from fits.base.numbers import X_RANGE
    from fits.report import fit_table
    from fits.report_json import ReportJson
    from fits.report_text import report_lines, warnings_of

    words = Words(title, xlabel, ylabel)
    files = {"--save": save, "--json": json_file, "--plot": plot}
    typed = Typed(schedule, until, final_rate, cooldown, timescale, cooled, trunk)
    spec, rate, at, whole, *_ = all_of(
        lambda: spec_of(options, average=averages(options)),
        lambda: rate_of(typed, options["law"]),
        lambda: numbers("--predict", predict or [], X_RANGE, len(options["x"])),
        lambda: read_columns(table, options, [*(by or []), *filter(None, [cooled])]),
        lambda: trunk and read_columns(trunk, options, by or []),
        lambda: check_files(files, [table, *filter(None, [trunk])]),
        lambda: _check(options, save, plot, words),
    )
    refuse_impossible("--predict", spec.law, spec.x, at)
    typed_at = at
    if rate is not None:
        spec = replace(spec, rate=rate)
        at = list(dict.fromkeys([*at, (rate.until,)]))
    report = fit_table(whole, spec, by=by or [], at=at)
    for group in report.groups:
        if group.fit is not None:
            for each in group.at:
                option_of = "--predict" if each in typed_at else "--until"
                refuse_places(option_of, [each], group.fit.span, far=far, causes=group.causes)
    if save:
        _save(report, save, ctx.obj or [])
    if plot:
        _draw(report, plot, words)
    report = replace(
        report, groups=tuple(with_first_stage(each, options["from_law"]) for each in report.groups)
    )
    answer, lines = ReportJson.model_validate(report), report_lines(report, details=details)
    printed = str(json_file) != "-"  # among the lines
    put(answer, lines, [] if printed else warnings_of(report.groups), json_file, save, plot)


class Words(NamedTuple):
    """On the figure; "": those of the table."""

    title: str
    xlabel: str
    ylabel: str


def _check(options: dict[str, Any], save: Path | None, plot: Path | None, words: Words) -> None:
    given = [f"--{name}" for name, text in words._asdict().items() if text]
    wrong = []
    if given and not plot:
        wrong.append(f"{', '.join(given)}: for a figure. Name its file with --plot.")
    if plot and len(options["x"]) > 1:
        wrong.append(
            "--plot: a law of several variables cannot be drawn as one line. Leave it out."
        )
    if save and options["law"] == "forecast":
        wrong.append("--save: a forecast cannot be saved as a law. Say --json FILE.")
    if wrong:
        raise UserError(wrong)


def _save(report: FitReport, path: Path, words: list[str]) -> None:
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


def _draw(report: FitReport, path: Path, words: Words) -> None:
    """One panel a group; beside that of an average, one that shows where its laws part."""
    from fits.data.frontier import frontier
    from fits.plotting import canvas, draw_frontier, save

    each = 2 if report.spec.law == BEST else 1
    figure, panels = canvas(each * len(report.groups))
    xlabel = words.xlabel or report.spec.x[0]
    for k, group in enumerate(report.groups):
        points = group.points
        draw_frontier(
            group.fit,
            points.x,
            points.error,
            frontier=frontier(points.x, points.error) if group.spec.rows != "all" else None,
            labels=points.table.columns.get("model"),
            sizes=points.table.columns.get("data_size"),
            xlabel=xlabel,
            ylabel=words.ylabel or report.spec.error_name,
            title=": ".join(filter(None, (words.title, group.title))) or None,
            ax=panels[each * k],
            is_rate=report.spec.y_is not in ("loss", "quantity"),
        )
        if each == 2:
            _draw_parting(group, xlabel, panels[2 * k + 1])
    save(figure, path)


def _draw_parting(group: GroupReport, xlabel: str, panel: Axes) -> None:
    from fits.average.average import Average
    from fits.plot_foreseen import draw_parting

    if not isinstance(group.fit, Average):
        panel.remove()
        return
    chosen = group.observations.fitted(group.spec)
    through = group.points.x[chosen], group.points.error[chosen]
    farthest = max((place[0] for place in group.at), default=0.0)
    draw_parting(group.fit, *through, to=farthest, xlabel=xlabel, ax=panel)
