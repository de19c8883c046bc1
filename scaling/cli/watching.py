"""The commands that tell how far runs are: `scaling status`, `curves`, `export` and `logs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.options import Json, Out, Runs, StudyName
from scaling.cli.output import write, write_json
from scaling.launch import options as training


def status(
    study: StudyName,
    runs: Runs = Path("runs"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw the grid anew until every run is done or failed.")
    ] = False,
    json_file: Json = None,
) -> None:
    """The state of each run of STUDY: done, running, waiting or failed. Writes nothing.

    With --watch the grid as a picture, a mark a run, and what is at work, until every run is done
    or has failed (exit status 1), or Ctrl-C. With
    --json a list of {run, model, data_size, subset, images_seen, seed, state, step, steps, phase,
    images_per_second, mfu, seconds_left, error, seconds, trouble}.
    """
    from scaling.launch.progress.status import as_json, show_status, watch_status
    from scaling.study.parse import read_study

    found = read_study(study, data_needed=False)
    if watch:
        raise typer.Exit(0 if watch_status(found, runs) else 1)
    if json_file is not None:
        write_json(as_json(found, runs), json_file)
    else:
        show_status(found, runs)


def curves(
    study: StudyName,
    runs: Runs = Path("runs"),
    only: training.Only = None,
    table: Annotated[
        str, typer.Option("--table", metavar="FILE|-", help="Where to; - is standard output.")
    ] = "-",
) -> None:
    """The learning curves of STUDY as CSV, as far as its runs are: a line about every second.

    Columns tell the run (run, model, params, data_size, batch, seed) and the look: step,
    images_seen, flops up to there, loss (nats, a mean since the line before), learning_rate,
    gradient_norm, images_per_second, mfu, memory_bytes, seconds. Steps of a shared trunk stand in
    the curve of every run that branches from it. Writes nothing but FILE.
    """
    from scaling.report.curves import as_csv
    from scaling.study.parse import read_study

    write(as_csv(read_study(study, data_needed=False), runs, only or ()), table)


def export(
    study: StudyName,
    to: Annotated[str, typer.Option("--to", metavar="TOOL", help="tensorboard, wandb or trackio.")],
    runs: Runs = Path("runs"),
    out: Out = Path("results"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on every 30 s until all runs are done.")
    ] = False,
) -> None:
    """Tell TensorBoard, Weights & Biases or trackio of the learning curves and results of STUDY.

    Reads RUNS, writes OUT/TOOL/STUDY/, and tells each step once however often it is stopped and
    started again. Training knows nothing of it. Weights & Biases takes WANDB_API_KEY and
    WANDB_MODE=offline from the environment: docs/training/export.md.
    """
    from scaling.study.parse import read_study
    from scaling.writers import export as exporting

    exporting.export(read_study(study, data_needed=False), runs, to, out, watch=watch)


def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or how it begins.")],
    runs: Runs = Path("runs"),
    lines: Annotated[
        int | None, typer.Option("-n", "--lines", min=1, help="The last so many lines alone.")
    ] = None,
) -> None:
    """What the workers of a run have printed, the oldest first. Writes nothing.

    Where they have printed nothing, this says so, and why the run failed if it did.
    """
    from scaling.runs.logs import log_of

    text = log_of(runs, run)
    print("\n".join(text[-lines:] if lines else text))
