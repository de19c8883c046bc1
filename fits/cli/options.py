"""Options that several commands share, and how they become a FitSpec. Every mistake is named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

from fits.base.errors import UserError
from fits.base.names import short

if TYPE_CHECKING:
    from fits.data.tables import Table
    from fits.spec import FitSpec

T = TypeVar("T")

TableFile = Annotated[
    Path, typer.Argument(metavar="TABLE", help="CSV with column names, or .parquet.")
]
Json = Annotated[
    Path | None, typer.Option("--json", metavar="FILE|-", help="As JSON; - is standard output.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Figure: .pdf, .png or .svg.")
]

SPEC: dict[str, tuple[Any, Any]] = {
    "x": (
        Annotated[list[str], typer.Option(metavar="COL", help="Resource; once a variable.")],
        inspect.Parameter.empty,
    ),
    "y": (
        Annotated[str, typer.Option(metavar="COL", help="What was measured.")],
        inspect.Parameter.empty,
    ),
    "y_is": (
        Annotated[
            str,
            typer.Option(
                metavar="KIND",
                help="error, error-percent, accuracy, accuracy-percent or loss.",
            ),
        ],
        "error",
    ),
    "where": (
        Annotated[
            list[str] | None,
            typer.Option(metavar="COL=VALUE", help="Rows to keep; COL!=VALUE too; repeatable."),
        ],
        None,
    ),
    "frontier": (
        Annotated[bool, typer.Option("--frontier", help="Fit the runs that set a new minimum.")],
        False,
    ),
    "all_points": (Annotated[bool, typer.Option("--all-points", help="Fit every row.")], False),
    "hull": (Annotated[bool, typer.Option("--hull", help="Fit the frontier's hull.")], False),
    "law": (
        Annotated[
            str,
            typer.Option(
                metavar="NAME",
                help="saturating, power-floor, power-shift, power (m1), m2, m3, m4, broken, "
                "broken-2 to broken-5, log-linear, parabola; of several variables chinchilla (N "
                "D), repeated (N D U), shape (x t); or forecast.",
            ),
        ],
        "saturating",
    ),
    "loss": (
        Annotated[
            str | None,
            typer.Option(metavar="NAME", help="squares or huber.", show_default="squares"),
        ],
        None,
    ),
    "huber": (
        Annotated[
            str | None,
            typer.Option(
                metavar="DELTA", help="Huber's threshold, or auto: 1.345 times the noise."
            ),
        ],
        None,
    ),
    "scale": (
        Annotated[
            str, typer.Option(metavar="SCALE", help="log: errors are ratios; linear: differences.")
        ],
        "log",
    ),
    "weights": (
        Annotated[
            str, typer.Option(metavar="COL", help="How much a row counts: one over its variance.")
        ],
        "",
    ),
    "cluster": (
        Annotated[
            list[str] | None,
            typer.Option(
                metavar="COL",
                help="Rows equal in COL have correlated errors (seeds, a curve); repeatable.",
            ),
        ],
        None,
    ),
    "level": (
        Annotated[
            float | None,
            typer.Option(metavar="P", help="Nominal level of intervals.", show_default="0.9"),
        ],
        None,
    ),
}
"""Option -> its type and its default; `spec_of` makes a FitSpec of their values."""


def takes_spec(
    command: Callable[..., Any], *, without: Sequence[str] = (), optional: Sequence[str] = ()
) -> Callable[..., Any]:
    """The command with the options of SPEC in its signature; it gets them as a dict, `spec`.

    Args:
      without: options that this command has in its own way.
      optional: options that may be left out of this command.
    """
    hints = get_type_hints(command, include_extras=True)
    own = [
        each.replace(annotation=hints[name])
        for name, each in inspect.signature(command).parameters.items()
        if name != "spec"
    ]
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_optional(kind) if name in optional else kind,
            default=None if name in optional else default,
        )
        for name, (kind, default) in SPEC.items()
        if name not in without
    ]
    names = [each.name for each in added]

    def run(*args: Any, **options: Any) -> Any:
        spec = {name: options.pop(name) for name in names}
        return command(*args, spec=spec, **options)

    run.__doc__, run.__name__ = command.__doc__, command.__name__
    keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
    run.__signature__ = inspect.Signature([*keyword, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in [*own, *added]}
    return run


def _optional(kind: Any) -> Any:
    return Annotated[kind.__origin__ | None, *kind.__metadata__]


def given(options: dict[str, Any]) -> list[str]:
    """Those of the options of SPEC that were typed with another value than their default."""
    return [
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if value not in (None, False, "", [], SPEC[name][1])
    ]


def spec_of(options: dict[str, Any], **more: Any) -> FitSpec:
    """The FitSpec of these options.

    Args:
      more: fields that the command itself decides.

    Raises:
      UserError: all mistakes, each with the option that made it.
    """
    from fits.spec import FitSpec

    given = {name: value for name, value in options.items() if value is not None}
    huber, wrong = _huber(given.pop("huber", None))
    rows, both = _rows(given)
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
    }
    if "cluster" in fields:
        fields["clusters"] = fields.pop("cluster")
    if huber is not None and "loss" not in fields:
        fields["loss"] = "huber"
    if isinstance(huber, float):
        fields["huber"] = huber
    elif huber == "auto" and fields.get("loss") == "squares":
        wrong = [*wrong, "--loss squares and --huber auto: say one of the two."]
    try:
        spec = FitSpec(**{**fields, "rows": rows, **more})
    except UserError as error:
        raise UserError(
            *([_as_option(each, rows)] for each in error.mistakes), wrong, both
        ) from None
    if wrong or both:
        raise UserError(wrong, both)
    return spec


def _as_option(mistake: str, rows: str | None) -> str:
    field, _, rest = mistake.partition(":")
    named = {"clusters": "cluster", "rows": str(rows)}.get(field, field).replace("_", "-")
    return f"--{named}:{rest}"


def _huber(typed: str | None) -> tuple[float | str | None, list[str]]:
    if typed in (None, "auto"):
        return typed, []
    try:
        return float(str(typed)), []
    except ValueError:
        return None, [f"--huber: {short(str(typed))} is neither auto nor a number such as 0.01."]


def _rows(given: dict[str, Any]) -> tuple[str | None, list[str]]:
    typed = {"frontier": "--frontier", "all_points": "--all-points", "hull": "--hull"}
    said = [name for name in typed if given.pop(name, False)]
    if len(said) > 1:
        options = " and ".join(typed[name] for name in said)
        return None, [f"{options}: say which points to fit but once."]
    return {"all_points": "all"}.get(said[0], said[0]) if said else None, []


def read_columns(path: Path, options: dict[str, Any], by: Sequence[str] = ()) -> Table:
    """The table, if it has every column that the options name.

    Raises:
      UserError: those it has not, or why it cannot be read.
    """
    from fits.data.tables import read_table

    try:
        found = read_table(path)
    except OSError as error:
        raise UserError([f"{error.filename or path}: {error.strerror or error}."]) from None
    conditions = [each.partition("=")[0] for each in options["where"] or [] if "=" in each]
    named = [
        *options["x"],
        options["y"],
        *by,
        *(options["cluster"] or []),
        *filter(None, [options["weights"]]),
        *(name.removesuffix("!") for name in conditions),
    ]
    if missing := found.missing(list(dict.fromkeys(named))):
        raise UserError(missing, found.ragged)
    return found


def all_of(*works: Callable[[], Any]) -> list[Any]:
    """What each returns, or one UserError with all that they found wrong."""
    found, kinds = [], []
    for work in works:
        try:
            found.append(work())
        except UserError as error:
            kinds += [kind for kind in error.kinds if kind not in kinds]
    if kinds:
        raise UserError(*kinds)
    return found


def numbers(
    option: str, texts: Sequence[str], limits: tuple[float, float], count: int = 1
) -> list[tuple[float, ...]]:
    """So many numbers of each text, with commas between them.

    Raises:
      UserError: those that are not, each named.
    """
    from fits.data.tables import is_number, number

    found, wrong = [], []
    low, high = limits
    for text in texts:
        cells = text.split(",")
        if len(cells) != count:
            what = f"{count} numbers. Write X,X,... in their order" if count > 1 else "one number"
            wrong.append(f"{option}: {short(text)} is not {what}.")
        bad = [c for c in cells if not (is_number(c) and low <= number(c) <= high)]
        wrong += [f"{option}: {short(c)} is not a number from {low:g} to {high:g}." for c in bad]
        if not bad:
            found.append(tuple(map(number, cells)))
    if wrong:
        raise UserError(wrong)
    return found
