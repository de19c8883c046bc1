"""fit-laws check LAW.json: does a law that was kept still hold?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from fits.cli.options import Json, given, spec_of
from fits.cli.output import check_files, ending, write_json

if TYPE_CHECKING:
    from fits.saved.check import Verdict
    from fits.saved.saved_law import SavedLaw


def check(
    law_file: Annotated[str, typer.Argument(metavar="LAW.json", help="File, or a paper's law.")],
    spec: dict[str, Any],
    table: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="The table, if it was moved, or for a paper's law."),
    ] = None,
    json_file: Json = None,
) -> None:
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
    raise typer.Exit(ending(lambda: _run(law_file, spec, table, json_file)))


def _run(name: str, options: dict[str, Any], table: Path | None, json_file: Path | None) -> int:
    from fits.saved.law_file import read_law

    path = _find(name)
    law = read_law(path)
    verdict = _verdict(law, path, options, table, json_file)
    if json_file:
        found = {
            "law": name,
            "holds": verdict.holds if verdict else None,
            "found": list(verdict.found) if verdict else [],
        }
        write_json(json_file, found)
    if str(json_file) != "-":
        _print(name, law, verdict)
        if json_file:
            print(f"\nwritten: {json_file}")
    return 0 if verdict is None or verdict.holds else 1


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


def _verdict(
    law: SavedLaw,
    path: Path,
    options: dict[str, Any],
    table: Path | None,
    json_file: Path | None,
) -> Verdict | None:
    """None where there is nothing to hold the law against."""
    from fits.report import fit_table, read_points
    from fits.saved.check import beside, refit
    from fits.saved.law_file import dropped_rows, sha256

    where = table
    if law.evidence is not None and table is None:
        where = path.resolve().parent / law.evidence.table.file
    wrong = _mistakes(options, law, where)
    if wrong:
        raise UserError(wrong)
    check_files({"--json": json_file}, [each for each in (where, path) if each])
    if where is None:
        return None
    if law.evidence is not None:
        spec = law.evidence.spec
        points = read_points(where, spec)
        return refit(law, points, sha256(where), dropped_rows(spec, where))
    report = fit_table(where, spec_of(options), holdout=False)
    return beside(law, report.groups[0].fit)  # type: ignore[arg-type]  # of one x, no forecast


def _mistakes(options: dict[str, Any], law: SavedLaw, table: Path | None) -> list[str]:
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
    if len(options["x"] or []) > 1 or options["law"] == "forecast":
        wrong.append("a paper's law is laid beside the fit of a law of one x.")
    return wrong


def _print(name: str, law: SavedLaw, verdict: Verdict | None) -> None:
    print(f"{name}: {law.title}")
    print(f"  law {law.law}: E({', '.join(law.curve.variables)}) = {law.formula}")
    intervals = law.ends or [None] * len(law.values)
    for letter, value, ends in zip(law.curve.parameters, law.numbers, intervals, strict=True):
        line = f"    {letter} = {value:<10.4g}" + (
            f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else ""
        )
        print(line.rstrip())
    if law.source:
        print(f"  as printed by {law.source}; digits beyond {law.last_digit:g} are not known")
    if law.evidence is not None:
        print(f"  made by: {law.evidence.made.get('command', 'unknown')}")
    if verdict is None:
        print(
            "\nno data beside it, so nothing was refitted. Say --table TABLE to lay runs beside it."
        )
        return
    print()
    for line in verdict.found:
        print(line)
    print(f"\n{'holds' if verdict.holds else 'DOES NOT HOLD'}")
