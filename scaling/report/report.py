"""From run folders to one table, and from the table to laws and their picture.

Measures nothing and knows no training; of fitting and drawing it knows only whom to ask.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.files import write_text
from fits.data.frontier import frontier
from fits.data.results import Result, write_csv, write_parquet
from fits.data.tables import read_table
from fits.plotting import canvas, draw_frontier, save
from fits.regression.fit import Fit
from fits.report import FitReport, GroupReport, fit_table
from fits.report_json import to_json
from fits.report_text import in_full, notes, summary
from fits.spec import FitSpec
from scaling.evaluate.upstream import Upstream
from scaling.report.page import write_page
from scaling.runs.begun import as_begun
from scaling.runs.run_folder import Look, RunFolder
from scaling.study.study import Study
from scaling.study.variants import variants
from scaling.training.run import Run

PANELS = 4  # as many as can be read side by side
SPEC = FitSpec(x=("flops",), y="value")
Truth: TypeAlias = Mapping[str, float | None]
"""Of each subset the error of the best possible classifier, where it is known."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the figure is to say; None: the study's name, and what is on its axes."""

    title: str | None = None
    xlabel: str | None = None
    ylabel: str | None = None


def collect(study: Study, runs: Path, out: Path) -> tuple[Path, Path]:
    """Writes the results of every finished run as OUT/<study>.parquet and .csv, and says so.

    A run that is not finished is absent from both; how many are, and why, is said in a line.

    Raises:
      UserError: no run is finished; nothing is written then.
    """
    study = as_begun(study, runs)
    return _write_tables(study, _results(study, runs, look_at(study, runs)), out)


def report(
    study: Study, runs: Path, out: Path, *, details: bool = False, words: Words | None = None
) -> None:
    """Collects, fits the saturating law to the frontier of each error, prints and draws them.

    Prints one row a metric; with `details` every fit in full. Writes OUT/<study>.png, .pdf, .html
    and .laws.json as well. While runs are not finished, all of that is marked provisional. Where
    the study's data know the error of the best possible classifier, it stands beside the fitted
    floor.

    Raises:
      UserError: no run is finished; nothing is written then.
    """
    study = as_begun(study, runs)
    seen = look_at(study, runs)
    results = _results(study, runs, seen)
    _, table = _write_tables(study, results, out)
    found = _laws(study, table)
    truth = {run.data.subset: run.data.irreducible_error() for run in study.runs}
    print()
    for line in _in_words(study, found, details, truth):
        print(line)
    laws = out / f"{study.name}.laws.json"
    write_text(laws, json.dumps(to_json(found), indent=2, allow_nan=False) + "\n")
    words = words or Words()
    done = sum(look.state == "done" for look in seen.values())
    provisional = f"provisional: {done} of {len(seen)} runs" if done < len(seen) else ""
    figure = _draw(study, found, truth, out, words, provisional) if found.groups else None
    page = write_page(study, runs, seen, found, out / f"{study.name}.html", words.title)
    if provisional:
        print(f"{provisional}; laws and figures will change")
    if not details:
        print("details: the same command with --details")
    print(f"laws:    {laws}" + (f"\nfigure:  {figure} (and .pdf)" if figure else ""))
    print(f"page:    {page}")


# The table


def look_at(study: Study, runs: Path) -> dict[str, Look]:
    """What each run's folder says, by run id."""
    return {run.id: RunFolder(runs / run.id).look(study.evaluate) for run in study.runs}


def _results(study: Study, runs: Path, seen: Mapping[str, Look]) -> list[Result]:
    """What the finished runs measured; says how many runs are not finished."""
    absent = Counter(each.state for each in seen.values() if each.state != "done")
    why = ", ".join(f"{count} {state}" for state, count in sorted(absent.items()))
    if absent.total() == len(study.runs):
        raise UserError(
            [
                f"none of the {len(study.runs)} runs of {study.name} is finished in {runs} "
                f"({why}); `scaling launch` trains them."
            ]
        )
    if absent:
        print(
            f"{absent.total()} of {len(study.runs)} runs are absent from the table: {why}; "
            f"`scaling status` names them."
        )
    words = variants(study.runs)
    return [
        result
        for run in study.runs
        if seen[run.id].state == "done"
        for result in _of_run(study, run, seen[run.id], words[run.id])
    ]


def _of_run(study: Study, run: Run, seen: Look, variant: str) -> Iterator[Result]:
    """What one finished run measured. Its data may be gone: what they were is in the manifest."""
    manifest = seen.manifest or {}
    try:
        flops, size = float(manifest["flops"]), run.data_size or manifest["data"][0]["train_size"]
    except (KeyError, IndexError, TypeError):
        raise UserError(
            [f"run {run.id}: its manifest.json names no FLOPs or no data; delete it and launch."]
        ) from None
    for row in seen.rows:
        yield Result(
            study=study.name,
            run=run.id,
            model=run.model_name,
            params=run.params,
            flops=flops,
            images_seen=run.images_seen,
            data_size=size,
            seed=run.seed,
            metric=row.metric,
            value=row.value,
            n=row.n,
            subset=run.data.subset,
            variant=variant,
        )


def _write_tables(study: Study, results: Sequence[Result], out: Path) -> tuple[Path, Path]:
    out.mkdir(parents=True, exist_ok=True)
    parquet, csv = out / f"{study.name}.parquet", out / f"{study.name}.csv"
    write_parquet(parquet, results)
    write_csv(csv, results)
    count = len({result.run for result in results})
    print(
        f"table:  {csv} (and .parquet): {counted(len(results), 'number')}, {counted(count, 'run')}"
    )
    return parquet, csv


# The laws


def _laws(study: Study, table: Path) -> FitReport:
    """One fit for each error rate that is above 0 in some run, of each subset and each variant by
    itself."""
    errors = _errors(study)
    if not errors:
        return FitReport(table=table, spec=SPEC, notes=(), groups=())
    whole = read_table(table)
    rows = [k for k, metric in enumerate(whole.column("metric")) if metric in errors]
    parts = {"subset": {run.data.subset for run in study.runs}}
    parts["variant"] = set(variants(study.runs).values())
    by = ["metric", *(name for name, values in parts.items() if len(values) > 1)]
    return fit_table(whole.keep(rows), SPEC, by=by, strict=False, drop_zeros=True)


def _errors(study: Study) -> set[str]:
    """Names of the error rates that it measures."""
    return {name for each in study.evaluate for name in each.errors}


def part_of(group: GroupReport) -> str:
    """Subset and variant of the runs that were fitted, where the study has several; else ""."""
    return ", ".join(value for name, value in group.names.items() if name != "metric")


def subset_of(group: GroupReport, study: Study) -> str:
    """The subset whose runs were fitted: that of all, where there is one."""
    return group.names.get("subset", study.runs[0].data.subset)


def _in_words(study: Study, found: FitReport, details: bool, truth: Truth) -> Iterator[str]:
    """For a person: one row a metric, or every fit in full."""
    if not _errors(study):
        yield f"{study.name} measures no error rate: there is no law"
        return
    if not found.groups:
        yield "no run has an error above 0: there is no law"
        yield from notes(found.notes)
        return
    if not details:
        yield from summary(found)
    for group in found.groups if details else ():
        yield f"{group.title}:"
        yield from (f"  {line}" for line in in_full(group, holdout=True))
    if details:
        shown = [note for group in found.groups for note in group.points.notes]
        yield from notes(note for note in found.notes if note not in shown)
    for group in found.groups:
        known = _truth_of(group, study, truth)
        if known is not None:
            yield _beside_the_truth(group, known)


def _truth_of(group: GroupReport, study: Study, truth: Truth) -> float | None:
    """The best error there can be, of the error on the training source's own images."""
    upstream = group.names["metric"] in Upstream().errors
    return truth[subset_of(group, study)] if upstream else None


def _beside_the_truth(group: GroupReport, truth: float) -> str:
    name = ", ".join(group.names.values())
    if not isinstance(group.fit, Fit) or group.fit.law.floor is None:
        return f"true floor of {name}: {truth:.3g}"
    low, high = group.fit.intervals[group.fit.law.parameters.index(group.fit.law.floor)]
    where = "inside" if low <= truth <= high else "outside"
    return f"true floor of {name}: {truth:.3g}, {where} the interval [{low:.3g}, {high:.3g}]"


# The picture


def _panels(study: Study, found: FitReport) -> list[GroupReport]:
    """The errors worth a panel: upstream first, then each transfer task with its most shots; of
    each subset one."""
    named: dict[str, list[GroupReport]] = defaultdict(list)
    for group in found.groups:
        named[group.names["metric"]].append(group)
    upstream_first = sorted(study.evaluate, key=lambda each: each.kind != "upstream")
    errors = [[name for name in each.errors if name in named] for each in upstream_first]
    return [group for names in errors if names for group in named[names[-1]]][:PANELS]


def _draw(
    study: Study,
    found: FitReport,
    truth: Truth,
    out: Path,
    words: Words,
    provisional: str,
) -> Path:
    """One panel an error, subset and variant, one curve a model, data size and seed, written as
    .pdf and .png."""
    shown = _panels(study, found)
    figure, panels = canvas(len(shown))
    for group, panel in zip(shown, panels, strict=True):
        columns = group.points.table.columns
        metric, title = group.names["metric"].replace("_", " "), words.title or study.name
        title = ", ".join([title, *filter(None, [part_of(group)])])
        title = f"{title} ({provisional})" if provisional else title
        draw_frontier(
            group.fit,
            group.points.x,
            group.points.error,
            frontier=frontier(group.points.x, group.points.error),
            labels=columns["model"],
            series=columns["seed"],
            sizes=columns["data_size"],
            xlabel=words.xlabel or "training compute, FLOP",
            ylabel=words.ylabel or metric,
            title=f"{title}: {metric}" if words.ylabel else title,
            ax=panel,
            reference=_truth_of(group, study, truth),
        )
    save(figure, out / f"{study.name}.pdf")
    return save(figure, out / f"{study.name}.png")
