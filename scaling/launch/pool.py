"""The worker processes of one launch: started, watched, and reaped with the reason they ended.

A worker is given the runs of one trunk and takes those that nobody is at. Whoever else works on
them, another worker of this pool or of another launcher, is told by leases alone. A path is all
that travels to a worker; what comes back is the run's folder. Knows no JAX.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path
from socket import gethostname

from scaling.base.console import NOTE
from scaling.base.storage import is_object
from scaling.evaluate import Evaluation
from scaling.launch.devices import Slot
from scaling.launch.display import Display, LaunchProgress, describe
from scaling.launch.jobs import Job, Segment, jobs
from scaling.launch.launch_spec import Budget
from scaling.launch.time_left import Pace, pace_at_work, pace_of, pace_waiting, seconds_left
from scaling.launch.worker_process import Command, WorkerProcess
from scaling.runs import lease
from scaling.runs.lease import LeaseWatch
from scaling.runs.logs import logs_folder
from scaling.runs.results_file import MANIFEST, ResultRow
from scaling.runs.run_folder import LEASE, RunFolder, RunProgress
from scaling.runs.trunk_folder import TrunkFolder
from scaling.study.study import Study
from scaling.training.run import Run

SECONDS_BETWEEN_LOOKS = 0.1  # at workers
SECONDS_BETWEEN_LOOKS_IN_BUCKET = 1.0  # each of which is paid for
SECONDS_BETWEEN_UPDATES = 0.5  # of what is shown
SECONDS_BETWEEN_SEARCHES = 1.0  # for a run to take, while there is none
SECONDS_TO_STOP = 10.0  # between SIGTERM and SIGKILL
LOOKS_AT_OTHERS = 20  # runs of other launchers that are looked at each time
TRIES = 3  # of a run whose worker dies before it has kept another checkpoint


class Pool:
    """One worker a slot at a time, each with the runs of a trunk, until no run is left."""

    def __init__(
        self,
        study: Study,
        runs: Path,
        queue: Sequence[Job],
        *,
        slots: Sequence[Slot],
        command: Command,
        screen: Display,
        budget: Budget | None = None,
        hang_after: float | None = None,
    ):
        """
        Args:
          queue: in the order in which jobs start.
          budget: None: no limit.
          hang_after: seconds without a step, or another phase, after which a worker is killed and
            its run tried again; None: never.
        """
        self._evaluate: tuple[Evaluation, ...] = study.evaluate
        self._runs, self._command, self._screen = runs, command, screen
        self._pause = SECONDS_BETWEEN_LOOKS
        if is_object(runs):
            self._pause = SECONDS_BETWEEN_LOOKS_IN_BUCKET
        self._free = list(slots)
        self._jobs = list(queue)
        self._left = {s.run.id: s for job in queue for s in job.segments}
        """Runs that have not been seen to end, in the order in which they are taken."""
        self._others = deque(self._left)
        """Ids of them, that which was looked at last at the end."""
        self._busy: list[WorkerProcess] = []
        self._watches: defaultdict[Path, LeaseWatch] = defaultdict(LeaseWatch)
        self._searched = 0.0
        self._deaths: dict[str, tuple[int, int]] = {}  # deaths in a row, and the step of them
        self._paces_done = paces_of_done(study, runs)
        self.count = len({run.id for run in study.runs})
        self.done = len(self._paces_done)
        self.failed = self.count - self.done - len(self._left)
        self.unfinished: dict[str, str] = {}
        """Run id -> why it is neither done nor failed."""
        self._asked = {s.run.id: s.flops for s in self._left.values()}  # FLOPs
        self._now = {s.run.id: self._reached(s) for s in self._left.values()}  # done
        self._paces = dict[str, Pace]()
        """Of runs that are left, as they were last seen."""
        for segment in self._left.values():
            self._see_pace(segment)
        self._budget, self._hang_after = budget, hang_after
        self._before = dict(self._now)
        self._spent = 0.0
        """FLOPs of runs that this launch has given up."""
        self._seconds = 0.0
        """Of devices, that workers which have ended had."""

    def work(self) -> None:
        """Until every run has ended, by whomever, and every worker too."""
        shown = 0.0
        while self._left or self._busy:
            if self._is_spent():
                self.stop()
                for segment in list(self._left.values()):
                    self._leave_unfinished(segment.run, f"the budget of {self._budget} is spent")
                return
            self._fill()
            time.sleep(self._pause)
            for worker in list(self._busy):
                ended = worker.has_ended()  # asked before its folders are looked at
                self._read(worker)
                for segment in worker.job.segments:
                    self._look(segment)
                if ended:
                    self._reap(worker)
                else:
                    self._kill_if_hanging(worker)
            self._look_at_others()
            if time.monotonic() - shown >= SECONDS_BETWEEN_UPDATES:
                shown = time.monotonic()
                self._screen.update(self._launch_progress())

    def _look_at_others(self) -> None:
        """At some of the runs that are left, by turns: others may have ended them."""
        for _ in range(min(LOOKS_AT_OTHERS, len(self._others))):
            self._others.rotate(-1)
            segment = self._left.get(self._others[-1])
            if segment is None:
                self._others.pop()
            else:
                self._look(segment)
                self._see_pace(segment)

    def stop(self) -> None:
        """End every worker: SIGTERM, then SIGKILL after `SECONDS_TO_STOP`."""
        for worker in self._busy:
            worker.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for worker in self._busy:
            worker.end_by(deadline)
            self._read(worker)
            for segment in worker.job.segments:
                self._look(segment)
        self._busy.clear()

    def _is_spent(self) -> bool:
        """Whether this launch has used up its budget."""
        if self._budget is None:
            return False
        seconds = self._seconds + sum(worker.device_seconds() for worker in self._busy)
        flops = self._spent + sum(now - self._before[name] for name, now in self._now.items())
        return self._budget.is_spent(flops, seconds)

    def _kill_if_hanging(self, worker: WorkerProcess) -> None:
        if self._hang_after is None:
            return
        segment = self._at(worker)
        progress = self._progress(worker, segment) if segment else None
        sign = progress and (segment and segment.run.id, progress.step, progress.phase)
        worker.kill_if_hanging(sign, self._hang_after)

    # Who takes what

    def _fill(self) -> None:
        """Start workers on free slots, as long as there is something to take."""
        if not self._free or not self._left:
            return
        if time.monotonic() - self._searched < SECONDS_BETWEEN_SEARCHES:
            return
        while self._free and (job := self._next()) is not None:
            self._busy.append(self._start(job, self._free.pop(0)))
        if self._free:
            self._searched = time.monotonic()

    def _next(self) -> Job | None:
        """The first trunk that nobody is at; else what somebody's trunk has for others to do."""
        at_work = {worker.job.trunk for worker in self._busy}
        waiting = [self._remaining(job) for job in self._jobs]
        waiting = [job for job in waiting if job.segments]
        self._jobs = waiting
        for job in waiting:
            if job.trunk not in at_work and self._takeable(job, beside=False):
                return job
        for job in waiting:
            if job.trunk in at_work and self._takeable(job, beside=True):
                return job
        return None

    def _remaining(self, job: Job) -> Job:
        return Job(job.trunk, tuple(s for s in job.segments if s.run.id in self._left))

    def _takeable(self, job: Job, *, beside: bool) -> bool:
        """Whether a worker would find a run of this trunk to do now.

        Args:
          beside: another worker of this pool is at the trunk; it may not hold its leases yet.
        """
        trunk = TrunkFolder(self._runs / "trunks" / job.trunk)
        for segment in job.segments:
            run = segment.run
            if not self._is_free(self._runs / run.id):
                continue
            if beside and not self._all_at_other_runs(job, run):
                return False
            return trunk.has_branch(run.branch_step) or self._is_free(trunk.path)
        return False

    def _all_at_other_runs(self, job: Job, run: Run) -> bool:
        """Whether every worker at the trunk is at a run other than `run`."""
        at = [self._at(worker) for worker in self._busy if worker.job.trunk == job.trunk]
        return all(segment is not None and segment.run.id != run.id for segment in at)

    def _is_free(self, folder: Path) -> bool:
        return lease.is_free(folder / LEASE, self._watches[folder])

    def _start(self, job: Job, slot: Slot) -> WorkerProcess:
        paths = [self._runs / segment.run.id for segment in job.segments]
        stopped = {path.name: RunFolder(path).stopped() for path in paths}
        beside = any(worker.job.trunk == job.trunk for worker in self._busy)
        name = f"{job.trunk}.{slot.number}" if beside else job.trunk  # notes are passed on once
        log = logs_folder(self._runs) / f"{name}.log"
        return WorkerProcess(job, slot, self._command(paths), log, stopped)

    # What became of it

    def _read(self, worker: WorkerProcess) -> None:
        """Pass on the worker's notes."""
        for line in worker.new_lines():
            if line.startswith(NOTE):
                self._screen.say(line.removeprefix(NOTE))

    def _look(self, segment: Segment) -> None:
        """Count a run that ended since the last look."""
        run = segment.run
        if run.id not in self._left:
            return
        folder = RunFolder(self._runs / run.id)
        seen = folder.look(self._evaluate) if (folder.path / MANIFEST).exists() else None
        if seen is not None and seen.state == "done":
            self.done += 1
            self._now[run.id] = self._asked[run.id]
            self._paces_done.append((segment, pace_of(seen.manifest or {})))
            self._screen.say(f"done: {describe(run)}{self._error(seen.rows)}")
        elif (reason := folder.failure()) is not None:
            self.failed += 1
            self._forget(run.id)
            self._screen.say(f"failed: {describe(run)}: {reason}")
        elif (reason := self._stopped(segment)) is not None:
            self._leave_unfinished(run, reason)
        else:
            return
        self._left.pop(run.id, None)

    def _stopped(self, segment: Segment) -> str | None:
        """Why a worker of this pool, and none before it, left its run unfinished and went on."""
        name = segment.run.id
        reason = RunFolder(self._runs / name).stopped()
        for worker in self._busy:
            if name in worker.stopped and reason is not None:
                old = reason == worker.stopped[name]
                return None if old and self._progress(worker, segment) is None else reason
        return None

    def _leave_unfinished(self, run: Run, reason: str) -> None:
        self._forget(run.id)
        self._left.pop(run.id, None)
        self.unfinished[run.id] = reason
        self._screen.say(f"unfinished: {describe(run)}: {reason}")

    def _forget(self, name: str) -> None:
        """A run that this launch will not bring to its end is no longer to be done."""
        self._spent += self._now.pop(name) - self._before[name]
        del self._asked[name]

    def _reap(self, worker: WorkerProcess) -> None:
        """Its slot is free again; a run that it died of is tried again, or left unfinished."""
        self._busy.remove(worker)
        self._seconds += worker.device_seconds()
        self._free = sorted([*self._free, worker.slot], key=lambda slot: slot.number)
        self._searched = 0.0
        left = self._remaining(worker.job).segments
        if not left or worker.found_all_taken():
            return
        segment = self._at(worker) or left[0]
        run, progress = segment.run, self._progress(worker, segment)
        where = "before its first step"
        if progress is not None:
            where = f"while at step {progress.step:_} of {progress.steps:_}"
        reason = f"{worker.exit_reason()}, {where}"
        kept = self._last_checkpoint(run)
        deaths, step = self._deaths.get(run.id, (0, kept))
        deaths = deaths + 1 if kept == step else 1
        self._deaths[run.id] = deaths, kept
        if deaths < TRIES:
            self._screen.say(f"tried again: {describe(run)}: {reason}")
        else:
            self._leave_unfinished(run, f"{reason}; tried {TRIES} times")

    def _last_checkpoint(self, run: Run) -> int:
        """The step from which a worker would train the run on."""
        from scaling.training import checkpoints

        folder = RunFolder(self._runs / run.id)
        own = checkpoints.found(folder.checkpoints)
        trunk = checkpoints.found(TrunkFolder.of(folder, run).path)
        before = [step for step, _ in trunk if step <= run.branch_step]
        return max([step for step, _ in own] + before, default=0)

    def _at(self, worker: WorkerProcess) -> Segment | None:
        """The run that the worker is at, as it has said itself; None before it says."""
        for segment in self._remaining(worker.job).segments:
            if self._progress(worker, segment) is not None:
                return segment
        return None

    def _progress(self, worker: WorkerProcess, segment: Segment) -> RunProgress | None:
        """What `worker` itself has reported of a run."""
        progress = RunFolder(self._runs / segment.run.id).progress()
        its = progress and (progress.pid, progress.host) == (worker.pid, gethostname())
        return progress if its else None

    # What is shown

    def _reached(self, segment: Segment) -> float:
        """FLOPs of a segment that are done, as far as anybody has reported."""
        progress = RunFolder(self._runs / segment.run.id).progress()
        return segment.flops_done(progress.step) if progress else 0.0

    def _error(self, rows: Sequence[ResultRow]) -> str:
        """The first error measured; a line has no room for all, and the table has them."""
        named = {name for each in self._evaluate for name in each.errors}
        errors = (f", {row.metric} {row.value:.4g}" for row in rows if row.metric in named)
        return next(errors, "")

    def _launch_progress(self) -> LaunchProgress:
        """The progress, with the time left."""
        busy = []
        for worker in self._busy:
            segment = self._at(worker) or next(iter(self._remaining(worker.job).segments), None)
            if segment is not None:
                name = segment.run.id  # a worker that resumes may report less than was found
                self._now[name] = max(self._now[name], self._reached(segment))
                busy.append((segment.run, self._progress(worker, segment)))
        return LaunchProgress(
            runs=self.count,
            done=self.done,
            failed=self.failed,
            flops=sum(self._asked.values()),
            flops_done=sum(self._now.values()),
            seconds_left=self.seconds_left(),
            busy=tuple(busy),
        )

    def seconds_left(self) -> float | None:
        """Until the last run ends, as `scaling status` says it."""
        for worker in self._busy:
            if (segment := self._at(worker)) is not None:
                self._see_pace(segment)
        here = [job for job in map(self._remaining, self._jobs) if job.segments]
        return seconds_left(here, self._paces, self._paces_done)

    def _see_pace(self, segment: Segment) -> None:
        folder = RunFolder(self._runs / segment.run.id)
        at_work = lease.is_held(folder.path / LEASE)
        self._paces[folder.id] = pace_at_work(folder) if at_work else pace_waiting(folder)


def paces_of_done(study: Study, runs: Path) -> list[tuple[Segment, Pace]]:
    """Every run of the study that is done, and its pace."""
    done = {}
    for name in {run.id for run in study.runs}:
        seen = RunFolder(runs / name).look(study.evaluate)
        if seen.state == "done":
            done[name] = pace_of(seen.manifest or {})
    segments = [segment for job in jobs(study.runs, done) for segment in job.segments]
    return [(segment, done[segment.run.id]) for segment in segments]
