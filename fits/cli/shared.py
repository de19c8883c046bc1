"""What the commands of fit-laws have in common: how they read, refuse and end.

Imports the standard library alone until the arguments are read: --help is instant.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, SupportsFloat

from fits.base.errors import UserError
from fits.base.files import written_aside
from fits.base.names import did_you_mean, short
from fits.data.tables import is_number, number

if TYPE_CHECKING:
    from fits.data.points import Points
    from fits.spec import Asked


# What papers call a law -> its name here: M1 and M2 of Alabdulmohsin et al. 2022.
ALSO = {"m1": "power", "m2": "power-floor", "broken-1": "broken"}
LEVEL = 0.9
LEVELS = 0.01, 0.999  # as `provenance.py` reads it back


class Parser(argparse.ArgumentParser):
    """Help is a file's docstring; a mistake points to it."""

    def __init__(self, name: str, help_text: str | None):
        super().__init__(prog=name, allow_abbrev=False)
        self.help_text = help_text or ""

    def format_help(self) -> str:
        return self.help_text

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith("?") else "."
        self.exit(2, f"fit-laws: {message}{end} See {self.prog} --help.\n")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """As parse_args, but of options that there are not the near ones are named."""
        options, others = self.parse_known_args(words)
        known = sorted(name[2:] for name in self._option_string_actions if name[:2] == "--")
        wrong = [word.partition("=")[0] for word in others if word.startswith("-")]
        meant = [did_you_mean(name.strip("-"), known).replace(" '", " '--") for name in wrong]
        said = [f"no option {short(o)}. {m}".strip(" .") for o, m in zip(wrong, meant, strict=True)]
        if said:
            self.error(". ".join(said).replace("?. ", "? "))
        if others:
            self.error(f"unrecognized arguments: {' '.join(map(short, others))}")
        return options

    def require(self, needed: dict[str, object], hint: str = "") -> None:
        """Ends with the names of what was left out, those whose value is None."""
        if missing := [name for name, given in needed.items() if given is None]:
            said = f"the following arguments are required: {', '.join(missing)}"
            self.error(f"{said}. {hint}" if hint and "TABLE" in missing else said)


def add_asked(parser: argparse.ArgumentParser) -> None:
    """The options that say what to fit; `asked` reads them."""
    parser.add_argument("--x", metavar="COL", action="append")
    parser.add_argument("--y", metavar="COL")
    parser.add_argument("--y-is", metavar="KIND", default="error")
    parser.add_argument("--where", metavar="COL=VALUE", action="append", default=[])
    parser.add_argument("--all-points", action="store_true")
    parser.add_argument("--frontier", action="store_true")
    parser.add_argument("--hull", action="store_true")
    parser.add_argument("--law", metavar="NAME", default="saturating", type=_law_name)
    parser.add_argument("--loss", metavar="NAME")
    parser.add_argument("--huber", metavar="DELTA")
    parser.add_argument("--on", metavar="SCALE", default="log")
    parser.add_argument("--weights", metavar="COL", default="")
    parser.add_argument("--together", "--groups", metavar="COL", action="append", default=[])
    add_level(parser)


def _law_name(typed: str) -> str:
    return ALSO.get(typed.lower(), typed)


def add_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--level", metavar="P", default=str(LEVEL))


def level_of(options: argparse.Namespace) -> float:
    """Of the intervals; the usual one where what was typed is none, which is said elsewhere."""
    return number(options.level) if is_number(options.level) else LEVEL


def asked(options: argparse.Namespace) -> Asked:
    from fits.spec import Asked

    return Asked(
        x=tuple(options.x),
        y=options.y,
        y_is=options.y_is,
        where=tuple(options.where),
        which=_which(options),
        law=options.law,
        loss=options.loss or ("squares" if options.huber is None else "huber"),
        bend=number(options.huber) if is_number(options.huber or "") else None,
        on=options.on,
        weights=options.weights,
        groups=tuple(options.together),
        level=level_of(options),
    )


def _which(options: argparse.Namespace) -> str:
    said = [which for which, given in _said_which(options).items() if given]
    if said:
        return said[0]
    # A curve's own points, not the best of many runs, are what a forecast is asked of.
    return "all" if len(options.x) > 1 or options.law == "forecast" else "frontier"


def _said_which(options: argparse.Namespace) -> dict[str, bool]:
    return {"all": options.all_points, "frontier": options.frontier, "hull": options.hull}


def ending(work: Callable[[], int], table: Path) -> int:
    """Does the work and returns its exit status, or says what is wrong and returns 2."""
    try:
        status = work()
        sys.stdout.flush()
    except UserError as error:
        return _refuse(str(error))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _refuse(told(error, table))
    return status


def _refuse(mistakes: str) -> int:
    gap = "\n  " if "\n" in mistakes else " "
    print(f"fit-laws:{gap}" + mistakes.replace("\n", gap), file=sys.stderr)
    return 2


def told(error: OSError, path: Path) -> str:
    return f"{error.filename or path}: {error.strerror or error}."


def read(
    kinds: Sequence[list[str]], tables: Iterable[tuple[Asked, Path]], by: Sequence[str] = ()
) -> list[Points]:
    """The runs of each table, or every mistake in options (`kinds`) and tables at once."""
    mistakes, found = [*kinds], []
    for wanted, table in tables:
        try:
            found.append(wanted.read(table, tuple(by)))
        except UserError as error:
            mistakes += [kind for kind in error.kinds if kind not in mistakes]
        except OSError as error:
            mistakes.append([told(error, table)])
    if any(mistakes):
        raise UserError(*mistakes)
    return found


# Mistakes in options, in words


def asked_mistakes(
    options: argparse.Namespace, variables: int | None = None, more: Sequence[str] = ()
) -> list[str]:
    """Of what says how to fit, and of --x as the law takes it.

    Args:
      variables: laws of so many and no others will do.
      more: what --law may say besides.
    """
    from fits.spec import CURVES, LOSSES, SCALES

    known = [name for name, law in CURVES.items() if variables in (None, len(law.variables))]
    said = [
        *_no_choice("--law", options.law, [*known, *more], ALSO),
        *_no_choice("--loss", options.loss or LOSSES[0], LOSSES),
        *_huber_mistakes(options),
        *_no_choice("--on", options.on, SCALES),
        *_which_mistakes(options),
        *number_mistakes("--level", [options.level], *LEVELS),
    ]
    if options.law not in (*known, *more):
        return said
    names = CURVES[options.law].variables if options.law in CURVES else ("x",)
    if len(options.x) != len(names):
        said.append(
            f"--x: law {options.law} takes {len(names)} ({', '.join(names)}), and "
            f"{len(options.x)} are given. Write --x COL once for each, in this order."
        )
    return said


def _huber_mistakes(options: argparse.Namespace) -> list[str]:
    from fits.spec import BENDS

    low, high = BENDS
    given = options.huber
    if given is None:
        return []
    if options.loss == "squares":
        return [f"--loss squares and --huber {short(given)}: say one of the two."]
    if given == "auto" or (is_number(given) and low <= number(given) <= high):
        return []
    return [
        f"--huber: {short(given)} is neither auto nor a number from {low:g} to {high:g}, the "
        f"residual beyond which a row counts in proportion only."
    ]


def _which_mistakes(options: argparse.Namespace) -> list[str]:
    given = [f"--{'all-points' if k == 'all' else k}" for k, v in _said_which(options).items() if v]
    if len(given) > 1:
        return [f"{' and '.join(given)}: say which points to fit but once."]
    if len(options.x) > 1 and given and given != ["--all-points"]:
        return [f"{given[0]}: a law of several variables takes all points. Leave it out."]
    return []


def _no_choice(
    option: str, name: str, known: Sequence[str], also: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    if name in known:
        return []
    others = {its: f"{its} (or {other})" for other, its in also.items()}
    listed = ", ".join(others.get(each, each) for each in known)
    return [f"{option}: no '{short(name)}'. {did_you_mean(name, [*known, *also])}Use {listed}."]


def number_mistakes(option: str, texts: Iterable[str], low: float, high: float) -> list[str]:
    """Of those that are no number from `low` to `high`."""
    return [
        f"{option}: {short(text)} is not a number from {low:g} to {high:g}."
        for text in texts
        if not (is_number(text) and low <= number(text) <= high)
    ]


def place_mistakes(
    option: str, texts: Sequence[str], variables: int, limits: tuple[float, float]
) -> list[str]:
    """Of those that are not so many numbers within the limits, with commas between them."""
    return [
        said
        for text in texts
        for said in (
            [f"{option}: {short(text)} is not {variables} numbers. Write X,X,... in their order."]
            if len(text.split(",")) != variables
            else number_mistakes(option, text.split(","), *limits)
        )
    ]


def plot_mistakes(path: Path | None) -> list[str]:
    from fits.plotting import FORMATS

    if path is None or path.suffix.lower() in FORMATS:
        return []
    return [f"--plot: {path} ends in none of {', '.join(FORMATS)}."]


def file_mistakes(files: dict[str, Path | None], tables: Sequence[Path]) -> list[str]:
    """Of files to write, option by option: what cannot be written, and what is named twice."""
    named = {option: path for option, path in files.items() if path and str(path) != "-"}
    mistakes = [said for each in named.items() for said in _unwritable(*each, tables)]
    first: dict[Path, str] = {}
    for option, path in named.items():
        before = first.setdefault(path.resolve(), option)
        if before != option:
            mistakes.append(f"{before} and {option}: both name {path}. Name two files.")
    return mistakes


def _unwritable(option: str, path: Path, tables: Sequence[Path]) -> list[str]:
    if any(path.exists() and table.exists() and path.samefile(table) for table in tables):
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


# Answers


def write_json(path: str | Path, answer: dict[str, Any]) -> None:
    """Whole or not at all; - is the standard output."""
    text = json.dumps(answer, indent=2, allow_nan=False) + "\n"
    if str(path) == "-":
        print(text, end="")
        return
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def interval(value: float, low: float, high: float) -> str:
    """Say "0.93 [0.9, 0.97]"; an end without bound says so."""
    ends = (f"{end:.3g}" if math.isfinite(end) else "no end" for end in (low, high))
    return f"{value:.3g} [{', '.join(ends)}]"


def finite(end: SupportsFloat) -> float | None:
    """JSON knows no infinity: the open end of an interval is null."""
    return float(end) if math.isfinite(end) else None


def error_name(wanted: Asked) -> str:
    return f"1 - {wanted.y}" if wanted.y_is.startswith("accuracy") else wanted.y
