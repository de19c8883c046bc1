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
A group that cannot be fitted, say for too few points, has values, intervals, points and
rms_log_error null, no predictions, and the reason among its warnings.

exit status: 0 done, 2 a mistake in what was typed or in the table, or not one group that can be
fitted: all mistakes are named, and nothing is written.
"""

# Nothing but the standard library is imported before the arguments are read: --help is instant.
from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, SupportsFloat

if __name__ == "__main__":  # run as a file, Python would look for `fits` beside the file
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fits.tables import InputError, is_number, near, number, short, written_aside

if TYPE_CHECKING:
    from fits.fit import Fit
    from fits.laws import Law
    from fits.points import Points


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that share a fit.

    Fields:
      names: their value of each --by column.
      law: the curve asked for.
      points: the runs.
      fit: None where there can be none.
      refusal: why not.
    """

    names: dict[str, str]
    law: Law
    points: Points
    fit: Fit | None = None
    refusal: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parse(argv)
    try:
        _run(options)
        sys.stdout.flush()
    except InputError as error:
        return _refuse(str(error))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _refuse(_told(error, options.table))
    return 0


def _told(error: OSError, path: Path) -> str:
    return f"{error.filename or path}: {error.strerror or error}."


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


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="fit-laws", allow_abbrev=False)
    parser.add_argument("table", metavar="TABLE", type=Path, nargs="?")
    parser.add_argument("--x", metavar="COL")
    parser.add_argument("--y", metavar="COL")
    parser.add_argument("--y-is", metavar="KIND", default="error")
    parser.add_argument("--where", metavar="COL=VALUE", action="append", default=[])
    parser.add_argument("--by", metavar="COL", action="append", default=[])
    parser.add_argument("--all-points", action="store_true")
    parser.add_argument("--law", metavar="NAME", default="saturating")
    parser.add_argument("--predict", metavar="X", nargs="+", action="extend", default=[])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--plot", metavar="FILE", type=Path)
    options = parser.parse_args(argv)
    needed = {"TABLE": options.table, "--x": options.x, "--y": options.y}
    if missing := [name for name, given in needed.items() if given is None]:
        said = f"the following arguments are required: {', '.join(missing)}"
        words = [text for text in options.predict if not is_number(text)]
        if "TABLE" in missing and words:
            said += f". --predict takes all that follows it, and {words[0]} is not a number; "
            said += "put TABLE first"
        parser.error(said)
    return options


def _run(options: argparse.Namespace) -> None:
    from fits.laws import LAWS

    points = _read(options)
    wanted = [number(text) for text in options.predict]
    groups = _fit_groups(options, LAWS[options.law], points)
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


def _read(options: argparse.Namespace) -> Points:
    """The runs to fit, or every mistake in the options and in the table at once."""
    from fits.points import read_points

    kinds = _mistakes(options)
    try:
        points = read_points(
            options.table, options.x, options.y, options.y_is, where=options.where, by=options.by
        )
    except InputError as error:
        raise InputError(*kinds, *error.kinds) from None
    except OSError as error:
        raise InputError(*kinds, [_told(error, options.table)]) from None
    if any(kinds):
        raise InputError(*kinds)
    return points


def _mistakes(options: argparse.Namespace) -> list[list[str]]:
    """What is wrong with the options, but for those that say what to read."""
    from fits.laws import LAWS, X_RANGE
    from fits.plots import FORMATS

    laws = []
    if options.law not in LAWS:
        known = tuple(LAWS)
        said = near(options.law, known)
        laws.append(f"--law: no '{options.law}'. {said}Use {', '.join(known)}.")
    low, high = X_RANGE
    predictions = [
        f"--predict: {text} is not a number from {low:g} to {high:g}."
        for text in options.predict
        if not (is_number(text) and low <= number(text) <= high)
    ]
    files = []
    if options.plot and options.plot.suffix.lower() not in FORMATS:
        files.append(f"--plot: {options.plot} ends in none of {', '.join(FORMATS)}.")
    json_file = Path(options.json) if options.json not in (None, "-") else None
    for option, path in (("--json", json_file), ("--plot", options.plot)):
        if path:
            files += _unwritable(option, path, options.table)
    if json_file and options.plot and json_file.resolve() == options.plot.resolve():
        files.append(f"--json and --plot: both name {options.plot}. Name two files.")
    return [laws, predictions, files]


def _unwritable(option: str, path: Path, table: Path) -> list[str]:
    if path.exists() and table.exists() and path.samefile(table):
        return [f"{option}: {path} is the table itself. Name another file."]
    if path.is_dir():
        return [f"{option}: {path} is a folder. Name a file in it."]
    if path.exists() and not path.is_file():  # a pipe or a device
        writable = os.access(path, os.W_OK)
        return [] if writable else [f"{option}: {path} may not be written to. Name a file."]
    folder = (path.resolve() if path.is_symlink() else path).parent
    if not folder.is_dir():
        return [f"{option}: there is no folder {folder}. Make it first."]
    if not os.access(folder, os.W_OK):
        return [f"{option}: the folder {folder} may not be written to. Name another."]
    return []


def _fit_groups(options: argparse.Namespace, law: Law, points: Points) -> list[Group]:
    """One fit a group, or why there is none; in words why not if no group has one."""
    from fits.fit import every_point, fit
    from fits.frontier import on_frontier

    choose = every_point if options.all_points else on_frontier
    groups = []
    for names, its in points.split(options.by):
        try:
            found = fit(law, its.x, its.error, choose=choose)
        except ValueError as wrong:
            why = f"{wrong} {_advice(options, names)}"
            groups.append(Group(names=names, law=law, points=its, refusal=why))
        else:
            groups.append(Group(names=names, law=law, points=its, fit=found))
    if not any(group.fit for group in groups):
        raise InputError(
            [f"{options.table}{_of(group.names)}: {group.refusal}" for group in groups]
        )
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
    return "".join(f", {name}={short(value)}" for name, value in names.items())


def _warnings(group: Group, wanted: list[float]) -> list[str]:
    if group.fit is None:
        return [*group.points.notes, f"left out, no fit: {group.refusal}"]
    beyond = [said for x in wanted if (said := group.fit.beyond(x))]
    return [*group.points.notes, *group.fit.warnings, *beyond]


def _print(options: argparse.Namespace, groups: list[Group], wanted: list[float]) -> None:
    """The fits for a person, with all that speaks against them."""
    print(f"{options.table}: {_error_name(options)} against {options.x}")
    which = "points" if options.all_points else "runs, the frontier"
    for group in groups:
        print(f"\n{_title(group) or 'all rows'}")
        if group.fit is not None:
            _print_fit(group.fit, f"{len(group.points.x)} {which}", wanted)
        for warning in _warnings(group, wanted):
            print(f"  warning: {warning}")
    for path in filter(None, (options.json, options.plot)):
        print(f"\nwritten: {path}")


def _print_fit(fit: Fit, among: str, wanted: list[float]) -> None:
    law = fit.law
    print(f"  law {law.name}: E(x) = {law.formula}")
    print(f"  through {fit.n} of {among}; {fit.level:.0%} intervals")
    for name, value, ends in zip(law.parameters, fit.values, fit.intervals, strict=True):
        floor = "   the floor" if name == "c" else ""
        print(f"    {name} = {value:<10.4g} [{ends[0]:.4g}, {ends[1]:.4g}]{floor}")
    for x in wanted:
        low, high = fit.band(x)
        print(f"    E({x:g}) = {fit.predict(x):.4g} [{low:.4g}, {high:.4g}]")
    print(f"  root mean square of log error {fit.rms:.4f}")


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
        "level": next(group.fit.level for group in groups if group.fit),
        "groups": [_plain(group, wanted) for group in groups],
    }
    text = json.dumps(answer, indent=2, allow_nan=False) + "\n"
    if options.json == "-":
        print(text, end="")
        return
    with written_aside(options.json) as aside:
        aside.write_text(text, encoding="utf-8")


def _plain(group: Group, wanted: list[float]) -> dict[str, Any]:
    fit, law = group.fit, group.law
    return {
        "group": group.names or None,
        "law": law.name,
        "formula": law.formula,
        "values": fit and dict(zip(law.parameters, fit.values, strict=True)),
        "intervals": fit and dict(zip(law.parameters, map(_ends, fit.intervals), strict=True)),
        "points": fit and fit.n,
        "runs": len(group.points.x),
        "rms_log_error": fit and fit.rms,
        "warnings": _warnings(group, wanted),
        "predictions": [_prediction(fit, x) for x in wanted] if fit else [],
    }


def _prediction(fit: Fit, x: float) -> dict[str, float | None]:
    low, high = _ends(fit.band(x))
    return {"x": x, "median": _finite(fit.predict(x)), "low": low, "high": high}


def _ends(ends: Iterable[SupportsFloat]) -> list[float | None]:
    return [_finite(end) for end in ends]


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
