"""The worker processes of one launch: started, watched, and reaped with the reason they ended.

A path is all that travels to a worker; what comes back is the run's folder. Knows no JAX.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from scaling.base.console import NOTE
from scaling.evaluate import Evaluation
from scaling.launch import process_guard
from scaling.launch.devices import Slot
from scaling.launch.display import Display, LaunchProgress, describe
from scaling.launch.jobs import Job, Segment, jobs
from scaling.launch.time_left import Pace, pace_at_work, pace_done, pace_waiting, seconds_left
from scaling.runs.run_folder import RunFolder, RunProgress
from scaling.study.study import Study

SECONDS_BETWEEN_LOOKS = 0.1  # at workers
SECONDS_BETWEEN_UPDATES = 0.5  # of what is shown
SECONDS_TO_STOP = 5.0  # between SIGTERM and SIGKILL
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
# XLA asks for its work space anew each step; in 4 KiB pages, a third of a CPU step is spent on
# that. Needs glibc 2.35; anything else ignores it. Moves no digit.
HUGE_PAGES = "glibc.malloc.hugetlb=1"

Command: TypeAlias = Callable[[Sequence[Path]], list[str]]
"""Run folders -> the command that works through them."""


@dataclass
class Worker:
    """A process at work on a job."""

    job: Job
    left: deque[Segment]
    """Segments not seen to end, in the order in which the process takes them."""
    process: subprocess.Popen[bytes]
    slot: Slot
    stopped: dict[str, str | None]
    """Why each run was left unfinished before this worker came."""
    log: Path
    read: int
    """Bytes of the log that were there before, or have been read."""
    last_words: str = ""

    def new_lines(self) -> Iterator[str]:
        """Whole lines that came to the log since the last call."""
        with self.log.open("rb") as log:
            log.seek(self.read)
            whole = log.read().rpartition(b"\n")[0]
        if whole:
            self.read += len(whole) + 1
            yield from whole.decode(errors="replace").splitlines()

    def exit_reason(self) -> str:
        """Why the process ended."""
        status = self.process.returncode
        if status < 0:
            hint = ", as when memory runs out" if -status == signal.SIGKILL else ""
            return f"its worker was killed by signal {-status}{hint}"
        if status > 0:
            return f"its worker ended with exit status {status} ({self.last_words or self.log})"
        return f"its worker ended without finishing it (see {self.log})"


class Pool:
    """One worker a slot at a time, each with a job, until no job is left."""

    def __init__(
        self,
        study: Study,
        runs: Path,
        queue: Sequence[Job],
        *,
        slots: Sequence[Slot],
        command: Command,
        screen: Display,
    ):
        self._evaluate: tuple[Evaluation, ...] = study.evaluate
        self._runs, self._command, self._screen = runs, command, screen
        self._free = list(slots)
        self._queue = deque(queue)
        self._busy: list[Worker] = []
        ids = {run.id for run in study.runs}
        self.count = len(ids)
        self.done = sum(RunFolder(runs / name).is_done(study.evaluate) for name in ids)
        self.failed = self.count - self.done - sum(len(job.segments) for job in queue)
        self.unfinished: dict[str, str] = {}
        """Run id -> why it is neither done nor failed."""
        self._asked = {s.run.id: s.flops for job in queue for s in job.segments}  # FLOPs
        self._now = {s.run.id: self._reached(s) for job in queue for s in job.segments}  # done
        self._paces_done = paces_of_done(study, runs)

    def work(self) -> None:
        """Until every job has had its worker and every worker has ended."""
        shown = 0.0
        while self._queue or self._busy:
            while self._queue and self._free:
                self._busy.append(self._start(self._queue.popleft(), self._free.pop(0)))
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for worker in list(self._busy):
                ended = worker.process.poll() is not None  # asked before its folders are looked at
                self._look(worker)
                if ended:
                    self._reap(worker)
            if time.monotonic() - shown >= SECONDS_BETWEEN_UPDATES:
                shown = time.monotonic()
                self._screen.update(self._launch_progress())

    def stop(self) -> None:
        """End every worker: SIGTERM, then SIGKILL after `SECONDS_TO_STOP`."""
        for worker in self._busy:
            worker.process.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for worker in self._busy:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._look(worker)
        self._busy.clear()

    def _start(self, job: Job, slot: Slot) -> Worker:
        log = self._runs / "logs" / f"{job.trunk}.log"
        log.parent.mkdir(exist_ok=True)
        command = self._command([self._runs / segment.run.id for segment in job.segments])
        if sys.platform == "linux":
            guard = [
                sys.executable,
                "-I",
                "-S",
                process_guard.__file__,
                str(os.getpid()),
                ",".join(map(str, slot.cores)),
            ]
            command = guard + command
        stopped = {s.run.id: RunFolder(self._runs / s.run.id).stopped() for s in job.segments}
        tunables = ":".join(filter(None, [os.environ.get("GLIBC_TUNABLES"), HUGE_PAGES]))
        with log.open("ab") as output:
            size = output.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    **ONE_THREAD,
                    "GLIBC_TUNABLES": tunables,
                    **slot.environment,
                },
            )
        return Worker(job, deque(job.segments), process, slot, stopped, log=log, read=size)

    def _look(self, worker: Worker) -> None:
        """Pass on the worker's notes, and count the runs that ended since the last look."""
        for line in worker.new_lines():
            if line.startswith(NOTE):
                self._screen.say(line.removeprefix(NOTE))
            worker.last_words = line.strip() or worker.last_words
        while worker.left:
            run = worker.left[0].run
            folder = RunFolder(self._runs / run.id)
            if folder.is_done(self._evaluate):
                self.done += 1
                self._now[run.id] = self._asked[run.id]
                self._paces_done.append((worker.left[0], pace_done(folder)))
                self._screen.say(f"done: {describe(run)}{self._error(folder)}")
            elif (reason := folder.failure()) is not None:
                self.failed += 1
                self._forget(run.id)
                self._screen.say(f"failed: {describe(run)}: {reason}")
            elif (reason := self._stopped(worker)) is not None:
                self._forget(run.id)
                self.unfinished[run.id] = reason
                self._screen.say(f"unfinished: {describe(run)}: {reason}")
            else:
                return
            worker.left.popleft()

    def _stopped(self, worker: Worker) -> str | None:
        """Why this worker, and no earlier one, left its run unfinished and went on to the next."""
        segment = worker.left[0]
        reason = RunFolder(self._runs / segment.run.id).stopped()
        old = reason == worker.stopped[segment.run.id]
        return None if old and self._progress(worker, segment) is None else reason

    def _forget(self, name: str) -> None:
        """A run that this launch will not bring to its end is no longer to be done."""
        for account in (self._asked, self._now):
            del account[name]

    def _reap(self, worker: Worker) -> None:
        """Say which runs a worker that ended leaves unfinished, and why; its slot is free again."""
        self._busy.remove(worker)
        self._free = sorted([*self._free, worker.slot], key=lambda slot: slot.number)
        for position, segment in enumerate(worker.left):
            progress = self._progress(worker, segment)
            where = "before its turn came" if position else "before its first step"
            if progress is not None:
                where = f"while at step {progress.step:_} of {progress.steps:_}"
            self.unfinished[segment.run.id] = f"{worker.exit_reason()}, {where}"
            self._screen.say(
                f"unfinished: {describe(segment.run)}: {worker.exit_reason()}, {where}"
            )

    def _progress(self, worker: Worker, segment: Segment) -> RunProgress | None:
        """What `worker` itself has reported of a run."""
        progress = RunFolder(self._runs / segment.run.id).progress()
        return progress if progress and progress.pid == worker.process.pid else None

    def _reached(self, segment: Segment) -> float:
        """FLOPs of a segment that are done, as far as anybody has reported."""
        progress = RunFolder(self._runs / segment.run.id).progress()
        return segment.flops_done(progress.step) if progress else 0.0

    def _error(self, folder: RunFolder) -> str:
        """The first error measured; a line has no room for all, and the table has them."""
        named = {name for each in self._evaluate for name in each.errors}
        rows = folder.results(self._evaluate)
        errors = (f", {row.metric} {row.value:.4g}" for row in rows if row.metric in named)
        return next(errors, "")

    def _launch_progress(self) -> LaunchProgress:
        """The progress, with the time left."""
        at_work = [worker for worker in self._busy if worker.left]
        for segment in (worker.left[0] for worker in at_work):
            name = segment.run.id  # a worker that resumes may report less than was found
            self._now[name] = max(self._now[name], self._reached(segment))
        return LaunchProgress(
            runs=self.count,
            done=self.done,
            failed=self.failed,
            flops=sum(self._asked.values()),
            flops_done=sum(self._now.values()),
            seconds_left=self._seconds_left(at_work),
            busy=tuple((w.left[0].run, self._progress(w, w.left[0])) for w in at_work),
        )

    def _seconds_left(self, at_work: Sequence[Worker]) -> float | None:
        here = [Job(worker.job.trunk, tuple(worker.left)) for worker in at_work]
        paces: dict[str, Pace] = {}
        for job in (*here, *self._queue):
            for number, segment in enumerate(job.segments):
                folder = RunFolder(self._runs / segment.run.id)
                first = job in here and number == 0
                paces[segment.run.id] = pace_at_work(folder) if first else pace_waiting(folder)
        return seconds_left([*here, *self._queue], paces, self._paces_done)


def paces_of_done(study: Study, runs: Path) -> list[tuple[Segment, Pace]]:
    """Every run of the study that is done, and its pace."""
    ids = {run.id for run in study.runs}
    done = {name for name in ids if RunFolder(runs / name).is_done(study.evaluate)}
    segments = [segment for job in jobs(study.runs, done) for segment in job.segments]
    return [(segment, pace_done(RunFolder(runs / segment.run.id))) for segment in segments]
