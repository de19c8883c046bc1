"""The time that a launch will still take: one answer for the launcher and for `scaling status`.

A run at work keeps the pace that it measured itself since its step was compiled; one that waits is
given the mean pace, in FLOPs and steps, of those at work, or else of those that are done. To each
comes what the runs that are done took beside their steps: compiling, measuring, saving. While
nobody has a pace, nothing is said; nor while no run is done and the steps that are left take no
longer than what comes to them might.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from scaling.launch.jobs import Job, Segment, seconds_until_free, work
from scaling.runs.run_folder import RunProgress

BESIDE_AT_MOST = 300.0  # seconds beside its steps that a run may well take


@dataclass(frozen=True)
class Pace:
    """What a run's folder tells of its speed.

    Fields:
      step: how far it has come.
      images_per_second: of its own training, compilation left out; None: not measured yet.
      beside: seconds that it took beside its steps; None while it is not done.
      at_work: whether a process trains it now.
    """

    step: int = 0
    images_per_second: float | None = None
    beside: float | None = None
    at_work: bool = False


def pace_at_work(progress: RunProgress | None) -> Pace:
    """Of a run that a process is at, by its last report."""
    if progress is None:
        return Pace(at_work=True)
    return Pace(progress.step, progress.pace, at_work=True)


def pace_waiting(progress: RunProgress | None) -> Pace:
    """Of a run that nobody is at; somebody may have been."""
    return Pace(progress.step if progress else 0)


def pace_of(manifest: Mapping[str, Any]) -> Pace:
    """Of a run that is done."""
    return Pace(0, manifest.get("images_per_second"), manifest.get("seconds_beside"))


def seconds_left(
    jobs: Sequence[Job], paces: Mapping[str, Pace], done: Sequence[tuple[Segment, Pace]]
) -> float | None:
    """Time until the last job ends, if as many are at work as now; None while that is not known.

    Args:
      jobs: what is left to do, the runs that are done left out; in the order of their start.
      paces: of each run in `jobs`, by its id.
      done: runs that are done already.
    """
    segments = [segment for job in jobs for segment in job.segments]
    running = [(s, paces[s.run.id]) for s in segments if paces[s.run.id].at_work]
    speeds = [s for s in map(_speed, running) if s] or [s for s in map(_speed, done) if s]
    if not speeds:
        return None
    mean = fmean(speeds)
    beside = [pace.beside for _, pace in done if pace.beside is not None]
    more = fmean(beside) if beside else 0.0

    def seconds(job: Job) -> float:
        total = 0.0
        for segment in job.segments:
            pace = paces[segment.run.id]
            left = segment.length - segment.length_done(pace.step)
            total += left / (_speed((segment, pace)) or mean) + more
        return total

    busy, queued = list[float](), list[float]()
    for job in jobs:
        at_work = any(paces[s.run.id].at_work for s in job.segments)
        (busy if at_work else queued).append(seconds(job))
    left = seconds_until_free(busy, queued, max(1, len(busy)))
    return left if done or left > BESIDE_AT_MOST else None


def _speed(one: tuple[Segment, Pace]) -> float | None:
    """Work a second, as `Segment.length` counts it."""
    segment, pace = one
    if not pace.images_per_second:
        return None
    return pace.images_per_second * work(segment.run) / segment.run.images_seen
