"""fit-laws TABLE --x COL --y COL [options]     (or: python fits/fit_laws.py ...)

Fits a law to the frontier of a table of runs, error against the resource spent, and prints it
with intervals. TABLE is CSV with a line of column names, or Parquet (.parquet), from anywhere.
It is never changed, and nothing is written unless --json or --plot names a file.

  fit-laws results.csv --x flops --y value --where metric=upstream_error
  fit-laws others.csv --x gpu_hours --y top1 --y-is accuracy-percent --predict 1e4 1e5

options:
  --x COL            the resource, > 0, in any unit: compute, images seen, data size
  --y COL            what was measured
  --y-is KIND        error (default) | error-percent | accuracy | accuracy-percent
  --where COL=VALUE  only rows that have VALUE in column COL; COL!=VALUE: that have another;
                     repeat to ask for more
  --by COL           one fit for each value of COL; repeat for each combination
  --all-points       fit all rows; else only the frontier, the rows that set a new minimum
                     error as x grows
  --law NAME         saturating   a (x + d)^-b + c   (default)
                     power-floor  a x^-b + c
                     power-shift  a (x + d)^-b
                     power        a x^-b
  --predict X ...    the error to expect at X, with its interval
  --json FILE        write the fits as JSON; - prints JSON and nothing else
  --plot FILE        draw the fits, one panel each: .pdf, .png or .svg
  -h, --help         print this

Rows without x or y are left out, and said. Intervals are meant to hold the truth with a
probability of 90 %; they come from a bootstrap over runs with a fixed seed, so the same table
gives the same digits. JSON: {table, x, y, y_is, level, groups}; a group: {group, law, formula,
values, intervals, points, runs, rms_log_error, warnings, predictions: [{x, median, low, high}]},
with group null where --by is not given; median is the fitted curve, the middle of its interval.

exit status: 0 done, 2 a mistake in what was typed or in the table: all of them are named, and
nothing is written.
"""

# Nothing but the standard library is imported before the arguments are read: --help is instant.
from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, SupportsFloat

if __name__ == "__main__":  # run as a file, Python would look for `fits` beside the file
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fits.tables import InputError, is_number, near, number, written_aside

if TYPE_CHECKING:
    from fits.fit import Fit
    from fits.laws import Law
    from fits.points import Points


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that share a fit; `names` holds their value of each --by column."""

    names: dict[str, str]
    points: Points
    fit: Fit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(argv)
    try:
        _run(options)
        sys.stdout.flush()
    except InputError as error:
        return _refuse(str(error))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _refuse(f"{error.filename or options.table}: {error.strerror or error}.")
    return 0


def _refuse(mistakes: str) -> int:
    gap = "\n  " if "\n" in mistakes else " "
    print(f"fit-laws:{gap}" + mistakes.replace("\n", gap), file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Help is this file's docstring; a mistake points to it."""

    def format_help(self) -> str:
        return __doc__ or ""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"fit-laws: {message}. See fit-laws --help.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fit-laws", allow_abbrev=False)
    parser.add_argument("table", metavar="TABLE", type=Path)
    parser.add_argument("--x", metavar="COL", required=True)
    parser.add_argument("--y", metavar="COL", required=True)
    parser.add_argument("--y-is", metavar="KIND", default="error")
    parser.add_argument("--where", metavar="COL=VALUE", action="append", default=[])
    parser.add_argument("--by", metavar="COL", action="append", default=[])
    parser.add_argument("--all-points", action="store_true")
    parser.add_argument("--law", metavar="NAME", default="saturating")
    parser.add_argument("--predict", metavar="X", nargs="+", action="extend", default=[])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", type=Path)
    return parser


def _run(options: argparse.Namespace) -> None:
    from fits.points import read_points

    law, wanted = _check(options)
    points = read_points(
        options.table, options.x, options.y, options.y_is, where=options.where, by=options.by
    )
    groups = _fit_groups(options, law, points)
    if options.plot:
        _plot(options, groups)
    if options.json:
        _write_json(options, groups, wanted)
    if options.json != "-":
        _print(options, groups, wanted)
        return
    for group in groups:
        for warning in _warnings(group, wanted):
            print(f"warning{_of(group.names)}: {warning}", file=sys.stderr)


def _check(options: argparse.Namespace) -> tuple[Law, list[float]]:
    """The law and the numbers to predict at, or every mistake in the options at once."""
    from fits.laws import LAWS
    from fits.plots import FORMATS
    from fits.points import KINDS

    mistakes = []
    choices = ("--law", options.law, tuple(LAWS)), ("--y-is", options.y_is, KINDS)
    for option, name, known in choices:
        if name not in known:
            mistakes.append(f"{option}: no '{name}'. {near(name, known)}Use {', '.join(known)}.")
    wanted = []
    for text in options.predict:
        wanted.append(number(text) if is_number(text) else math.nan)
        if not 0 < wanted[-1] < math.inf:
            mistakes.append(f"--predict: {text} is not a number above 0.")
    mistakes += [
        f"--where: '{condition}' has no '='. Write COL=VALUE or COL!=VALUE."
        for condition in options.where
        if "=" not in condition
    ]
    if options.plot and options.plot.suffix.lower() not in FORMATS:
        mistakes.append(f"--plot: {options.plot} ends in none of {', '.join(FORMATS)}.")
    for option, path in (("--json", options.json), ("--plot", options.plot)):
        if path and path != "-":
            mistakes += _unwritable(option, Path(path), options.table)
    if mistakes:
        raise InputError(mistakes)
    return LAWS[options.law], wanted


def _unwritable(option: str, path: Path, table: Path) -> list[str]:
    if path.exists() and table.exists() and path.samefile(table):
        return [f"{option}: {path} is the table itself. Name another file."]
    if path.is_dir():
        return [f"{option}: {path} is a folder. Name a file in it."]
    if not path.parent.is_dir():
        return [f"{option}: there is no folder {path.parent}. Make it first."]
    if not os.access(path.parent, os.W_OK):
        return [f"{option}: the folder {path.parent} may not be written to. Name another."]
    return []


def _fit_groups(options: argparse.Namespace, law: Law, points: Points) -> list[Group]:
    """One fit a group, or in words each that is impossible."""
    from fits.fit import every_point, fit
    from fits.frontier import on_frontier

    choose = every_point if options.all_points else on_frontier
    groups, mistakes = [], []
    for names, its in points.split(options.by):
        try:
            found = fit(law, its.x, its.error, choose=choose)
        except ValueError as wrong:
            mistakes.append(f"{options.table}{_of(names)}: {wrong} {_advice(options, names)}")
        else:
            groups.append(Group(names=names, points=its, fit=found))
    if mistakes:
        raise InputError(mistakes)
    return groups


def _advice(options: argparse.Namespace, names: dict[str, str]) -> str:
    advice = ["Add runs"]
    if options.law != "power":
        advice.append("try --law power, which has 2")
    if not options.all_points:
        advice.append("say --all-points to fit more than the frontier")
    advice += [f"leave the group out with --where '{name}!={names[name]}'" for name in names]
    if options.y_is.startswith("error"):
        advice.append(f"say --y-is accuracy if {options.y} grows as runs get better")
    return "; or ".join(advice) + "."


def _of(names: dict[str, str]) -> str:
    return "".join(f", {name}={value}" for name, value in names.items())


def _warnings(group: Group, wanted: list[float]) -> list[str]:
    beyond = [said for x in wanted if (said := group.fit.beyond(x))]
    return [*group.points.notes, *group.fit.warnings, *beyond]


def _print(options: argparse.Namespace, groups: list[Group], wanted: list[float]) -> None:
    """The fits for a person, with all that speaks against them."""
    print(f"{options.table}: {_error_name(options)} against {options.x}")
    for group in groups:
        fit, law = group.fit, group.fit.law
        which = "points" if options.all_points else "runs, the frontier"
        print(f"\n{_title(group) or 'all rows'}")
        print(f"  law {law.name}: E(x) = {law.formula}")
        print(f"  through {fit.n} of {len(group.points.x)} {which}; {fit.level:.0%} intervals")
        for name, value, ends in zip(law.parameters, fit.values, fit.intervals, strict=True):
            floor = "   the floor" if name == "c" else ""
            print(f"    {name} = {value:<10.4g} [{ends[0]:.4g}, {ends[1]:.4g}]{floor}")
        for x in wanted:
            low, high = fit.band(x)
            print(f"    E({x:g}) = {fit.predict(x):.4g} [{low:.4g}, {high:.4g}]")
        print(f"  root mean square of log error {fit.rms:.4f}")
        for warning in _warnings(group, wanted):
            print(f"  warning: {warning}")
    for path in filter(None, (options.json, options.plot)):
        print(f"\nwritten: {path}")


def _title(group: Group) -> str:
    return _of(group.names).removeprefix(", ")


def _error_name(options: argparse.Namespace) -> str:
    return f"1 - {options.y}" if options.y_is.startswith("accuracy") else str(options.y)


def _write_json(options: argparse.Namespace, groups: list[Group], wanted: list[float]) -> None:
    answer = {
        "table": str(options.table),
        "x": options.x,
        "y": options.y,
        "y_is": options.y_is,
        "level": groups[0].fit.level,
        "groups": [_plain(group, wanted) for group in groups],
    }
    text = json.dumps(answer, indent=2, allow_nan=False) + "\n"
    if options.json == "-":
        print(text, end="")
        return
    with written_aside(options.json) as aside:
        aside.write_text(text, encoding="utf-8")


def _plain(group: Group, wanted: list[float]) -> dict[str, Any]:
    fit = group.fit
    predictions = []
    for x in wanted:
        low, high = map(_finite, fit.band(x))
        predictions.append({"x": x, "median": _finite(fit.predict(x)), "low": low, "high": high})
    names = fit.law.parameters
    ends = [[_finite(low), _finite(high)] for low, high in fit.intervals]
    return {
        "group": group.names or None,
        "law": fit.law.name,
        "formula": fit.law.formula,
        "values": dict(zip(names, fit.values, strict=True)),
        "intervals": dict(zip(names, ends, strict=True)),
        "points": fit.n,
        "runs": len(group.points.x),
        "rms_log_error": fit.rms,
        "warnings": _warnings(group, wanted),
        "predictions": predictions,
    }


def _finite(end: SupportsFloat) -> float | None:
    """JSON knows no infinity: the open end of an interval is null."""
    return float(end) if math.isfinite(end) else None


def _plot(options: argparse.Namespace, groups: list[Group]) -> None:
    from fits.frontier import frontier
    from fits.plots import canvas, draw_frontier, save

    figure, panels = canvas(len(groups))
    for group, panel in zip(groups, panels, strict=True):
        points = group.points
        draw_frontier(
            group.fit,
            points.x,
            points.error,
            frontier=None if options.all_points else frontier(points.x, points.error),
            labels=points.table.columns.get("model"),
            series=points.table.columns.get("data_size"),
            xlabel=options.x,
            ylabel=_error_name(options),
            title=_title(group) or None,
            ax=panel,
        )
    save(figure, options.plot)


if __name__ == "__main__":
    sys.exit(main())
