"""Scaling studies of vision models: from a study file to a fitted law.

\b
    scaling plan    demo     what it will cost: runs, parameters, FLOPs
    scaling launch  demo     train what is not trained yet; again, after any kill
    scaling work    demo     the same in this process, or in those of many hosts together
    scaling status  demo     how far it is
    scaling collect demo     one table of all results
    scaling report  demo     the fitted law and its figure
    scaling curves  demo     the learning curves of its runs, as one table
    scaling export  demo     the same to TensorBoard, Weights & Biases or trackio
    scaling kubernetes demo  a manifest that trains it on a cluster
    scaling logs    RUN      what the workers of a run have printed
    scaling clean   demo     free the disk of training states that nothing needs
    scaling duplicates demo  training images that look like those measured on
    scaling data ...         bring images of your own, see what networks see, check all of them
    scaling privacy          what a private training spends, or the noise that it needs
    scaling models           the zoo: parameters and multiply-adds
    scaling convert IN OUT   weights from one layout to another, or out of a run
    scaling evaluate CHECKPOINT --on TASKS
                             measure any trained network, without a study

A study is the name of one that comes with the project (demo, cifar10, zhai2022 and others) or the
path of a file of your own; docs/study-file.md says what such a file may hold.

\b
Written:      runs/       one folder a run, and logs/ of its workers, by launch and run
              results/    <study>.parquet, .csv, figures and .html, by collect, report and
                          data show; tensorboard/, wandb/ and trackio/ by export
              OUT         by convert; for transformers a config.json beside it
              FILE        by evaluate --table
              data sets   by data prepare and data convert, where they are told
              ~/.cache/vit-scaling-laws/
                          decoded images of data of kind "folder", by launch, run and data;
                          below $XDG_CACHE_HOME where that is set
                          plans/, what a compiler said, by plan --on; xla/, compiled programs,
                          and calibration.jsonl, what steps took, by launch, run and work
Not written:  anything else by plan, status, models and launch --dry-run, save the files that
              --json and --table name; and a study file with mistakes stops every command
              before it writes.

\b
Exit status:  0    done
              1    some runs failed; each is named with its reason, the others are done;
                   or a file cannot be read or written, and it is named
              2    a mistake in the study file, in its data or on the command line, all of
                   them named
              130  stopped by Ctrl-C (143: by SIGTERM); launch again to go on
"""

from __future__ import annotations

import sys

import typer

from fits.base.errors import UserError
from fits.base.streams import lead_nowhere, told
from scaling.base.console import complain
from scaling.cli import data, launching, planning, results, watching, weights, working
from scaling.cli.duplicates import duplicates
from scaling.cli.evaluate import evaluate
from scaling.cli.privacy import privacy

app = typer.Typer(
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# in the order in which the help lists them
app.command("evaluate")(evaluate)
app.command("plan")(planning.plan)
app.command("launch")(launching.launch)
app.command("run")(working.run)
app.command("pool")(working.pool)
app.command("work")(working.work)
app.command("status")(watching.status)
app.command("curves")(watching.curves)
app.command("kubernetes")(launching.kubernetes)
app.command("export")(watching.export)
app.command("logs")(watching.logs)
app.command("clean")(results.clean)
app.command("collect")(results.collect)
app.command("report")(results.report)
app.command("duplicates")(duplicates)
app.command("privacy")(privacy)
app.command("models")(weights.models)
app.command("convert")(weights.convert)
app.add_typer(data.app, name="data")


def main() -> None:
    """The command `scaling`. A user's mistake is said on standard error, without a traceback."""
    try:
        try:
            app(prog_name="scaling")
        finally:
            sys.stdout.flush()
    except UserError as mistakes:
        print(mistakes, file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read our output has seen enough
        lead_nowhere(sys.stdout)
    except OSError as error:
        complain(told(error, sys.stdout))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
