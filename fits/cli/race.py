"""fit-laws race: which of several trainings can be stopped now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.errors import UserError, all_of
from fits.base.names import did_you_mean, short
from fits.cli.far import Far
from fits.cli.options import Json, TableArgument, Texts, option, singles, spec_of
from fits.cli.output import check_files, put
from fits.cli.rate import Typed, rate_of
from fits.spec import FORECAST, SCHEDULES, RateSpec

if TYPE_CHECKING:
    from fits.decisions.races import RacedGroup, RacedRun, Races

OWN = (
    *("frontier", "all_points", "hull", "law", "loss", "huber", "scale", "weights", "quantile"),
    *("fix", "tie", "from_law", "hold", "chance", "cluster", "level", "last_of", "best_of"),
)
"""Options of fits that a race has not."""


def race(
    table: TableArgument,
    options: dict[str, Any],
    until: Annotated[str, option("X", "Where the runs are compared, in the unit of --x.")],
    run: Annotated[Texts, option("COL", "What tells runs apart; repeatable; default: run.")] = None,
    by: Annotated[Texts, option("COL", "Compare runs equal in COL alone; repeatable.")] = None,
    cost: Annotated[
        str | None, option("COL", "What a run has cost up to a row; default: flops, or else --x.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="How many of the best matter.")] = 1,
    delta: Annotated[
        float, option("P", "Probability of being wrong about a pair of runs, below 0.5.")
    ] = 0.05,
    schedule: Annotated[
        str, option("NAME", f"How the rate falls up to --until: {', '.join(SCHEDULES[:2])}.")
    ] = "",
    final_rate: Annotated[
        float, option("F", "Rate at the end, in parts of the peak.")
    ] = RateSpec.final,
    far: Far = False,
    json_file: Json = None,
) -> None:
    """Which of several trainings can be stopped now, since others will end lower.

    TABLE holds their learning curves, a row a point, as `scaling curves STUDY` writes them. Each is
    continued to --until as `fit-laws --law forecast` does it. A run can be stopped where --keep
    others end lower, each with a probability of more than 1 - delta (racing; Maron and Moore
    1994). Runs that are done count as they were measured there; a run with fewer than four points,
    or that ends in NaN, is neither stopped nor stops another. Costs are taken to be in proportion
    to x along a run. Stops nothing.

    Exit status: 0 done; 2 a mistake on the command line or in the table: all mistakes are named,
    and nothing is written.
    """
    from fits.base.numbers import X_RANGE
    from fits.decisions.races import races

    def rate() -> RateSpec | None:
        whole = SCHEDULES[:2]
        if schedule in SCHEDULES and schedule not in whole:
            raise UserError([f"--schedule: {schedule} is of a trunk. Forecast it with fit-laws."])
        if schedule and schedule not in whole:
            meant = did_you_mean(schedule, whole)
            raise UserError(
                [f"--schedule: no {short(schedule)}. {meant}A race has {' and '.join(whole)}."]
            )
        end = until if schedule else ""
        return rate_of(Typed(schedule, end, final_rate, RateSpec.cooldown, "", "", None), FORECAST)

    def within() -> None:
        if not 0 < delta < 0.5:
            raise UserError([f"--delta: {delta:g} is not between 0 and 0.5. Say, 0.05."])

    told, (end,), *_ = all_of(
        rate,
        lambda: singles("--until", [until], X_RANGE),
        within,
        lambda: check_files({"--json": json_file}, [table]),
    )
    spec = spec_of(options, law=FORECAST, rate=told)
    found = races(
        *(table, spec, end),
        run=tuple(dict.fromkeys(run or ["run"])),
        by=tuple(dict.fromkeys(by or ())),
        cost=cost,
        keep=keep,
        delta=delta,
        far=far,
    )
    put(
        found,
        _lines(found),
        _warnings(found),
        json_file,
        notes=[each.words for each in found.notes],
    )


def _lines(found: Races) -> Iterator[str]:
    (x,) = found.spec.x
    which = "run matters" if found.keep == 1 else f"{found.keep} runs matter"
    yield f"{found.table}: {found.spec.error_name} at {x} = {found.until:g}; the best {which}"
    for group in found.groups:
        yield ""
        if group.names:
            yield ", ".join(f"{name}={short(value)}" for name, value in group.names.items())
        yield from _table(found, group, x)
        yield from _evidence(found, group)


def _warnings(found: Races) -> Iterator[str]:
    """What speaks against the forecasts, in the words of the first run of each kind."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for each in (run for group in found.groups for run in group.runs):
        for doubt in each.diagnostics:
            alike.setdefault(doubt.code, []).append((_name(each.run), doubt.words))
    for (name, words), *others in alike.values():
        more = f" (and, with numbers of their own, {', '.join(o for o, _ in others)})"
        yield f"{name}{more if others else ''}: {words}"


def _table(found: Races, group: RacedGroup, x: str) -> Iterator[str]:
    names = [_name(each.run) for each in group.runs]
    width = max(len(name) for name in (*names, "run"))
    head = (x, found.spec.error_name, "forecast", "low", "high", "left")
    yield f"  {'run':{width}}{'points':>8}" + "".join(f"{short(name):>13}" for name in head)
    for name, each in zip(names, group.runs, strict=True):
        cells = "".join(f"{number:13.4g}" for number in (each.x, each.last, *each.error, each.left))
        yield f"  {name:{width}}{each.points:8}{cells}   {_verdict(each)}".rstrip()


def _verdict(each: RacedRun) -> str:
    if each.diverged:
        return "diverged"
    return "stop" if each.stopped else "done" if each.done else ""


def _evidence(found: Races, group: RacedGroup) -> Iterator[str]:
    stopped = [each for each in group.runs if each.stopped]
    going = [each for each in group.runs if not each.done]
    if not going:
        yield "\n  every run is done"
        return
    count = f"\n  {len(stopped)} of {len(going)} runs that go on can be stopped"
    if not stopped:
        others = "another" if found.keep == 1 else f"each of {found.keep} others"
        yield f"{count}: of none is it sure enough that {others} ends lower"
        return
    share = group.saved / group.left
    yield (
        f"{count}, which saves {group.saved:.4g} of the {group.left:.4g} {found.unit} that all "
        f"would still cost ({100 * share:.0f} %):"
    )
    for each in stopped:
        said = ", ".join(f"{_name(r.run)} ({_chance(r.lower)})" for r in each.rivals)
        yield f"    {_name(each.run)}: ends above {said}"


def _chance(probability: float) -> str:
    return f"probability {probability:.3f}" if probability < 0.9995 else "probability > 0.999"


def _name(run: tuple[str, ...]) -> str:
    return " ".join(short(cell) for cell in run)
