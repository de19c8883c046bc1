"""Trains a study's runs on this machine: one process a core, each with a lane of runs.

A path is all that travels to a worker; what comes back is the run's folder. Any process here may
be killed at any moment: what is finished stays finished, and launching again does the rest. Knows
no JAX: a worker is `python -m scaling run FOLDER ...`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import Field

from scaling.config import Config
from scaling.launch import tether
from scaling.launch.display import Display, Standing, describe, display, duration
from scaling.launch.lanes import Lane, Stretch, lanes, seconds_left
from scaling.runs import NOTE, Progress, RunFolder, Say, TrunkFolder
from scaling.study import Study

SECONDS_BETWEEN_LOOKS = 0.1  # at workers
SECONDS_BETWEEN_UPDATES = 0.5  # of what is shown
SECONDS_TO_STOP = 5.0  # that a worker has after being asked
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}
ONE_THREAD_XLA = "--xla_cpu_multi_thread_eigen=false"

Command: TypeAlias = Callable[[Sequence[Path]], list[str]]
"""Run folders -> the command that works through them."""


def worker_command(folders: Sequence[Path]) -> list[str]:
    """What starts a worker."""
    return [sys.executable, "-m", "scaling", "run", *map(str, folders)]


class Local(Config):
    """This machine's cores, one worker each."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(None, gt=0)
    """Processes at the same time; left out: one for each core that this process may use."""

    def launch(
        self,
        study: Study,
        runs: Path,
        *,
        retry: bool = False,
        command: Command = worker_command,
    ) -> bool:
        """Trains what is not done yet, shows how it goes, and names at the end what went wrong.

        Each worker computes with one thread on one core, however many there are, so that a
        study's digits do not depend on it.

        Args:
          study: its runs, and what to measure on each.
          runs: the folder of run folders, made if need be; other studies may share it.
          retry: also train runs that failed before.
          command: what a worker is.

        Returns:
          Whether all runs of the study are done. Ctrl-C raises SystemExit(130).
        """
        began = time.monotonic()
        with display() as screen:
            todo = _prepare(study, runs, retry, screen.say)
            queue = lanes(study.runs, todo)
            crew = _Crew(study, runs, queue, self.workers or len(_cores()), command, screen)
            try:
                crew.work()
            except KeyboardInterrupt:
                crew.stop()
                screen.say(
                    f"Stopped: {crew.done} of {crew.runs} runs are done and stay done; "
                    f"launching again resumes the rest."
                )
                raise SystemExit(130) from None
            finally:
                crew.stop()
        return _conclude(study, runs, crew.unfinished, time.monotonic() - began)


def _prepare(study: Study, runs: Path, retry: bool, say: Say) -> set[str]:
    """Writes and repairs the run folders; the ids of the runs to train."""
    todo, elsewhere = set(), []
    for run in study.runs:
        folder = RunFolder(runs / run.id)
        folder.write(run, study.evaluate, say)
        with folder.lock_if_free() as free:
            if free:
                folder.repair(say)
                if retry and folder.failure() is not None:
                    folder.forgive()
                    TrunkFolder.of(folder, run).forgive()
        state = folder.status(study.evaluate)
        if state in ("waiting", "running"):
            todo.add(run.id)
        if state == "running":
            elsewhere.append(run)
    for run in elsewhere:
        say(f"{describe(run)} is being trained by another process; this launch waits for it.")
    return todo


def _conclude(study: Study, runs: Path, unfinished: dict[str, str], seconds: float) -> bool:
    """Says how the study stands after a launch; True when it is done."""
    named = {run.id: run for run in study.runs}
    failed = {}
    for run in named.values():
        folder = RunFolder(runs / run.id)
        if folder.status(study.evaluate) == "failed":
            failed[run.id] = folder.failure()
    left = {key: why for key, why in unfinished.items() if key not in failed}
    done = len(named) - len(failed) - len(left)
    line = f"{study.name}: {done} of {len(named)} runs done"
    line += f", {len(failed)} failed" if failed else ""
    line += f", {len(left)} unfinished" if left else ""
    print(f"{line}, in {duration(seconds)}.")
    for key, reason in failed.items():
        print(f"failed: {describe(named[key])}: {reason}")
    for key, reason in left.items():
        print(f"unfinished: {describe(named[key])}: {reason}")
    if left:
        print("The same command again resumes what is unfinished.")
    if failed:
        print("The same command with --retry tries the failed runs again.")
    return done == len(named)


@dataclass
class _Worker:
    """A process at work on a lane."""

    lane: Lane
    process: subprocess.Popen[bytes]
    log: Path
    read: int
    """Bytes of the log that were there before or have been read."""
    core: int
    began: float
    left: deque[Stretch] = field(init=False)
    """Stretches not seen to end, in the order in which the process takes them."""
    last_words: str = ""

    def __post_init__(self) -> None:
        self.left = deque(self.lane.stretches)


class _Crew:
    """The workers of one launch, and how far they are."""

    def __init__(
        self,
        study: Study,
        runs: Path,
        queue: list[Lane],
        size: int,
        command: Command,
        screen: Display,
    ):
        self._evaluate = study.evaluate
        self._folder, self._size, self._command, self._screen = runs, size, command, screen
        self._queue = deque(queue)
        self._flops = sum(lane.flops for lane in queue)
        self._before = {  # FLOPs that earlier launches left in unfinished stretches
            stretch.run.id: self._flops_of(stretch) for lane in queue for stretch in lane.stretches
        }
        self._busy: list[_Worker] = []
        self._rested = 0.0  # seconds that workers now gone have worked
        self._flops_ended = 0.0
        self.runs = len({run.id for run in study.runs})
        self.done = sum(
            RunFolder(runs / key).is_done(study.evaluate) for key in {run.id for run in study.runs}
        )
        self.failed = self.runs - self.done - len(self._before)
        self.unfinished: dict[str, str] = {}
        """Run id -> why it is neither done nor failed."""

    def work(self) -> None:
        """Until every lane has had its worker and every worker has gone."""
        shown = 0.0
        while self._queue or self._busy:
            while self._queue and len(self._busy) < self._size:
                self._busy.append(self._start(self._queue.popleft()))
            time.sleep(SECONDS_BETWEEN_LOOKS)
            for worker in list(self._busy):
                gone = worker.process.poll() is not None  # asked before looking at its folders
                self._look(worker)
                if gone:
                    self._bury(worker)
            if time.monotonic() - shown >= SECONDS_BETWEEN_UPDATES:
                shown = time.monotonic()
                self._screen.update(self._standing())

    def stop(self) -> None:
        """Ends every worker: asks, waits, and then insists."""
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

    def _start(self, lane: Lane) -> _Worker:
        log = self._folder / "logs" / f"{lane.trunk}.log"
        log.parent.mkdir(exist_ok=True)
        cores = _cores()
        taken = [worker.core for worker in self._busy]
        core = min(cores, key=taken.count)
        command = self._command([self._folder / stretch.run.id for stretch in lane.stretches])
        if sys.platform == "linux":
            assert tether.__file__ is not None
            tie = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), str(core)]
            command = tie + command
        flags = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD_XLA}".strip()
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **ONE_THREAD, "XLA_FLAGS": flags},
            )
            return _Worker(lane, process, log, output.tell(), core, time.monotonic())

    def _look(self, worker: _Worker) -> None:
        """Takes note of the runs that have ended since the last look, and of what was said."""
        for line in _new_lines(worker):
            if line.startswith(NOTE):
                self._screen.say(line.removeprefix(NOTE))
            if line.strip():
                worker.last_words = line.strip()
        while worker.left:
            stretch = worker.left[0]
            folder = RunFolder(self._folder / stretch.run.id)
            if folder.is_done(self._evaluate):
                self.done += 1
                self._screen.say(f"done: {describe(stretch.run)}{_found(folder, self._evaluate)}")
            elif (reason := folder.failure()) is not None:
                self.failed += 1
                self._screen.say(f"failed: {describe(stretch.run)}: {reason}")
            else:
                return
            self._flops_ended += stretch.flops
            worker.left.popleft()

    def _bury(self, worker: _Worker) -> None:
        """Says which runs a worker that has gone leaves unfinished, and why."""
        self._busy.remove(worker)
        self._rested += time.monotonic() - worker.began
        why = _end(worker.process.returncode, worker)
        for position, stretch in enumerate(worker.left):
            progress = self._progress(stretch, worker)
            if position and progress is None:
                reason = f"its worker ended before coming to it ({why})"
            elif progress is None:
                reason = f"{why}, before its first step"
            else:
                reason = f"{why}, while at step {progress.step:_} of {progress.steps:_}"
            self.unfinished[stretch.run.id] = reason
            self._screen.say(f"unfinished: {describe(stretch.run)}: {reason}")

    def _progress(self, stretch: Stretch, worker: _Worker) -> Progress | None:
        """What `worker` itself has reported of a run."""
        progress = RunFolder(self._folder / stretch.run.id).progress()
        return progress if progress and progress.pid == worker.process.pid else None

    def _flops_of(self, stretch: Stretch) -> float:
        progress = RunFolder(self._folder / stretch.run.id).progress()
        return stretch.flops_done(progress.step) if progress else 0.0

    def _standing(self) -> Standing:
        """How things stand, with an estimate of the time left from the pace so far."""
        left, busy, begun = [], [], 0.0
        for worker in self._busy:
            if not worker.left:
                continue
            stretch = worker.left[0]
            done = max(self._flops_of(stretch), self._before[stretch.run.id])
            begun += done
            left.append(sum(each.flops for each in worker.left) - done)
            busy.append((stretch.run, self._progress(stretch, worker)))
        now = time.monotonic()
        seconds = self._rested + sum(now - worker.began for worker in self._busy)
        ...
