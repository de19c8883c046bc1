"""Identical blocks kept as one, each parameter with a leading axis, and the loop over them."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

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
    block, layers = nnx.split(blocks)
    outside = x.dtype
    if precision.compute != "float32":
        x = x.astype(precision.compute)

    def step(x: Any, layer_and_number: Any) -> tuple[Any, None]:
        layer, number = layer_and_number
        return nnx.merge(block, layer)(x, at_layer(noise, number, depth)).astype(x.dtype), None

    if precision.rematerialise:
        step = jax.checkpoint(step)
    numbers = None if noise is None else jnp.arange(depth)
    unroll = precision.blocks_a_turn(depth)
    x, _ = jax.lax.scan(step, x, (layers, numbers), unroll=unroll)
    return x.astype(outside)
