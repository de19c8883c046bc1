"""How a study stands, read from its run folders: one line a run, and the sum of it.

Changes nothing, so it can be called at any time, by anybody.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from scaling.base.console import print_table
from scaling.launch.display import describe, duration
from scaling.launch.jobs import Stretch, lanes
from scaling.runs.run_folder import Damaged, RunFolder, State
from scaling.study.study import Study
from scaling.training.run import Run


@dataclass(frozen=True)
class Line:
    """How one run stands."""

    run: Run
    state: State
    percent: float | None
    """Steps done, while the run is at work."""
    images_per_second: float | None
    error: float | None
    """The first error rate that the study measures, once done."""
    seconds: float | None
    """Time that the run took here, beyond the trunk it found, once done."""
    trouble: str | None
    """What is wrong with the folder or the run, in words."""


def look(study: Study, runs: Path) -> list[Line]:
    """One line a run, in the study's order."""
    return [_line(run, study, RunFolder(runs / run.id)) for run in study.runs]


def show(study: Study, runs: Path) -> None:
    """Prints a study's runs, their sum, and how long the rest may take."""
    lines = look(study, runs)
    error = _first_error(study) or "error"
    headings = ("run", "model", "data size", "images seen", "seed", "state", error, "seconds")
    print_table(headings, [_cells(line) for line in lines], left=("run", "model", "state"))
    print(summary(lines))
    for line in lines:
        if line.trouble is not None:
            print(f"{line.state}: {describe(line.run)}: {line.trouble}")


def summary(lines: list[Line]) -> str:
    """One sentence: how many runs are in which state, training time, and time left if at work."""
    states = Counter(line.state for line in lines)
    parts = [f"{states['done']} of {len(lines)} runs done"]
    parts += [f"{states[s]} {s}" for s in ("running", "failed", "waiting") if states[s]]
    parts += [f"{duration(sum(line.seconds or 0 for line in lines))} of training"]
    left = _seconds_left(lines)
    if left is not None:
        parts += [f"about {duration(left)} left"]
    return ", ".join(parts) + "."


def _line(run: Run, study: Study, folder: RunFolder) -> Line:
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
    except Damaged as damage:
        if state == "waiting":  # else somebody is at work in there
            trouble = f"{damage} Launching sets it aside and does the run again."
    return Line(run, state, percent, pace, error, seconds, trouble)


def _first_error(study: Study) -> str | None:
    return next((name for each in study.evaluate for name in each.errors), None)


def _seconds_left(lines: list[Line]) -> float | None:
    """Training FLOPs still to do over the pace of those at work; None when nobody is."""
    pace = sum(
        line.images_per_second * line.run.flops / line.run.images_seen
        for line in lines
        if line.images_per_second is not None
    )
    if not pace:
        return None
    todo = {line.run.id: line for line in lines if line.state in ("waiting", "running")}
    stretches = [s for lane in lanes([x.run for x in lines], todo) for s in lane.stretches]
    return sum(s.flops - _flops_done(s, todo[s.run.id]) for s in stretches) / pace


def _flops_done(stretch: Stretch, line: Line) -> float:
    if line.percent is None:
        return 0.0
    return stretch.flops_done(round(line.percent / 100 * line.run.steps))


def _cells(line: Line) -> list[str]:
    run = line.run
    return [
        run.id,
        run.model_name,
        "all" if run.data_size is None else f"{run.data_size:_}",
        f"{run.images_seen:_}",
        str(run.seed),
        line.state if line.percent is None else f"{line.state} {line.percent:.0f} %",
        "" if line.error is None else f"{line.error:.4f}",
        "" if line.seconds is None else f"{line.seconds:.1f}",
    ]
