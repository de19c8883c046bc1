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
import numpy as np

from fits.base.errors import UserError
from models.mup import multipliers
from models.noise import Noise
from scaling.data.augment import mixed
from scaling.data.loader import Batch
from scaling.objectives.protocol import BuiltObjective, Learned, Parts
from scaling.training.fused import fused_update
from scaling.training.gradients import Gradients, accumulated, layer_norms
from scaling.training.optimizer import BLOCKS, Optimizer, names
from scaling.training.placement_checks import objective_mistakes
from scaling.training.placement_spec import DEFAULT, PlacementSpec
from scaling.training.privacy import mean_images
from scaling.training.private_gradients import private
from scaling.training.run import Run
from scaling.training.state import TrainState, Update, applied

TRAINING = 2**32 - 1  # sets the keys of training apart from the parameters', which count from 0
MIXING = 2**32 - 2  # sets the draws of augmentations apart from those of networks and objectives

SEED = jax.ShapeDtypeStruct((), np.uint32)  # as an abstract value; a step's number is one too

Start: TypeAlias = Callable[..., TrainState]
"""(seed, backbone, frozen) -> the state before the first step: `seed` as `seed_word` gives it,
`backbone` the parameters to begin with and `frozen` those of a teacher, or None for drawn ones."""
Step: TypeAlias = Callable[[TrainState, Batch, Any, jax.Array], tuple[TrainState, dict[str, Any]]]
"""(state, batch, rate, key) -> state, metrics; `rate` is the schedule's fraction of the peak."""


class Program(NamedTuple):
    """The two pure functions that a training is made of, not compiled; neither knows the seed."""

    start: Start
    step: Step


def program(
    run: Run,
    objective: BuiltObjective,
    spec: PlacementSpec = DEFAULT,
    *,
    unroll_up_to: int = 0,
    gather: Callable[[Any], Any] = lambda tree: tree,
) -> Program:
    """What to compile for `run`.

    Args:
      objective: the run's, built for its shape.
      spec: says whether updates are fused, and in how many parts gradients are taken.
      unroll_up_to: a network with at most so many blocks has the loops of a fused step written out.
      gather: brings parameters together that devices share, for their use; those of a stack are
        brought together by the network, each in its turn.

    Raises:
      UserError: the objective, or its network, has no such step.
    """
    recipe, optimizer = run.recipe, optimizer_of(run, objective)
    private_run = recipe.privacy is not None
    if found := list(objective_mistakes(spec, run.objective, private=private_run)):
        raise UserError(found)

    def start(seed: Any, backbone: Any = None, frozen: Any = None) -> TrainState:
        begun = objective.init(jax.random.key(seed), backbone, frozen)
        learned: Learned = jax.tree.map(_strong, begun)
        params = learned.params
        return TrainState(*learned, optimizer.init(params), optimizer.first_average(params))

    if spec.update == "fused":
        updated = fused_update(_parts(run, objective), optimizer, unroll_up_to, gather)
    else:
        gradients = _gradients(run, spec.microbatches)
        updated = plain_update(objective, optimizer, gradients, gather)

    def step(
        state: TrainState, batch: Batch, rate: Any, key: jax.Array
    ) -> tuple[TrainState, dict[str, Any]]:
        batch = mixed(run.augment, batch, jax.random.fold_in(key, MIXING))
        noise = Noise(key, recipe.dropout, recipe.stochastic_depth)
        return updated(state, batch, rate, noise)

    return Program(jax.jit(start), step)  # traced once, for shapes and for arrays


def _strong(x: Any) -> Any:
    """`x` with a type that no other gives way to: a step that is given weak ones, as a constant
    makes them, returns strong ones, and would be compiled once more for these."""
    return jax.lax.convert_element_type(x, x.dtype)


def _gradients(run: Run, microbatches: int) -> Gradients:
    if (privacy := run.recipe.privacy) is not None:
        return private(privacy, mean_images(run.batch), run.objective.views, microbatches)
    return accumulated(microbatches, run.objective.views)


def _parts(run: Run, objective: BuiltObjective) -> Parts:
    parts = objective.parts()
    if parts is None:
        raise UserError(
            [
                f'update = "fused": it goes once through a stack of equal blocks, as of a ViT or a '
                f"Mixer, and {run.model.name} with {run.objective.kind} does not. Say "
                'update = "plain".'
            ]
        )
    return parts


def plain_update(
    objective: BuiltObjective,
    optimizer: Optimizer,
    gradients: Gradients,
    gather: Callable[[Any], Any] = lambda tree: tree,
) -> Update:
    """All gradients, then all updates."""

    def outside_stacks(tree: Any) -> Any:
        return jax.tree.map_with_path(
            lambda path, x: x if BLOCKS in names(path) else gather(x), tree
        )

    def loss(params: Any, frozen: Any, *rest: Any) -> Any:
        return objective.loss(outside_stacks(params), outside_stacks(frozen), *rest)

    def update(
        state: TrainState, batch: Batch, rate: Any, noise: Noise
    ) -> tuple[TrainState, dict[str, Any]]:
        (_, (new, metrics)), grads = gradients(loss)(
            state.params, state.frozen, state.state, batch, noise
        )
        steps, moments = optimizer.update(grads, state.optimizer, state.params)
        params = applied(state.params, steps, rate)
        average = optimizer.next_average(state.average, params)
        metrics = {**metrics, "gradient_norm": moments.norm, **layer_norms(grads)}
        return TrainState(params, state.frozen, new, moments, average), metrics

    return update


def abstract_batch(run: Run) -> Batch:
    """Shapes and types of a batch of `run`, all hosts together."""
    views = () if run.views == 1 else (run.views,)
    side = run.data.resolution
    each = () if run.data.labels_each is None else (run.data.labels_each,)
    batch = {
        "image": jax.ShapeDtypeStruct((*views, run.batch, side, side, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((run.batch, *each), jnp.int32),
        "index": jax.ShapeDtypeStruct((run.batch,), jnp.uint32),
    }
    if (length := run.objective.text_length) is not None:
        batch["text"] = jax.ShapeDtypeStruct((run.batch, length), jnp.int32)
    if run.recipe.privacy is not None:
        batch["present"] = jax.ShapeDtypeStruct((run.batch,), jnp.bool_)
    return batch


def optimizer_of(run: Run, objective: BuiltObjective) -> Optimizer:
    """The run's optimizer, with the objective's parameter groups and the model's multipliers."""
    return Optimizer(run.recipe, objective.parameter_groups, multipliers(run.model))


def seed_word(run: Run) -> np.uint32:
    """The run's seed as its programs take it: the 32 bits of it that JAX makes a key of."""
    return np.uint32(run.seed % 2**32)


def step_key(seed: Any, number: Any) -> jax.Array:
    """The key of update `number`: a function of the run's seed and the step alone.

    Args:
      seed: as `seed_word` gives it.
    """
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), TRAINING), number)


def learned(state: TrainState) -> Learned:
    """What a training has made so far: the averaged parameters, where they are averaged."""
    return Learned(state.average or state.params, state.frozen, state.state)
