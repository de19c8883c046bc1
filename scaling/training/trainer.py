"""The compiled step of a training, and how it is driven from one checkpoint to a later step.

Knows no objective's name, no metric, no launcher, and no folder.
"""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

import jax
import numpy as np

from models.precision import Precision, precision_for
from scaling.data.loader import Batch, batches
from scaling.training.assembly import assemble
from scaling.training.checkpoint_spec import CheckpointSpec
from scaling.training.checkpoints import Checkpoint
from scaling.training.compilation_cache import compiled_by_one
from scaling.training.hosts import agreed, platform
from scaling.training.initial import (
    backbone,
    check_fits,
    check_same_teacher,
    check_teacher,
    checksum,
    teacher_parameters,
)
from scaling.training.leaving import Left, never
from scaling.training.optimizer import BACKBONE
from scaling.training.parts import network
from scaling.training.placement import Placement
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.recipe import schedule
from scaling.training.run import Run
from scaling.training.state import TrainState
from scaling.training.step import learned, seed_word

LEVEL = "xla_backend_optimization_level"
QUICK = {LEVEL: 1}  # for code that runs once; digits stay the same, as they do not at level 0
SUM = "crc32"  # what a checkpoint holds of a teacher
LOOK_EVERY = 1.0  # seconds, about, between reading the loss: each time waits for the device


class Diverged(Exception):
    """The loss is no longer a finite number, by update `step`."""

    def __init__(self, reason: str, *, step: int):
        super().__init__(reason)
        self.step = step


@dataclass(frozen=True)
class Progress:
    """Where a training stands, and what was seen since the last look, or since it began.

    Fields:
      step: updates made.
      steps: of them since the last look.
      loss: mean over these, in nats.
      learning_rate: of the last one.
      gradient_norm: global norm of its gradient, before clipping.
      layer_gradient_norms: of each block, the lowest first; None where the step does not tell.
      images_per_second: since the last look, all devices together; None at the first look, before
        which the step may have been compiled.
      pace: images/s since the first look; None before the second.
      seconds: of training that led here.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    gradient_norm: float
    layer_gradient_norms: tuple[float, ...] | None
    images_per_second: float | None
    pace: float | None
    seconds: float


class Trainer:
    """The compiled step of all runs that share a trunk; `of` gives it to another trunk.

    Where arrays lie is pinned on inputs and outputs, so that a second call compiles nothing.
    """

    def __init__(
        self,
        run: Run,
        precision: Precision | None = None,
        placement: Placement | None = None,
        spec: PlacementSpec = DEFAULT,
        begin: Callable[[], Any] | None = None,
    ):
        """
        Args:
          run: or any that differs in `images_seen` alone.
          precision: how the network is computed; None: as suits the platform and the spec.
          placement: where arrays lie; None: on all devices, as the spec says.
          spec: how the step is computed.
          begin: gives the backbone's parameters to begin with, NumPy arrays in nested dicts, where
            they are at hand; None: they are read from where the run's `init` says.
        """
        kind, device = platform()
        self.trunk = run.trunk
        self.precision = precision or precision_for(kind, run.compute, spec.remat, device=device)
        self._run, self._spec, self._begin = run, spec, begin
        self._teacher_sum: np.uint32 | None = None
        self._images, self._compiled = run.data.train(), Event()
        self._objective, self._placement, (self._start, self._step, self._state) = assemble(
            run,
            spec,
            self.precision,
            placement=placement,
            quick_start=quick_start(kind),
        )

    def makes(self, run: Run, spec: PlacementSpec) -> bool:
        """Whether the compiled step is that of `run`, computed as `spec` says."""
        return (run.step_digest, spec) == (self._run.step_digest, self._spec)

    def of(self, run: Run, begin: Callable[[], Any] | None = None) -> Trainer:
        """A trainer of another trunk with the same compiled step; `makes` said yes to `run`.

        Args:
          begin: as of a new one.
        """
        other = copy.copy(self)
        other._begin = begin
        other.trunk, other._run, other._images = run.trunk, run, run.data.train()
        return other

    def start(self) -> Checkpoint:
        """The beginning: drawn from the run's seed, save what its `init` gives.

        Raises:
          UserError: that is no such network.
        """
        run, given = self._run, None
        if run.init is not None:
            found = backbone(run.init, run.model) if self._begin is None else self._begin()
            check_fits(
                found, network(self._state.params, self._state.frozen)[BACKBONE], run.model.name
            )
            given = self._placement.whole(found)
        frozen = None
        if run.objective.teacher is not None:
            frozen = self._placement.whole(self._teacher_parameters())
        with self._first_call():
            state = self._start(seed_word(run), given, frozen)
        return Checkpoint(step=0, seconds=0.0, state=state)

    def like(self) -> TrainState:
        """Shapes, types and shardings of what `stored` gives, without its numbers."""
        if self._run.objective.teacher is None:
            return self._state
        place = self._placement.everywhere()
        return self._state._replace(
            frozen={SUM: jax.ShapeDtypeStruct((), np.uint32, sharding=place)}
        )

    def stored(self, checkpoint: Checkpoint) -> Checkpoint:
        """What of it goes to a disk: of a teacher, which lies on one already, a checksum."""
        if self._run.objective.teacher is None:
            return checkpoint
        if self._teacher_sum is None:
            self._teacher_parameters()
        frozen = self._placement.whole({SUM: self._teacher_sum})
        return replace(checkpoint, state=checkpoint.state._replace(frozen=frozen))

    def restored(self, checkpoint: Checkpoint) -> Checkpoint:
        """The inverse of `stored`: a teacher is read again from where the run names it.

        Raises:
          UserError: that is another teacher than the one of this checkpoint.
        """
        if self._run.objective.teacher is None:
            return checkpoint
        found = self._teacher_parameters()
        check_same_teacher(
            self._run.objective.teacher, self._teacher_sum, checkpoint.state.frozen[SUM]
        )
        frozen = jax.tree.map(
            lambda x, like: jax.make_array_from_callback(x.shape, like.sharding, x.__getitem__),
            found,
            self._state.frozen,
        )
        return replace(checkpoint, state=checkpoint.state._replace(frozen=frozen))

    def _teacher_parameters(self) -> Any:
        """Read from where the run names them, NumPy arrays."""
        found = teacher_parameters(self._run.objective.teacher)
        check_teacher(found, self._state.frozen)
        self._teacher_sum = checksum(found)
        return found

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
        leave: Callable[[], bool] = never,
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
          leave: whether to keep a checkpoint and leave; asked after every step, where several
            processes train together each time the loss is read.

        Raises:
          Left: as `leave` said.
          Diverged: the loss is not finite. Whatever `keep` was given is from before that.
        """
        run, first, state = self._run, checkpoint.step, checkpoint.state
        seed = seed_word(run)
        began = looked = kept = time.monotonic()
        alone = jax.process_count() == 1
        look_at, losses = first + 1, []  # the first step alone: it may take minutes to compile
        first_look: tuple[int, float] | None = None
        for step, batch in enumerate(self._batches(first, until), start=first):
            rate = np.float32(schedule(run.recipe, step, total_steps))
            placed = self._placement.place(batch, run.batch)
            with self._first_call():
                state, metrics = self._step(state, placed, rate, seed, np.uint32(step))
            self._compiled.set()
            losses.append(metrics["loss"])
            done = step + 1
            if done < min(look_at, until) and not (alone and leave()):
                continue
            mean = float(np.mean(jax.device_get(losses)))  # one that is not finite shows here
            if not math.isfinite(mean):
                raise Diverged(_divergence(mean, done - len(losses), done, run), step=done)
            now = time.monotonic()
            recent = pace = None
            if first_look is None:
                first_look = done, now
            else:
                recent = len(losses) * run.batch / max(now - looked, 1e-9)
                pace = (done - first_look[0]) * run.batch / max(now - first_look[1], 1e-9)
            norms = metrics.get("layer_gradient_norms")
            tell(
                Progress(
                    step=done,
                    steps=len(losses),
                    loss=mean,
                    learning_rate=run.recipe.learning_rate * float(rate),
                    gradient_norm=float(metrics["gradient_norm"]),
                    layer_gradient_norms=None
                    if norms is None
                    else tuple(np.asarray(norms).tolist()),
                    images_per_second=recent,
                    pace=pace,
                    seconds=checkpoint.seconds + now - began,
                )
            )
            ahead, save, left = agreed(
                steps_until_look(len(losses), now - looked), spec.due(done, now - kept), leave()
            )
            look_at, losses = min(done + ahead, spec.next_step(done) or until), []
            if (save or left) and done < until:
                seconds = checkpoint.seconds + now - began
                keep(Checkpoint(step=done, seconds=seconds, state=state))
                kept = time.monotonic()
                if left:
                    raise Left(done)
            looked = time.monotonic()
        seconds = checkpoint.seconds + time.monotonic() - began
        return Checkpoint(step=max(until, first), seconds=seconds, state=state)

    def _first_call(self) -> AbstractContextManager[None]:
        """Around a call that may compile; of no effect once the step is compiled."""
        if self._compiled.is_set():
            return nullcontext()
        return compiled_by_one(self._run.step_digest)

    def _batches(self, first: int, last: int) -> Iterator[Batch]:
        run, objective = self._run, self._run.objective
        return batches(
            self._images,
            seed=run.seed,
            batch=run.batch,
            data_size=run.data_size,
            first_step=first,
            last_step=last,
            rows=self._placement.rows(run.batch),
            augment=run.augment,
            views=run.views,
            needs_labels=objective.needs_labels,
            resample=run.resample,
            plain_views=run.plain_views,
            labelled=objective.labelled(
                self._images.size if run.data_size is None else run.data_size
            ),
            encode=objective.encoder(run.data),
            drawn=run.images_drawn,
        )


def quick_start(kind: str) -> dict[str, Any] | None:
    """Compiler options for the beginning of a training; None: those of every program.

    A level that the user's own XLA_FLAGS name holds for the beginning too.
    """
    if kind != "cpu" or LEVEL in os.environ.get("XLA_FLAGS", ""):
        return None
    return QUICK


def steps_until_look(steps: int, seconds: float) -> int:
    """Steps that take about `LOOK_EVERY` seconds, if `steps` took `seconds`; at most twice as many
    as last time, because the first steps include compilation."""
    return max(1, min(2 * steps, round(steps * LOOK_EVERY / max(seconds, 1e-9))))


def _divergence(loss: float, first: int, last: int, run: Run) -> str:
    return (
        f"the loss is {loss:g} between steps {first:_} and {last:_}: training diverged. Try a "
        f"learning_rate below {run.recipe.learning_rate:g}, or a longer warm-up."
    )
