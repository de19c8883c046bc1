"""fit-laws pool: which run of a table to do next, where most have no error yet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from fits.base.counted import counted
from fits.base.errors import all_of
from fits.base.names import short
from fits.cli.far import Far, refuse_impossible, refuse_places
from fits.cli.options import Json, TableArgument, Texts, numbers, option, singles, spec_of
from fits.cli.output import check_files, put

if TYPE_CHECKING:
    from fits.decisions.pool_table import PoolChoice

OWN = (
    *("frontier", "all_points", "hull", "law", "loss", "huber", "scale", "weights", "quantile"),
    *("fix", "tie", "from_law", "hold", "chance", "cluster", "last_of", "best_of"),
)
"""Options of fits that a pool has not, or has in its own way."""
SHOWN = 12  # targets


def pool(
    table: TableArgument,
    options: dict[str, Any],
    budget: Annotated[str, option("COST", "Of all further runs, in the unit of cost.")],
    law: Annotated[
        Texts, option("NAME", "Laws of several variables, repeatable; default: chinchilla.")
    ] = None,
    target: Annotated[
        Texts, option("COND", "Rows of the target region, as --where; repeatable.")
    ] = None,
    predict: Annotated[Texts, option("X,X", "A place of the target region; repeatable.")] = None,
    cost: Annotated[
        str | None, option("COL", "Costs; default: flops, or else 6 times two x.")
    ] = None,
    far: Far = False,
    json_file: Json = None,
) -> None:
    """Which run to do next, so that the errors of a target region are predicted best for a budget.

    TABLE holds all runs: those with a y are done, those without one are on offer, but for rows of
    the target region (--target), which are predicted. The next run is expected to lower the mean
    variance there most, per square root of its cost, over all laws named (V-optimal design). Where
    too few runs are done, cheap ones come first, at random. Do the runs that are printed, write
    their errors into the table, and ask again.

    Exit status: 0 done; 2 a mistake on the command line or in the table, nothing on offer within
    the budget or nothing to predict: all mistakes are named, and nothing is written.
    """
    from fits.base.numbers import X_RANGE
    from fits.decisions.pool_table import laws_of, next_of_pool

    x = options["x"]
    (money,), places, laws, *_ = all_of(
        lambda: singles("--budget", [budget], (1e-300, 1e300)),
        lambda: numbers("--predict", predict or [], X_RANGE, len(x)),
        lambda: laws_of(law or (), x),
        lambda: check_files({"--json": json_file}, [table]),
    )
    largest = next(each.name for each in laws if each.reads is None)
    spec = spec_of(options, law=largest)
    refuse_impossible("--predict", spec.law, spec.x, places)
    found = next_of_pool(
        *(table, spec, laws, money), target=tuple(target or ()), predict=places, cost=cost
    )
    for each in found.targets:
        typed = "--predict" if each.line is None else f"--target: line {each.line}"
        refuse_places(typed, [each.x], (found.smallest, found.largest), far=far)
    put(found, _lines(found), [], json_file, notes=[each.words for each in found.notes])


def _lines(found: PoolChoice) -> Iterator[str]:
    spec = found.spec
    laws = f"law{'s' if len(found.laws) > 1 else ''} {', '.join(found.laws)}"
    runs = f"{counted(found.done, 'run')} done, {found.offered} on offer"
    yield f"{found.table}: {spec.error_name}, {runs}; {laws}"
    yield from _targets(found)
    first = found.runs[0]
    where = ", ".join(f"{name} = {each:g}" for name, each in zip(spec.x, first.x, strict=True))
    yield f"\nnext: line {first.line} ({where}), which costs {first.cost:.4g} {found.unit}"
    if len(found.runs) > 1:
        why = "before the laws are fitted anew" if first.width else "first, cheap ones at random"
        yield f"\n{len(found.runs)} runs to do {why}, of a budget of {found.budget:.4g}:\n"
        head = (*spec.x, "cost", "spent", *(["width"] if first.width else []))
        yield f"{'line':>8}" + "".join(f"{short(name):>13}" for name in head)
        for run in found.runs:
            cells = (*run.x, run.cost, run.spent, *([run.width] if run.width else []))
            yield f"{run.line:8}" + "".join(f"{each:13.4g}" for each in cells)


def _targets(found: PoolChoice) -> Iterator[str]:
    spec, count = found.spec, len(found.targets)
    of = f"  target region: {count} place{'s' if count > 1 else ''}"
    if found.width is None:
        yield f"{of}; too few runs are done to predict them"
        return
    wide = f"{100 * math.expm1(found.width):.3g} % wide"
    yield f"{of}; {100 * spec.level:g}% intervals of what will be measured, {wide} on average:\n"
    yield f"{'line':>8}" + "".join(
        f"{short(name):>13}" for name in (*spec.x, "predicted", "low", "high")
    )
    for each in found.targets[:SHOWN]:
        assert each.error is not None
        line = "" if each.line is None else each.line
        yield f"{line:>8}" + "".join(f"{number:13.4g}" for number in (*each.x, *each.error))
    if count > SHOWN:
        yield f"{'...':>8}   {count - SHOWN} more (--json has all)"
