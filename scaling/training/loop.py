"""Run -> parameters: one loop, told once.

Runs that differ only in `images_seen` train one trunk: up to the step at which its cooldown
begins, a run's every number is that of any longer run. `train` looks for the trunk's checkpoints,
extends the trunk as far as it needs, and pays for its own cooldown alone. Branching from a
checkpoint and passing through it on one's own give the same bits, because both are the same
compiled step, fed with the same images and the same learning rate.

Knows no objective's name, no metric and no launcher.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from models.precision import Precision, precision_for
from scaling.base.files import set_aside
from scaling.data.loader import Batch, batches
from scaling.training import checkpoints
from scaling.training.assembly import assemble
from scaling.training.checkpoint_spec import DEFAULT as CHECKPOINTS
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import Checkpoint, Damaged
from scaling.training.hosts import agreed, agreed_word, all_processes, is_first
from scaling.training.initial import backbone
from scaling.training.placement import Placement
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import schedule
from scaling.training.run import Run
from scaling.training.state import TrainState
from scaling.training.step import learned

PASSING = "passing"  # the one checkpoint that is overwritten as training goes on
QUICK = {"xla_backend_optimization_level": 1}  # for code that runs once; digits stay the same
LOOK_EVERY = 1.0  # seconds, about, between reading the loss: each time waits for the device


class Diverged(Exception):
    """The loss is no longer a finite number, by update `step`."""

    def __init__(self, reason: str, *, step: int):
        super().__init__(reason)
        self.step = step


@dataclass(frozen=True)
class Progress:
    """Where a training stands; `loss` is the mean since the last look, in nats."""

    step: int
    images_per_second: float
    loss: float


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


class Trainer:
    """The compiled step of all runs that share a trunk.

    Where arrays lie is pinned on inputs and outputs, so that a second call compiles nothing.
    """

    def __init__(
        self,
        run: Run,
        precision: Precision | None = None,
        placement: Placement | None = None,
        spec: PlacementSpec = DEFAULT,
    ):
        """
        Args:
          run: or any that differs in `images_seen` alone.
          precision: how the network is computed; None: as suits the platform and the spec.
          placement: where arrays lie; None: on all devices, as the spec says.
          spec: how the step is computed.
        """
        platform = jax.default_backend()
        self.trunk = run.trunk
        self.precision = precision or precision_for(platform, run.compute, spec.remat)
        self._run = run
        self._images = run.data.train()
        self._objective, self._placement, (self._start, self._step, self._state) = assemble(
            run,
            spec,
            self.precision,
            placement=placement,
            quick_start=QUICK if platform == "cpu" else None,
        )

    def start(self) -> Checkpoint:
        """The beginning: drawn from the run's seed, save what its `init` gives."""
        run, given = self._run, None
        if run.init is not None:
            given = self._placement.whole(backbone(run.init, run.model))
        return Checkpoint(step=0, seconds=0.0, state=self._start(given))

    def like(self) -> TrainState:
        """The state's shapes, types and shardings, without its numbers."""
        return self._state

    @property
    def placement(self) -> Placement:
        """Where arrays lie."""
        return self._placement

    def module(self, state: TrainState) -> Any:
        """The trained network, with a `.backbone`."""
        return self._objective.module(learned(state))

    def advance(
        self,
        checkpoint: Checkpoint,
        until: int,
        *,
        total_steps: int | None,
        keep: Callable[[Checkpoint], None],
        spec: CheckpointSpec,
        tell: Callable[[Progress], None],
    ) -> Checkpoint:
        """Train from `checkpoint` to step `until`; the arrays of `checkpoint` are used up.

        The loss is read, and a checkpoint kept, after steps on which all processes agree: the first
        process's clock decides, each time the loss is read, how many steps are made before the next
        time and, where `spec` goes by the clock, whether a checkpoint is due.

        Args:
          total_steps: where the learning rate cools down to; None on the trunk.
          keep: is given a checkpoint to save.
          spec: says after which steps.
          tell: is told how it goes, about once a second.

        Raises:
          Diverged: the loss is not finite. Whatever `keep` was given is from before that.
        """
        run, first, state = self._run, checkpoint.step, checkpoint.state
        began = looked = kept = time.monotonic()
        look_at, losses = first + 1, []  # the first step alone: it may take minutes to compile
        for step, batch in enumerate(self._batches(first, until), start=first):
            rate = np.float32(schedule(run.recipe, step, total_steps))
            placed = self._placement.place(batch, run.batch)
            state, metrics = self._step(state, placed, rate, np.uint32(step))
            losses.append(metrics["loss"])
            done = step + 1
            if done < min(look_at, until):
                continue
            mean = float(np.mean(jax.device_get(losses)))  # one that is not finite shows here
            if not math.isfinite(mean):
                raise Diverged(_divergence(mean, done - len(losses), done, run), step=done)
            now = time.monotonic()
            tell(Progress(done, len(losses) * run.batch / max(now - looked, 1e-9), mean))
            ahead, save = agreed(
                steps_until_look(len(losses), now - looked), spec.due(done, now - kept)
            )
            look_at, losses = min(done + ahead, spec.next_step(done) or until), []
            if save and done < until:
                seconds = checkpoint.seconds + now - began
                keep(Checkpoint(step=done, seconds=seconds, state=state))
                kept = time.monotonic()
            looked = time.monotonic()
        seconds = checkpoint.seconds + time.monotonic() - began
        return Checkpoint(step=max(until, first), seconds=seconds, state=state)

    def _batches(self, first: int, last: int) -> Iterator[Batch]:
        run = self._run
        return batches(
            self._images,
            seed=run.seed,
            batch=run.batch,
            data_size=run.data_size,
            first_step=first,
            last_step=last,
            rows=self._placement.rows(run.batch),
            augment=run.augment,
            views=run.objective.views,
        )


def steps_until_look(steps: int, seconds: float) -> int:
    """Steps that take about `LOOK_EVERY` seconds, if `steps` took `seconds`; at most twice as many
    as last time, because the first steps include compilation."""
    return max(1, min(2 * steps, round(steps * LOOK_EVERY / max(seconds, 1e-9))))


def train(
    trainer: Trainer, run: Run, places: CheckpointPaths, tell: Callable[[Progress], None]
) -> Checkpoint:
    """The end of `run`: its parameters, and the seconds it would have taken alone.

    With several processes all of them call this, and the first of them alone writes.

    Args:
      trainer: compiled for `run`, or for one that differs only in `images_seen`.

    Raises:
      Diverged: the loss stopped being finite.
    """
    if run.trunk != trainer.trunk:
        raise ValueError(f"run {run.id} does not grow from trunk {trainer.trunk}.")

    reached = _latest(trainer, places.own, run.steps, places)
    with checkpoints.Saver(places.guard) as saver:
        if reached is None:
            reached = _latest(trainer, places.trunk, run.branch_step, places) or trainer.start()
            if reached.step < run.branch_step:
                reached = trainer.advance(
                    reached,
                    run.branch_step,
                    total_steps=None,
                    keep=partial(saver.save, places.trunk / PASSING),
                    spec=places.spec,
                    tell=tell,
                )
                saver.save(places.trunk / str(reached.step), reached)
        if reached.step < run.steps:
            reached = trainer.advance(
                reached,
                run.steps,
                total_steps=run.steps,
                keep=partial(saver.save, places.own / PASSING),
                spec=places.spec,
                tell=tell,
            )
            saver.save(places.own / str(reached.step), reached)
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
        try:
            checkpoints.verify(folder)
        except Damaged as damage:
            problem = damage
        if all_processes(
            problem is None
        ):  # before `restore`, in which the processes wait for each other
            try:
                return checkpoints.restore(folder, trainer.like())
            except Damaged as damage:
                problem = damage
        if is_first():
            places.guard()
            aside = set_aside(folder)
            reason = problem or f"{folder} is damaged for another process of this training."
            places.say(f"{reason} Kept as {aside.name}; that part is trained again.")
    return None


def _last_name(parent: Path, at_most: int) -> str:
    """Name of the last checkpoint below `parent` that is not past `at_most`, or ""."""
    names = [folder.name for step, folder in checkpoints.found(parent) if step <= at_most]
    return names[-1] if names else ""


def _divergence(loss: float, first: int, last: int, run: Run) -> str:
    return (
        f"the loss is {loss:g} between steps {first:_} and {last:_}: training diverged. Try a "
        f"learning_rate below {run.recipe.learning_rate:g}, or a longer warm-up."
    )
