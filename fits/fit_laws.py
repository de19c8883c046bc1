"""The command fit-laws: laws of error against the resource spent, from any table of runs.

`fit-laws TABLE ...` is `fit-laws fit TABLE ...`. Nothing but the standard library and typer is
imported before the arguments are read: --help is instant.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

if __name__ == "__main__":  # run as a file, Python would look for `fits` beside the file
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import typer

from fits.base.names import did_you_mean
from fits.cli.best_size import best_size
from fits.cli.check import check
from fits.cli.compare import compare
from fits.cli.downstream import downstream
from fits.cli.fit import fit
from fits.cli.next import next_runs
from fits.cli.optimal import optimal
from fits.cli.options import as_command
from fits.cli.output import ending, schema_of
from fits.cli.pool import OWN as NOT_OF_POOLS
from fits.cli.pool import pool
from fits.cli.race import OWN as NOT_OF_RACES
from fits.cli.race import race
from fits.cli.transfer import transfer

HELP = """Fit a law to a table of runs, and decide with it.

\b
    fit-laws TABLE --x COL --y COL   fit a law to the frontier of the runs (fit-laws fit --help)
    fit-laws check LAW.json          does a law that was saved still hold?
    fit-laws compare TABLE TABLE     recipe A against B: errors, and compute saved
    fit-laws downstream TABLE        from a budget, by the loss, to downstream accuracy
    fit-laws next TABLE              which runs would make a prediction surest, per FLOP
    fit-laws pool TABLE              the same where most rows have no error yet, by several laws
    fit-laws race TABLE              which of several trainings can be stopped now
    fit-laws optimal TABLE           how to divide compute between a larger model and more data
    fit-laws best-size TABLE         the best size for a budget, by any law of size and data
    fit-laws transfer TABLE          do better upstream models transfer better?
    fit-laws schema COMMAND          JSON schema of what its --json writes

\b
    fit-laws results.csv --x flops --y value --where metric=upstream_error
    fit-laws others.csv --x gpu_hours --y top1 --y-is accuracy-percent --predict 1e4
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("fit")(as_command(fit))
app.command("check")(as_command(check, optional=("x", "y")))
app.command("compare")(as_command(compare))
app.command("downstream")(as_command(downstream))
app.command("best-size")(as_command(best_size))
app.command("next")(as_command(next_runs))
app.command("pool")(as_command(pool, without=NOT_OF_POOLS))
app.command("race")(as_command(race, without=NOT_OF_RACES))
app.command("optimal")(as_command(optimal, without=("x", "law", "frontier", "all_points", "hull")))
OF_FITS = (
    *("x", "y", "frontier", "all_points", "hull", "law", "loss", "huber", "scale", "weights"),
    *("quantile", "fix", "tie", "from_law", "hold", "chance"),
)
app.command("transfer")(as_command(transfer, without=OF_FITS))


@app.command("schema")
def schema(command: Annotated[str, typer.Argument(metavar="[COMMAND]")] = "fit") -> None:
    """Print the JSON schema of what a command writes with --json: fit unless one is named."""
    raise typer.Exit(ending(lambda: print(json.dumps(schema_of(command), indent=2))))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    words = typed = sys.argv[1:] if argv is None else list(argv)
    known = [str(each.name) for each in app.registered_commands]
    if words and words[0] not in (*known, "-h", "--help"):
        path = Path(words[0])
        meant = did_you_mean(words[0], known)
        if meant and not path.suffix and not path.exists() and not words[0].startswith("-"):
            print(f"fit-laws: {words[0]}: no such command, and no table. {meant}", file=sys.stderr)
            return 2
        words = ["fit", *words]
    return ending(lambda: _status(words, typed))


def _status(words: Sequence[str], typed: Sequence[str]) -> int:
    try:
        app(args=words, prog_name="fit-laws", obj=typed)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
