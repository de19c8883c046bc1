"""The state of a study, read from its run folders: one line a run, and a summary.

Writes nothing, so it can be called at any time, by anybody.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import textwrap
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fits.base.printable import printable
from scaling.base.console import print_table, say
from scaling.launch.jobs import jobs
from scaling.launch.progress.display import (
    SECONDS_BETWEEN_LINES,
    doing,
    in_terminal,
    seen_of,
)
from scaling.launch.progress.events import describe, duration
from scaling.launch.progress.time_left import (
    Pace,
    pace_at_work,
    pace_of,
    pace_waiting,
    seconds_left,
)
from scaling.runs.begun import as_begun
from scaling.runs.run_folder import RunFolder, RunProgress, RunState
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
    progress: RunProgress | None
    """What its worker says, while the run is being trained."""
    trouble: str | None
    """What is wrong with the folder or the run, or why it was left unfinished."""
    pace: Pace


def statuses(study: Study, runs: Path) -> list[RunStatus]:
    """One status a run, in the study's order."""
    study = as_begun(study, runs)
    return [_status(run, study, RunFolder(runs / run.id)) for run in study.runs]


def show_status(study: Study, runs: Path) -> None:
    """Print a study's runs, a summary, and the time left."""
    found = statuses(study, runs)
    error = _first_error(study) or "error"
    headings = ("run", "model", "data size", "images seen", "seed", "state", error, "seconds")
    print_table(headings, [_cells(status) for status in found], left=("run", "model", "state"))
    say(summary(found))
    for status in found:
        if status.progress is not None:
            say(f"running: {_doing(status)}")
    for status in found:
        if status.trouble is not None:
            say(f"{status.state}: {describe(status.run)}: {status.trouble}")


def as_json(study: Study, runs: Path) -> list[dict[str, Any]]:
    """One object a run, in the study's order; null where a number is not known."""
    return [
        {
            "run": each.run.id,
            "model": each.run.model_name,
            "data_size": each.run.data_size,
            "subset": each.run.data.subset,
            "images_seen": each.run.images_seen,
            "seed": each.run.seed,
            "state": each.state,
            "step": each.progress.step if each.progress else None,
            "steps": each.run.steps,
            "phase": each.progress.phase if each.progress else None,
            "images_per_second": each.progress.images_per_second if each.progress else None,
            "mfu": each.progress.mfu if each.progress else None,
            "seconds_left": run_seconds_left(each.run, each.progress) if each.progress else None,
            "error": each.error,
            "seconds": each.seconds,
            "trouble": each.trouble,
        }
        for each in statuses(study, runs)
    ]


def watch_status(study: Study, runs: Path) -> bool:
    """The grid, what is at work and the summary, drawn anew until every run is done or has failed,
    or Ctrl-C; returns whether all are done.

    Without a terminal a summary is printed each half minute.
    """
    screen = in_terminal()
    while True:
        began = time.monotonic()
        found = statuses(study, runs)
        if screen:
            size = shutil.get_terminal_size()
            shown = drawn(study, found, size.columns)[-size.lines + 1 :]
            sys.stdout.write("\x1b[H\x1b[2J" + "\n".join(shown) + "\n")
            sys.stdout.flush()
        else:
            say(summary(found))
        if all(each.state in ("done", "failed") for each in found):
            return all(each.state == "done" for each in found)
        cost = time.monotonic() - began
        time.sleep(max(2.0 if screen else SECONDS_BETWEEN_LINES, 10 * cost))


def drawn(study: Study, found: list[RunStatus], columns: int) -> list[str]:
    """Lines of a screen of so many columns, fit for a terminal."""
    from scaling.launch.progress.grid_picture import picture

    lines = [_doing(each) for each in found if each.progress is not None]
    lines += [f"failed: {describe(x.run)}: {x.trouble}" for x in found if x.state == "failed"]
    told = [textwrap.wrap(printable(line), columns, subsequent_indent="  ") for line in lines]
    title = textwrap.wrap(printable(f"{study.name}: {study.question}"), columns)
    return [
        *(*title, "", *picture(found, columns), ""),
        *itertools.chain(*told),
        *textwrap.wrap(summary(found), columns),
    ]


def _doing(status: RunStatus) -> str:
    """What the worker of a run does now, and how long the run itself will take."""
    run, progress = status.run, status.progress
    assert progress is not None, "somebody is at the run"
    step = f"step {progress.step:_} of {progress.steps:_}"
    name = f"{run.model_name}, {run.images_seen:_} images"
    left = run_seconds_left(run, progress)
    words = "" if left is None else f", about {duration(left)} left"
    return f"{name}: {doing(progress)}, {step}{seen_of(progress)}{words}"


def run_seconds_left(run: Run, progress: RunProgress) -> float | None:
    """Of the steps of one run, at its worker's own pace; None before it has one."""
    if not progress.pace:
        return None
    return (progress.steps - progress.step) * run.batch / progress.pace


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
    state, rows, manifest, damage = folder.look(study.evaluate)
    if state == "done" and manifest is not None:
        found = {row.metric: row.value for row in rows}
        error, seconds = found.get(_first_error(study) or ""), manifest.get("seconds_here")
        return RunStatus(run, state, None, error, seconds, None, None, pace_of(manifest))
    if state == "running":
        progress = folder.progress()
        pace = pace_at_work(progress)
        percent = 100 * progress.step / run.steps if progress else None
        return RunStatus(run, state, percent, None, None, progress, None, pace)
    trouble = folder.failure() or folder.stopped()
    if damage is not None and state == "waiting":  # else a worker is writing in there
        trouble = f"{damage} Launching sets it aside and does the run again."
    waiting = pace_waiting(folder.progress())
    return RunStatus(run, state, None, None, None, None, trouble, waiting)


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
