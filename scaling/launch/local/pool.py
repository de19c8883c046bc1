"""The worker processes of one machine: started, watched, and reaped with the reason they ended.

A worker is given the runs of one trunk and takes those that nobody is at. Whoever else works on
them, another worker of this pool or of another, is told by leases alone. A path is all that travels
to a worker; what comes back is the run's folder. Knows no JAX.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from socket import gethostname

from scaling.base.console import NOTE
from scaling.base.storage import is_object
from scaling.launch.devices import Slot
from scaling.launch.jobs import Job, Segment
from scaling.launch.launch_spec import Budget
from scaling.launch.local.worker_process import Command, WorkerProcess
from scaling.launch.progress.display import Display
from scaling.launch.progress.events import AtWork, Event, LaunchProgress
from scaling.launch.progress.tally import Tally
from scaling.launch.stopping import Stopping
from scaling.runs.held_run import hold_run_if_free
from scaling.runs.lease import LeaseLost
from scaling.runs.logs import logs_folder
from scaling.runs.run_file import NAME
from scaling.runs.run_folder import RunFolder, RunProgress
from scaling.runs.trunk_folder import TrunkFolder
from scaling.training.hanging import Sign
from scaling.training.run import Run

SECONDS_BETWEEN_LOOKS = 0.1  # at workers
SECONDS_BETWEEN_LOOKS_IN_BUCKET = 1.0  # each of which is paid for
SECONDS_BETWEEN_UPDATES = 0.5  # of what is shown
SECONDS_BETWEEN_SEARCHES = 1.0  # for a run to take, while there is none
SECONDS_TO_STOP = 10.0  # between SIGTERM and SIGKILL


class Pool:
    """One worker a slot at a time, each with the runs of a trunk, until no run is left."""

    def __init__(
        self,
        tally: Tally,
        *,
        slots: Sequence[Slot],
        command: Command,
        screen: Display,
        budget: Budget | None = None,
        hang_after: float | None = None,
        idle_for: float | None = None,
        stopping: Stopping | None = None,
    ):
        """
        Args:
          budget: None: no limit.
          hang_after: seconds without a step, or another phase, after which a worker is killed and
            its run tried again, as `HangTimer` takes them.
          idle_for: seconds without anything to do after which the pool ends, though others are
            still at runs that are left; None: never.
          stopping: judges the runs that are at work; None: nobody does.
        """
        self._stopping = stopping
        self._tally, self._command, self._screen = tally, command, screen
        self._pause = SECONDS_BETWEEN_LOOKS
        if is_object(tally.runs):
            self._pause = SECONDS_BETWEEN_LOOKS_IN_BUCKET
        self._free = list(slots)
        self._busy: list[WorkerProcess] = []
        self._searched = 0.0
        self._budget, self._hang_after, self._idle_for = budget, hang_after, idle_for
        self._worked = time.monotonic()
        self._seconds = 0.0
        """Of devices, that workers which have ended had."""

    def work(self) -> None:
        """Until every run has ended, by whomever, and every worker too."""
        shown = 0.0
        while (self._tally.left or self._busy) and not self._is_idle():
            if self._is_spent():
                self.stop()
                self._tally.leave_all_unfinished(f"the budget of {self._budget} is spent")
                return
            self._fill()
            time.sleep(self._pause)
            for worker in list(self._busy):
                ended = worker.has_ended()  # asked before its folders are looked at
                self._read(worker)
                for segment in worker.job.segments:
                    self._tally.look(segment)
                if ended:
                    self._reap(worker)
                else:
                    self._kill_if_hanging(worker)
            self._tally.look_at_some()
            if time.monotonic() - shown >= SECONDS_BETWEEN_UPDATES:
                shown = time.monotonic()
                self._screen.update(self._progress_now())
            self._judge()

    def stop(self) -> None:
        """End every worker: SIGTERM, then SIGKILL after `SECONDS_TO_STOP`."""
        for worker in self._busy:
            worker.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for worker in self._busy:
            worker.end_by(deadline)
            self._read(worker)
            for segment in worker.job.segments:
                self._tally.look(segment)
        self._busy.clear()

    def _is_spent(self) -> bool:
        """Whether this launch has used up its budget."""
        if self._budget is None:
            return False
        seconds = self._seconds + sum(worker.device_seconds() for worker in self._busy)
        return self._budget.is_spent(self._tally.spent(), seconds)

    def _judge(self) -> None:
        """Have the rules looked after; workers that find a verdict give their run up."""
        if self._stopping is not None:
            at_work = [each.run for _, each in self._doing() if each.progress is not None]
            for run, reason in self._stopping.judge(at_work):
                self._screen.tell(Event("to be stopped", run, reason))

    def _is_idle(self) -> bool:
        """Whether nothing was to be done for so long that this pool ends."""
        if self._busy:
            self._worked = time.monotonic()
        return self._idle_for is not None and time.monotonic() - self._worked > self._idle_for

    def _kill_if_hanging(self, worker: WorkerProcess) -> None:
        segment = self._at(worker)
        progress = self._progress(worker, segment) if segment else None
        sign = None
        if segment is not None and progress is not None:
            sign = Sign(segment.run.id, progress.phase, progress.step)
        worker.kill_if_hanging(sign)

    # Who takes what

    def _fill(self) -> None:
        """Start workers on free slots, as long as there is something to take."""
        if not self._free or not self._tally.left:
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
        waiting = self._tally.waiting()
        for job in waiting:
            if job.trunk not in at_work and self._tally.takeable(job) is not None:
                return job
        for job in waiting:
            if job.trunk in at_work:
                run = self._tally.takeable(job)
                if run is not None and self._all_at_other_runs(job, run):
                    return job
        return None

    def _all_at_other_runs(self, job: Job, run: Run) -> bool:
        """Whether every worker at the trunk is at a run other than `run`; it may not hold its
        leases yet."""
        at = [self._at(worker) for worker in self._busy if worker.job.trunk == job.trunk]
        return all(segment is not None and segment.run.id != run.id for segment in at)

    def _start(self, job: Job, slot: Slot) -> WorkerProcess:
        runs = self._tally.runs
        beside = any(worker.job.trunk == job.trunk for worker in self._busy)
        name = f"{job.trunk}.{slot.number}" if beside else job.trunk  # notes are passed on once
        command = self._command([runs / segment.run.id for segment in job.segments])
        log = logs_folder(runs) / f"{name}.log"
        return WorkerProcess(job, slot, command, log, self._hang_after)

    # What became of it

    def _read(self, worker: WorkerProcess) -> None:
        """Pass on the worker's notes."""
        for line in worker.new_lines():
            if line.startswith(NOTE):
                self._screen.say(line.removeprefix(NOTE))

    def _reap(self, worker: WorkerProcess) -> None:
        """Its slot is free again; a run that it died of is tried again, or has failed."""
        self._busy.remove(worker)
        self._seconds += worker.device_seconds()
        self._free = sorted([*self._free, worker.slot], key=lambda slot: slot.number)
        self._searched = 0.0
        left = self._tally.remaining(worker.job).segments
        if not left or worker.ended_in_order():
            return
        segment = self._at(worker) or left[0]
        progress = self._progress(worker, segment)
        where = "before its first step"
        if progress is not None:
            where = f"while at step {progress.step:_} of {progress.steps:_}"
        self._write_down(segment, f"{worker.exit_reason()}, {where}.")

    def _write_down(self, segment: Segment, reason: str) -> None:
        """That a worker died of a run, unless another has taken the run meanwhile."""
        run, path = segment.run, self._tally.runs / segment.run.id
        if not (path / NAME).exists():  # the folder of runs has gone: no fault of the run
            self._tally.leave_unfinished(run, f"{path / NAME} is no longer there.")
            return
        again = True
        try:
            with hold_run_if_free(path) as held:
                if held is not None:
                    again = held.attempt(reason, self._last_checkpoint(run))
        except LeaseLost:
            pass
        except OSError as error:
            said = error.strerror or str(error)
            self._tally.leave_unfinished(run, f"{path} cannot be written: {said}. ({reason})")
            return
        if again:
            self._screen.tell(Event("tried again", run, reason))
        self._tally.look(segment)

    def _last_checkpoint(self, run: Run) -> int:
        """The step from which a worker would train the run on."""
        folder = RunFolder(self._tally.runs / run.id)
        return TrunkFolder.of(folder, run).start_of(folder, run)

    def _at(self, worker: WorkerProcess) -> Segment | None:
        """The run that the worker is at, as it has said itself; None before it says."""
        for segment in self._tally.remaining(worker.job).segments:
            if self._progress(worker, segment) is not None:
                return segment
        return None

    def _progress(self, worker: WorkerProcess, segment: Segment) -> RunProgress | None:
        """What `worker` itself has reported of a run."""
        progress = RunFolder(self._tally.runs / segment.run.id).progress()
        its = progress and (progress.pid, progress.host) == (worker.pid, gethostname())
        return progress if its else None

    def _progress_now(self) -> LaunchProgress:
        """What is shown; without a worker, for how long others have been at all that is left."""
        found = self._tally.progress(self._doing())
        if self._busy or not self._tally.left:
            return found
        waited = time.monotonic() - self._worked
        return replace(found, waits_for="other processes", waited=waited)

    def _doing(self) -> list[tuple[Segment, AtWork]]:
        """What each worker is at."""
        found = []
        for worker in self._busy:
            segment = self._at(worker)
            if segment is not None:
                progress = self._progress(worker, segment)
                found.append((segment, AtWork(segment.run, progress, worker.began)))
            elif left := self._tally.remaining(worker.job).segments:
                found.append((left[0], AtWork(left[0].run, None, worker.began)))
        return found
