"""From run folders to one table, and from the table to laws and their picture.

Measures nothing and knows no training; of fitting and drawing it knows only whom to ask.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from fits.base.errors import UserError
from fits.base.files import written_aside
from fits.data.frontier import frontier
from fits.data.results import Result, write_csv, write_parquet
from fits.plotting import canvas, draw_frontier, save
from fits.regression.fit import Fit
from fits.regression.holdout import Trials
from fits.spec import Asked, Runs
from scaling.runs.run_folder import RunFolder
from scaling.study.study import Study
from scaling.training.run import Run

UPSTREAM = "upstream_error"
PANELS = 4  # as many as can be read side by side
UNITS = "", "k", "M", "G", "T", "P", "E", "Z", "Y"  # of FLOP, each a thousand of the one before


def collect(study: Study, runs: Path, out: Path) -> tuple[Path, Path]:
    """Writes the results of every finished run as OUT/<study>.parquet and .csv, and says so.

    A run that is not finished is absent from both; how many are, and why, is said in a line.

    Raises:
      UserError: no run is finished; nothing is written then.
    """
    return _write_tables(study, _results(study, runs), out)


def report(study: Study, runs: Path, out: Path) -> None:
    """Collects, fits the saturating law to the frontier of each error, prints and draws them.

    Writes OUT/<study>.png, .pdf and .laws.json as well. Where the study's data know the error of
    the best possible classifier, it stands beside the fitted floor.

    Raises:
      UserError: no run is finished; nothing is written then.
    """
    results = _results(study, runs)
    _, table = _write_tables(study, results, out)
    truth = study.runs[0].data.irreducible_error()
    curves = [
        _fitted(metric, results, truth if metric == UPSTREAM else None)
        for each in study.evaluate
        for metric in each.metrics
        if metric.endswith("_error")
    ]
    for curve in curves:
        print()
        for line in _in_words(curve):
            print(line)
    laws = _write_laws(study, curves, table, out)
    figure = _draw(study, curves, out)
    print(f"\nfigure: {figure} (and .pdf)\nlaws:   {laws}")


# The table


def _results(study: Study, runs: Path) -> list[Result]:
    """What the finished runs measured; says how many runs are not finished."""
    folders = {run.id: RunFolder(runs / run.id) for run in study.runs}
    states = {name: folder.status(study.evaluate) for name, folder in folders.items()}
    absent = Counter(state for state in states.values() if state != "done")
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
    return [
        result
        for run in study.runs
        if states[run.id] == "done"
        for result in _of_run(study, run, folders[run.id])
    ]


def _of_run(study: Study, run: Run, folder: RunFolder) -> Iterator[Result]:
    """What one finished run measured. Its data may be gone: what they were is in the manifest."""
    manifest = folder.manifest()
    for row in folder.results(study.evaluate):
        yield Result(
            study=study.name,
            run=run.id,
            model=run.model_name,
            params=run.params,
            flops=float(manifest["flops"]),
            images_seen=run.images_seen,
            data_size=run.data_size or manifest["data"][0]["train_size"],
            seed=run.seed,
            metric=row.metric,
            value=row.value,
            n=row.n,
        )


def _write_tables(study: Study, results: Sequence[Result], out: Path) -> tuple[Path, Path]:
    out.mkdir(parents=True, exist_ok=True)
    parquet, csv = out / f"{study.name}.parquet", out / f"{study.name}.csv"
    write_parquet(parquet, results)
    write_csv(csv, results)
    count = len({result.run for result in results})
    print(f"table:  {csv} (and .parquet): {len(results)} numbers, {count} runs")
    return parquet, csv


# The laws


@dataclass(frozen=True, kw_only=True)
class _Curve:
    """One error rate over all runs, and its law."""

    metric: str
    results: tuple[Result, ...]
    """Those above 0: an error of 0 has no logarithm."""
    perfect: int
    """How many runs were left out for an error of 0."""
    truth: float | None
    """Error of the best possible classifier, where it is known."""
    asked: Asked
    """What was to be fitted."""
    runs: Runs
    """To be fitted."""
    fit: Fit | None
    trials: Trials | None
    """How well each law foretells the large runs from the small; None: it cannot be tried."""
    refusal: str
    """Why there is no fit."""

    @property
    def flops(self) -> list[float]:
        return [result.flops for result in self.results]

    @property
    def error(self) -> list[float]:
        return [result.value for result in self.results]


def _fitted(metric: str, results: Sequence[Result], truth: float | None) -> _Curve:
    its = [result for result in results if result.metric == metric]
    above = tuple(sorted((result for result in its if result.value > 0), key=_small_first))
    asked, runs = _to_fit(above)
    found, trials, refusal = None, None, ""
    try:
        found = asked.fit(runs)
    except ValueError as refused:
        refusal = str(refused)
    else:
        trials = asked.trials(runs)
    return _Curve(
        metric=metric,
        results=above,
        perfect=len(its) - len(above),
        truth=truth,
        asked=asked,
        runs=runs,
        fit=found,
        trials=trials,
        refusal=refusal,
    )


def _to_fit(results: Sequence[Result]) -> tuple[Asked, Runs]:
    """The same that `fit-laws` makes of the table: seeds of one setting may err together."""
    settings = [replace(result, run="", seed=0, value=0.0) for result in results]
    first = {setting: k for k, setting in enumerate(dict.fromkeys(settings))}
    seeds = {(setting, result.seed) for setting, result in zip(settings, results, strict=True)}
    x = np.array([result.flops for result in results])
    error = np.array([result.value for result in results])
    asked = Asked(x=("flops",), y="value")
    if len(first) == len(seeds):
        return asked, Runs(x=x, error=error)
    columns = (field.name for field in fields(Result))
    setting = tuple(name for name in columns if name not in ("run", "seed", "value"))
    groups = np.array([first[setting] for setting in settings])
    return replace(asked, groups=setting), Runs(x=x, error=error, groups=groups)


def _small_first(result: Result) -> tuple[float, int, int]:
    return result.data_size or math.inf, result.params, result.seed


def _in_words(curve: _Curve) -> Iterator[str]:
    """The law for a person, with all that speaks against it."""
    count = len(curve.results)
    if curve.fit is None:
        yield f"{curve.metric}: no law through {count} runs. {curve.refusal}"
        return
    found = curve.fit
    intervals = dict(zip(found.law.parameters, found.intervals, strict=True))
    prefix, unit = _unit(max(curve.flops))
    a, b, c, d = found.values
    a, d = a * unit**-b, d / unit
    yield f"{curve.metric}: saturating law through the frontier, {found.n} of {count} runs"
    for term in curve.asked.in_words(curve.runs):
        yield f"  {term}"
    yield f"  E(C) = {a:.3g} (C + {d:.3g})^-{b:.3g} + {c:.3g}, C in {prefix}FLOP of training"
    yield f"  with {100 * found.level:g} % intervals"
    for name, value, meaning in (("b", b, "exponent"), ("c", c, "floor"), ("d", d, "head start")):
        low, high = (end / (unit if name == "d" else 1) for end in intervals[name])
        yield f"    {meaning:10} {name} = {value:<8.3g} {low:.3g} to {high:.3g}"
    if curve.truth is not None:
        low, high = intervals["c"]
        where = "inside" if low <= curve.truth <= high else "outside"
        yield f"    true floor     {curve.truth:<8.3g} {where} the interval of c"
    yield f"  root mean square of log error {found.rms:.3g}"
    if curve.trials is not None:
        for line in curve.trials.in_words(found.law.name):
            yield f"  {line}"
    for warning in found.warnings:
        yield f"  warning: {warning}"
    if curve.perfect:
        runs = "1 run" if curve.perfect == 1 else f"{curve.perfect} runs"
        yield f"  warning: {runs} without any error left out: 0 has no logarithm"


def _unit(flops: float) -> tuple[str, float]:
    """Prefix and size of the unit in which `flops` is a number from 1 to 1000."""
    step = min(int(math.log10(flops) // 3), len(UNITS) - 1)
    return UNITS[step], 1000.0**step


def _write_laws(study: Study, curves: Sequence[_Curve], table: Path, out: Path) -> Path:
    """The laws as `fit-laws --json` writes them, C in FLOP; without those that cannot be fitted."""
    fits = [(curve, curve.fit) for curve in curves if curve.fit is not None]
    answer = {
        "table": str(table),
        "x": "flops",
        "y": "value",
        "y_is": "error",
        "level": fits[0][1].level if fits else None,
        "groups": [_plain(curve, found) for curve, found in fits],
    }
    path = out / f"{study.name}.laws.json"
    with written_aside(path) as aside:
        aside.write_text(json.dumps(answer, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def _plain(curve: _Curve, found: Fit) -> dict[str, Any]:
    """A law as plain JSON; an interval without end has null there."""
    names = found.law.parameters
    ends = [[end if math.isfinite(end) else None for end in pair] for pair in found.intervals]
    return {
        "group": {"metric": curve.metric},
        "law": found.law.name,
        "formula": found.law.formula,
        "values": dict(zip(names, found.values, strict=True)),
        "intervals": dict(zip(names, ends, strict=True)),
        "points": found.n,
        "runs": len(curve.results),
        "asked": curve.asked.terms(curve.runs),
        "rms_log_error": found.rms,
        "warnings": list(found.warnings),
        "predictions": [],
        "held_out": curve.trials and curve.trials.plain(),
    }


# The picture


def _panels(study: Study, curves: Sequence[_Curve]) -> list[_Curve]:
    """The errors worth a panel: upstream first, then each transfer task with its most shots."""
    by_name = {curve.metric: curve for curve in curves if curve.results}
    upstream_first = sorted(study.evaluate, key=lambda each: each.kind != "upstream")
    errors = [[name for name in each.metrics if name in by_name] for each in upstream_first]
    return [by_name[names[-1]] for names in errors if names][:PANELS]


def _draw(study: Study, curves: Sequence[_Curve], out: Path) -> Path:
    """One panel an error, one curve a model and data size, written as .pdf and .png."""
    shown = _panels(study, curves)
    figure, panels = canvas(len(shown))
    for curve, panel in zip(shown, panels, strict=True):
        series = [(result.data_size, result.seed) for result in curve.results]
        draw_frontier(
            curve.fit,
            curve.flops,
            curve.error,
            frontier=frontier(curve.flops, curve.error),
            labels=[result.model for result in curve.results],
            series=series if len(set(series)) > 1 else None,
            xlabel="training compute, FLOP",
            ylabel=re.sub(r"_(\d+)shot", r" \1-shot", curve.metric).replace("_", " "),
            title=study.name,
            ax=panel,
            reference=curve.truth,
        )
    save(figure, out / f"{study.name}.pdf")
    return save(figure, out / f"{study.name}.png")
