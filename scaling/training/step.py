"""One update as a pure function of values, built from a Run without touching data or arrays.

    step(state, batch, rate, key) -> state, metrics

The same function trains, and can be lowered and compiled for abstract values and for devices that
are not there. `placement.py` says where its arrays lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from optax import GradientTransformation

from models.mup import multipliers
from models.noise import Noise
from scaling.data.loader import Batch
from scaling.objectives.protocol import BuiltObjective, Learned
from scaling.training.gradients import Gradients, plain
from scaling.training.optimizer import optimizer
from scaling.training.run import Run

TRAINING = 2**32 - 1  # sets the keys of training apart from the parameters', which count from 0


class TrainState(NamedTuple):
    """Everything that a step changes or needs, as plain pytrees of arrays."""

    params: Any
    frozen: Any
    state: Any
    optimizer: Any


Start: TypeAlias = Callable[[Any], TrainState]
"""From the backbone's parameters, or None for drawn ones, to the state before the first step."""
Step: TypeAlias = Callable[[TrainState, Batch, Any, jax.Array], tuple[TrainState, dict[str, Any]]]
"""(state, batch, rate, key) -> state, metrics; `rate` is the schedule's fraction of the peak."""


class Program(NamedTuple):
    """The two pure functions that a training is made of, not compiled."""

    start: Start
    step: Step


def program(run: Run, objective: BuiltObjective, gradients: Gradients = plain) -> Program:
    """What to compile for `run`.

    Args:
      objective: the run's, built for its shape.
      gradients: how they are taken.
    """
    recipe, update = run.recipe, update_rule(run, objective)

    def start(backbone: Any = None) -> TrainState:
        learned = objective.init(jax.random.key(run.seed), backbone)
        return TrainState(*learned, update.init(learned.params))

    def step(
        state: TrainState, batch: Batch, rate: Any, key: jax.Array
    ) -> tuple[TrainState, dict[str, Any]]:
        noise = Noise(key, recipe.dropout, recipe.stochastic_depth)
        (_, (new, metrics)), grads = gradients(objective.loss)(
            state.params, state.frozen, state.state, batch, noise
        )
        updates, optimizer = update.update(grads, state.optimizer, state.params)
        params = jax.tree.map(lambda p, u: p - (rate * u).astype(p.dtype), state.params, updates)
        return TrainState(params, state.frozen, new, optimizer), metrics

    return Program(start, step)


def abstract_batch(run: Run) -> Batch:
    """Shapes and types of a batch of `run`, all hosts together."""
    views = () if run.objective.views == 1 else (run.objective.views,)
    side = run.data.resolution
    return {
        "image": jax.ShapeDtypeStruct((*views, run.batch, side, side, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((run.batch,), jnp.int32),
        "index": jax.ShapeDtypeStruct((run.batch,), jnp.uint32),
    }


def update_rule(run: Run, objective: BuiltObjective) -> GradientTransformation:
    """The run's optimizer, with the objective's parameter groups and the model's multipliers."""
    return optimizer(run.recipe, objective.parameter_groups, multipliers(run.model))


def step_key(seed: int, number: Any) -> jax.Array:
    """The key of update `number`: a function of the run's seed and the step alone."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), TRAINING), number)


def learned(state: TrainState) -> Learned:
    """A train state without the optimizer's part."""
    return Learned(state.params, state.frozen, state.state)
