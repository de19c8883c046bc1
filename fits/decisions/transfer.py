"""Do better upstream models transfer better? From a results table alone.

    logit(p) = log(p / (1 - p)),   p an accuracy
    adjusted_id = logit(p_id) - mean over runs i of logit(p_id),   d a data set

An accuracy of 0 or 1 has no logit: where the table says on how many images it was measured, it
counts as half an image wrong or right. After Kornblith, Shlens and Le 2019, "Do better ImageNet
models transfer better?": accuracies on a logit scale, each data set's mean taken out; how they made
their intervals is not copied here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fits.base.diagnostic import Diagnostic
from fits.base.errors import UserError
from fits.base.names import did_you_mean, short
from fits.base.numbers import Array, Indices
from fits.data.conditions import columns_of, keep_where
from fits.data.selection import chosen
from fits.data.tables import Table, read_numbers, read_table
from fits.regression.correlation import estimate, kendall, pearson, spearman
from fits.report_json import DiagnosticField, EstimateField, JsonModel
from fits.spec import LEVEL

LEAST = 3  # runs
FEW = 8  # clusters, below which intervals were not seen to hold


class CorrelationJson(JsonModel):
    """How one data set, or their mean, goes with the upstream accuracy, over all runs."""

    metric: str | None
    """null: the mean over data sets."""
    mean_accuracy: float | None
    """At the mean of the logits; null for the mean over data sets."""
    pearson: EstimateField
    """Of the logits."""
    spearman: EstimateField
    kendall: EstimateField
    """tau-b."""


class TransferredRun(JsonModel):
    """One run."""

    run: str
    cluster: str
    upstream: float
    """Logit of the upstream accuracy."""
    adjusted: dict[str, float]
    """By metric."""
    mean: float


class TransferReport(JsonModel):
    table: Path
    upstream: str
    level: float
    clusters: int
    """Of runs that belong together."""
    correlations: tuple[CorrelationJson, ...]
    """Of each data set in the order asked for, then of their mean."""
    runs: tuple[TransferredRun, ...]
    diagnostics: tuple[DiagnosticField, ...]


def transfer_of(
    path: str | Path,
    upstream: str,
    transfer: Sequence[str],
    *,
    kind: str = "error",
    where: Sequence[str] = (),
    clusters: Sequence[str] = (),
    level: float = LEVEL,
    last_of: Sequence[str] = (),
    best_of: Sequence[str] = (),
) -> TransferReport:
    """Correlations of upstream and transfer over all runs of a results table.

    Args:
      upstream, transfer: values of the column `metric`.
      kind: what the values are: error, accuracy, or one of the two in per cent.
      where: conditions on rows, as `data/conditions.py` says.
      clusters: columns; runs that agree in all of them are left out together by the jackknife.
        Empty: those of one model.
      level: of the intervals.
      last_of, best_of: columns; of the rows of one metric that agree in all of them the last or
        the best alone is taken.

    Raises:
      UserError: all mistakes in the table.
    """
    table = read_table(path)
    clusters = list(clusters or ["model"])
    tested = columns_of(where, table)
    named = ["run", "metric", "value", *clusters, *last_of, *best_of, *tested]
    if missing := table.missing(named):
        raise UserError(missing, table.ragged)
    metrics = [upstream, *transfer]
    said = table.read_as(["value"])
    for condition in where:
        table = keep_where(table, condition)
    _check_metrics(table, metrics)
    table = table.keep([k for k, m in enumerate(table.column("metric")) if m in set(metrics)])
    steps = chosen(
        *(table, (), "value"),
        last_of=last_of,
        best_of=best_of,
        by=["metric"],
        largest=kind.startswith("accuracy"),
        percent=kind.endswith("percent"),
    )
    for step in steps:
        table, said = step.after, [*said, *step.notes]
    logits, names, notes = _complete(table, metrics, kind, clusters)
    notes = [*said, *notes]
    runs = list(logits)
    values = np.array([[logits[run][metric] for metric in metrics] for run in runs])
    if flat := [m for m, column in zip(metrics, values.T, strict=True) if np.ptp(column) == 0]:
        raise UserError(
            [f"{path}: {short(', '.join(flat))} is the same in all runs: nothing goes with it."]
        )
    labels = sorted({names[run] for run in runs})
    cluster = np.array([labels.index(names[run]) for run in runs])
    if len(labels) < FEW:
        notes.append(Diagnostic("few_clusters", (), {"n": len(runs), "clusters": len(labels)}))
    means = values[:, 1:].mean(0)
    adjusted = values[:, 1:] - means
    x = values[:, 0]
    found = [
        _correlation(metric, float(1 / (1 + math.exp(-mean))), x, y, cluster, level)
        for metric, mean, y in zip(transfer, means, adjusted.T, strict=True)
    ]
    return TransferReport(
        table=Path(path),
        upstream=upstream,
        level=level,
        clusters=len(labels),
        correlations=(*found, _correlation(None, None, x, adjusted.mean(1), cluster, level)),
        runs=tuple(
            TransferredRun(
                run=run,
                cluster=names[run],
                upstream=float(x[i]),
                adjusted=dict(zip(transfer, adjusted[i].tolist(), strict=True)),
                mean=float(adjusted[i].mean()),
            )
            for i, run in enumerate(runs)
        ),
        diagnostics=tuple(notes),
    )


def _correlation(
    metric: str | None, mean: float | None, x: Array, y: Array, cluster: Indices, level: float
) -> CorrelationJson:
    of = {
        each.__name__: estimate(each, x, y, cluster, level) for each in (pearson, spearman, kendall)
    }
    return CorrelationJson(metric=metric, mean_accuracy=mean, **of)


def _check_metrics(table: Table, metrics: Sequence[str]) -> None:
    known = list(dict.fromkeys(table.column("metric")))
    wrong = [
        f"{table.path}: no metric '{short(metric)}'. {did_you_mean(metric, known)}"
        f"Metrics: {short(', '.join(known))}."
        for metric in dict.fromkeys(metrics)
        if metric not in known
    ]
    wrong += [
        f"{metric}: named twice. Name each once."
        for metric in dict.fromkeys(metrics)
        if metrics.count(metric) > 1
    ]
    if wrong:
        raise UserError(wrong)


def _complete(
    table: Table, metrics: Sequence[str], kind: str, clusters: Sequence[str]
) -> tuple[dict[str, dict[str, float]], dict[str, str], list[Diagnostic]]:
    """Logits by run and metric, of the runs that have every metric; and the cluster of each.

    Raises:
      UserError: a value is no rate; a run has a metric twice; fewer than three runs have all.
    """
    percent = kind.endswith("percent")
    values, wrong = read_numbers(table, "value", lambda v: _judge(v, kind), percent=percent)
    repeated = table.duplicates()
    again = {row for row, _ in repeated}
    found: dict[str, dict[str, float]] = {}
    names: dict[str, str] = {}
    twice: list[str] = []
    certain = 0
    cells = zip(table.column("run"), table.column("metric"), values.tolist(), strict=True)
    for row, (run, metric, value) in enumerate(cells):
        if row in again:
            continue
        if metric in found.setdefault(run, {}):
            twice.append(
                f"{table.place(row)}: run {run} has {metric} a second time. Keep one of the two."
            )
        names[run] = ", ".join(table.column(name)[row] for name in clusters)
        accuracy = value / (100 if kind.endswith("percent") else 1)
        accuracy = accuracy if kind.startswith("accuracy") else 1 - accuracy
        if accuracy in (0, 1):
            certain += 1
            accuracy = _half_an_image(table, row, accuracy, wrong)
        found[run][metric] = math.log(accuracy / (1 - accuracy)) if 0 < accuracy < 1 else math.nan
    if wrong or twice or table.ragged:
        raise UserError(table.ragged, *wrong, twice)
    whole = {run: logits for run, logits in found.items() if len(logits) == len(metrics)}
    if len(whole) < LEAST:
        raise UserError(
            [
                f"{table.path}: {len(whole)} of {len(found)} runs have all of "
                f"{short(', '.join(metrics))}. At least {LEAST} must."
            ]
        )
    notes = []
    if len(whole) < len(found):
        numbers = {"count": len(found) - len(whole), "n": len(found)}
        notes.append(Diagnostic("runs_without_metric", (), numbers))
    if repeated:
        row, first = repeated[0]
        lines = {"line": table.numbers[row], "first": table.numbers[first]}
        notes.append(Diagnostic("repeated_rows", (), {"count": len(repeated), **lines}))
    if certain:
        notes.append(Diagnostic("half_an_image", (), {"count": certain}))
    return whole, names, notes


def _half_an_image(table: Table, row: int, accuracy: float, wrong: list[list[str]]) -> float:
    """The accuracy with half an image more or less; adds to `wrong` where n is not known."""
    n = table.column("n").values[row] if "n" in table.columns else math.nan
    if n >= 1:
        return abs(accuracy - 0.5 / n)
    wrong.append(
        [
            f"{table.place(row)}: value is an accuracy of {accuracy:g}, which has no logit. Add a "
            "column n, the images it was measured on, or leave the run out."
        ]
    )
    return math.nan


def _judge(value: float, kind: str) -> str | None:
    most = 100 if kind.endswith("percent") else 1
    if 0 <= value <= most:
        return None
    hint = "" if most == 100 else f"; for percentages say --y-is {kind}-percent"
    return f"not from 0 to {most}. Correct it, or leave the row out{hint}."
