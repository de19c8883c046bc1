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
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from models.precision import Precision, precision_for
from scaling.base.files import set_aside
from scaling.data.loader import Batch, batches
from scaling.training import checkpoints as checkpoint
from scaling.training.checkpoints import Checkpoint, Damaged
from scaling.training.gradients import Gradients, plain
from scaling.training.hosts import agreed
from scaling.training.placement import Placement, data_parallel
from scaling.training.recipe import schedule
from scaling.training.run import Run
from scaling.training.step import TrainState, learned, program, step_key

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
class Places:
    """Where a training leaves its checkpoints, and how often.

    `trunk` is shared by runs that differ only in duration; `own` holds the cooldown's.
    """

    trunk: Path
    own: Path
    every_seconds: float = 300.0
    say: Callable[[str], None] = print
    """Is told, in words, of a checkpoint that had to be set aside."""


class Trainer:
    """The compiled step of all runs that share a trunk.

    Where arrays lie is pinned on inputs and outputs, so that a second call compiles nothing.
    """

    def __init__(
        self,
        run: Run,
        precision: Precision | None = None,
        placement: Placement | None = None,
        gradients: Gradients = plain,
    ):
        platform = jax.default_backend()
        self.trunk = run.trunk
        self._run = run
        self._images = run.data.train()
        self._objective = run.objective.build(
            run.model, run.data.classes, precision or precision_for(platform)
        )
        self._placement = placement or data_parallel(run.objective.views)
        start, step = program(run, self._objective, gradients)
        self._shapes = jax.eval_shape(start)
        lie = self._placement.of_state(self._shapes)
        self._start = jax.jit(
            start, out_shardings=lie, compiler_options=QUICK if platform == "cpu" else None
        )
        one = self._placement.everywhere()
        batch = {name: self._placement.of_batch(name) for name in ("image", "label", "index")}
        self._step = jax.jit(
            lambda state, batch, rate, number: step(state, batch, rate, step_key(run.seed, number)),
            donate_argnums=0,
            in_shardings=(lie, batch, one, one),
            out_shardings=(lie, one),
        )

    def start(self) -> Checkpoint:
        """The beginning: parameters drawn from the run's seed."""
        return Checkpoint(step=0, seconds=0.0, state=self._start())

    def like(self) -> Any:
        """The state's shapes, types and shardings, without its numbers."""
        return jax.tree.map(
            lambda x, lie: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=lie),
            self._shapes,
            self._placement.of_state(self._shapes),
        )

    def module(self, state: TrainState) -> Any:
        """The trained network, with a `.backbone`."""
        return self._objective.module(learned(state))

    def advance(
        self,
        moment: Checkpoint,
        until: int,
        *,
        total_steps: int | None,
        keep: Callable[[Checkpoint], None],
        every_seconds: float,
        tell: Callable[[Progress], None],
    ) -> Checkpoint:
        """Train from `moment` to step `until`; `moment`'s arrays are used up.

        Args:
          total_steps: where the learning rate cools down to; None on the trunk.
          keep: is given a moment to save, every `every_seconds` by the first process's clock; all
            processes agree on the step.
          tell: is told how it goes, about once a second.

        Raises:
          Diverged: the loss is not finite. Whatever `keep` was given is from before that.
        """
        run, state = self._run, moment.state
        began = looked = kept = time.monotonic()
        look_at, losses = moment.step + 1, []
        for step, batch in enumerate(self._batches(moment.step, until), start=moment.step):
            rate = np.float32(schedule(run.recipe, step, total_steps))
            state, metrics = self._step(state, self._placement.place(batch), rate, np.uint32(step))
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
                _steps_until_look(len(losses), now - looked), now - kept >= every_seconds
            )
            look_at, looked, losses = done + ahead, now, []
            if save and done < until:
                keep(Checkpoint(step=done, seconds=moment.seconds + now - began, state=state))
                kept = time.monotonic()
        seconds = moment.seconds + time.monotonic() - began
        return Checkpoint(step=max(until, moment.step), seconds=seconds, state=state)

    def _batches(self, first: int, last: int) -> Iterator[Batch]:
        run = self._run
        return batches(
            self._images,
            seed=run.seed,
            batch=run.batch,
            data_size=run.data_size,
            first_step=first,
            last_step=last,
            host=jax.process_index(),
            hosts=jax.process_count(),
            augment=run.augment,
            views=run.objective.views,
        )


def _steps_until_look(steps: int, seconds: float) -> int:
    """Steps that take about `LOOK_EVERY` seconds, if `steps` took `seconds`; at most twice as many
    as last time, because the first steps include compilation."""
    return max(1, min(2 * steps, round(steps * LOOK_EVERY / max(seconds, 1e-9))))


def train(
    trainer: Trainer, run: Run, places: Places, tell: Callable[[Progress], None]
) -> Checkpoint:
    """The end of `run`: its parameters, and the seconds it would have taken alone.

    Args:
      trainer: compiled for `run`, or for one that differs only in `images_seen`.

    Raises:
      Diverged: the loss stopped being finite.
    """
    if run.trunk != trainer.trunk:
        raise ValueError(f"run {run.id} does not grow from trunk {trainer.trunk}.")

    def save(folder: Path) -> Callable[[Checkpoint], None]:
        return lambda moment: checkpoint.save(folder, moment)

    moment = _latest(trainer, places.own, run.steps, places)
    if moment is None:
        moment = _latest(trainer, places.trunk, run.branch_step, places) or trainer.start()
        if moment.step < run.branch_step:
            moment = trainer.advance(
                moment,
                run.branch_step,
                total_steps=None,
                keep=save(places.trunk / PASSING),
                every_seconds=places.every_seconds,
                tell=tell,
            )
            checkpoint.save(places.trunk / str(moment.step), moment)
    if moment.step < run.steps:
        moment = trainer.advance(
            moment,
            run.steps,
            total_steps=run.steps,
            keep=save(places.own / PASSING),
            every_seconds=places.every_seconds,
            tell=tell,
        )
        checkpoint.save(places.own / str(moment.step), moment)
        shutil.rmtree(places.own / PASSING, ignore_errors=True)
    return moment


def _latest(trainer: Trainer, parent: Path, at_most: int, places: Places) -> Checkpoint | None:
    """The last whole moment below `parent` that is not past `at_most`, or None."""
    for step, folder in reversed(checkpoint.found(parent)):
        if step <= at_most:
            try:
                return checkpoint.restore(folder, trainer.like())
            except Damaged as problem:
                aside = set_aside(folder)
                places.say(f"{problem} Kept as {aside.name}; that part is trained again.")
    return None


def _divergence(loss: float, first: int, last: int, run: Run) -> str:
    return (
        f"the loss is {loss:g} between steps {first:_} and {last:_}: training diverged. Try a "
        f"learning_rate below {run.recipe.learning_rate:g}, or a longer warm-up."
    )
