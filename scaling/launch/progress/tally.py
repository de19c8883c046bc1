"""What a launch has still to do, what has become of the rest, and how long it will take.

Read from the run folders alone, so it does not matter who trains: workers of this launch, of
another, or of another machine. Knows no processes and no JAX.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from scaling.evaluate import Evaluation
from scaling.launch.jobs import Job, Segment, jobs
from scaling.launch.progress.events import AtWork, Event, LaunchProgress
from scaling.launch.progress.time_left import (
    Pace,
    pace_at_work,
    pace_of,
    pace_waiting,
    seconds_left,
)
from scaling.runs import lease
from scaling.runs.lease import LeaseWatch
from scaling.runs.results_file import MANIFEST, ResultRow
from scaling.runs.run_folder import LEASE, Look, RunFolder, RunProgress
from scaling.runs.trunk_folder import TrunkFolder
from scaling.study.study import Study
from scaling.training.run import Run

AT_LEAST = 20  # runs that are looked at each time, by turns; where there are more:
TURNS_OF_ALL, TURNS_OF_AT_WORK = 60, 10  # times until each has been looked at, a second apart


class Tally:
    """The runs of one launch, as their folders were last seen."""

    def __init__(
        self,
        study: Study,
        runs: Path,
        queue: Sequence[Job],
        *,
        looks: Mapping[str, Look],
        tell: Callable[[Event], None],
    ):
        """
        Args:
          queue: what is to be done, in the order in which it is taken.
          looks: at every run of the study, by its id.
          tell: is told what becomes of a run.
        """
        self.runs = runs
        self._evaluate: tuple[Evaluation, ...] = study.evaluate
        self._tell = tell
        self._jobs = list(queue)
        self._left = {s.run.id: s for job in queue for s in job.segments}
        """Runs that have not been seen to end, in the order in which they are taken."""
        self._turns = deque(self._left)
        """Ids of them, that which was looked at last at the end."""
        self._watches: defaultdict[Path, LeaseWatch] = defaultdict(LeaseWatch)
        self._paces_done = paces_of_done(study, looks)
        self.count = len({run.id for run in study.runs})
        self.done = len(self._paces_done)
        self.failed = self.count - self.done - len(self._left)
        self.unfinished: dict[str, str] = {}
        """Run id -> why it is neither done nor failed."""
        self._asked = {s.run.id: s.flops for s in self._left.values()}  # FLOPs
        self._paces: dict[str, Pace] = {}
        """Of runs that are left, as they were last seen."""
        self._reports: dict[str, RunProgress | None] = {}
        """Of the same."""
        self._at_work_turn = 0
        for segment in self._left.values():
            self._see_pace(segment)
        self._now = {name: s.flops_done(self._paces[name].step) for name, s in self._left.items()}
        self._before = dict(self._now)
        self._given_up = 0.0
        """FLOPs of runs that this launch has given up."""

    @property
    def left(self) -> Collection[str]:
        """Ids of the runs that are neither done nor given up."""
        return self._left.keys()

    def spent(self) -> float:
        """FLOPs of training since the launch began, by whomever."""
        return self._given_up + sum(now - self._before[name] for name, now in self._now.items())

    def remaining(self, job: Job) -> Job:
        """What is left of a job."""
        return Job(job.trunk, tuple(s for s in job.segments if s.run.id in self._left))

    def waiting(self) -> list[Job]:
        """What is left of every job, in the order in which they are taken."""
        self._jobs = [job for job in map(self.remaining, self._jobs) if job.segments]
        return self._jobs

    def takeable(self, job: Job) -> Run | None:
        """The run of a trunk that a worker would find to do now; None where there is none."""
        trunk = TrunkFolder(self.runs / "trunks" / job.trunk)
        for segment in job.segments:
            run = segment.run
            if self._is_free(self.runs / run.id):
                ready = trunk.has_branch(run.branch_step) or self._is_free(trunk.path)
                return run if ready else None
        return None

    def _is_free(self, folder: Path) -> bool:
        return lease.is_free(folder / LEASE, self._watches[folder])

    def at_work(self) -> list[Run]:
        """Runs that somebody was at when they were last looked at."""
        return [s.run for name, s in self._left.items() if self._paces[name].at_work]

    def jobs_at_work(self) -> int:
        """Jobs with a run that somebody was at when it was last looked at."""
        return sum(any(self._paces[s.run.id].at_work for s in job.segments) for job in self._jobs)

    def sign_of_work(self) -> object:
        """Changes whenever a run ends or has come farther."""
        return (
            self.done,
            self.failed,
            sum(self._now.values()),
            sum(pace.step for pace in self._paces.values()),
        )

    # What became of them

    def look_at_some(self, most: int | None = None) -> None:
        """At so many of the runs that are left, by turns; None: at enough to see each in a minute,
        if it is asked every second."""
        if most is None:
            most = _some(len(self._turns), TURNS_OF_ALL)
        for _ in range(min(most, len(self._turns))):
            self._turns.rotate(-1)
            segment = self._left.get(self._turns[-1])
            if segment is None:
                self._turns.pop()
            else:
                self.look(segment)
                self._see_pace(segment)
                self._count_steps(segment, self._paces[segment.run.id].step)

    def look(self, segment: Segment) -> None:
        """Count a run that ended since the last look."""
        run = segment.run
        if run.id not in self._left:
            return
        folder = RunFolder(self.runs / run.id)
        seen = folder.look(self._evaluate) if (folder.path / MANIFEST).exists() else None
        if seen is not None and seen.state == "done":
            self.done += 1
            self._now[run.id] = self._asked[run.id]
            self._paces_done.append((segment, pace_of(seen.manifest or {})))
            self._left.pop(run.id)
            self._tell(Event("done", run, error=self._error(seen.rows)))
        elif (reason := folder.failure()) is not None:
            self.failed += 1
            self._forget(run.id)
            self._tell(Event("failed", run, reason))
        elif (reason := folder.stopped()) is not None:
            self.leave_unfinished(run, reason)

    def leave_unfinished(self, run: Run, reason: str) -> None:
        """Give a run up for this launch."""
        self._forget(run.id)
        self.unfinished[run.id] = reason
        self._tell(Event("unfinished", run, reason))

    def leave_all_unfinished(self, reason: str) -> None:
        """Give up every run that is left."""
        for segment in list(self._left.values()):
            self.leave_unfinished(segment.run, reason)

    def _forget(self, name: str) -> None:
        """A run that this launch will not bring to its end is no longer to be done."""
        self._given_up += self._now.pop(name) - self._before[name]
        del self._asked[name]
        self._left.pop(name, None)

    def _error(self, rows: Sequence[ResultRow]) -> tuple[str, float] | None:
        """The first error measured; a line has no room for all, and the table has them."""
        named = {name for each in self._evaluate for name in each.errors}
        return next(((row.metric, row.value) for row in rows if row.metric in named), None)

    # How far they are

    def progress(self, busy: Sequence[tuple[Segment, AtWork]] | None = None) -> LaunchProgress:
        """What is shown.

        Args:
          busy: what workers are at, where they are this launch's own; None: whoever is at work.
        """
        if busy is None:
            self._see_some_at_work()
            at_work = [s for name, s in self._left.items() if self._paces[name].at_work]
            busy = [(s, AtWork(s.run, self._reports[s.run.id])) for s in at_work]
        else:
            self._see_paces(segment for segment, _ in busy)
        for segment, each in busy:
            if each.progress is not None:
                self._count_steps(segment, each.progress.step)
        return LaunchProgress(
            runs=self.count,
            done=self.done,
            failed=self.failed,
            flops=sum(self._asked.values()),
            flops_done=sum(self._now.values()),
            seconds_left=self.seconds_left(),
            busy=tuple(each for _, each in busy),
        )

    def _count_steps(self, segment: Segment, step: int) -> None:
        name = segment.run.id  # a worker that resumes may report less than was found
        if name in self._now:
            self._now[name] = max(self._now[name], segment.flops_done(step))

    def seconds_left(self) -> float | None:
        """Until the last run ends, as `scaling status` says it."""
        return seconds_left(self.waiting(), self._paces, self._paces_done)

    def _see_some_at_work(self) -> None:
        """By turns, those that somebody was at; one that was left may have ended."""
        at_work = [s for name, s in self._left.items() if self._paces[name].at_work]
        count = _some(len(at_work), TURNS_OF_AT_WORK)
        first = self._at_work_turn if self._at_work_turn < len(at_work) else 0
        self._at_work_turn = first + count
        for segment in at_work[first : first + count]:
            self._see_pace(segment)
            if not self._paces[segment.run.id].at_work:
                self.look(segment)

    def _see_paces(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            if segment.run.id in self._left:
                self._see_pace(segment)

    def _see_pace(self, segment: Segment) -> None:
        folder = RunFolder(self.runs / segment.run.id)
        self._reports[folder.id] = report = folder.progress()
        at_work = lease.is_held(folder.path / LEASE)
        self._paces[folder.id] = pace_at_work(report) if at_work else pace_waiting(report)


def _some(count: int, turns: int) -> int:
    """Of so many, how many to look at each time to have seen all after so many times."""
    return max(AT_LEAST, -(-count // turns))


def paces_of_done(study: Study, looks: Mapping[str, Look]) -> list[tuple[Segment, Pace]]:
    """Every run of the study that is done, and its pace."""
    done = {
        name: pace_of(seen.manifest or {}) for name, seen in looks.items() if seen.state == "done"
    }
    segments = [segment for job in jobs(study.runs, done) for segment in job.segments]
    return [(segment, done[segment.run.id]) for segment in segments]
