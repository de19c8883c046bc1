"""The state of a study, read from its run folders: one line a run, and a summary.

Writes nothing, so it can be called at any time, by anybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from scaling.base.console import print_table
from scaling.launch.display import describe, duration
from scaling.launch.jobs import Segment, jobs
from scaling.runs.compute_dtype import decided
from scaling.runs.damage import DamagedRun
from scaling.runs.run_folder import RunFolder, RunState
from scaling.study.study import Study
from scaling.training.run import Run


@dataclass(frozen=True)
class RunStatus:
    """The state of one run."""

    run: Run
    state: RunState
    percent: float | None
    """Steps done, while the run is being trained."""
    images_per_second: float | None
    error: float | None
    """The first error rate that the study measures, once done."""
    seconds: float | None
    """Time that the run took here, beyond the trunk it found, once done."""
    trouble: str | None
    """What is wrong with the folder or the run."""


def statuses(study: Study, runs: Path) -> list[RunStatus]:
    """One status a run, in the study's order."""
    study = decided(study, runs)
    return [_status(run, study, RunFolder(runs / run.id)) for run in study.runs]


def show_status(study: Study, runs: Path) -> None:
    """Print a study's runs, a summary, and the time left."""
    found = statuses(study, runs)
    error = _first_error(study) or "error"
    headings = ("run", "model", "data size", "images seen", "seed", "state", error, "seconds")
    print_table(headings, [_cells(status) for status in found], left=("run", "model", "state"))
    print(summary(found))
    for status in found:
        if status.trouble is not None:
            print(f"{status.state}: {describe(status.run)}: {status.trouble}")


def summary(found: list[RunStatus]) -> str:
    """One sentence: runs by state, training time, and the time left while runs are trained."""
    states = Counter(status.state for status in found)
    parts = [f"{states['done']} of {len(found)} runs done"]
    parts += [f"{states[s]} {s}" for s in ("running", "failed", "waiting") if states[s]]
    parts += [f"{duration(sum(status.seconds or 0 for status in found))} of training"]
    left = _seconds_left(found)
    if left is not None:
        parts += [f"about {duration(left)} left"]
    return ", ".join(parts) + "."


def _status(run: Run, study: Study, folder: RunFolder) -> RunStatus:
    state, trouble = folder.status(study.evaluate), None
    percent = pace = error = seconds = None
    if state == "running":
        progress = folder.progress()
        percent = 100 * progress.step / run.steps if progress else None
        pace = progress.images_per_second if progress else None
    elif state == "failed":
        trouble = folder.failure()
    try:
        found = {row.metric: row.value for row in folder.results(study.evaluate)}
        if state == "done":
            error = found.get(_first_error(study) or "")
            seconds = folder.manifest().get("seconds_here")
    except DamagedRun as damage:
        if state == "waiting":  # else a worker is writing in there
            trouble = f"{damage} Launching sets it aside and does the run again."
    return RunStatus(run, state, percent, pace, error, seconds, trouble)


def _first_error(study: Study) -> str | None:
    return next((name for each in study.evaluate for name in each.errors), None)


def _seconds_left(found: list[RunStatus]) -> float | None:
    """Training FLOPs still to do over the pace of those being trained; None when none is."""
    pace = sum(
        status.images_per_second * status.run.flops / status.run.images_seen
        for status in found
        if status.images_per_second is not None
    )
    if not pace:
        return None
    todo = {status.run.id: status for status in found if status.state in ("waiting", "running")}
    segments = [s for job in jobs([x.run for x in found], todo) for s in job.segments]
    return sum(s.flops - _flops_done(s, todo[s.run.id]) for s in segments) / pace


def _flops_done(segment: Segment, status: RunStatus) -> float:
    if status.percent is None:
        return 0.0
    return segment.flops_done(round(status.percent / 100 * status.run.steps))


def _cells(status: RunStatus) -> list[str]:
    run = status.run
    return [
        run.id,
        run.model_name,
        "all" if run.data_size is None else f"{run.data_size:_}",
        f"{run.images_seen:_}",
        str(run.seed),
        status.state if status.percent is None else f"{status.state} {status.percent:.0f} %",
        "" if status.error is None else f"{status.error:.4f}",
        "" if status.seconds is None else f"{status.seconds:.1f}",
    ]
