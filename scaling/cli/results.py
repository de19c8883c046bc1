"""The commands for runs that are done: `scaling collect`, `report`, and `clean`, which frees the
disk of what they no longer need."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fits.base.counted import counted
from scaling.cli.options import Out, Runs, StudyName


def collect(study: StudyName, runs: Runs = Path("runs"), out: Out = Path("results")) -> None:
    """Write the results of the finished runs into OUT/<study>.parquet and OUT/<study>.csv."""
    from scaling.study.parse import read_study

    found = read_study(study, data_needed=False)  # before the seconds that imports take
    from scaling.report import report as reporting

    reporting.collect(found, runs, out)


def report(
    study: StudyName,
    runs: Runs = Path("runs"),
    out: Out = Path("results"),
    details: Annotated[
        bool, typer.Option("--details", help="Every fit in full, with every law's hold-out error.")
    ] = False,
    title: Annotated[str | None, typer.Option(metavar="WORDS", help="Title of the figure.")] = None,
    xlabel: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Label of its x axes.")
    ] = None,
    ylabel: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Label of its y axes.")
    ] = None,
) -> None:
    """Collect, fit the laws, print them and draw them into OUT/, and write a page of all of it.

    OUT/<study>.html needs no network: the frontier to explore, learning curves, laws, plan and
    cost, failures, provenance (docs/report.md). While runs are not done, all is provisional.
    """
    from scaling.study.parse import read_study

    found = read_study(study, data_needed=False)
    from scaling.report import report as reporting

    words = reporting.Words(title=title, xlabel=xlabel, ylabel=ylabel)
    reporting.report(found, runs, out, details=details, words=words)


def clean(
    study: StudyName,
    runs: Runs = Path("runs"),
    ends: Annotated[
        bool,
        typer.Option(
            "--ends", help="Also the ends of runs, which convert and init need: numbers stay."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")
    ] = False,
) -> None:
    """Delete the training states of STUDY that nothing needs, and say how much that frees.

    Kept are the last point of every trunk, from which longer runs go on, the points from which runs
    in RUNS have still to start, and the ends of runs. What a worker is at is left alone. Results,
    metrics and logs stay.
    """
    from scaling.runs import clean as cleaning
    from scaling.study.parse import read_study

    found = cleaning.clean(read_study(study, data_needed=False), runs, ends=ends, dry_run=dry_run)
    for each in found:
        print(f"{each.bytes / 2**20:10.1f} MiB  {each.path}")
    total = sum(each.bytes for each in found) / 2**20
    freed = f"{total:.1f} MiB {'would be freed' if dry_run else 'freed'}"
    print(f"{freed}: {counted(len(found), 'state')}.")
