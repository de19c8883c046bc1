"""Who trains what: the runs of one trunk make a job, and a worker takes a whole job.

Arithmetic alone: no files, no processes.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from scaling.training.run import Run

STEP_FLOPS = 1e8  # what a core could compute in the fixed cost of a step; tiny models feel it


@dataclass(frozen=True)
class Segment:
    """What one run adds to its job: the trunk from where it ends so far, then a cooldown."""

    run: Run
    start: int
    """The step up to which an earlier run of the job has trained the trunk."""

    @property
    def flops(self) -> float:
        """Training FLOPs of the steps that are this run's own to do."""
        return self.run.flops * (self.run.steps - self.start) / self.run.steps

    @property
    def length(self) -> float:
        """What decides how long it takes: FLOPs, and the fixed cost of each step in FLOPs."""
        return work(self.run) * (self.run.steps - self.start) / self.run.steps

    def length_done(self, step: int) -> float:
        """That part of `length` which is done once the run has come to `step`."""
        steps = min(max(step - self.start, 0), self.run.steps - self.start)
        return work(self.run) * steps / self.run.steps

    def flops_done(self, step: int) -> float:
        """Training FLOPs of this segment once the run has come to `step`."""
        steps = min(max(step - self.start, 0), self.run.steps - self.start)
        return self.run.flops * steps / self.run.steps


@dataclass(frozen=True)
class Job:
    """What one worker does: the segments of one trunk, in ascending `images_seen`."""

    trunk: str
    segments: tuple[Segment, ...]

    @property
    def flops(self) -> float:
        return sum(segment.flops for segment in self.segments)

    @property
    def length(self) -> float:
        """What decides which job takes longer."""
        return sum(segment.length for segment in self.segments)


def work(run: Run) -> float:
    """What decides how long a run takes, trained alone: FLOPs, and each step's fixed cost."""
    return run.flops + STEP_FLOPS * run.steps


def jobs(runs: Iterable[Run], todo: Collection[str]) -> list[Job]:
    """The jobs still to do, the longest first, so that the last to end is a short one.

    Args:
      runs: all runs of a study; those done already have left their trunk behind.
      todo: the ids of those to do.
    """
    trunks: dict[str, list[Run]] = {}
    for run in {run.id: run for run in runs}.values():
        trunks.setdefault(run.trunk, []).append(run)
    found = []
    for trunk, sharing in trunks.items():
        reached, segments = 0, []
        for run in sorted(sharing, key=lambda run: run.images_seen):
            if run.id in todo:
                segments.append(Segment(run, start=min(reached, run.branch_step)))
            reached = max(reached, run.branch_step)
        if segments:
            found.append(Job(trunk, tuple(segments)))
    return sorted(found, key=lambda job: -job.length)


def seconds_until_free(busy: Iterable[float], queued: Iterable[float], workers: int) -> float:
    """Time until the last worker is free, if each takes the next job in turn.

    Args:
      busy: seconds that each worker at work will still take for its job.
      queued: seconds of each job that waits, in the order in which they start.
      workers: how many work at the same time.
    """
    free_at = sorted(busy)[-workers:]
    free_at = [0.0] * (workers - len(free_at)) + free_at
    heapq.heapify(free_at)
    for seconds in queued:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)
