"""Identical blocks kept as one, each parameter with a leading axis: what a depth loop scans."""

from collections.abc import Callable
from typing import TypeVar

import jax
from flax import nnx

M = TypeVar("M", bound=nnx.Module)


def stacked(block: Callable[[nnx.Rngs], M], depth: int, key: jax.Array) -> M:
    """`depth` blocks as one module, each with luck of its own.

    A scan, because a vmap over keys takes twice as long to compile.
    """

    @nnx.scan(in_axes=0, out_axes=0)
    def layer(key):
        return block(nnx.Rngs(key))

    return layer(jax.random.split(key, depth))
