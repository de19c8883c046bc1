"""The command `scaling evaluate`: it parses and prints; `scaling.zoo.measure` measures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.zoo import options as networks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fits.data.results import Result
    from scaling.zoo.trained import Trained

FORMATS = (".csv", ".parquet")

Checkpoints = Annotated[
    list[Path],
    typer.Argument(
        metavar="CHECKPOINT...",
        help="Folder of a run, trunk or training state; or an .npz or .safetensors.",
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on", metavar="TASKS", help="A file with [[evaluate]] tables, or a study by name or file."
    ),
]
Table = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a .parquet or .csv.")]
Work = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where fine-tuning keeps its checkpoints until all is measured; given again, it "
        "resumes there.",
        show_default="FILE of --table, ending in .work",
    ),
]
Seen = Annotated[
    int | None,
    typer.Option(
        min=1, max=10**15, help="Images that files of weights were trained on, for FLOPs."
    ),
]
Resolution = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=8192,
        help="Measure on images of that side, px; learned positions are resized.",
        show_default="that of CHECKPOINT",
    ),
]


def evaluate(
    checkpoints: Checkpoints,
    on: On,
    table: Table = None,
    resolution: Resolution = None,
    shape: networks.Shape = None,
    heads: networks.Heads = None,
    sincos: networks.Sincos = False,
    mean: networks.Mean = None,
    std: networks.Std = None,
    images_seen: Seen = None,
    work: Work = None,
) -> None:
    """Measure trained networks, this project's or imported, without a study.

    A CHECKPOINT is the folder of a run (its last state), of a trunk, or of one training state in
    them; or a file of weights of any layout that `scaling convert` reads. TASKS holds the
    [[evaluate]] tables of a study file and, for what a classifier is measured on, [data]; a run
    knows its own. Weights without a classifier are measured by their features. Prints every number,
    and writes them with --table in the columns of `scaling collect`; what is not known of imported
    weights (FLOPs without --images-seen, data, seed) is an empty cell. Writes nothing but FILE, and
    the checkpoints of tasks that fine-tune, until all is measured. See docs/evaluation/evaluate.md.
    """
    if table is not None:
        _check_table(table)
    from scaling.launch.devices import compute_as_workers_do

    compute_as_workers_do()
    from scaling.zoo.measure import measure, prepare
    from scaling.zoo.trained import Asked
    from scaling.zoo.tuning import clear

    asked = Asked(
        resolution=resolution,
        shape=shape,
        about=networks.about(heads, sincos, mean, std),
        images_seen=images_seen,
    )
    found, tasks = prepare(checkpoints, on, asked)
    if work is None and table is not None:
        work = table.with_suffix(".work")
    if tasks.trains:
        _check_work(work, found)
    results: list[Result] = []
    try:
        for network in found:
            there: list[Result] = []
            try:
                for result in measure(network, tasks, work):
                    there.append(result)
            finally:  # what was measured before a mistake is not lost
                _show(network, there)
                results += there
    finally:
        if table is not None and results:
            _write(table, results)
            count = len({result.run for result in results})
            print(
                f"table:  {table}: {counted(len(results), 'number')}, {counted(count, 'network')}"
            )
    if tasks.trains and work is not None:
        clear(found, work)


def _check_work(work: Path | None, networks: Sequence[Trained]) -> None:
    """Raise UserError where fine-tuning has no place for its checkpoints."""
    if work is None:
        raise UserError(
            [
                "finetune and vtab train, and keep checkpoints: give --table FILE, beside which "
                "they lie, or --work FOLDER."
            ]
        )
    from scaling.runs.run_file import NAME

    if work.exists() and not work.is_dir():
        raise UserError([f"--work {work}: is no folder; name one."])
    for folder in (work / each.run for each in networks):
        if (folder / NAME).exists():
            raise UserError(
                [
                    f"--work {work}: {folder} is a run's folder, of which what fine-tuning leaves "
                    "would be deleted in the end; name another."
                ]
            )


def _check_table(table: Path) -> None:
    """Raise UserError where the table cannot be written, before anything is measured."""
    if table.suffix.lower() not in FORMATS:
        raise UserError([f"--table {table}: ends in none of {', '.join(FORMATS)}."])
    if table.is_dir():
        raise UserError([f"--table {table}: is a folder; name a file in it."])
    if not table.absolute().parent.is_dir():
        raise UserError([f"--table {table}: there is no folder {table.parent}; make it first."])


def _show(network: Trained, results: Sequence[Result]) -> None:
    from scaling.base.console import print_table, say

    say(f"{network.label}: {network.words}")
    rows = [(each.metric, f"{each.value:.6g}", f"{each.n:_}") for each in results]
    if rows:
        print_table(("metric", "value", "n"), rows, left=("metric",))
        say("")


def _write(table: Path, results: Sequence[Result]) -> None:
    from fits.data.results import write_csv, write_parquet

    write = write_csv if table.suffix.lower() == ".csv" else write_parquet
    write(table, results)
