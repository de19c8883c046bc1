"""How a run is optimised: the optimizer, its weight decay, and the learning rate over time.

The defaults are those of Zhai et al. 2022, "Scaling Vision Transformers" (sections 3.1, 3.4, 3.5
and appendix C). Knows nothing of models, losses or images: parameters are nested dicts of arrays,
`{"backbone": {..., "blocks": {...}, ...}, "head": {"kernel", "bias"}}`, in which whatever lies
under a key `blocks` is stacked over depth along its first axis. Checking a recipe and reading its
schedule need no JAX; only `optimizer` imports it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from scaling.base.config import Clash, Config, NoneAs

if TYPE_CHECKING:
    from jax import Array
    from optax import GradientTransformation

DECAY_EXPONENT = 0.8  # Shazeer & Stern 2018, section 7.2
FACTOR_FROM = 32  # big_vision's; optax's own default, 128, would not factor heads of 64 channels
ADAFACTOR_EPSILON = 1e-30  # added to squared gradients, so that 0 / sqrt(0) is 0
ADAM_EPSILON = 1e-8  # added to the root of the second moment

Norm: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Recipe(Config):
    """Optimizer, weight decay and schedule of one run, all durations in steps."""

    optimizer: Literal["adafactor", "adam", "adam-bf16"] = "adafactor"
    """`adafactor`: factored second moment, bf16 momentum, 2 bytes a parameter; `adam`: two f32
    moments, 8 bytes; `adam-bf16`: the first of the two in bf16, 6 bytes."""
    learning_rate: float = Field(default=8e-4, gt=0, allow_inf_nan=False)
    """Peak learning rate, reached at the end of the warm-up."""
    weight_decay_head: float = Field(default=3.0, ge=0, allow_inf_nan=False)
    """Decay of the classifier's kernel, multiplied by learning rate and schedule."""
    weight_decay_body: float = Field(default=0.03, ge=0, allow_inf_nan=False)
    """Decay of every other kernel; biases, norms, position table and MAP probe have none."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay a step of the first moment."""
    beta2: float = Field(default=0.999, gt=0, lt=1)
    """Decay a step of the second moment; Adafactor grows towards it as 1 - t^-0.8."""
    clip_norm: Annotated[Norm | None, NoneAs("none")] = 1.0
    """Largest global norm of the gradient; none: no clipping."""
    warmup_steps: int = Field(default=10_000, ge=0)
    """Steps over which the learning rate grows linearly from 0."""
    timescale_steps: int = Field(default=10_000, gt=0)
    """After the warm-up the rate is 1 / sqrt(1 + (step - warmup_steps) / timescale_steps)."""
    cooldown_steps: int | None = Field(default=None, ge=1)
    """Steps of the linear cooldown to 0; instead of `cooldown_fraction`."""
    cooldown_fraction: float | None = Field(default=0.2, gt=0, le=1)
    """The cooldown as a fraction of the run, warm-up included. A grid's durations span decades,
    so a fraction, beyond a fifth of which nothing is gained (Hägele et al. 2024), is the default;
    the paper itself cools for 10_000 steps (runs up to 60_000 steps) or 50_000 (longer runs)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Probability with which a feature is set to zero in training: of the embedded patches, inside
    each MLP and of each residual branch. The paper's upstream training has none."""
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1)
    """Probability with which a training image skips attention, and MLP, of the last block; it
    grows linearly from 0 in the first block (Huang et al. 2016). The paper has none."""

    @model_validator(mode="before")
    @classmethod
    def _steps_replace_the_default_fraction(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("cooldown_steps") is not None:
            return {"cooldown_fraction": None, **given}
        return given

    def clashes(self) -> Iterator[Clash]:
        if (self.cooldown_steps is None) == (self.cooldown_fraction is None):
            yield Clash(
                ("cooldown_steps", "cooldown_fraction"),
                f"cooldown_steps={self.cooldown_steps} and "
                f"cooldown_fraction={self.cooldown_fraction}: give exactly one of the two.",
            )

    def cooldown(self, total_steps: int) -> int:
        """Length of the cooldown that ends a run of `total_steps`, in steps, >= 1."""
        if self.cooldown_steps is not None:
            return self.cooldown_steps
        assert self.cooldown_fraction is not None  # clashes
        return max(1, round(self.cooldown_fraction * total_steps))

    def check(self, total_steps: int) -> None:
        """Raise ValueError when warm-up and cooldown do not both fit into `total_steps`."""
        cooldown = self.cooldown(total_steps)
        room = total_steps - cooldown
        if room < self.warmup_steps:
            remedy = f"warmup_steps <= {room:_}" if room >= 0 else "a shorter cooldown"
            raise ValueError(
                f"warmup_steps={self.warmup_steps:_} and a cooldown of {cooldown:_} steps do not "
                f"fit into a run of {total_steps:_}; use {remedy}, or train longer."
            )


def schedule(recipe: Recipe, step: int, total_steps: int | None) -> float:
    """Fraction of the peak learning rate with which update number `step` is applied.

        warm-up   step / warmup_steps
        trunk     1 / sqrt(1 + (step - warmup_steps) / timescale_steps)
        cooldown  the trunk's value, still falling, times (total_steps - step) / cooldown

    Before the cooldown the value does not depend on `total_steps`, not even in its last bit: runs
    that differ only in duration share everything up to there.

    Args:
      step: updates already made, >= 0; the very first update, at 0, has no effect.
      total_steps: updates in the whole run; None for the trunk, which never cools down.

    Returns:
      A number in [0, 1]; 0 from `total_steps` on.

    Source: Zhai et al. 2022, section 3.5; big_vision's `create_learning_rate_schedule`.
    """
    if step < recipe.warmup_steps:
        rate = step / recipe.warmup_steps
    else:
        rate = 1 / math.sqrt(1 + (step - recipe.warmup_steps) / recipe.timescale_steps)
    if total_steps is None:
        return rate
    return rate * min(1.0, max(0, total_steps - step) / recipe.cooldown(total_steps))


def optimizer(
    recipe: Recipe, multipliers: Callable[[tuple[str, ...]], float] | None = None
) -> GradientTransformation:
    """Gradient g and parameter p to a step u, which training subtracts times the schedule.

        u = learning_rate * multiplier * core(clip(g)) + learning_rate * weight_decay * p

    Args:
      recipe: says which core, and all numbers.
      multipliers: from a parameter's path, as keys, to its multiplier (`models.mup`); None: 1 for
        all. Weight decay has none, so that it takes the same share of every parameter.

    The state is a plain pytree; `init` and `update` work under `jit` and `eval_shape`. `update`
    needs the parameters as its third argument.

    Source: Zhai et al. 2022, sections 3.1 and 3.4, in the order of big_vision's `optax.py`.
    """
    import jax.numpy as jnp
    import optax

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
        optax.add_decayed_weights(rate * recipe.weight_decay_head, _mask(_is_head_kernel)),
        optax.add_decayed_weights(rate * recipe.weight_decay_body, _mask(_is_body_kernel)),
    )


def _scale_each(
    rate: float, multipliers: Callable[[tuple[str, ...]], float]
) -> GradientTransformation:
    """Each parameter's update times `rate` and the multiplier of its path."""
    import jax
    import optax

    def scaled(updates: Any, params: Any) -> Any:
        return jax.tree.map_with_path(lambda path, u: rate * multipliers(_names(path)) * u, updates)

    return optax.stateless(scaled)


def beta2_at(t: int | Array, cap: float) -> Array:
    """Adafactor's decay of the second moment at update t = 1, 2, ...: min(cap, 1 - t^-0.8).

    0 at the first update; reaches a cap of 0.999 at t = 5624.
    """
    import jax.numpy as jnp

    return jnp.minimum(cap, 1.0 - jnp.asarray(t, jnp.float32) ** -DECAY_EXPONENT)


def _adafactor(beta1: float, beta2: float) -> GradientTransformation:
    """The paper's Adafactor: no learning rate from parameter norms, no clipping by block.

    A parameter whose two largest dimensions are both >= 32 keeps the mean square of its gradient
    along each of them; any smaller one keeps every square. The momentum is an average of the
    scaled gradients in bf16, not corrected for its start at 0: a slower first dozen of steps.
    """
    import jax.numpy as jnp
    import optax

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
    import jax
    import optax

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


def _mask(chosen: Any) -> Any:
    """A tree's shape to a tree of the same shape that is True where `chosen(names)` is."""
    import jax

    return lambda tree: jax.tree.map_with_path(lambda path, _: chosen(_names(path)), tree)


def _is_head_kernel(names: tuple[str, ...]) -> bool:
    return names == ("head", "kernel")


def _is_body_kernel(names: tuple[str, ...]) -> bool:
    return names[-1] == "kernel" and not _is_head_kernel(names)


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """A path in a nested dict as its keys."""
    return tuple(str(entry.key) for entry in path)
