"""Run -> parameters: one loop, told once.

Runs that differ only in `images_seen` train one trunk: up to the step at which its cooldown
begins, a run's every number is that of any longer run. `train` looks for the trunk's checkpoints,
extends the trunk as far as it needs, and pays for its own cooldown alone. Branching from a
checkpoint and passing through it on one's own give the same bits, because both are the same
compiled step, fed with the same images and the same learning rate.

Knows no objective's name, no metric and no launcher.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scaling.base.files import set_aside
from scaling.training import checkpoints
from scaling.training.checkpoint_manifest import MANIFEST
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import PASSING, Checkpoint, Damaged
from scaling.training.hosts import agreed_word, all_processes, is_first
from scaling.training.leaving import never
from scaling.training.run import Run
from scaling.training.trainer import Progress, Trainer


@dataclass(frozen=True)
class CheckpointPaths:
    """Where a training leaves its checkpoints, and when.

    `trunk` is shared by runs that differ only in duration; `own` holds the cooldown's.
    """

    trunk: Path
    own: Path
    spec: CheckpointSpec = CHECKPOINTS
    say: Callable[[str], None] = print
    """Is told, in words, of a checkpoint that had to be set aside."""
    guard: Callable[[], None] = lambda: None
    """Called, in any thread, right before a checkpoint is published, moved or deleted; raises where
    another process has taken over the folders."""
    grows: bool = True
    """Whether this training may write to the trunk: another one does, where it may not."""
    branched: Callable[[], None] = lambda: None
    """Called, in any thread, once nothing more is written to the trunk."""
    leave: Callable[[], bool] = never
    """Asked after steps: whether to keep a checkpoint and leave."""


class TrunkBusy(Exception):
    """The trunk has to be trained, and another training does that."""


def train(
    trainer: Trainer, run: Run, places: CheckpointPaths, tell: Callable[[Progress], None]
) -> Checkpoint:
    """The end of `run`: its parameters, and the seconds it would have taken alone.

    With several processes all of them call this, and the first of them alone writes.

    Args:
      trainer: compiled for `run`, or for one that differs only in `images_seen`.

    Raises:
      Diverged: the loss stopped being finite.
      Left: `places.leave` said so.
      TrunkBusy: the trunk has to be trained first, which this training may not.
    """
    if run.trunk != trainer.trunk:
        raise ValueError(f"run {run.id} does not grow from trunk {trainer.trunk}.")

    reached = _latest(trainer, places.own, run.steps, places)
    with checkpoints.Saver(places.guard) as saver:

        def save(folder: Path, checkpoint: Checkpoint, **then: Callable[[], None]) -> None:
            saver.save(folder, trainer.stored(checkpoint), **then)

        if reached is None:
            reached = _latest(trainer, places.trunk, run.branch_step, places) or trainer.start()
        if reached.step < run.branch_step:
            if not places.grows:
                raise TrunkBusy
            reached = trainer.advance(
                reached,
                run.branch_step,
                total_steps=None,
                keep=partial(save, places.trunk / PASSING),
                spec=places.spec,
                tell=tell,
                leave=places.leave,
            )
            save(places.trunk / str(reached.step), reached, then=places.branched)
        else:
            places.branched()
        if reached.step < run.steps:
            reached = trainer.advance(
                reached,
                run.steps,
                total_steps=run.steps,
                keep=partial(save, places.own / PASSING),
                spec=places.spec,
                tell=tell,
                leave=places.leave,
            )
            save(places.own / str(reached.step), reached)
            saver.wait()
            if is_first():
                places.guard()
                checkpoints.delete(places.own / PASSING)
    return reached


def _latest(
    trainer: Trainer, parent: Path, at_most: int, places: CheckpointPaths
) -> Checkpoint | None:
    """The last whole checkpoint below `parent` that is not past `at_most`, or None.

    One that any process finds damaged is set aside, and the one before it is tried.
    """
    while name := agreed_word(_last_name(parent, at_most)):
        folder, problem = parent / name, None
        with ExitStack() as copies:
            try:
                here = copies.enter_context(checkpoints.at_hand(folder))
            except Damaged as damage:
                problem = damage
            # asked before `restore`, in which the processes wait for each other
            if all_processes(problem is None):
                try:
                    found = checkpoints.restore(here, trainer.like())
                except Damaged as damage:
                    problem = damage
                else:
                    return trainer.restored(found)
        if parent == places.trunk and not places.grows:
            raise TrunkBusy
        if is_first():
            places.guard()
            aside = set_aside(folder)
            reason = problem or f"{folder} is damaged for another process of this training."
            places.say(f"{reason} Kept as {aside.name}; that part is trained again.")
    return None


def _last_name(parent: Path, at_most: int) -> str:
    """Name of the last checkpoint below `parent` that is not past `at_most`, or ""."""
    if (parent / str(at_most) / MANIFEST).exists():
        return str(at_most)
    names = [folder.name for step, folder in checkpoints.found(parent) if step <= at_most]
    return names[-1] if names else ""
