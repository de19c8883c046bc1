"""A worker: takes the first of the runs it is given that nobody is at, and brings it to its end.

Again and again, compiling once for all runs whose step is the same. A run is held by its lease; its
trunk by another, which is given back as soon as the run branches off: from then on other workers
train the trunk further, and the other runs that branch there. So any number of workers share the
runs of a folder, without knowing of each other.

Several processes may be one worker (`jax.process_count()` > 1). The first of them alone takes
leases and writes; the others wait in a collective for it to say what to do, never for a lease.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from enum import Enum
from functools import partial
from pathlib import Path

import jax

from fits.base.errors import UserError
from scaling.base.console import clock, note
from scaling.base.storage import is_object
from scaling.evaluate.trained.trains import NotMeasured
from scaling.runs import lease
from scaling.runs.held_run import HeldRun, hold_run_if_free
from scaling.runs.lease import LeaseLost, LeaseWatch
from scaling.runs.run_folder import LEASE, RunFolder
from scaling.runs.trunk_folder import HeldTrunk, TrunkFolder, hold_trunk_if_free
from scaling.task import Task, carry_out, task_of, train_and_measure, write_down
from scaling.training import checkpoints
from scaling.training.compilation_cache import use_compilation_cache
from scaling.training.hanging import ended_if_hanging
from scaling.training.hosts import agreed_word
from scaling.training.leaving import TRY_AGAIN, Leaving, Left
from scaling.training.loop import TrunkBusy
from scaling.training.run import Run
from scaling.training.trainer import Diverged, Trainer
from scaling.watch import Blind

SECONDS_BETWEEN_WORDS = 60.0  # of a worker that waits for others
WAIT, DONE, NOT_DONE = "wait", "done", "not done"  # what the first process tells, beside tasks
AGAIN = "again"  # of a run: an attempt was in vain, and another is to be made


class Ended(Enum):
    """How far a worker came with its runs."""

    DONE = "all are done"
    FAILED = "some are not, as their folders say"
    TAKEN = "some are left: other processes are at them, or they are to be tried again"


def work(
    paths: Sequence[Path],
    *,
    wait: bool = True,
    leaving: Leaving | None = None,
    ends_itself: bool = False,
    hang_after: float | None = None,
) -> Ended:
    """Bring every run to its end, one that is free at a time.

    A run that is done is left alone; one that fails gets a `failed.txt` with the reason. A run is
    free while no other process holds its lease nor, until its branch is there, that of its trunk.

    Args:
      paths: folders of runs, in the order in which they are taken.
      wait: for runs that other processes are at, to do what they leave; else this ends.
      leaving: says when to leave; None: nobody does.
      ends_itself: whether this process ends where a run hangs, as `hang_after` says and
        `HangTimer` takes it: nobody else watches it. The attempt is written down.

    Raises:
      SystemExit: as `leaving` says; a checkpoint was kept.
      UserError: several processes are one worker, and the runs lie in a bucket.
    """
    use_compilation_cache()
    watched = partial(_ended_if_hanging, hang_after=hang_after) if ends_itself else _unwatched
    worker = _Worker(wait, leaving or Leaving(), watched)
    if not paths:
        return Ended.DONE
    if jax.process_count() > 1 and is_object(paths[0]):
        raise UserError(
            [
                f"{paths[0].parent}: several processes that are one training need a folder that "
                "all of them see; a bucket is none."
            ]
        )
    if jax.process_index() == 0:
        return worker.lead([RunFolder(path) for path in paths])
    return worker.follow(paths[0].parent)


class _Worker:
    """One process of a worker, and what it has compiled."""

    def __init__(
        self,
        wait: bool,
        leaving: Leaving,
        watched: Callable[[HeldRun, Task], AbstractContextManager[None]],
    ):
        self._wait, self._leaving, self._watched = wait, leaving, watched
        self._trainers: dict[str, Trainer] = {}
        self._watches: defaultdict[Path, LeaseWatch] = defaultdict(LeaseWatch)
        self._behind: dict[Path, tuple[TrunkFolder, int]] = {}
        """Runs that wait for another process to train their trunk: to which step."""

    def lead(self, folders: list[RunFolder]) -> Ended:
        """As the only process, or the first of several: decide, take the leases, write."""
        finished = True
        waiting = _Waiting()
        while folders:
            for folder in folders:
                end = self._lead_one(folder)
                if end is None:
                    continue
                folders.remove(folder)
                waiting = _Waiting()
                if end != AGAIN:
                    finished &= end == DONE
                elif self._wait:
                    folders.append(folder)
                else:  # a process that is new may do better
                    _send(NOT_DONE)
                    return Ended.TAKEN
                break
            else:
                if not self._wait:
                    break
                waiting.tell(len(folders))
                _send(WAIT)  # or the others wait in one collective for longer than they may
                time.sleep(lease.POLL)
        _send(DONE if finished else NOT_DONE)
        if folders:
            return Ended.TAKEN
        return Ended.DONE if finished else Ended.FAILED

    def _lead_one(self, folder: RunFolder) -> str | None:
        """`DONE`, `NOT_DONE` or `AGAIN`; None where another process is at the run, or its trunk."""
        if folder.path in self._behind:  # looked at without taking the run's lease again and again
            trunk, step = self._behind[folder.path]
            watch = self._watches[trunk.path]
            if not trunk.has_branch(step) and not lease.is_free(trunk.path / LEASE, watch):
                return None
        try:
            with ExitStack() as leases:
                watch = self._watches[folder.path]
                held = leases.enter_context(hold_run_if_free(folder.path, watch))
                return None if held is None else self._lead_holding(held)
        except TrunkBusy:
            return None
        except LeaseLost as lost:
            note(f"{folder.id}: {lost} This process leaves the run to that one.")
            _alone_or_exit()
            return None
        except OSError as error:  # its lease cannot be taken, and nothing written down in there
            note(f"{folder.id}: {error}. Nothing can be written there.")
            return NOT_DONE

    def _lead_holding(self, held: HeldRun) -> str:
        """As `_lead_one`, the run's lease in hand."""
        with ExitStack() as leases:
            try:
                task = task_of(held)
                if task is None:
                    return DONE
                task, trunk = self._with_trunk(task, held, leases)
            except (LeaseLost, TrunkBusy):
                raise
            except Exception as error:
                write_down(held, error)
                return NOT_DONE
            _send(task.model_dump_json())
            try:
                with self._watched(held, task):
                    carry_out(task, held, trunk, leases, self._trainers, self._leaving)
            except (LeaseLost, TrunkBusy):
                raise
            except Left as left:
                note(f"{held.id}: {left}")
                raise SystemExit(self._leaving.status) from None
            except Exception as error:
                again = write_down(held, error, task)
                if not isinstance(error, Diverged | NotMeasured):  # all processes see only these
                    _alone_or_exit()
                return AGAIN if again else NOT_DONE
        return DONE

    def _with_trunk(
        self, task: Task, held: HeldRun, leases: ExitStack
    ) -> tuple[Task, HeldTrunk | None]:
        """The task, and its trunk where that is free; its lease is added to `leases`.

        Raises:
          TrunkBusy: another process trains the trunk, and has not come to the run's branch.
          Diverged: nobody can train it so far.
        """
        there = TrunkFolder.of(held, task.run)
        watch = self._watches[there.path]
        trunk = leases.enter_context(hold_trunk_if_free(there.path, watch))
        if trunk is None and not _is_past_branch(held, there, task.run):
            self._behind[held.path] = there, task.run.branch_step
            raise TrunkBusy
        if (reason := there.divergence(task.run.branch_step)) is not None:
            raise Diverged(reason, step=task.run.branch_step)
        return task.model_copy(update={"grows": trunk is not None}), trunk

    def follow(self, runs: Path) -> Ended:
        """As one of the other processes: do what the first says, and write nothing."""
        while (message := agreed_word("")) not in (DONE, NOT_DONE):
            if message == WAIT:
                continue
            task = Task.model_validate_json(message)
            paths = task.paths(RunFolder(runs / task.run.id))
            try:
                with suppress(Diverged, NotMeasured, TrunkBusy):
                    train_and_measure(task, paths, Blind(), self._trainers, self._leaving)
            except Left:
                raise SystemExit(self._leaving.status or 1) from None
        return Ended.DONE if message == DONE else Ended.FAILED


class _Waiting:
    """A worker that waits for others says so at once, and then every `SECONDS_BETWEEN_WORDS`."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._said: float | None = None

    def tell(self, runs: int) -> None:
        """Of so many runs."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if self._said is None or now - self._said >= SECONDS_BETWEEN_WORDS:
            self._said = now
            what = "1 run is" if runs == 1 else f"{runs} runs are"
            note(f"{what} left, at which other processes are: waits, {clock(now - self._began)}")


def _is_past_branch(folder: RunFolder, trunk: TrunkFolder, run: Run) -> bool:
    """Whether the run needs nothing of its trunk but a checkpoint that is there, if at all."""
    return trunk.has_branch(run.branch_step) or bool(checkpoints.found(folder.checkpoints))


def _unwatched(held: HeldRun, task: Task) -> AbstractContextManager[None]:
    return nullcontext()


def _ended_if_hanging(
    held: HeldRun, task: Task, *, hang_after: float | None
) -> AbstractContextManager[None]:
    def write(reason: str) -> None:
        note(f"{held.id}: {reason}")
        with suppress(LeaseLost, OSError):
            held.attempt(reason, TrunkFolder.of(held, task.run).start_of(held, task.run))

    # The other processes of a training end when the first of them is gone.
    end = partial(os._exit, TRY_AGAIN)
    return ended_if_hanging(lambda: held.last_sign, hang_after, write=write, end=end)


def _send(message: str) -> None:
    """To the other processes, which wait for it in `agreed_word`."""
    agreed_word(message)


def _alone_or_exit() -> None:
    """Ends one of several processes that met an error the others know nothing of.

    They wait for it in a collective; when it ends, JAX ends them.
    """
    if jax.process_count() > 1:
        raise SystemExit(1)
