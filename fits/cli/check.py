"""fit-laws check LAW.json: does a law that was kept still hold?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from fits.cli.options import Json, given, option, spec_of
from fits.cli.output import check_files, put
from fits.spec import BEST, FORECAST

if TYPE_CHECKING:
    from fits.saved.check import Verdict
    from fits.saved.saved_law import SavedLaw

LISTS = "rows_changed", "rows_new", "rows_gone"  # what is found in a list of several lines


def check(
    law_file: Annotated[str, typer.Argument(metavar="LAW.json", help="File, or a paper's law.")],
    options: dict[str, Any],
    table: Annotated[
        Path | None, option("TABLE", "The table, if it was moved, or for a paper's law.")
    ] = None,
    json_file: Json = None,
) -> int:
    """Does a law that `fit-laws --save` kept still hold?

    Refits the rows kept in the file, reads the table at the path stored in the file, and compares
    values, intervals, points, root mean square and diagnostics (by code and numbers); which rows
    are new, gone or changed; whether the curve refitted to the table as it is now stays inside the
    band, and whether more new rows lie outside than chance explains.

    A paper's law has no table. It is named by its file or by its name alone; with --table, --x and
    --y those runs are fitted, and the law holds if it lies inside the fit's band, allowing for the
    rounding of its numbers.

    Exit status: 0 it holds, or there is nothing to compare it with; 1 it does not hold; 2 a mistake
    on the command line, in the file or in the table: all mistakes are named.
    """
    from fits.report_json import CheckJson
    from fits.saved.law_file import read_law

    path = _find(law_file)
    law = read_law(path)
    if law.evidence is not None and table is None:
        table = path.resolve().parent / law.evidence.table.file
    if wrong := _mistakes(law, options, table):
        raise UserError(wrong)
    check_files({"--json": json_file}, [path, *([table] if table else [])])
    verdict = _verdict(law, options, table) if table else None
    answer = CheckJson(
        law=law_file,
        holds=verdict and verdict.holds,
        found=verdict.found if verdict else (),
        refusal=verdict and verdict.refusal,
    )
    put(answer, [*_law(law_file, law), *_said(verdict)], [], json_file)
    return 1 if answer.holds is False else 0


def _find(name: str) -> Path:
    """The file, or a paper's law of that name."""
    from fits.saved.published import FOLDER

    path, known = Path(name), {each.stem: each for each in sorted(FOLDER.glob("*.json"))}
    if not path.exists() and name in known:
        return known[name]
    if not path.exists() and path.suffix != ".json":
        raise UserError(
            [
                f"{name}: no such file, and no law of a paper has that name. "
                f"{did_you_mean(name, known)}There are {', '.join(known)}."
            ]
        )
    return path


def _verdict(law: SavedLaw, options: dict[str, Any], table: Path) -> Verdict:
    from fits.observations import read_points
    from fits.report import fit_table
    from fits.saved.check import beside, refit
    from fits.saved.law_file import dropped_rows, sha256

    if law.evidence is None:
        report = fit_table(table, spec_of(options), holdout=False)
        return beside(law, report.groups[0].law)
    spec = law.evidence.spec
    return refit(law, read_points(table, spec), sha256(table), dropped_rows(spec, table))


def _mistakes(law: SavedLaw, options: dict[str, Any], table: Path | None) -> list[str]:
    typed = given(options)
    if law.evidence is not None:
        wrong = [f"{name}: the law's file says what was read. Leave {name} out." for name in typed]
        if table is not None and not table.is_file():
            wrong.append(f"{table}: no such file. Say with --table where the table is now.")
        return wrong
    if table is None:
        return [f"{name}: there is no table to read. Say --table TABLE." for name in typed]
    wrong = [
        f"{name} COL is needed beside --table, for a paper's law."
        for name in ("--x", "--y")
        if name not in typed
    ]
    if len(options["x"] or []) > 1 or options["law"] in (BEST, FORECAST):
        wrong.append("a paper's law is laid beside the fit of a law of one x.")
    return wrong


def _law(name: str, law: SavedLaw) -> Iterator[str]:
    yield f"{name}: {law.title}"
    if law.law == BEST:
        yield f"  law {law.law}: {law.formula}"
        for name, weight in law.values.items():
            yield f"    {name:12} weight {weight:.3f}"
        yield from _made(law)
        return
    yield f"  law {law.law}: {law.curve.gives}({', '.join(law.curve.variables)}) = {law.formula}"
    intervals = law.ends or [None] * len(law.values)
    for letter, value, ends in zip(law.curve.parameters, law.numbers, intervals, strict=True):
        between = f"[{ends[0]:.4g}, {ends[1]:.4g}]" if ends else ""
        yield f"    {letter} = {value:<10.4g} {between}".rstrip()
    if law.source:
        yield f"  as printed by {law.source}; digits beyond {law.last_digit:g} are not known"
    yield from _made(law)


def _made(law: SavedLaw) -> Iterator[str]:
    if law.evidence is not None:
        yield f"  made by: {law.evidence.made.get('command', 'unknown')}"


def _said(verdict: Verdict | None) -> list[str]:
    if verdict is None:
        nothing = "no data beside it, so nothing was refitted."
        return [f"\n{nothing} Say --table TABLE to lay runs beside it."]
    said = [
        indent(each.words, "  ") if each.code in LISTS else each.words for each in verdict.found
    ]
    if verdict.refusal:
        said[-1] += f": {verdict.refusal}"
    return ["", *said, f"\n{'holds' if verdict.holds else 'DOES NOT HOLD'}"]
