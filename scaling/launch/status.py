"""The state of a study, read from its run folders: one line a run, and a summary.

Writes nothing, so it can be called at any time, by anybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from scaling.base.console import print_table
from scaling.launch.display import describe, duration
from scaling.launch.jobs import jobs
from scaling.launch.time_left import Pace, pace_at_work, pace_done, pace_waiting, seconds_left
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
    error: float | None
    """The first error rate that the study measures, once done."""
    seconds: float | None
    """Time that the run took here, beyond the trunk it found, once done."""
    trouble: str | None
    """What is wrong with the folder or the run, or why it was left unfinished."""
    pace: Pace


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
    left = time_left(found)
    if left is not None:
        parts += [f"about {duration(left)} left"]
    return ", ".join(parts) + "."


def _status(run: Run, study: Study, folder: RunFolder) -> RunStatus:
    state, trouble = folder.status(study.evaluate), None
    percent = error = seconds = None
    if state == "running":
        pace = pace_at_work(folder)
        percent = 100 * pace.step / run.steps if folder.progress() else None
    else:
        pace = pace_done(folder) if state == "done" else pace_waiting(folder)
    if state in ("failed", "waiting"):
        trouble = folder.failure() or folder.stopped()
    try:
        found = {row.metric: row.value for row in folder.results(study.evaluate)}
        if state == "done":
            error = found.get(_first_error(study) or "")
            seconds = folder.manifest().get("seconds_here")
    except DamagedRun as damage:
        if state == "waiting":  # else a worker is writing in there
            trouble = f"{damage} Launching sets it aside and does the run again."
    return RunStatus(run, state, percent, error, seconds, trouble, pace)


def _first_error(study: Study) -> str | None:
    return next((name for each in study.evaluate for name in each.errors), None)


def time_left(found: list[RunStatus]) -> float | None:
    """As the launcher says it; None when nobody is at work, or has no pace yet."""
    by_state: dict[bool, dict[str, RunStatus]] = {True: {}, False: {}}
    for status in found:
        if status.state != "failed":
            by_state[status.state == "done"][status.run.id] = status
    done, todo = by_state[True], by_state[False]
    if not any(status.state == "running" for status in todo.values()):
        return None
    runs = [status.run for status in found]
    paces = {name: status.pace for name, status in todo.items()}
    finished = [(s, done[s.run.id].pace) for job in jobs(runs, done) for s in job.segments]
    return seconds_left(jobs(runs, todo), paces, finished)


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
