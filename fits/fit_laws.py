"""fit-laws TABLE --x COL --y COL [options]     (or: python fits/fit_laws.py ...)

Fits a law to the frontier of a table of runs, error against the resource spent, and prints it
with intervals. TABLE is CSV with a line of column names, or Parquet (.parquet), from anywhere.
It is never changed, and nothing is written unless --save, --json or --plot names a file.

  fit-laws results.csv --x flops --y value --where metric=upstream_error
  fit-laws others.csv --x gpu_hours --y top1 --y-is accuracy-percent --predict 1e4 1e5

what else it does, each with a help of its own (fit-laws check --help):
  fit-laws check LAW.json ...          does a law that was saved still hold?
  fit-laws compare TABLE TABLE ...     recipe A against B: errors, and compute saved
  fit-laws next TABLE ...              which runs would make a prediction surest, per FLOP
  fit-laws optimal TABLE ...           how to divide compute between a larger model and more data

options:
  --x COL            the resource, > 0, in any unit: compute, images seen, data size
  --y COL            what was measured
  --y-is KIND        error (default) | error-percent | accuracy | accuracy-percent | loss
  --where COL=VALUE  only rows that have VALUE in column COL; COL!=VALUE: that have another;
                     repeat to ask for more
  --by COL           one fit for each value of COL; repeat for each combination
  --frontier         fit the rows that set a new minimum error as x grows (default)
  --all-points       fit all rows (default of a forecast and of laws of several x)
  --hull             of the frontier only the corners of its convex hull on log axes
  --law NAME         of one x: saturating   a (x + d)^-b + c   (default)
                               power-floor  a x^-b + c
                               power-shift  a (x + d)^-b
                               power        a x^-b
                               m3           a (1/x + g)^b
                               m4           (E - c) / (e - E)^s = a x^-b
                               broken       c + a x^-b (1 + (x / d1)^(1 / f1))^(-b1 f1)
                               broken-2     the same with a second break; broken-3, broken-4
                                            and broken-5 with more
                               log-linear   a - b log10(x)
                               parabola     lowest + bend ln(x / best)^2
                               forecast     no one law: what the next measurement will be
                               (m1 is another name of power, m2 of power-floor)
                     of several, which take --x once for each, in this order, and all points:
                       chinchilla  N D      E + A / N^alpha + B / D^beta
                       repeated    N D U    the same, of U different data, seen again and again
                       shape       x t      alpha x^-a + (beta x^b + xi) t^-c + eps
  --loss NAME        squares (default) | huber: rows far off the curve cannot rule
  --huber DELTA      Huber's loss, for residuals beyond DELTA, say 0.01; auto, as with --loss huber:
                     beyond 1.345 times the noise
  --on SCALE         log (default): errors count as ratios | linear: as differences
  --weights COL      how much each row counts, as 1 over the variance of its noise
  --together COL     (or --groups COL) rows that agree in COL may err together: the points of one
                     learning curve, the seeds of one setting; repeat for each combination. Where a
                     table has a column seed, rows that differ in it alone (and in run and y) need
                     not be told: --together run takes each on its own again
  --level P          probability that an interval is meant to hold the truth (default 0.9)
  --predict X ...    the error to expect at X, with its interval; for several variables X,X,...
  --save LAW.json    keep the law with all that it rests on, for fit-laws check
  --json FILE        write the fits as JSON; - prints JSON and nothing else
  --plot FILE        draw the fits, one panel each: .pdf, .png or .svg
  -h, --help         print this

Rows without x or y are left out, and said. Intervals are meant to hold the truth with the
probability that --level says: from the profile of the loss, and of a frontier no narrower than runs
drawn anew say, with a fixed seed, so the same table gives the same digits.

Which law? With every fit comes a table of how well each law, fitted to the smallest two thirds of
the points, foretells the largest third: the root mean square of log error. The best is chosen. Of
several variables the others are laws of the same, or of some of them: power in N. Weights, groups,
loss and scale are those of the fit. Groups are kept whole, fitted or foretold or neither, unless
too few then remain. With Huber's loss the score is the mean absolute log error, with --on linear it
is of error.

JSON: {table, x, y, y_is, level, groups}; a group: {group, law, formula, values, intervals, points,
runs, asked: {weights, together, groups, loss, huber, on}, rms_log_error, warnings, predictions:
[{x, median, low, high}], held_out: {chosen, fitted, foretold, left_out, groups_cut, times_larger,
score, log_error}}, with group null where --by is not given; median is the fitted curve, and
log_error null for a law that cannot be tried. With --on linear rms_log_error is that of error, and
held_out has error in the place of log_error. A group that cannot be fitted, say for too few points,
has values, intervals, points, rms_log_error and held_out null, no predictions, and the reason among
its warnings; a forecast has formula, values and intervals null.

exit status: 0 done, 2 a mistake in what was typed or in the table, or not one group that can be
fitted: all mistakes are named, and nothing is written.
"""

# Nothing but the standard library is imported before the arguments are read: --help is instant.
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # run as a file, Python would look for `fits` beside the file
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from fits.base.names import did_you_mean
from fits.cli import check, compare, next_runs, optimal
from fits.cli.shared import (
    Parser,
    add_asked,
    asked,
    asked_mistakes,
    ending,
    file_mistakes,
    place_mistakes,
    plot_mistakes,
    read,
    write_json,
)
from fits.data.tables import is_number, number

COMMANDS = {
    "check": check.main,
    "compare": compare.main,
    "next": next_runs.main,
    "optimal": optimal.main,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    if words and (meant := _command_meant(words[0])):
        Parser("fit-laws", __doc__).error(f"{words[0]}: no such command, and no table. {meant}")
    options = _parse(words)
    return ending(lambda: _run(options, words), options.table)


def _command_meant(word: str) -> str:
    """'Did you mean ...?' for what is neither a table nor far from a command."""
    path = Path(word)
    if word.startswith("-") or path.suffix or path.exists():
        return ""
    return did_you_mean(word, list(COMMANDS)).strip()


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = Parser("fit-laws", __doc__)
    parser.add_argument("table", metavar="TABLE", type=Path, nargs="?")
    add_asked(parser)
    parser.add_argument("--by", metavar="COL", action="append", default=[])
    parser.add_argument("--predict", metavar="X", nargs="+", action="extend", default=[])
    parser.add_argument("--save", metavar="LAW.json", type=Path)
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--plot", metavar="FILE", type=Path)
    options = parser.read(words)
    others = [text for text in options.predict if not all(map(is_number, text.split(",")))]
    hint = "--predict takes all that follows it, and {} is not a number; put TABLE first"
    needed = {"TABLE": options.table, "--x": options.x, "--y": options.y}
    parser.require(needed, hint.format(others[0]) if others else "")
    return options


def _run(options: argparse.Namespace, words: Sequence[str]) -> int:
    wanted = asked(options)
    (points,) = read(_mistakes(options), [(wanted, options.table)], options.by)
    wanted = wanted.with_seeds(points)
    from fits.cli import groups as of

    at = [tuple(map(number, text.split(","))) for text in options.predict]
    groups = of.fit_groups(wanted, points, options.by)
    if options.save:
        of.save_law(groups, options.save, words)
    if options.plot:
        of.plot_groups(groups, options.plot)
    quiet = str(options.json) == "-"
    if options.json:
        write_json(options.json, of.answer(groups, at))
    if not quiet:
        of.print_groups(groups, at)
        for path in filter(None, (options.save, options.json, options.plot)):
            print(f"\nwritten: {path}")
        return 0
    for group in groups:
        for warning in group.warnings(at):
            print(f"warning{group.said}: {warning}", file=sys.stderr)
    return 0


def _mistakes(options: argparse.Namespace) -> list[list[str]]:
    """What is wrong with the options, but for those that say what to read."""
    from fits.base.numbers import X_RANGE
    from fits.spec import FORECAST

    files = {"--save": options.save, "--json": options.json, "--plot": options.plot}
    out = [*plot_mistakes(options.plot), *file_mistakes(files, [options.table])]
    if options.plot and len(options.x) > 1:
        out.append("--plot: a law of several variables is no line. Leave it out.")
    if options.save and options.law == FORECAST:
        out.append("--save: a forecast is no law that could be kept. Say --json FILE.")
    if options.law == FORECAST:
        ways = {"--weights": options.weights, "--together": options.together}
        ways |= {"--loss": options.loss, "--huber": options.huber, "--on": options.on != "log"}
        given = [option for option, value in ways.items() if value]
        out += [
            f"{option}: a forecast takes the points as they are. Leave it out." for option in given
        ]
    return [
        asked_mistakes(options, more=[FORECAST]),
        place_mistakes("--predict", options.predict, len(options.x), X_RANGE),
        out,
    ]


if __name__ == "__main__":
    sys.exit(main())
