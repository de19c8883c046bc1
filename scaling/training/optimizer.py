"""The optimizer of a recipe: clipping, Adafactor, Adam or SGD, and weight decay by parameter group.

Knows nothing of models, losses or images: parameters are nested dicts of arrays, in which whatever
lies under a key `blocks` is stacked over depth along its first axis. Which parameters are head,
body or undecayed is the objective's to say. Every parameter, and every layer of a stack, is updated
by itself: a step that holds the gradient of one layer at a time updates that layer alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax import Array
from optax import GradientTransformation

from scaling.training.recipe import Recipe

DECAY_EXPONENT = 0.8  # Shazeer & Stern 2018, section 7.2
FACTOR_FROM = 32  # big_vision's; optax's own default, 128, would not factor heads of 64 channels
ADAFACTOR_EPSILON = 1e-30  # added to squared gradients, so that 0 / sqrt(0) is 0
ADAM_EPSILON = 1e-8  # added to the root of the second moment
BACKBONE, BLOCKS = "backbone", "blocks"  # keys of the network, and of what is stacked in it

Path: TypeAlias = tuple[str, ...]


class OptimizerState(NamedTuple):
    """A plain pytree of arrays.

    Fields:
      norm: global norm of the last gradient, before clipping; 0 before the first.
      moments: of the structure of the parameters, a state of optax in place of each array; those of
        a stack have its leading axis.
    """

    norm: Array
    moments: Any


class Settings(NamedTuple):
    """What one parameter's update depends on besides numbers; static.

    Fields:
      rate: learning rate at the peak, the parameter's multiplier included.
      decay: learning rate at the peak times weight decay.
      stacked: whether its first axis counts layers.
    """

    rate: float
    decay: float
    stacked: bool


class Optimizer:
    """Gradient g and parameter p to a step u, which training subtracts times the schedule.

        u = learning_rate * multiplier * core(clip(g)) + learning_rate * weight_decay * p

    `init` and `update` are pure and work under `jit` and `eval_shape`.

    Source: Zhai et al. 2022, sections 3.1 and 3.4, in the order of big_vision's `optax.py`.
    """

    def __init__(
        self,
        recipe: Recipe,
        groups: Callable[[Any], Any],
        multipliers: Callable[[Path], float] | None = None,
    ):
        """
        Args:
          recipe: says which core, and all numbers.
          groups: from parameters to a tree of the same structure with "head", "body" or
            "undecayed" for each: which of the recipe's weight decays it has.
          multipliers: from a parameter's path, as keys, to its multiplier (`models.mup`); None: 1
            for all. Weight decay has none, so that it takes the same share of every parameter.
        """
        self.recipe = recipe
        self._groups, self._multipliers = groups, multipliers
        self._core = _core(recipe)

    def init(self, params: Any) -> OptimizerState:
        """The state before the first update."""

        def moments(path: Any, param: Any) -> Any:
            stacked = BLOCKS in names(path)
            return (jax.vmap(self._core.init) if stacked else self._core.init)(param)

        return OptimizerState(jnp.zeros(()), jax.tree.map_with_path(moments, params))

    def first_average(self, params: Any) -> Any:
        """The Polyak average before the first update; empty where the recipe has none."""
        if self.recipe.polyak is None:
            return ()
        return jax.tree.map(lambda p: jnp.copy(p.astype(jnp.float32)), params)

    def next_average(self, average: Any, params: Any) -> Any:
        """The Polyak average, of any part of the parameters, after the update that gave them."""
        decay = self.recipe.polyak
        if decay is None:
            return average
        return jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)

    def update(self, grads: Any, state: OptimizerState, params: Any) -> tuple[Any, OptimizerState]:
        """The step and the state after it."""
        norm = optax.tree.norm(grads)
        norm_to_clip = self.clipping_norm(state.norm, lambda: norm)
        updates, moments = self.update_part(
            grads, state.moments, params, self.settings(params), norm_to_clip
        )
        return updates, OptimizerState(norm, moments)

    def clipping_norm(self, previous: Array, norm: Callable[[], Array]) -> Array:
        """The norm that decides how much of a gradient is taken.

        Args:
          previous: global norm of the gradient before; 0 in the first update.
          norm: gives that of this gradient. Where the recipe clips by the previous one, it is
            called in the first update alone.
        """
        if self.recipe.clip_norm is None:
            return previous  # not used
        if self.recipe.clip_by == "previous":
            return jax.lax.cond(previous > 0, lambda: previous, norm)
        return norm()

    def settings(self, params: Any) -> Any:
        """The `Settings` of every parameter, as a tree of the structure of `params`."""
        recipe, multipliers = self.recipe, self._multipliers
        decays = {"head": recipe.weight_decay_head, "body": recipe.weight_decay_body}

        def of(path: Any, group: str) -> Settings:
            factor = 1.0 if multipliers is None else multipliers(names(path))
            return Settings(
                rate=recipe.learning_rate * factor,
                decay=recipe.learning_rate * decays.get(group, 0.0),
                stacked=BLOCKS in names(path),
            )

        return jax.tree.map_with_path(of, self._groups(params))

    def update_part(
        self, grads: Any, moments: Any, params: Any, settings: Any, norm: Array
    ) -> tuple[Any, Any]:
        """Steps and new moments of any part of the parameters.

        Args:
          grads, moments, params: of that part.
          settings: of that part; of one layer of a stack, those of `one_layer`.
          norm: from `clipping_norm`.
        """

        def one(each: Settings, g: Array, m: Any, p: Array) -> tuple[Array, Any]:
            update = jax.vmap(self._core.update) if each.stacked else self._core.update
            u, m = update(self._clipped(g, norm), m, p)
            u = each.rate * u
            return (u + each.decay * p if each.decay else u), m

        rows, tree = jax.tree.flatten(settings, is_leaf=lambda each: isinstance(each, Settings))
        whole: Any = tree
        columns = [whole.flatten_up_to(part) for part in (grads, moments, params)]
        pairs = [one(*row) for row in zip(rows, *columns, strict=True)]
        return tuple(whole.unflatten(column) for column in zip(*pairs, strict=True))

    def _clipped(self, g: Array, norm: Array) -> Array:
        """As `optax.clip_by_global_norm`."""
        most = self.recipe.clip_norm
        if most is None:
            return g
        return jnp.where(norm < most, g, g / norm.astype(g.dtype) * most)


def one_layer(settings: Any) -> Any:
    """The `Settings` of one layer of what is stacked."""
    return jax.tree.map(
        lambda each: each._replace(stacked=False),
        settings,
        is_leaf=lambda each: isinstance(each, Settings),
    )


def beta2_at(t: int | Array, cap: float) -> Array:
    """Adafactor's decay of the second moment at update t = 1, 2, ...: min(cap, 1 - t^-0.8).

    0 at the first update; reaches a cap of 0.999 at t = 5624.
    """
    return jnp.minimum(cap, 1.0 - jnp.asarray(t, jnp.float32) ** -DECAY_EXPONENT)


def names(path: tuple[Any, ...]) -> Path:
    """A path in a nested dict as its keys."""
    return tuple(str(entry.key) for entry in path)


def _core(recipe: Recipe) -> GradientTransformation:
    match recipe.optimizer:
        case "adafactor":
            return _adafactor(recipe.beta1, recipe.beta2, jnp.bfloat16)
        case "adafactor-f32":
            return _adafactor(recipe.beta1, recipe.beta2, jnp.float32)
        case "adam":
            return optax.scale_by_adam(recipe.beta1, recipe.beta2, ADAM_EPSILON)
        case "adam-bf16":
            return optax.scale_by_adam(
                recipe.beta1, recipe.beta2, ADAM_EPSILON, mu_dtype=jnp.bfloat16
            )
        case "sgd":
            return optax.trace(recipe.beta1)
        case "sgd-bf16":
            return optax.trace(recipe.beta1, accumulator_dtype=jnp.bfloat16)


def _adafactor(beta1: float, beta2: float, momentum: Any) -> GradientTransformation:
    """The paper's Adafactor: no learning rate from parameter norms, no clipping by block.

    A parameter whose two largest dimensions are both >= 32 keeps the mean square of its gradient
    along each of them; any smaller one keeps every square. The momentum is an average of the
    scaled gradients, in bf16 in the paper, not corrected for its start at 0: a slower first dozen
    of steps.
    """
    return optax.chain(
        optax.scale_by_factored_rms(
            min_dim_size_to_factor=FACTOR_FROM,
            epsilon=ADAFACTOR_EPSILON,
            decay_rate_fn=lambda step, _: beta2_at(step + 1, beta2),
        ),
        optax.ema(beta1, debias=False, accumulator_dtype=momentum),
    )
