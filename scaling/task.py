"""What is to be done in one run's folder, and doing it: train, measure, write down.

Whatever goes wrong is written into the folder, as a failure of the run or as the machine's.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

import jax

from fits.base.errors import UserError
from scaling.base.config import Config, digest
from scaling.base.console import complain, note
from scaling.evaluate import Evaluation
from scaling.evaluate.frozen.passes import Passes
from scaling.evaluate.measured import Measured
from scaling.evaluate.measuring import measured
from scaling.evaluate.privacy import Privacy
from scaling.evaluate.trained.outcomes import FOLDER, forget, outcomes
from scaling.evaluate.trained.trainings import Trainings, host_arrays
from scaling.evaluate.trained.trains import InTraining, NotMeasured, Trains
from scaling.image_check import check_images
from scaling.manifest import manifest_of
from scaling.planning.out_of_memory import is_out_of_memory, out_of_memory
from scaling.planning.pace import record_pace
from scaling.runs.damage import DamagedRun
from scaling.runs.held_run import HeldRun
from scaling.runs.rule_file import StoppedByRule, check_rules
from scaling.runs.run_file import read_run_file
from scaling.runs.run_folder import RunFolder
from scaling.runs.trunk_folder import HeldTrunk, TrunkFolder, hold_trunk_if_free
from scaling.training.accounting import spent
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import OtherState
from scaling.training.leaving import Leaving
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.run import Run
from scaling.training.trainer import Diverged, Trainer
from scaling.watch import Watch, Watches

IN_WORDS = (
    Diverged | DamagedRun | NotMeasured | OtherState | StoppedByRule | UserError
)  # their text alone is the reason
COMPUTED_ON = ("device", "machine", "revision", "xla_flags", "versions", "precision", "placement")
"""Keys of a manifest that say so."""


class Task(Config):
    """What is to be done in one run's folder; the first process tells the others."""

    run: Run
    evaluate: tuple[Evaluation, ...]
    missing: tuple[Evaluation, ...]
    """Those of `evaluate` that are not confirmed yet."""
    placement: PlacementSpec = DEFAULT
    checkpoints: CheckpointSpec = CHECKPOINTS
    grows: bool = True
    """Whether the trunk may be trained: its lease is held."""

    def paths(self, folder: RunFolder) -> CheckpointPaths:
        """Where its training states lie."""
        trunk = TrunkFolder.of(folder, self.run).path
        return CheckpointPaths(
            trunk, folder.checkpoints, self.checkpoints, say=note, grows=self.grows
        )


def task_of(held: HeldRun) -> Task | None:
    """What is still to be done; None when nothing is.

    Raises:
      StoppedByRule: the run is to be given up.
    """
    held.repair(note)
    there = read_run_file(held.path)
    if held.is_done(there.evaluate):
        return None
    check_rules(held.path)
    confirmed = {row.evaluation for row in held.results()}
    missing = tuple(each for each in there.evaluate if digest(each) not in confirmed)
    return Task(
        run=there.run,
        evaluate=there.evaluate,
        missing=missing,
        placement=there.placement,
        checkpoints=there.checkpoints,
    )


def carry_out(
    task: Task,
    held: HeldRun,
    trunk: HeldTrunk | None,
    leases: ExitStack,
    trainers: dict[str, Trainer],
    leaving: Leaving,
) -> None:
    """Train, measure and write down.

    Args:
      trunk: None: another process trains it, and its branch is there.
      leases: of the trunk; closed as soon as nothing more is written to it.
      trainers: those of this process, by trunk; another may be added.
    """
    run, began = task.run, time.monotonic()
    watch = Watch(run, held, trunk)
    paths = replace(
        task.paths(held),
        guard=watch.before_checkpoint,
        branched=lambda: watch.let_trunk_go(leases.close),
    )
    held.clear_stop()
    try:
        seconds, found = train_and_measure(task, paths, watch, trainers, leaving)
    except Diverged as error:
        if trunk is not None and error.step <= run.branch_step:
            trunk.diverge(error.step, str(error))
        raise
    record_pace(run, task.placement, watch.pace, watch.seconds_of_steps)
    manifest = manifest_of(run, task.evaluate)
    manifest["precision"] = asdict(trainers[run.trunk].precision)
    manifest["placement"] = task.placement.model_dump()
    manifest["seconds"] = round(seconds, 3)
    before, here = _confirmed(held), time.monotonic() - began
    manifest["seconds_here"] = _with(before, "seconds_here", here)
    manifest["seconds_beside"] = _with(before, "seconds_beside", here - watch.seconds_of_steps)
    manifest["images_per_second"] = watch.pace or before.get("images_per_second")
    if earlier := _earlier(before, manifest):
        manifest["earlier"] = earlier
    if trained := [
        *_list_in(before, "finetune"),
        *(each.model_dump() for each in outcomes(held.path)),
    ]:
        manifest["finetune"] = trained
    held.finish(found, manifest)
    forget(held.path / FOLDER, held.check)
    if task.checkpoints.keep == "needed":
        _delete_unneeded(TrunkFolder.of(held, run), run)


def _confirmed(held: HeldRun) -> dict[str, Any]:
    """The manifest of a run that was done before and is measured once more; empty of another."""
    try:
        return held.manifest()
    except FileNotFoundError:
        return {}


def _with(before: Mapping[str, Any], name: str, seconds: float) -> float:
    """The seconds of this process and of those before."""
    return round((before.get(name) or 0.0) + seconds, 3)


def _earlier(before: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[Any]:
    """On what the numbers that were confirmed before were computed, where that was something else;
    the oldest first."""
    found = _list_in(before, "earlier")
    differs = any(before[name] != manifest[name] for name in COMPUTED_ON if name in before)
    if differs:
        found.append({name: before[name] for name in COMPUTED_ON if name in before})
    return found


def _list_in(manifest: Mapping[str, Any], name: str) -> list[Any]:
    found = manifest.get(name)
    return list(found) if isinstance(found, list) else []


def _delete_unneeded(trunk: TrunkFolder, run: Run) -> None:
    """Unless another process trains the trunk, which does that in its turn."""
    with hold_trunk_if_free(trunk.path) as again:
        if again is not None:
            again.delete_unneeded(run)


def train_and_measure(
    task: Task,
    paths: CheckpointPaths,
    watch: Watches,
    trainers: dict[str, Trainer],
    leaving: Leaving,
) -> tuple[float, list[tuple[Evaluation, list[Measured]]]]:
    """Seconds of training, and what each missing evaluation found; all processes do this."""
    run = task.run
    watch.phase("check")
    check_images(run, task.missing)
    spent(run)  # more than it may: said before the first step
    watch.phase("compile")
    trainer = _trainer(task, trainers)
    with leaving.after_a_step() as leave:
        end = train(trainer, run, replace(paths, leave=leave), watch.tell)
    watch.phase("evaluate", run.steps)
    seconds, module = end.seconds, trainer.module(end.state)
    del end  # and with it the optimizer's state: evaluation may have its memory
    passes = Passes(module, trainer.placement, run.objective)
    found: list[tuple[Evaluation, list[Measured]]] = [
        (each, measured(each, passes, run.data))
        for each in task.missing
        if not isinstance(each, Trains | Privacy)
    ]
    del passes
    found += [(each, each.of_run(run)) for each in task.missing if isinstance(each, Privacy)]
    if train_too := [each for each in task.missing if isinstance(each, Trains)]:
        find = Trainings(
            folder=paths.own.parent,
            params=host_arrays(module),
            paths=paths,
            spec=task.placement,
            leaving=leaving,
            watch=watch,
            step=run.steps,
        )
        del module  # devices have no memory for two
        found += [(each, each.found(run, find)) for each in train_too]
    return seconds, found


def _trainer(task: Task, trainers: dict[str, Trainer]) -> Trainer:
    """The trainer of the task's trunk, with the step of another trunk where it is the same."""
    run = task.run
    if run.trunk not in trainers:
        same = (each for each in trainers.values() if each.makes(run, task.placement))
        found = next(same, None)
        trainers[run.trunk] = found.of(run) if found else Trainer(run, spec=task.placement)
    return trainers[run.trunk]


def write_down(held: HeldRun, error: Exception, task: Task | None = None) -> bool:
    """Why a run ended early: as the machine's fault, as a failure of the run, or, where neither is
    plain, as an attempt. Returns whether the run is to be tried again at once."""
    if not isinstance(error, IN_WORDS):
        # into the worker's log, whose disk may be full; the folder gets the reason alone
        complain("".join(traceback.format_exception(error)).rstrip())
    reason = _reason(error)
    if isinstance(error, OSError | MemoryError | UserError) or is_out_of_memory(error):
        if is_out_of_memory(error) and task is not None:
            run = error.run if isinstance(error, InTraining) else task.run
            reason = out_of_memory(error, run, task.placement, jax.device_count())
        _stop(held, reason)
        return False
    try:
        if isinstance(error, IN_WORDS) or task is None:
            held.fail(reason)
            again = False
        else:
            step = TrunkFolder.of(held, task.run).start_of(held, task.run)
            again = held.attempt(f"{reason.rstrip('.')}.", step)
    except OSError as trouble:
        note(f"{held.id} failed: {reason} (that could not be written: {trouble})")
        return False
    if again:
        note(f"{held.id} is tried again: {reason}")
    else:
        complain(f"{held.id} failed: {reason}")
    return again


def _stop(held: HeldRun, reason: str) -> None:
    """The machine is at fault: the run is left unfinished."""
    say = complain  # the launcher reads stopped.txt
    try:
        held.stop(reason)
    except OSError:  # the disk may be what is full
        say = note
    say(
        f"{held.id} stopped: {reason} Fix this and launch again: training resumes from the "
        "last checkpoint."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, IN_WORDS):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip() or 'no reason given'}"
