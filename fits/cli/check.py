"""fit-laws check LAW.json [--table TABLE]

Says whether a law that `fit-laws --save` kept still holds: refits it to the rows kept in the file,
then looks for the table, beside the file where it was, and compares: which rows are new, gone or
changed; whether the curve refitted to them stays inside the band; whether new rows do. Writes
nothing unless --json names a file.

  fit-laws results.csv --x flops --y value --where metric=upstream_error --save law.json
  fit-laws check law.json

A law of a paper has no table beside it. It is named by its file or by its name alone; with a table
of runs, the fit to them is laid beside it:

  fit-laws check zhai2022-imagenet-10-shot
  fit-laws check zhai2022-imagenet-10-shot --table notebooks/zhai2022_inet10.csv \\
    --x core_days --y error

options:
  --table TABLE      the table, where it is not where it was, or for a paper's law
  --x --y --y-is --where --all-points --loss --huber --on --weights --together --level
                     for a paper's law, as fit-laws --help says
  --json FILE        write {law, holds, found}; - prints JSON and nothing else
  -h, --help         print this

A law holds if the rows in its file give its numbers (to every digit, or on another machine the
curve to 1e-6 of the error and the band to 1 % of its width), its points, their span, root mean
square and warnings; if a table that has not changed leaves out the rows that the file says, for the
same reasons; if the curve refitted to the table as it is now stays inside the band, and no more new
rows lie outside than chance would put there. Its title, the command and the versions it was made
with are taken on trust. A paper's law holds if it lies inside the band of the fit, give or take the
rounding of its numbers; without a table there is nothing to hold or not, and holds is null.

exit status: 0 it holds, or there is nothing to hold it against; 1 it does not hold; 2 a mistake in
what was typed, in the file or in the table: all mistakes are named.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fits.base.errors import UserError
from fits.base.names import did_you_mean
from fits.cli.shared import (
    Parser,
    add_asked,
    asked,
    asked_mistakes,
    ending,
    file_mistakes,
    read,
    write_json,
)

if TYPE_CHECKING:
    from fits.saved.check import Verdict
    from fits.saved.law_file import Saved


def main(argv: Sequence[str]) -> int:
    parser = Parser("fit-laws check", __doc__)
    parser.add_argument("law_file", metavar="LAW.json", nargs="?")
    parser.add_argument("--table", metavar="TABLE", type=Path)
    add_asked(parser)
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.read(argv)
    parser.require({"LAW.json": options.law_file})
    return ending(lambda: _run(options), Path(options.law_file))


def _run(options: argparse.Namespace) -> int:
    from fits.saved.law_file import read_law

    path = _find(options.law_file)
    law = read_law(path)
    verdict = _verdict(options, path, law)
    if options.json:
        found = {
            "law": options.law_file,
            "holds": verdict.holds if verdict else None,
            "found": verdict.found if verdict else [],
        }
        write_json(options.json, found)
    if str(options.json) != "-":
        _print(options.law_file, law, verdict)
        if options.json:
            print(f"\nwritten: {options.json}")
    return 0 if verdict is None or verdict.holds else 1


def _find(name: str) -> Path:
    """The file, or a paper's law of that name."""
    from fits.saved.published import FOLDER

    path, known = Path(name), {each.stem: each for each in sorted(FOLDER.glob("*.json"))}
    if path.exists() or name not in known:
        if not path.exists() and path.suffix != ".json":
            raise UserError(
                [
                    f"{name}: no such file, and no law of a paper has that name. "
                    f"{did_you_mean(name, list(known))}There are {', '.join(known)}."
                ]
            )
        return path
    return known[name]


def _verdict(options: argparse.Namespace, path: Path, law: Saved) -> Verdict | None:
    """None where there is nothing to hold the law against."""
    from fits.saved.check import beside, refit
    from fits.saved.law_file import dropped_rows, sha256

    if law.evidence is not None:
        table = options.table or path.resolve().parent / law.evidence.table
        (points,) = read(_mistakes(options, law, table), [(law.evidence.asked, table)])
        dropped = dropped_rows(law.evidence.asked, table)
        return refit(law, points, sha256(table), dropped)
    if options.table is None:
        _mistakes(options, law, path)
        return None
    (points,) = read(_mistakes(options, law, options.table), [(asked(options), options.table)])
    wanted = asked(options).with_seeds(points)
    try:
        return beside(law, wanted.fit(wanted.runs(points)))
    except ValueError as wrong:
        raise UserError([f"{options.table}: {wrong}"]) from None


def _mistakes(options: argparse.Namespace, law: Saved, table: Path) -> list[list[str]]:
    typed = {"--x": options.x, "--y": options.y, "--where": options.where}
    given = [name for name, value in typed.items() if value]
    said, wrong = [], []
    if law.evidence is not None:
        said = [f"{name}: the law's file says what was read. Leave {name} out." for name in given]
    elif options.table is None:
        said = [f"{name}: there is no table to read. Say --table TABLE." for name in given]
    else:
        said = [
            f"{name} COL is needed beside --table, for a paper's law."
            for name in ("--x", "--y")
            if name not in given
        ]
        wrong = [] if said else asked_mistakes(options, variables=1)
    if law.evidence is not None and not table.is_file():
        said.append(f"{table}: no such file. Say with --table where the table is now.")
    kinds = [said, wrong, file_mistakes({"--json": options.json}, [table, Path(options.law_file)])]
    if any(kinds):
        raise UserError(*kinds)
    return kinds


def _print(name: str, law: Saved, verdict: Verdict | None) -> None:
    print(f"{name}: {law.title}")
    print(f"  law {law.law.name}: E(x) = {law.law.formula}")
    intervals = law.intervals or [None] * len(law.values)
    for letter, value, ends in zip(law.law.parameters, law.values, intervals, strict=True):
        line = f"    {letter} = {value:<10.4g}" + (
            f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else ""
        )
        print(line.rstrip())
    if law.source:
        print(f"  as printed by {law.source}; digits beyond {law.last_digit:g} are not known")
    if law.evidence is not None:
        from fits.saved.law_file import runs_of

        asked = law.evidence.asked
        for term in asked.in_words(runs_of(law.evidence.rows, asked)):
            print(f"  {term}")
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
