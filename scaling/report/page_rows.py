"""What a study's page shows of its runs: one CSV, a row a run, its learning curve in the last cell.

Also what they cost against the plan, what is not done and why, and what their manifests say. Knows
no HTML: it gives plain values, and whoever shows them escapes them.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from scaling.planning.closed_form import cost_of
from scaling.runs.metrics_file import MetricsLine, curve
from scaling.runs.run_folder import Look, RunFolder
from scaling.study.study import Study
from scaling.study.variants import variants
from scaling.training.run import Run

FACTS = (
    *("run", "model", "params", "data_size", "subset", "variant"),
    *("batch", "seed", "images_seen", "flops", "part"),
)
MEASURED = ("seconds", "images_per_second", "state")
CURVE = "curve"  # images seen and loss, "64:4.61 128:4.2 ..."
POINTS = 25_000  # of all curves of a page together: about 350 kB
FEWEST, MOST = 4, 200  # of one curve
WORDS = 1000  # characters of a reason that are shown
VALUES = 6  # of a fact in which runs differ that are shown
DEEPEST = 6  # tables within tables of a manifest that are shown
NAMED = 100  # runs that are not done and are shown with their reason
RESULTS_OF = ("results_bytes", "results_sha256", "sha256")  # of the file itself: no provenance
OF_A_RUN = ("run", "trunk", "seed", "params", "flops", "images_seen", "init")
OF_TIME = ("seconds", "seconds_here", "seconds_beside", "images_per_second")

Seen = Mapping[str, Look]
"""What each run's folder said, by run id."""


def as_csv(study: Study, runs: Path, seen: Seen) -> str:
    """One row a run, finished or not; what is not known is empty.

    Columns: facts of the run, what its manifest says, its results by metric, and its learning
    curve, thinned so that the curves of all runs together have about `POINTS` points.
    """
    metrics = metrics_of(study)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FACTS, *MEASURED, *metrics, CURVE])
    each_curve = min(MOST, max(FEWEST, POINTS // len(study.runs)))
    words, part = variants(study.runs), parts(study)
    for run in study.runs:
        look = seen[run.id]
        found = {row.metric: row.value for row in look.rows} if look.state == "done" else {}
        writer.writerow(
            [
                *(run.id, run.model_name, run.params, run.data_size or "", run.data.subset),
                *(words[run.id], run.batch, run.seed, run.images_seen, run.flops, part[run.id]),
                *(_rounded(number(look.manifest, name)) for name in MEASURED[:2]),
                look.state,
                *(f"{found[name]:.6g}" if name in found else "" for name in metrics),
                packed(curve(RunFolder(runs / run.id), run), each_curve),
            ]
        )
    return text.getvalue()


def parts(study: Study) -> dict[str, str]:
    """By the id of each run the subset and the variant that it belongs to, of those that the study
    has several of; "" where it has one of each. Each part has laws of its own."""
    subsets = {run.id: run.data.subset for run in study.runs}
    several = [each for each in (subsets, variants(study.runs)) if len(set(each.values())) > 1]
    return {run.id: ", ".join(each[run.id] for each in several) for run in study.runs}


def metrics_of(study: Study) -> list[str]:
    """Errors first, as they are what laws are fitted to."""
    errors = [name for each in study.evaluate for name in each.errors]
    every = [name for each in study.evaluate for name in each.metrics]
    return list(dict.fromkeys([*errors, *every]))


def packed(lines: Sequence[MetricsLine], most: int) -> str:
    """A curve in one cell, thinned to at most so many points, even on a logarithmic axis."""
    known = [line for line in lines if line.loss is not None and line.images_seen > 0]
    known = [line for line in known if math.isfinite(line.loss or 0.0)]
    if len(known) > most:
        seen = np.array([line.images_seen for line in known])
        wanted = np.geomspace(seen[0], seen[-1], most)
        kept = np.unique(np.searchsorted(seen, wanted).clip(0, len(known) - 1))
        known = [known[k] for k in kept]
    return " ".join(f"{line.images_seen}:{line.loss:.4g}" for line in known)


def number(manifest: Mapping[str, Any] | None, name: str) -> float | None:
    """A number that a manifest gives; None: it gives none that is finite and above 0."""
    found = (manifest or {}).get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found) if math.isfinite(found) and found > 0 else None


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


# Plan and cost


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A model's share, or all: what the plan says and what finished runs took.

    Fields:
      flops_done: of the finished runs, trunks that they share counted once.
      seconds: that the processes which finished the runs were at them.
      images_per_second: median over finished runs.
    """

    name: str
    runs: int
    done: int
    flops: int
    flops_done: int
    seconds: float | None
    images_per_second: float | None


def costs(study: Study, seen: Seen) -> list[Spent]:
    """One a model, smallest first, and the sum."""
    by_model: dict[str, list[Run]] = {}
    for run in sorted(study.runs, key=lambda run: run.params):
        by_model.setdefault(run.model_name, []).append(run)
    return [_spent(*each, seen) for each in (*by_model.items(), ("all", list(study.runs)))]


def _spent(name: str, runs: list[Run], seen: Seen) -> Spent:
    done = [run for run in runs if seen[run.id].state == "done"]
    took = [number(seen[run.id].manifest, "seconds_here") for run in done]
    paces = [number(seen[run.id].manifest, "images_per_second") for run in done]
    known = [each for each in took if each is not None]
    pace = [each for each in paces if each is not None]
    return Spent(
        name=name,
        runs=len(runs),
        done=len(done),
        flops=cost_of(runs).flops,
        flops_done=cost_of(done).flops if done else 0,
        seconds=sum(known) if known else None,
        images_per_second=median(pace) if pace else None,
    )


# What is not done


class Unfinished(NamedTuple):
    run: Run
    state: str
    why: str


def unfinished(study: Study, runs: Path, seen: Seen) -> tuple[list[Unfinished], int]:
    """Runs that are not done and say why or how far they are, failed ones first; and how many
    others there are."""
    absent = [run for run in study.runs if seen[run.id].state != "done"]
    told = [Unfinished(run, seen[run.id].state, _why(run, runs, seen[run.id])) for run in absent]
    shown = sorted((each for each in told if each.why), key=lambda each: each.state != "failed")
    return shown[:NAMED], len(absent) - len(shown[:NAMED])


def _why(run: Run, runs: Path, look: Look) -> str:
    folder = RunFolder(runs / run.id)
    if look.state == "running":
        progress = folder.progress()
        return f"{progress.phase}, step {progress.step:_} of {run.steps:_}" if progress else "began"
    said = folder.failure() or folder.stopped() or (str(look.damage) if look.damage else "")
    return said if len(said) <= WORDS else f"{said[:WORDS]} ..."


# Provenance


class Fact(NamedTuple):
    """What manifests say of one thing: each value, and how many runs have it."""

    name: str
    values: tuple[tuple[str, int], ...]
    more: int
    """Values that are not shown."""


def provenance(seen: Seen) -> list[Fact]:
    """What decided the numbers of the finished runs, by their manifests."""
    counts: dict[str, Counter[str]] = {}
    for look in seen.values():
        for name, value in _leaves(look.manifest or {}):
            if name.split(".")[0] not in (*RESULTS_OF, *OF_A_RUN, *OF_TIME):
                counts.setdefault(name, Counter())[value] += 1
    return [
        Fact(name, tuple(found.most_common(VALUES)), max(0, len(found) - VALUES))
        for name, found in counts.items()
    ]


def _leaves(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Dotted name and value of everything in it that is neither a table nor a list."""
    if depth > DEEPEST:
        yield name, "..."
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key), depth + 1)
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{k}", depth + 1)
    elif value is not None and value != "":
        text = str(value)
        yield name, text if len(text) <= WORDS else f"{text[:WORDS]} ..."
