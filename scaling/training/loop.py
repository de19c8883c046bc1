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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from models.mup import multipliers
from models.noise import Noise, at
from models.precision import Precision, precision_for
from scaling.base.files import set_aside
from scaling.data.loader import batches
from scaling.data.pixels import to_floats
from scaling.training import checkpoints as checkpoint
from scaling.training.checkpoints import Checkpoint, Damaged
from scaling.training.recipe import optimizer, schedule
from scaling.training.run import Run

PASSING = "passing"  # the one checkpoint that is overwritten as training goes on
QUICK = {"xla_backend_optimization_level": 1}  # for code that runs once; digits stay the same
NOISE = 2**32 - 1  # sets the luck of training apart from the parameters', which count from 0
LOOK_EVERY = 1.0  # seconds between looks at the loss: each one waits for the device


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

    The state is a plain pytree (params, optimizer state), replicated over the devices; the batch
    is split over them. Both are pinned, so that a second call compiles nothing.
    """

    def __init__(self, run: Run, precision: Precision | None = None):
        self.trunk = run.trunk
        self._precision = precision or precision_for(jax.default_backend())
        self._run = run
        self._images = run.data.train()
        self._optimizer = optimizer(run.recipe, multipliers(run.model))
        self._graph, self._shapes = nnx.split(nnx.eval_shape(self._init))
        mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        whole, split = self._everywhere, self._split
        self._start = jax.jit(
            self._first_state,
            out_shardings=whole,
            compiler_options=QUICK if jax.default_backend() == "cpu" else None,
        )
        self._step = jax.jit(
            self._update,
            donate_argnums=(0, 1),
            in_shardings=(whole, whole, split, split, whole, whole),
            out_shardings=whole,
        )

    def start(self) -> Checkpoint:
        """The beginning: parameters drawn from the run's seed."""
        return Checkpoint(step=0, seconds=0.0, state=self._start())

    def like(self) -> Any:
        """The state's shapes, types and shardings, without its numbers."""
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self._everywhere),
            jax.eval_shape(self._first_state),
        )

    def module(self, params: Any) -> nnx.Module:
        """The trained thing, with a `.backbone`, around `params` (a nested dict of arrays)."""
        shapes = jax.tree.map(lambda x: x, self._shapes)  # replaced in place below
        nnx.replace_by_pure_dict(shapes, params)
        return nnx.merge(self._graph, shapes)

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
          keep: is given a moment to save, every `every_seconds`.
          tell: is told how it goes, about once a second.

        Raises:
          Diverged: the loss is not finite. Whatever `keep` was given is from before that.
        """
        run, (params, state) = self._run, moment.state
        stream = batches(
            self._images,
            seed=run.seed,
            batch=run.batch,
            data_size=run.data_size,
            first_step=moment.step,
            last_step=until,
            host=jax.process_index(),
            hosts=jax.process_count(),
            flip=run.flip,
        )
        began = looked = kept = time.monotonic()
        losses: list[Any] = []
        for step, (images, labels) in enumerate(stream, start=moment.step):
            rate = np.float32(schedule(run.recipe, step, total_steps))
            params, state, loss = self._step(
                params, state, self._place(images), self._place(labels), rate, np.uint32(step)
            )
            losses.append(loss)
            done = step + 1
            if time.monotonic() - looked < LOOK_EVERY and done < until:
                continue
            mean = float(np.mean(jax.device_get(losses)))  # one that is not finite shows here
            if not math.isfinite(mean):
                raise Diverged(_divergence(mean, done - len(losses), done, run), step=done)
            now = time.monotonic()
            tell(Progress(done, len(losses) * run.batch / max(now - looked, 1e-9), mean))
            looked, losses = now, []
            if now - kept >= every_seconds and done < until:
                keep(
                    Checkpoint(
                        step=done, seconds=moment.seconds + now - began, state=(params, state)
                    )
                )
                kept = time.monotonic()
        seconds = moment.seconds + time.monotonic() - began
        return Checkpoint(step=max(until, moment.step), seconds=seconds, state=(params, state))

    def _init(self) -> nnx.Module:
        run = self._run
        return run.objective.init(
            run.model, run.data.classes, self._precision, rngs=nnx.Rngs(run.seed)
        )

    def _first_state(self) -> Any:
        params = nnx.to_pure_dict(nnx.split(self._init())[1])
        return params, self._optimizer.init(params)

    def _update(
        self, params: Any, state: Any, images: Any, labels: Any, rate: Any, step: Any
    ) -> Any:
        def mean_loss(params: Any) -> Any:
            module, noise = self.module(params), self._noise(step)
            losses, _ = self._run.objective.losses(module, to_floats(images), labels, noise)
            return losses.mean()

        loss, grads = jax.value_and_grad(mean_loss)(params)
        updates, state = self._optimizer.update(grads, state, params)
        params = jax.tree.map(lambda p, u: p - (rate * u).astype(p.dtype), params, updates)
        return params, state, loss

    def _noise(self, step: Any) -> Noise | None:
        """The luck of update number `step`: a function of the seed and the step alone."""
        recipe = self._run.recipe
        if recipe.dropout == recipe.stochastic_depth == 0:
            return None
        whole = Noise(jax.random.key(self._run.seed), recipe.dropout, recipe.stochastic_depth)
        return at(at(whole, NOISE), step)

    def _place(self, local: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(self._split, local)


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
