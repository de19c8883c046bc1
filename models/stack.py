"""Identical blocks kept as one, each parameter with a leading axis, and the loop over them."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from models.noise import Noise, at_layer
from models.precision import Precision

M = TypeVar("M", bound=nnx.Module)


def stacked(block: Callable[[nnx.Rngs], M], depth: int, key: jax.Array) -> M:
    """`depth` blocks as one module, each with random numbers of its own.

    A scan, because a vmap over keys takes twice as long to compile.
    """

    @nnx.scan(in_axes=0, out_axes=0)
    def layer(key):
        return block(nnx.Rngs(key))

    return layer(jax.random.split(key, depth))


def through(
    blocks: nnx.Module,
    x: Float[Array, "batch tokens width"],
    depth: int,
    noise: Noise | None,
    precision: Precision,
) -> Float[Array, "batch tokens width"]:
    """`x` through `depth` stacked blocks, one after the other: one `jax.lax.scan`.

    Args:
      blocks: made by `stacked`; each takes (x, noise) and leaves the shape of x as it is.
      noise: of the whole network; each block has its own part of it.
      precision: what the blocks compute in, what is kept for the backward pass, and how many
        blocks a turn of the loop computes. Output is of the dtype of the input.
    """
    graph, layers = nnx.split(blocks)

    def step(x: Any, layer_and_number: Any) -> tuple[Any, None]:
        layer, number = layer_and_number
        block = nnx.merge(graph, in_turn(layer, x, precision))
        return block(x, at_layer(noise, number, depth)).astype(x.dtype), None

    numbers = None if noise is None else jnp.arange(depth)
    unroll = precision.blocks_a_turn(depth)
    inside = to_compute_dtype(x, precision)
    y, _ = jax.lax.scan(rematerialised(step, precision), inside, (layers, numbers), unroll=unroll)
    return y.astype(x.dtype)


def to_compute_dtype(
    x: Float[Array, "batch tokens width"], precision: Precision
) -> Float[Array, "batch tokens width"]:
    """What the first block is given, in the dtype that the blocks compute in."""
    return x if precision.compute == "float32" else x.astype(precision.compute)


def through_one(
    blocks: nnx.Module,
    layer: Any,
    x: Float[Array, "batch tokens width"],
    number: Int[Array, ""],
    depth: int,
    noise: Noise | None,
    precision: Precision,
) -> Float[Array, "batch tokens width"]:
    """`x` through block `number` alone, as `through` computes it.

    Args:
      blocks: made by `stacked`; its arrays are not used, and may be abstract.
      layer: that block's parameters, nested dicts of arrays.
    """
    graph, shapes = nnx.split(blocks)
    state = jax.tree.map(lambda each: each, shapes)  # replaced in place
    nnx.replace_by_pure_dict(state, in_turn(layer, x, precision))
    return nnx.merge(graph, state)(x, at_layer(noise, number, depth)).astype(x.dtype)


def in_turn(layer: Any, x: Float[Array, "batch tokens width"], precision: Precision) -> Any:
    """A layer's parameters as its block takes them."""
    layer = cast_in_turn(layer, x)
    return layer if precision.gather is None else precision.gather(layer, x.dtype)


def cast_in_turn(layer: Any, x: Float[Array, "batch tokens width"]) -> Any:
    """A layer's parameters, times a 1.0 that a compiler cannot see through.

    Blocks cast their parameters to the dtype of `x`. A cast of a slice of the stack depends on
    nothing but the stack, so a compiler casts the whole stack ahead of the loop and keeps a second
    copy of all layers. A factor that depends on `x` holds the cast back to the layer's own turn.
    """
    if x.dtype != jnp.bfloat16:
        return layer
    first = jax.lax.stop_gradient(x[(0,) * x.ndim]).astype(jnp.float32)
    one = 1.0 + 0.0 * first
    return jax.tree.map(lambda p: p * one.astype(p.dtype), layer)


def rematerialised(step: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    """The body of a loop over blocks, that keeps for the backward pass what is asked for."""
    policies = jax.checkpoint_policies
    match precision.rematerialise:
        case "none":
            return step
        case "full":
            return jax.checkpoint(step)
        case "dots":
            return jax.checkpoint(step, policy=policies.dots_with_no_batch_dims_saveable)
        case "offload":
            policy = policies.offload_dot_with_no_batch_dims("device", "pinned_host")
            return jax.checkpoint(step, policy=policy)
