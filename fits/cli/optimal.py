"""fit-laws optimal TABLE --size COL --data COL --y COL --compute C [options]

How to divide compute between a larger model and more data, by three ways that assume different
things: the envelope of all runs, profiles at equal compute, and a law of size and data. Says where
they part and which assumption failed. Nothing is written unless --json or --plot names a file.

  fit-laws optimal runs.csv --size params --data images --y error --compute 1e18 1e19
  fit-laws optimal points.csv --size params --flops flops --y loss --y-is loss --compute 1e24 \\
    --reach 2.0 --against 2.8e11,3e11

options:
  --size COL         parameters of the model, N
  --data COL         images or tokens seen, D; left out: --flops over K times the size
  --flops COL        compute spent; left out: K times size times data
  --per K            FLOPs a parameter and an image or token (default 6); with both columns their
                     own mean
  --y COL --y-is KIND --where COL=VALUE
                     as fit-laws --help says
  --curve COL        rows with the same value are the learning curve of one run; else every row is
                     a run; repeat for each combination
  --compute C ...    budgets to divide
  --reach E ...      errors to reach: the least compute that does
  --against N,D ...  models as they were trained: how many times cheaper the best size does the
                     same, and what twice the data would have bought
  --budgets C ...    computes of the profiles; left out: wherever many sizes were given about the
                     same
  --huber DELTA      for the law, log errors off by more count in proportion, not squared
  --level P          probability that an interval is meant to hold the truth (default 0.9)
  --json FILE        write it all as JSON; - prints JSON and nothing else
  --plot FILE        draw best size against compute: .pdf, .png or .svg
  -h, --help         print this

Intervals are meant to hold the truth with the probability of --level. The answers but for the best
size come from the law of size and data alone; how well that law, fitted to the runs of least N D,
foretells those of most, and how well laws of one of the two alone, is said beside it. JSON: {table,
y, y_is, level, points, ways, compute, reach, against, held_out as in fit-laws --help, warnings};
ways: [{way, exponent, best, warnings}] or {way, refused} where runs of such a kind are too few;
compute: [{compute, sizes: [{way, value, low, high}], data, error}]; reach:
[{error, compute}]; against: [{size, data, error, cheaper, twice_the_data}], estimates as {value,
low, high}, null where there is no end or nothing reaches it.

exit status: 0 done, 2 a mistake in what was typed or in the table, or not one way that its runs
allow: all mistakes are named, and nothing is written.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fits.base.errors import UserError
from fits.cli.shared import (
    LEVELS,
    Parser,
    add_level,
    ending,
    file_mistakes,
    finite,
    interval,
    level_of,
    number_mistakes,
    place_mistakes,
    plot_mistakes,
    read,
    write_json,
)
from fits.data.tables import number

if TYPE_CHECKING:
    from fits.allocation.allocation import Allocation, Estimate, Trainings
    from fits.allocation.parametric import Surface
    from fits.regression.holdout import Trials


def main(argv: Sequence[str]) -> int:
    parser = Parser("fit-laws optimal", __doc__)
    parser.add_argument("table", metavar="TABLE", type=Path, nargs="?")
    for option in ("--size", "--data", "--flops", "--y"):
        parser.add_argument(option, metavar="COL")
    parser.add_argument("--per", metavar="K", default="6")
    parser.add_argument("--y-is", metavar="KIND", default="error")
    parser.add_argument("--where", metavar="COL=VALUE", action="append", default=[])
    parser.add_argument("--curve", metavar="COL", action="append", default=[])
    for option in ("--compute", "--reach", "--against", "--budgets"):
        parser.add_argument(option, metavar="C", nargs="+", action="extend", default=[])
    parser.add_argument("--huber", metavar="DELTA")
    add_level(parser)
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--plot", metavar="FILE", type=Path)
    options = parser.read(argv)
    parser.require({"TABLE": options.table, "--size": options.size, "--y": options.y})
    if options.data is None and options.flops is None:
        parser.error("size alone says nothing of compute; give --data, --flops, or both")
    return ending(lambda: _run(options), options.table)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the three ways say.

    Fields:
      ways: those that the runs allow.
      refused: why not, by the name of the way.
      law: the way that answers all other questions; None where there is none.
      trials: how well it foretells large runs; None where it cannot be tried.
    """

    ways: list[Allocation]
    refused: dict[str, str]
    law: Surface | None
    trials: Trials | None


def _run(options: argparse.Namespace) -> int:
    from fits.allocation.allocation import disagreements
    from fits.spec import Asked

    columns = tuple(name for name in (options.size, options.data, options.flops) if name)
    wanted = Asked(
        x=columns, y=options.y, y_is=options.y_is, where=tuple(options.where), which="all"
    )
    (points,) = read(_mistakes(options), [(wanted, options.table)], options.curve)
    runs = _trainings(options, dict(zip(columns, points.x, strict=True)), points)
    found = _ways(options, runs)
    last = float(runs.compute.max())
    middle = math.sqrt(float(runs.compute.min()) * last)
    computes = [number(text) for text in options.compute]
    doubts = [*points.notes, *disagreements(found.ways, [middle, last, *computes])]
    doubts += [f"{c:g} is {c / last:.3g} times the largest compute" for c in computes if c > last]
    if options.plot:
        from fits.plotting import canvas, draw_allocations, save

        figure, (panel,) = canvas()
        draw_allocations(
            *(found.ways, runs, computes),
            xlabel="FLOPs",
            ylabel=options.size,
            level=level_of(options),
            ax=panel,
        )
        save(figure, options.plot)
    answer = _answer(options, runs, found, doubts)
    if options.json:
        write_json(options.json, answer)
    if str(options.json) == "-":
        for doubt in doubts:
            print(f"warning: {doubt}", file=sys.stderr)
        return 0
    _print(options, runs, found, doubts)
    for path in filter(None, (options.json, options.plot)):
        print(f"\nwritten: {path}")
    return 0


def _mistakes(options: argparse.Namespace) -> list[list[str]]:
    from fits.base.numbers import X_RANGE, Y_RANGE
    from fits.spec import BENDS

    numbers = [
        *number_mistakes("--per", [options.per], *X_RANGE),
        *number_mistakes("--compute", options.compute, *X_RANGE),
        *number_mistakes("--reach", options.reach, *Y_RANGE),
        *place_mistakes("--against", options.against, 2, X_RANGE),
        *number_mistakes("--budgets", options.budgets, *X_RANGE),
        *number_mistakes("--level", [options.level], *LEVELS),
        *number_mistakes("--huber", [options.huber] if options.huber else [], *BENDS),
    ]
    files = [
        *plot_mistakes(options.plot),
        *file_mistakes({"--json": options.json, "--plot": options.plot}, [options.table]),
    ]
    return [numbers, files]


def _trainings(options: argparse.Namespace, columns: dict[str, Any], points: Any) -> Trainings:
    from fits.allocation.allocation import trainings

    per = number(options.per)
    size, flops = columns[options.size], columns.get(options.flops)
    data = columns[options.data] if options.data else flops / (per * size)
    labels = None
    if options.curve:
        labels = list(zip(*(points.table.column(name) for name in options.curve), strict=True))
    return trainings(size, data, points.error, compute=flops, per=per, run=labels)


def _ways(options: argparse.Namespace, runs: Trainings) -> Answer:
    from fits.allocation.allocation import BY_ENVELOPE, BY_LAW, BY_PROFILES
    from fits.allocation.envelope import envelope
    from fits.allocation.isoflop import isoflop
    from fits.allocation.parametric import Surface, parametric, trials

    budgets = [number(text) for text in options.budgets] or None
    huber = number(options.huber) if options.huber else None
    tries: dict[str, Callable[[], Allocation]] = {
        BY_ENVELOPE: lambda: envelope(runs),
        BY_PROFILES: lambda: isoflop(runs, budgets=budgets),
        BY_LAW: lambda: parametric(runs, huber=huber),
    }
    ways: list[Allocation] = []
    refused: dict[str, str] = {}
    for name, way in tries.items():
        try:
            ways.append(way())
        except ValueError as why:
            refused[name] = str(why)
    if not ways:
        raise UserError([f"{options.table}: {name}: {why}" for name, why in refused.items()])
    law = next((way for way in ways if isinstance(way, Surface)), None)
    tried = trials(runs, huber=huber) if law else None
    return Answer(ways=ways, refused=refused, law=law, trials=tried)


def _print(options: argparse.Namespace, runs: Trainings, found: Answer, doubts: list[str]) -> None:
    level = level_of(options)
    print(f"{options.table}: {len(runs.loss)} points; {100 * level:g}% intervals")
    print("\nthe best size grows as compute to the power of")
    for way in found.ways:
        print(f"  {interval(*way.exponent(level)):24} {way.approach}")
    for name, why in found.refused.items():
        print(f"  none: {name}: {why}")
    if found.trials is not None and found.law:
        print(f"\n{found.trials.in_short(found.law.fit.law.name)}")
    for text in options.compute:
        compute = number(text)
        print(f"\nof {compute:g} FLOPs")
        for way in found.ways:
            print(f"  size   {interval(*way.size(compute, level)):28} {way.approach}")
        if found.law:
            print(f"  data   {interval(*found.law.data(compute, level))}")
            print(f"  {options.y}   {interval(*found.law.loss(compute, level))}")
    if found.law:
        _print_law(options, found.law)
    print()
    for doubt in [*(f"{w.approach}: {d}" for w in found.ways for d in w.doubts), *doubts]:
        print(f"warning: {doubt}")


def _print_law(options: argparse.Namespace, law: Surface) -> None:
    """What is asked of the law of size and data alone."""
    level = level_of(options)
    for text in options.reach:
        print(f"\n{options.y} {text} takes FLOPs {_open(law.compute(number(text), level))}")
    for text in options.against:
        size, data = map(number, text.split(","))
        cheaper = interval(*law.saved(size, data, level))
        print(f"\na model of size {size:g}, trained on {data:g}")
        print(f"  {options.y}   {interval(*law.at(size, data, level))}")
        print(f"  the best size does the same {cheaper} times cheaper")
        print(f"  twice the data: {options.y} times {_fine(law.more_data(size, data, 2, level))}")


def _open(found: Estimate) -> str:
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


def _answer(
    options: argparse.Namespace, runs: Trainings, found: Answer, doubts: list[str]
) -> dict[str, Any]:
    law, level = found.law, level_of(options)
    return {
        "table": str(options.table),
        "y": options.y,
        "y_is": options.y_is,
        "level": level,
        "points": len(runs.loss),
        "ways": [
            *(
                {
                    "way": way.approach,
                    "exponent": _plain(way.exponent(level)),
                    "best": [
                        {"compute": c, "size": n} for c, n in zip(*map(list, way.best), strict=True)
                    ],
                    "warnings": list(way.doubts),
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
            for compute in map(number, options.compute)
        ],
        "reach": [
            {"error": error, "compute": law and _plain(law.compute(error, level))}
            for error in map(number, options.reach)
        ],
        "against": [
            {
                "size": size,
                "data": data,
                "error": law and _plain(law.at(size, data, level)),
                "cheaper": law and _plain(law.saved(size, data, level)),
                "twice_the_data": law and _plain(law.more_data(size, data, 2, level)),
            }
            for size, data in (map(number, text.split(",")) for text in options.against)
        ],
        "held_out": found.trials and found.trials.plain(),
        "warnings": doubts,
    }


def _plain(found: Estimate) -> dict[str, float | None]:
    return dict(zip(("value", "low", "high"), map(finite, found), strict=True))
