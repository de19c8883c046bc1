"""fit-laws downstream: from a budget, by the loss, to downstream accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from fits.base.errors import UserError, all_of
from fits.cli.far import Far, refuse_places
from fits.cli.options import Json, TableArgument, Texts, numbers, option, read_columns, spec_of
from fits.cli.output import check_files, put
from fits.laws.names import RISING

if TYPE_CHECKING:
    from fits.decisions.downstream import Downstream
    from fits.report import FitReport


def downstream(
    table: TableArgument,
    options: dict[str, Any],
    through: Annotated[str, option("COL", "The loss, by which the chain goes.")],
    link: Annotated[
        str, option("NAME", f"Law of y against the loss: {', '.join(RISING)}.")
    ] = RISING[0],
    predict: Annotated[Texts, option("X", "Predict at X (X,X,... of several); repeatable.")] = None,
    far: Far = False,
    json_file: Json = None,
) -> None:
    """Downstream error at a budget: a law of the loss, and one of the error against the loss.

    --law, --fix, --tie and --from are of the loss against --x; --link and --chance of --y against
    the loss. Predictions have the errors of both in their intervals. Rows without a loss, or
    without y, count for the other law.

    Exit status: 0 done; 2 a mistake on the command line or in the table, or a law that cannot be
    fitted: all mistakes are named, and nothing is written.
    """
    from fits.base.numbers import X_RANGE

    of_loss = {**options, "y": through, "y_is": "loss", "chance": None}
    held = dict.fromkeys(("fix", "tie", "from_law", "hold"))
    rows = {"frontier": False, "hull": False, "all_points": True}
    law = link if link in RISING else RISING[0]  # what is wrong with it, _check says
    of_task = {**options, "x": [through], "law": law, **held, **rows}
    first, second, at, whole, *_ = all_of(
        lambda: spec_of(of_loss),
        lambda: spec_of(of_task),
        lambda: numbers("--predict", predict or [], X_RANGE, len(options["x"])),
        lambda: read_columns(table, {**options, "x": [*options["x"], through]}),
        lambda: check_files({"--json": json_file}, [table]),
        lambda: _check(link),
    )
    from fits.decisions import downstream as decisions

    answer, *reports = decisions.downstream(whole, first, second, at)
    (group,) = reports[0].groups
    refuse_places("--predict", at, group.law.span, far=far, causes=group.causes)
    put(answer, _lines(answer, *reports), [], json_file)


def _check(link: str) -> None:
    from fits.base.names import did_you_mean

    if link not in RISING:
        meant = did_you_mean(link, RISING)
        raise UserError([f"--link: no '{link}'. {meant}Use {' or '.join(RISING)}."])


def _lines(found: Downstream, first: FitReport, second: FitReport) -> Iterator[str]:
    from fits.report_text import in_full, interval

    for report in (first, second):
        spec = report.spec
        yield f"{report.table}: {spec.error_name} against {', '.join(spec.x)}"
        yield from (f"  {line}" for line in in_full(report.groups[0], holdout=False))
        yield ""
    name, level = second.spec.error_name, f"{100 * second.spec.level:g}% intervals"
    yield f"{name}, by the loss; {level} with the errors of both laws" if found.predictions else ""
    for each in found.predictions:
        at = ", ".join(f"{x:g}" for x in each.x)
        yield f"  at {at}: loss {interval(*each.loss)}, {name} {interval(*each.error)}"
        yield f"    of which the loss alone: {interval(*each.error_of_loss)}"
        if second.spec.y_is.startswith("accuracy"):
            value, low, high = (max(1 - end, 0.0) for end in each.error)  # of no error above 1
            yield f"    {second.spec.y} {interval(value, high, low)}"
