"""The optimizer of a recipe: clipping, Adafactor or Adam, and weight decay by parameter group.

Knows nothing of models, losses or images: parameters are nested dicts of arrays, in which whatever
lies under a key `blocks` is stacked over depth along its first axis. Which parameters are head,
body or undecayed is the objective's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def optimizer(
    recipe: Recipe,
    groups: Callable[[Any], Any],
    multipliers: Callable[[tuple[str, ...]], float] | None = None,
) -> GradientTransformation:
    """Gradient g and parameter p to a step u, which training subtracts times the schedule.

        u = learning_rate * multiplier * core(clip(g)) + learning_rate * weight_decay * p

    Args:
      recipe: says which core, and all numbers.
      groups: from parameters to a tree of the same structure with "head", "body" or "undecayed" for
        each: which of the recipe's weight decays it has.
      multipliers: from a parameter's path, as keys, to its multiplier (`models.mup`); None: 1 for
        all. Weight decay has none, so that it takes the same share of every parameter.

    The state is a plain pytree; `init` and `update` work under `jit` and `eval_shape`. `update`
    needs the parameters as its third argument.

    Source: Zhai et al. 2022, sections 3.1 and 3.4, in the order of big_vision's `optax.py`.
    """
    clip = optax.identity()
    if recipe.clip_norm is not None:
        clip = optax.clip_by_global_norm(recipe.clip_norm)
    match recipe.optimizer:
        case "adafactor":
            core = _over_layers(_adafactor(recipe.beta1, recipe.beta2))
        case "adam":
            core = optax.scale_by_adam(recipe.beta1, recipe.beta2, ADAM_EPSILON)
        case "adam-bf16":
            core = optax.scale_by_adam(
                recipe.beta1, recipe.beta2, ADAM_EPSILON, mu_dtype=jnp.bfloat16
            )
    rate = recipe.learning_rate
    return optax.chain(
        clip,
        core,
        optax.scale(rate) if multipliers is None else _scale_each(rate, multipliers),
        optax.add_decayed_weights(rate * recipe.weight_decay_head, _in_group(groups, "head")),
        optax.add_decayed_weights(rate * recipe.weight_decay_body, _in_group(groups, "body")),
    )


def _scale_each(
    rate: float, multipliers: Callable[[tuple[str, ...]], float]
) -> GradientTransformation:
    """Each parameter's update times `rate` and the multiplier of its path."""

    def scaled(updates: Any, params: Any) -> Any:
        return jax.tree.map_with_path(lambda path, u: rate * multipliers(_names(path)) * u, updates)

    return optax.stateless(scaled)


def beta2_at(t: int | Array, cap: float) -> Array:
    """Adafactor's decay of the second moment at update t = 1, 2, ...: min(cap, 1 - t^-0.8).

    0 at the first update; reaches a cap of 0.999 at t = 5624.
    """
    return jnp.minimum(cap, 1.0 - jnp.asarray(t, jnp.float32) ** -DECAY_EXPONENT)


def _adafactor(beta1: float, beta2: float) -> GradientTransformation:
    """The paper's Adafactor: no learning rate from parameter norms, no clipping by block.

    A parameter whose two largest dimensions are both >= 32 keeps the mean square of its gradient
    along each of them; any smaller one keeps every square. The momentum is an average of the
    scaled gradients in bf16, not corrected for its start at 0: a slower first dozen of steps.
    """
    return optax.chain(
        optax.scale_by_factored_rms(
            min_dim_size_to_factor=FACTOR_FROM,
            epsilon=ADAFACTOR_EPSILON,
            decay_rate_fn=lambda step, _: beta2_at(step + 1, beta2),
        ),
        optax.ema(beta1, debias=False, accumulator_dtype=jnp.bfloat16),
    )


def _over_layers(core: GradientTransformation) -> GradientTransformation:
    """`core`, seeing each layer of a stack on its own instead of one array a deep stack.

    Stacked over 32 layers or more, biases and norm scales [depth, width] would pass for matrices
    and have their second moment factored across layers.
    """

    def stacked_or_single(tree: Any) -> Any:
        return jax.tree.map_with_path(
            lambda path, _: "stacked" if "blocks" in _names(path) else "single", tree
        )

    def init(params: Any) -> Any:
        return jax.vmap(core.init)(params) if jax.tree.leaves(params) else ()

    def update(grads: Any, state: Any, params: Any = None) -> Any:
        if not jax.tree.leaves(grads):
            return grads, state
        return jax.vmap(core.update)(grads, state, params)

    stacked = optax.GradientTransformation(init, update)
    return optax.partition({"single": core, "stacked": stacked}, stacked_or_single)


def _in_group(groups: Callable[[Any], Any], group: str) -> Callable[[Any], Any]:
    """From a tree to a tree of the same structure that is True where a parameter is in `group`."""
    return lambda tree: jax.tree.map(lambda each: each == group, groups(tree))


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """A path in a nested dict as its keys."""
    return tuple(str(entry.key) for entry in path)
