"""The options that say how the learning rate of a curve changes, for its forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, cast

from fits.base.errors import UserError, all_of
from fits.base.names import did_you_mean, short
from fits.cli.options import singles
from fits.spec import FORECAST, SCHEDULES, RateSpec


class Typed(NamedTuple):
    """What was typed; a text that was not is ""."""

    schedule: str
    until: str
    final_rate: float
    cooldown: float
    timescale: str
    cooled: str
    trunk: Path | None


def rate_of(typed: Typed, law: str) -> RateSpec | None:
    """The learning rate of a curve; None where no schedule was typed.

    Raises UserError: all that is missing, impossible, or of no use.
    """
    if not typed.schedule:
        if given := _given(typed):
            raise UserError([f"{', '.join(given)}: of a schedule. Name it with --schedule."])
        return None
    from fits.base.numbers import X_RANGE
    from fits.forecast.schedule import Schedule

    kind, end, scale, *_ = all_of(
        lambda: _kind(typed),
        lambda: _until(typed.until),
        lambda: singles("--timescale", [typed.timescale], X_RANGE)[0] if typed.timescale else None,
        lambda: _of_no_use(typed, law),
    )
    final, cooldown = typed.final_rate, typed.cooldown
    try:
        Schedule(kind=kind, until=end, final=final, cooldown=cooldown, timescale=scale)
    except ValueError as wrong:
        raise UserError([f"--schedule: {wrong}"]) from None
    return RateSpec(
        schedule=kind,
        until=end,
        final=final,
        cooldown=cooldown,
        timescale=scale,
        cooled=typed.cooled,
        trunk=str(typed.trunk or ""),
    )


def _given(typed: Typed) -> list[str]:
    """The options typed with another value than their default, but for --schedule."""
    plain = Typed("", "", RateSpec.final, RateSpec.cooldown, "", "", None)
    pairs = zip(Typed._fields, typed, plain, strict=True)
    return [
        f"--{name.replace('_', '-')}"
        for name, value, default in pairs
        if name != "schedule" and value != default
    ]


def _kind(typed: Typed) -> Any:
    if typed.schedule not in SCHEDULES:
        meant = did_you_mean(typed.schedule, SCHEDULES)
        known = ", ".join(SCHEDULES)
        raise UserError(
            [
                f"--schedule: no {short(typed.schedule)}. {meant}Use {known}; warm-up, stable and "
                "decay (WSD) is constant, its decay --cooldown."
            ]
        )
    return cast(Any, typed.schedule)


def _until(text: str) -> float:
    if not text:
        raise UserError(["--schedule: say with --until X where the run ends, in the unit of x."])
    from fits.base.numbers import X_RANGE

    return singles("--until", [text], X_RANGE)[0]


def _of_no_use(typed: Typed, law: str) -> None:
    wrong, whole = [], SCHEDULES[:2]
    if law != FORECAST:
        wrong.append("--schedule: of a forecast alone. Say --law forecast, or leave it out.")
    given = set(_given(typed))
    if typed.schedule in whole:
        idle = sorted(given & {"--cooldown", "--timescale", "--cooled", "--trunk"})
        belong = f"of a trunk, and {typed.schedule} is none"
    else:
        idle = sorted(given & {"--final-rate"})
        belong = "of cosine and linear; a trunk's runs cool down to 0"
    if typed.schedule in SCHEDULES and idle:
        wrong.append(f"{', '.join(idle)}: {belong}. Leave it out.")
    if typed.cooled and typed.trunk:
        wrong.append(
            "--cooled, --trunk: rows of the trunk are in the table or in their own. Say one."
        )
    if typed.schedule == "constant" and "--timescale" in given:
        wrong.append("--timescale: of rsqrt. Leave it out.")
    if wrong:
        raise UserError(wrong)
