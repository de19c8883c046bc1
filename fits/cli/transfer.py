"""fit-laws transfer: do better upstream models transfer better?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from fits.base.counted import counted
from fits.base.errors import UserError, all_of
from fits.cli.options import Json, Plot, TableArgument, listed, option
from fits.cli.output import check_files, put
from fits.data.conditions import FORMS, parsed

if TYPE_CHECKING:
    from fits.base.numbers import Estimate
    from fits.decisions.transfer import CorrelationJson, TransferReport

RATES = "error", "error-percent", "accuracy", "accuracy-percent"


def transfer(
    table: TableArgument,
    options: dict[str, Any],
    to: Annotated[list[str], option("METRIC", "A data set's metric; repeatable.", "--to")],
    upstream: Annotated[str, option("METRIC", "Of the training source.")] = "upstream_error",
    json_file: Json = None,
    plot: Plot = None,
) -> None:
    """Do better upstream models transfer better? Correlations over all runs of a results table.

    TABLE has a row a number measured, as `scaling collect` and `scaling evaluate` write it: columns
    run, model, metric, value. Accuracies become logits, and each data set's mean is taken out of
    its own (Kornblith et al. 2019). Prints Pearson's correlation of the logits, and Spearman's and
    Kendall's of the ranks, for each data set and for their mean, with intervals by a jackknife over
    models: runs of one model are left out together, or those that agree in every --cluster.

    Exit status: 0 done; 2 a mistake on the command line or in the table: all mistakes are named,
    and nothing is written.
    """
    from fits.decisions.transfer import transfer_of

    all_of(
        lambda: _check_options(options),
        lambda: check_files({"--json": json_file, "--plot": plot}, [table]),
    )
    found = transfer_of(
        table,
        upstream,
        to,
        kind=options["y_is"],
        where=options["where"] or (),
        clusters=options["cluster"] or (),
        level=options["level"],
        last_of=listed(options["last_of"] or ()),
        best_of=listed(options["best_of"] or ()),
    )
    if plot:
        from fits.plot_transfer import draw_transfer
        from fits.plotting import save

        save(draw_transfer(found), plot)
    put(found, _lines(found), (each.words for each in found.diagnostics), json_file, plot)


def _check_options(options: dict[str, Any]) -> None:
    wrong = []
    if options["y_is"] not in RATES:
        wrong.append(f"--y-is: no '{options['y_is']}'. Use {', '.join(RATES)}.")
    if not 0.01 <= options["level"] <= 0.999:
        wrong.append(f"--level: {options['level']:g} is not from 0.01 to 0.999.")
    wrong += [
        f"--where: '{each}' compares nothing. Write {FORMS}."
        for each in options["where"] or ()
        if not parsed(each)
    ]
    if wrong:
        raise UserError(wrong)


def _lines(found: TransferReport) -> Iterator[str]:
    yield (
        f"{found.upstream} against transfer, {counted(len(found.runs), 'run')} in "
        f"{counted(found.clusters, 'cluster')}; "
        f"{100 * found.level:g}% intervals"
    )
    head = ("", "mean accuracy", "Pearson, logits", "Spearman", "Kendall")
    rows = [head, *(_row(each) for each in found.correlations)]
    wide = [max(len(row[k]) for row in rows) for k in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(n) for cell, n in zip(row, wide, strict=True)).rstrip()


def _row(each: CorrelationJson) -> tuple[str, ...]:
    mean = "" if each.mean_accuracy is None else f"{each.mean_accuracy:.3g}"
    return (
        each.metric or "mean over data sets",
        mean,
        *(_interval(one) for one in (each.pearson, each.spearman, each.kendall)),
    )


def _interval(found: Estimate) -> str:
    if math.isnan(found.low):
        return f"{found.value:.2f} [no interval]"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
