"""What a worker does with the run folders it is given: train, measure, write down.

Works through them in order, compiling once for all whose step is the same. Whatever goes wrong
with one run is written into its folder and stops none of the others.

Several processes may be one worker (`jax.process_count()` > 1). The first of them alone takes
leases and writes; the others wait in a collective for it to say what to do, never for a lease.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import jax

from fits.base.errors import UserError
from scaling.base.config import Config, digest
from scaling.base.console import note
from scaling.evaluate import Evaluation
from scaling.evaluate.measured import Measured
from scaling.manifest import manifest_of
from scaling.planning.out_of_memory import is_out_of_memory, out_of_memory
from scaling.planning.pace import record_pace
from scaling.runs.damage import DamagedRun
from scaling.runs.held_run import HeldRun, hold_run
from scaling.runs.lease import LeaseLost
from scaling.runs.run_file import read_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import HeldTrunk, TrunkFolder, hold_trunk
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import OtherState
from scaling.training.compilation_cache import use_compilation_cache
from scaling.training.hosts import agreed_word
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.run import Run
from scaling.training.trainer import Diverged, Trainer
from scaling.watch import Blind, Watch, Watches

WAIT, SKIP, FAILED = "wait", "skip", "failed"


class Task(Config):
    """What is to be done in one run's folder; the first process tells the others."""

    run: Run
    evaluate: tuple[Evaluation, ...]
    missing: tuple[Evaluation, ...]
    """Those of `evaluate` that are not confirmed yet."""
    placement: PlacementSpec = DEFAULT
    checkpoints: CheckpointSpec = CHECKPOINTS


def work(paths: Sequence[Path]) -> bool:
    """Bring every run to its end; True when all of them got there.

    A run that is done is left alone; one that fails gets a `failed.txt` with the reason.
    """
    use_compilation_cache()
    trainers: dict[str, Trainer] = {}
    do = _lead if jax.process_index() == 0 else _follow
    finished = True
    for path in paths:
        finished &= do(RunFolder(path), trainers)
    return finished


def _lead(folder: RunFolder, trainers: dict[str, Trainer]) -> bool:
    """As the only process, or the first of several: decide, take the leases, write."""
    while True:
        try:
            with ExitStack() as leases:
                held = leases.enter_context(hold_run(folder.path, _keep_waiting))
                return _lead_holding(held, leases, trainers)
        except LeaseLost as lost:
            note(f"{folder.id}: {lost} This process waits until that one ends.")
            _alone_or_exit()


def _lead_holding(held: HeldRun, leases: ExitStack, trainers: dict[str, Trainer]) -> bool:
    """As `_lead`, the run's lease in hand; the trunk's is added to `leases`."""
    task = None
    try:
        task = _task(held)
        if task is not None:
            trunk = TrunkFolder.of(held, task.run)
            held_trunk = leases.enter_context(hold_trunk(trunk.path, _keep_waiting))
            _refuse_diverged(held_trunk, task.run)  # before the others begin: they cannot see it
    except LeaseLost:
        raise
    except Exception as error:
        _send(FAILED)
        return _write_down(held, error)
    _send(SKIP if task is None else task.model_dump_json())
    if task is None:
        return True
    try:
        _carry_out(task, held, held_trunk, trainers)
    except LeaseLost:
        raise
    except Exception as error:
        finished = _write_down(held, error, task)
        if not isinstance(error, Diverged):  # which all processes see; this they do not
            _alone_or_exit()
        return finished
    return True


def _follow(folder: RunFolder, trainers: dict[str, Trainer]) -> bool:
    """As one of the other processes: do what the first says, and write nothing."""
    while (message := agreed_word("")) == WAIT:
        pass
    if message in (SKIP, FAILED):
        return message == SKIP
    task = Task.model_validate_json(message)
    places = CheckpointPaths(
        TrunkFolder.of(folder, task.run).path, folder.checkpoints, task.checkpoints, say=note
    )
    try:
        _train_and_measure(task, trainers, places, Blind())
    except Diverged:
        return False
    return True


def _task(held: HeldRun) -> Task | None:
    """What is still to be done; None when nothing is."""
    held.repair(note)
    there = read_run_file(held.path)
    run, evaluations = there.run, there.evaluate
    if held.is_done(evaluations):
        return None
    confirmed = {row.evaluation for row in held.results()}
    missing = tuple(each for each in evaluations if digest(each) not in confirmed)
    return Task(
        run=run,
        evaluate=evaluations,
        missing=missing,
        placement=there.placement,
        checkpoints=there.checkpoints,
    )


def _refuse_diverged(trunk: HeldTrunk, run: Run) -> None:
    reason = trunk.divergence(run.branch_step)
    if reason is not None:
        raise Diverged(reason, step=run.branch_step)


def _carry_out(task: Task, held: HeldRun, trunk: HeldTrunk, trainers: dict[str, Trainer]) -> None:
    """Train, measure and write down."""
    run, began = task.run, time.monotonic()
    watch = Watch(run, held, trunk)
    places = CheckpointPaths(
        trunk.path, held.checkpoints, task.checkpoints, say=note, guard=watch.guard
    )
    held.clear_stop()
    try:
        seconds, measured = _train_and_measure(task, trainers, places, watch)
    except Diverged as error:
        if error.step <= run.branch_step:
            trunk.diverge(error.step, str(error))
        raise
    record_pace(run, task.placement, watch.pace, watch.seconds_of_steps)
    manifest = manifest_of(run, task.evaluate)
    manifest["precision"] = asdict(trainers[run.trunk].precision)
    manifest["placement"] = task.placement.model_dump()
    manifest["seconds"] = round(seconds, 3)
    manifest["seconds_here"] = round(time.monotonic() - began, 3)
    manifest["seconds_beside"] = round(time.monotonic() - began - watch.seconds_of_steps, 3)
    manifest["images_per_second"] = watch.pace
    held.finish(measured, manifest)
    if task.checkpoints.keep == "needed":
        trunk.delete_unneeded()


def _train_and_measure(
    task: Task, trainers: dict[str, Trainer], places: CheckpointPaths, watch: Watches
) -> tuple[float, list[tuple[Evaluation, list[Measured]]]]:
    """Seconds of training, and what each missing evaluation found; all processes do this."""
    run = task.run
    watch.phase("compile")
    trainer = _trainer(task, trainers)
    end = train(trainer, run, places, watch.tell)
    watch.phase("evaluate", run.steps)
    seconds, module = end.seconds, trainer.module(end.state)
    del end  # and with it the optimizer's state: evaluation may have its memory
    measured = [
        (
            each,
            each.measure(
                module, objective=run.objective, source=run.data, placement=trainer.placement
            ),
        )
        for each in task.missing
    ]
    return seconds, measured


def _trainer(task: Task, trainers: dict[str, Trainer]) -> Trainer:
    """The trainer of the task's trunk, with the step of another trunk where it is the same."""
    run = task.run
    if run.trunk not in trainers:
        same = (each for each in trainers.values() if each.makes(run, task.placement))
        found = next(same, None)
        trainers[run.trunk] = found.of(run) if found else Trainer(run, spec=task.placement)
    return trainers[run.trunk]


def _write_down(held: HeldRun, error: Exception, task: Task | None = None) -> bool:
    """Why a run ended early: as a failure, unless the machine is at fault and not the run.

    Returns False: the run did not get to its end.
    """
    if not isinstance(error, Diverged | DamagedRun | OtherState | UserError):
        traceback.print_exc()  # into the worker's log; the folder gets the reason alone
    reason = _reason(error)
    if isinstance(error, OSError | MemoryError | UserError) or is_out_of_memory(error):
        if is_out_of_memory(error) and task is not None:
            reason = out_of_memory(error, task.run, task.placement, jax.device_count())
        say = _say  # the launcher reads stopped.txt
        try:
            held.stop(reason)
        except OSError:  # the disk may be what is full
            say = note
        say(
            f"{held.id} stopped: {reason} Fix this and launch again: training resumes from the "
            "last checkpoint."
        )
        return False
    _say(f"{held.id} failed: {reason}")
    try:
        held.fail(reason)
    except OSError as trouble:
        note(f"{held.id} failed: {reason} (failed.txt could not be written: {trouble})")
    return False


def _keep_waiting() -> None:
    """Keeps the other processes from waiting in one collective for longer than it may take."""
    _send(WAIT)


def _send(message: str) -> None:
    """To the other processes, which wait for it in `agreed_word`."""
    agreed_word(message)


def _alone_or_exit() -> None:
    """Ends one of several processes that met an error the others know nothing of.

    They wait for it in a collective; when it ends, JAX ends them.
    """
    if jax.process_count() > 1:
        raise SystemExit(1)


def _reason(error: Exception) -> str:
    if isinstance(error, Diverged | DamagedRun | OtherState | UserError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip() or 'no reason given'}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
