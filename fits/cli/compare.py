"""fit-laws compare TABLE_A TABLE_B --x COL --y COL [options]
fit-laws compare TABLE --by COL --x COL --y COL [options]

Fits a law to each of two studies, recipe A and recipe B, and says how their errors compare and what
B saves: E_B / E_A at chosen x, and how many times less x (say compute) B needs for the same error,
both with intervals. With --by, the two studies are rows of one table that differ in column COL,
A the value that comes first. Nothing is written unless --json or --plot names a file.

  fit-laws compare adam.csv adafactor.csv --x flops --y value --where metric=upstream_error
  fit-laws compare runs.csv --by data_size --x flops --y error --at 1e15 1e16 --plot ratio.png

options:
  --x COL --y COL --y-is KIND --where COL=VALUE --all-points --law NAME
  --loss NAME --huber DELTA --on SCALE --weights COL --together COL --level P
                     as fit-laws --help says, for both studies
  --by COL           two studies in one table
  --at X ...         where to compare; left out: the largest x that both studies reached
  --error E ...      errors to be reached; left out: those of A at each X
  --json FILE        write the comparison as JSON; - prints JSON and nothing else
  --plot FILE        draw E_B / E_A against x with its band: .pdf, .png or .svg
  -h, --help         print this

Intervals are meant to hold the truth with the probability of --level (0.9). Where that of a ratio
contains 1, the runs do not tell the two apart, and it is said which study's runs would help most.
The studies are taken as independent. JSON: {x, y, y_is, level, a, b, at, saved, warnings}; a and b:
{name, law, values, intervals, points, runs, held_out as in fit-laws --help}; at: [{x, error_a,
error_b, ratio, low, high, verdict}]; saved: [{error, x_a, x_b, factor, low, high}], an open end, or
an error out of reach, null.

exit status: 0 done, 2 a mistake in what was typed or in a table, or a study that cannot be fitted:
all mistakes are named, and nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
    interval,
    number_mistakes,
    plot_mistakes,
    read,
    write_json,
)
from fits.data.tables import number

if TYPE_CHECKING:
    from fits.data.points import Points
    from fits.decisions.compare import At, Estimate, Saved
    from fits.regression.fit import Fit
    from fits.regression.holdout import Trials
    from fits.spec import Asked

AB = "A", "B"


def main(argv: Sequence[str]) -> int:
    parser = Parser("fit-laws compare", __doc__)
    parser.add_argument("tables", metavar="TABLE", type=Path, nargs="*")
    add_asked(parser)
    parser.add_argument("--by", metavar="COL")
    parser.add_argument("--at", metavar="X", nargs="+", action="extend", default=[])
    parser.add_argument("--error", metavar="E", nargs="+", action="extend", default=[])
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--plot", metavar="FILE", type=Path)
    options = parser.read(argv)
    tables = len(options.tables)
    parser.require({"TABLE": options.tables or None, "--x": options.x, "--y": options.y})
    if tables != (1 if options.by else 2):
        wanted = "--by splits one table" if options.by else "two tables, or one and --by COL"
        parser.error(f"{tables} tables; {wanted}, and tables come before --at and --error")
    return ending(lambda: _run(options), options.tables[0])


def _run(options: argparse.Namespace) -> int:
    wanted = asked(options)
    by = [options.by] if options.by else []
    points = read(_mistakes(options), [(wanted, table) for table in options.tables], by)
    names, studies = _two(options, points)
    from fits.decisions import compare

    (a, trials_a), (b, trials_b) = _fits(wanted, names, studies)
    places = [number(text) for text in options.at] or [min(compare.span(a)[1], compare.span(b)[1])]
    ats = [compare.at(a, b, x) for x in places]
    errors = [number(text) for text in options.error] or [each.error_a for each in ats]
    saved = [compare.saved(a, b, error) for error in errors]
    doubts = [
        *(f"{n}: {note}" for n, its in zip(AB, studies, strict=True) for note in its.notes),
        *([] if options.by else _shared_runs(*studies)),
        *compare.doubts(a, b, places, AB),
    ]
    if options.plot:
        from fits.plotting import canvas, draw_ratio, save

        title = f"B: {Path(names[1]).name}   A: {Path(names[0]).name}"
        figure, (panel,) = canvas()
        draw_ratio(a, b, xlabel=wanted.x[0], title=title, ax=panel)
        save(figure, options.plot)
    if options.json:
        studied = zip(names, studies, (a, b), (trials_a, trials_b), strict=True)
        write_json(
            options.json, _answer(wanted, [_study(*each) for each in studied], ats, saved, doubts)
        )
    if str(options.json) == "-":
        for doubt in doubts:
            print(f"warning: {doubt}", file=sys.stderr)
        return 0
    what = f"{error_name(wanted)} against {wanted.x[0]}"
    print(f"{what}, law {wanted.law}; {100 * wanted.level:g}% intervals")
    told = zip(AB, names, studies, (a, b), (trials_a, trials_b), strict=True)
    for letter, name, its, fit, trials in told:
        print(f"  {letter}: {name}, through {fit.n} of {len(its.error)} runs")
        if trials is not None:
            print(f"     {trials.in_short(wanted.law)}")
    for each in ats:
        _print_at(each)
    for one in saved:
        _print_saved(one)
    print()
    for doubt in doubts:
        print(f"warning: {doubt}")
    for path in filter(None, (options.json, options.plot)):
        print(f"\nwritten: {path}")
    return 0


def _mistakes(options: argparse.Namespace) -> list[list[str]]:
    from fits.base.numbers import X_RANGE, Y_RANGE

    return [
        asked_mistakes(options, variables=1),
        number_mistakes("--at", options.at, *X_RANGE),
        number_mistakes("--error", options.error, *Y_RANGE),
        plot_mistakes(options.plot),
        file_mistakes({"--json": options.json, "--plot": options.plot}, options.tables),
    ]


def _two(options: argparse.Namespace, points: Sequence[Points]) -> tuple[list[str], list[Points]]:
    """The two studies and their names."""
    if not options.by:
        return [str(table) for table in options.tables], list(points)
    groups = list(points[0].split([options.by]))
    names = [f"{options.by}={short(each[options.by])}" for each, _ in groups]
    if len(groups) != 2:
        raise UserError(
            [
                f"--by: {len(groups)} values of {options.by}, not two ({short(', '.join(names))}). "
                f"Leave rows out, say with --where '{options.by}!=VALUE'."
            ]
        )
    return names, [its for _, its in groups]


def _fits(
    wanted: Asked, names: Sequence[str], studies: Sequence[Points]
) -> list[tuple[Fit, Trials | None]]:
    fits, refusals = [], []
    for name, its in zip(names, studies, strict=True):
        try:
            asked_of_it = wanted.with_seeds(its)
            runs = asked_of_it.runs(its)
            fits.append((asked_of_it.fit(runs), asked_of_it.trials(runs)))
        except ValueError as wrong:
            refusals.append(f"{name}: {wrong}")
    if refusals:
        raise UserError(refusals)
    return fits


def _shared_runs(a: Points, b: Points) -> list[str]:
    """Runs that both have make the two agree by more than chance."""
    both = set(zip(a.x.tolist(), a.error.tolist(), strict=True))
    both &= set(zip(b.x.tolist(), b.error.tolist(), strict=True))
    if not both:
        return []
    return [
        f"{len(both)} runs have the same x and y in both: where they are the same runs, the "
        "studies are not independent and the intervals are too wide"
    ]


def _verdict(at: At) -> str:
    if at.ratio.sure:
        better, times = ("B", at.ratio) if at.ratio.high < 1 else ("A", at.ratio)
        return f"{better} is better: B's error is {times.value:.3g} times that of A"
    more = "A" if at.share_a > 0.5 else "B"
    share = max(at.share_a, 1 - at.share_a)
    return (
        f"not told apart; {share:.0%} of the doubt is about {more}: runs of {more} at or above "
        f"x = {at.x:.3g} would help most"
    )


def _print_at(at: At) -> None:
    print(f"\nat x = {at.x:.4g}: E_A = {at.error_a:.4g}, E_B = {at.error_b:.4g}")
    print(f"  E_B / E_A = {interval(at.ratio.value, at.ratio.low, at.ratio.high)}")
    print(f"  {_verdict(at)}")


def _print_saved(saved: Saved) -> None:
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
            print("  not told apart")


def _answer(
    wanted: Asked,
    studies: Sequence[dict[str, Any]],
    ats: Sequence[At],
    saved: Sequence[Saved],
    doubts: Sequence[str],
) -> dict[str, Any]:
    return {
        "x": wanted.x[0],
        "y": wanted.y,
        "y_is": wanted.y_is,
        "level": wanted.level,
        "a": studies[0],
        "b": studies[1],
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
        "warnings": list(doubts),
    }


def _study(name: str, points: Points, fit: Fit, trials: Trials | None) -> dict[str, Any]:
    ends = [[finite(end) for end in pair] for pair in fit.intervals]
    return {
        "name": name,
        "law": fit.law.name,
        "values": dict(zip(fit.law.parameters, fit.values, strict=True)),
        "intervals": dict(zip(fit.law.parameters, ends, strict=True)),
        "points": fit.n,
        "runs": len(points.error),
        "held_out": trials and trials.plain(),
    }


def _ends(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, "low": None, "high": None}
    return {
        name: finite(estimate.value),
        "low": finite(estimate.low),
        "high": finite(estimate.high),
    }
