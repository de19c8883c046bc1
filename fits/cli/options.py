"""Options that several commands share, and how they become a FitSpec. Every mistake is named."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

import typer

from fits.base.errors import UserError
from fits.base.names import short
from fits.cli.held import held_by
from fits.cli.output import ending
from fits.laws.names import ALIASES, ONE_VARIABLE, RISING, SEVERAL_VARIABLES
from fits.spec import BEST, EFFICIENT, FORECAST, KINDS, LOSSES, QUANTILE, FitSpec

if TYPE_CHECKING:
    from fits.data.tables import Table

NEEDED = inspect.Parameter.empty
Texts: TypeAlias = list[str] | None


def option(metavar: str | None, text: str, *names: str) -> Any:
    """An option with its help."""
    return typer.Option(*names, metavar=metavar, help=text)


TableArgument = Annotated[
    Path, typer.Argument(metavar="TABLE", help="CSV, TSV, JSON lines or Parquet, .gz too.")
]
Json = Annotated[Path | None, option("FILE|-", "As JSON; - is standard output.", "--json")]
Plot = Annotated[Path | None, option("FILE", "Figure: .pdf, .png or .svg.")]

LAW_HELP = (
    f"{', '.join(ONE_VARIABLE)}; of a loss {', '.join(RISING)}; of several variables "
    f"{', '.join(f'{name} ({variables})' for name, variables in SEVERAL_VARIABLES.items())}; or "
    f"{FORECAST}, for one learning curve; {BEST}, an average over laws. "
    f"{', '.join(f'{alias}: {name}' for alias, name in ALIASES.items())}."
)
_ROWS = {"frontier": "frontier", "all_points": "all", "hull": "hull"}  # option -> FitSpec.rows

SPEC: dict[str, tuple[Any, Any]] = {
    "x": (Annotated[list[str], option("COL", "Resource; once a variable.")], NEEDED),
    "y": (Annotated[str, option("COL", "What was measured.")], NEEDED),
    "y_is": (Annotated[str, option("KIND", f"One of {', '.join(KINDS)}.")], FitSpec.y_is),
    "where": (
        Annotated[
            Texts,
            option(
                "COND",
                "Rows to keep: COL=VALUE, !=, <, <=, >, >=, COL=LOW..HIGH, COL!=nan; repeatable.",
            ),
        ],
        None,
    ),
    "last_of": (
        Annotated[Texts, option("COL,...", "Of each run, named by COL, the last row alone.")],
        None,
    ),
    "best_of": (
        Annotated[Texts, option("COL,...", "Of rows equal in COL,... (a sweep) the best alone.")],
        None,
    ),
    "frontier": (
        Annotated[bool, option(None, "Fit the runs that set a new minimum.", "--frontier")],
        False,
    ),
    "all_points": (Annotated[bool, option(None, "Fit every row.", "--all-points")], False),
    "hull": (Annotated[bool, option(None, "Fit the frontier's hull.", "--hull")], False),
    "law": (
        Annotated[str | None, option("NAME", f"{LAW_HELP} Default: {FitSpec.law}.")],
        None,
    ),
    "loss": (
        Annotated[str | None, option("NAME", f"{', '.join(LOSSES)}; default: {FitSpec.loss}.")],
        None,
    ),
    "huber": (
        Annotated[
            str | None,
            option("DELTA", f"Huber's threshold, or auto: {EFFICIENT:g} times the noise."),
        ],
        None,
    ),
    "quantile": (
        Annotated[
            float | None,
            option("P", f"Of loss quantile: share of runs below the curve; default: {QUANTILE:g}."),
        ],
        None,
    ),
    "chance": (
        Annotated[
            float | None,
            option("Y", "What a guess scores, in the unit of y: held in laws that have a chance."),
        ],
        None,
    ),
    "fix": (
        Annotated[Texts, option("NAME=VALUE", "Hold a parameter of the law; repeatable.")],
        None,
    ),
    "tie": (
        Annotated[Texts, option("NAME=NAME", "Two parameters of one value; repeatable.")],
        None,
    ),
    "from_law": (
        Annotated[
            Path | None,
            option(
                "LAW.json",
                "Hold the parameters that a saved law shares, with their errors.",
                "--from",
            ),
        ],
        None,
    ),
    "hold": (
        Annotated[Texts, option("NAME", "Of --from: hold these alone; repeatable.")],
        None,
    ),
    "scale": (
        Annotated[str, option("SCALE", "log: errors are ratios; linear: differences.")],
        FitSpec.scale,
    ),
    "weights": (
        Annotated[str, option("COL", "How much a row counts: one over its variance.")],
        FitSpec.weights,
    ),
    "cluster": (
        Annotated[
            Texts,
            option("COL", "Rows equal in COL have correlated errors (seeds, a curve); repeatable."),
        ],
        None,
    ),
    "level": (Annotated[float, option("P", "Nominal level of intervals.")], FitSpec.level),
}
"""Option -> its type and its default; `spec_of` makes a FitSpec of their values."""


def as_command(
    work: Callable[..., int | None], *, without: Sequence[str] = (), optional: Sequence[str] = ()
) -> Callable[..., None]:
    """A command that does the work, and ends with its exit status or with what is wrong.

    Args:
      work: gets the options of SPEC as a dict, `options`.
      without: those of them that it has in its own way.
      optional: those that may be left out of it.
    """
    hints = get_type_hints(work, include_extras=True)
    own = [
        each.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, each in inspect.signature(work).parameters.items()
        if name != "options"
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

    def run(**typed: Any) -> None:
        options = {each.name: typed.pop(each.name) for each in added}
        raise typer.Exit(ending(lambda: work(options=options, **typed)))

    run.__doc__, run.__name__ = work.__doc__, work.__name__
    run.__signature__ = inspect.Signature([*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in (*own, *added)}
    return run


def _optional(kind: Any) -> Any:
    return Annotated[kind.__origin__ | None, *kind.__metadata__]


def given(options: dict[str, Any]) -> list[str]:
    """Those of the options of SPEC that were typed with another value than their default."""
    return [
        _typed(name)
        for name, value in options.items()
        if value not in (None, False, "", [], SPEC[name][1])
    ]


def averages(options: dict[str, Any]) -> bool:
    """Whether predictions are of the average over laws: no law was named, and it can be made."""
    of_one_law = ("law", "loss", "huber", "quantile", "weights")
    held = ("chance", "fix", "tie", "from_law", "hold")
    plain = not any(options[name] not in (None, [], "") for name in (*of_one_law, *held))
    a_power = options["scale"] == FitSpec.scale and options["y_is"] != "quantity"
    return plain and a_power and len(options["x"]) == 1


def spec_of(options: dict[str, Any], **more: Any) -> FitSpec:
    """The FitSpec of these options.

    Args:
      more: fields that the command itself decides.

    Raises:
      UserError: all mistakes, each with the option that made it.
    """
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in options.items()
        if value is not None
    }
    fields["clusters"] = fields.pop("cluster", ())
    fields |= {name: listed(fields.get(name, ())) for name in ("last_of", "best_of")}
    rows = [name for name in _ROWS if fields.pop(name, False)]
    fields["rows"] = _ROWS[rows[0]] if len(rows) == 1 else None
    wrong = []
    if len(rows) > 1:
        names = " and ".join(map(_typed, rows))
        wrong.append(f"{names}: say which points to fit but once.")
    if huber := fields.pop("huber", None):
        wrong += _huber(huber, fields)
    if fields.get("quantile") is not None:
        fields.setdefault("loss", "quantile")
    named = fields.get("law")
    held, mistaken = held_by(fields, str(more.get("law", fields.get("law", FitSpec.law))))
    fields, wrong = fields | held, wrong + mistaken
    try:
        spec = FitSpec(**{**fields, **more})
    except UserError as error:
        typed = {"clusters": "cluster", "rows": (rows or ["rows"])[0]}
        mistakes = (each.partition(":") for each in error.mistakes)
        said = ([f"{_typed(typed.get(name, name))}:{rest}"] for name, _, rest in mistakes)
        raise UserError(*said, wrong) from None
    if named == FitSpec.law != spec.law and "law" not in more:  # replaced, as of no quantity
        wrong.append(
            f"--law: {named} is of an error that falls; of a quantity say --law {spec.law}, "
            "power-floor, or leave it out."
        )
    if wrong:
        raise UserError(wrong)
    return spec


def listed(texts: Sequence[str]) -> tuple[str, ...]:
    """Names with commas between them; an option may be repeated too."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _typed(name: str) -> str:
    return "--from" if name == "from_law" else f"--{name.replace('_', '-')}"


def _huber(typed: str, fields: dict[str, Any]) -> list[str]:
    """Sets the threshold, and the loss where none was typed; returns what is wrong."""
    if typed == "auto" and fields.get("loss") == "squares":
        return ["--loss squares and --huber auto: say one of the two."]
    fields.setdefault("loss", "huber")
    if typed != "auto":
        try:
            fields["huber"] = float(typed)
        except ValueError:
            return [f"--huber: {short(typed)} is neither auto nor a number such as 0.01."]
    return []


def read_columns(path: Path, options: dict[str, Any], by: Sequence[str] = ()) -> Table:
    """The table, if it has every column that the options name.

    Raises:
      UserError: those it has not, or why it cannot be read.
    """
    from fits.data.conditions import columns_of
    from fits.data.tables import read_table

    found = read_table(path)
    named = [
        *options["x"],
        options["y"],
        *by,
        *(options["cluster"] or []),
        *filter(None, [options["weights"]]),
        *columns_of(options["where"] or [], found),
        *listed(options["last_of"] or []),
        *listed(options["best_of"] or []),
    ]
    if missing := found.missing(list(dict.fromkeys(named))):
        raise UserError(missing, found.ragged)
    return found


def numbers(
    option: str, texts: Sequence[str], limits: tuple[float, float], count: int = 1
) -> list[tuple[float, ...]]:
    """So many numbers of each text, with commas between them; 7B is one, as in a table.

    Raises:
      UserError: those that are not, each named.
    """
    from fits.data.numerals import number_alone

    found, wrong = [], []
    low, high = limits
    for text in texts:
        cells = text.split(",")
        if len(cells) != count:
            what = f"{count} numbers. Write X,X,... in their order" if count > 1 else "one number"
            wrong.append(f"{option}: {short(text)} is not {what}.")
        values = [None if "%" in cell else number_alone(cell) for cell in cells]
        good = [value for value in values if value is not None and low <= value <= high]
        bad = [c for c, v in zip(cells, values, strict=True) if v not in good]
        wrong += [f"{option}: {short(c)} is not a number from {low:g} to {high:g}." for c in bad]
        if not bad:
            found.append(tuple(good))
    if wrong:
        raise UserError(wrong)
    return found


def singles(option: str, texts: Sequence[str] | None, limits: tuple[float, float]) -> list[float]:
    """One number of each text; raises UserError as `numbers` does."""
    return [found for (found,) in numbers(option, texts or [], limits)]
