"""Trains the runs of an evaluation inside a worker, or without a study, where the process may be
killed or told to leave.

Whoever measures the same network again trains on from what `outcomes.py` says is left of them, to
the same bits. Every process of a training calls all of this; the first alone writes, and only while
its lease allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from flax import nnx

from models.shapes import Shape
from scaling.base.storage import publish
from scaling.evaluate.frozen.forward import losses
from scaling.evaluate.trained.outcomes import (
    FOLDER,
    OWN,
    TRUNK,
    Outcome,
    forget,
    outcome_text,
    read_outcome,
)
from scaling.evaluate.trained.trains import InTraining
from scaling.training.hosts import agreed_word, is_first
from scaling.training.initial import on_grid
from scaling.training.leaving import Leaving
from scaling.training.loop import CheckpointPaths, train
from scaling.training.placement_spec import PlacementSpec
from scaling.training.run import Run
from scaling.training.trainer import Diverged, Progress, Trainer

PRE_LOGITS = "pre_logits"


class Tells(Protocol):
    """Is told what is done beside the run itself."""

    def phase(self, name: str, step: int = 0) -> None:
        """What is being done from now on."""

    def beside(self, name: str, step: int, steps: int) -> None:
        """How far something else is trained; about once a second."""


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """Trains and measures; an instance is a `Find`.

    Fields:
      folder: of the measured run, or another for what is left of the trainings.
      params: of the measured network's backbone, NumPy arrays in nested dicts.
      paths: of the measured run's training: when checkpoints are kept, and what guards them.
      step: at which the measured run is.
    """

    folder: Path
    params: Any
    paths: CheckpointPaths
    spec: PlacementSpec
    leaving: Leaving
    watch: Tells
    step: int = 0

    def __call__(self, run: Run) -> Outcome:
        """What this run is good for."""
        path = self.folder / FOLDER / f"{run.id}.json"
        known = read_outcome(path)
        if text := agreed_word("" if known is None else known.model_dump_json()):
            return Outcome.model_validate_json(text)
        try:
            found = self._trained(run)
        except jax.errors.JaxRuntimeError as error:
            raise InTraining(run, error) from error
        if is_first():
            path.parent.mkdir(parents=True, exist_ok=True)
            content = outcome_text(found).encode()
            publish(path, content, durable=True, check=self.paths.guard)
            forget(self.folder / FOLDER / run.id, self.paths.guard)
        return found

    def _trained(self, run: Run) -> Outcome:
        self.watch.phase("compile", self.step)
        step = _trainer(_Step(run.step_digest, self.spec, run))
        trainer = step.of(run, begin=lambda: self._begin(run.model))

        def tell(progress: Progress) -> None:
            self.watch.beside(f"{FOLDER} {_letters(run)}", progress.step, run.steps)

        about: dict[str, Any] = {
            "run": run.id,
            "model": run.model_name,
            "from_scratch": run.init is None,
            "learning_rate": run.recipe.learning_rate,
            "steps": run.steps,
            "images_seen": run.images_seen,
            "flops": run.flops,
        }
        try:
            with self.leaving.after_a_step() as leave:
                end = train(trainer, run, self._paths(run, leave), tell)
        except Diverged as problem:
            return Outcome(**about, seconds=0.0, error=None, n=0, reason=str(problem))
        self.watch.phase("evaluate", self.step)
        seconds, module = end.seconds, trainer.module(end.state)
        del end
        heldout = run.data.heldout()
        assert heldout.size is not None
        everything = np.arange(heldout.size)
        loss, wrong = losses(module, run.objective, heldout, everything, trainer.placement)
        if not np.isfinite(loss).all():  # training reads losses of before its last update
            reason = "after its last step its scores are no finite numbers"
            return Outcome(**about, seconds=seconds, error=None, n=0, reason=reason)
        error = float(wrong.mean(dtype=np.float64))
        return Outcome(**about, seconds=seconds, error=error, n=len(wrong))

    def _begin(self, model: Shape) -> Any:
        """The measured backbone for this network, which has no pre-logits layer."""
        kept = {name: each for name, each in self.params.items() if name != PRE_LOGITS}
        return on_grid(kept, model)

    def _paths(self, run: Run, leave: Callable[[], bool]) -> CheckpointPaths:
        there = self.folder / FOLDER / run.id
        return replace(
            self.paths,
            trunk=there / TRUNK,
            own=there / OWN,
            grows=True,
            branched=lambda: None,
            leave=leave,
        )


@dataclass(frozen=True)
class _Step:
    """What is compiled, whatever run it is compiled for."""

    digest: str
    spec: PlacementSpec
    run: Run = field(compare=False)


@lru_cache(maxsize=4)  # so that what is compiled to choose a rate serves the end, and the next run
def _trainer(step: _Step) -> Trainer:
    return Trainer(step.run, spec=step.spec)


def host_arrays(module: nnx.Module) -> Any:
    """The parameters of a trained network's backbone, whole on every process, off the devices."""

    def whole(x: jax.Array) -> Any:
        if x.is_fully_addressable:
            return np.asarray(x)
        from jax.experimental.multihost_utils import process_allgather

        return process_allgather(x, tiled=True)

    params = nnx.to_pure_dict(nnx.split(module)[1])
    return jax.tree.map(whole, params["backbone"])


def _letters(run: Run) -> str:
    """The network's name in letters, digits and blanks, as a phase has them."""
    return "".join(c if c.isalnum() else " " for c in run.model.name)
