"""What is random in a forward pass of training: dropout and stochastic depth.

A network keeps no random state. Training hands it a `Noise`; without one, as in evaluation,
nothing is random. All random numbers of a pass come from one key: each place in the network folds
its own number into it, so that its numbers do not depend on what other places draw.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Noise(NamedTuple):
    """The key and the rates of one forward pass or a part of it; rates are Python numbers.

    Fields:
      key: of the random numbers; another one for every step.
      dropout: probability that a feature is set to zero, in [0, 1).
      stochastic_depth: probability that the last block's branches are skipped, in [0, 1).
      height: where in the network, 0 in the first block and 1 in the last. A block's branches are
        skipped with probability height * stochastic_depth. Huang et al. 2016, section 3.
    """

    key: jax.Array
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    height: Float[Array, ""] | float = 1.0


def at(noise: Noise | None, place: Int[Array, ""] | int) -> Noise | None:
    """The noise of one place among several: the same rates, with random numbers of its own."""
    if noise is None:
        return None
    return noise._replace(key=jax.random.fold_in(noise.key, place))


def at_layer(noise: Noise | None, layer: Int[Array, ""] | int, depth: int) -> Noise | None:
    """The noise of block number `layer` of `depth`, counted from 0; a lone block is a first one."""
    here = at(noise, layer)
    return None if here is None else here._replace(height=layer / max(1, depth - 1))


def dropped(x: Float[Array, ...], noise: Noise | None) -> Float[Array, ...]:
    """Each number zero with probability p = dropout, or divided by 1 - p: the mean stays.

    Srivastava et al. 2014.
    """
    if noise is None or noise.dropout == 0:
        return x
    keep = jax.random.bernoulli(noise.key, 1 - noise.dropout, x.shape)
    return jnp.where(keep, x / (1 - noise.dropout), 0)


def skipped(branch: Float[Array, "batch ..."], noise: Noise | None) -> Float[Array, "batch ..."]:
    """A residual branch, zero for whole images with probability p = height * stochastic_depth.

    Images that keep it have it divided by 1 - p: the mean stays, and evaluation scales nothing.
    """
    if noise is None or noise.stochastic_depth == 0:
        return branch
    stay = 1 - noise.height * noise.stochastic_depth
    keep = jax.random.bernoulli(noise.key, stay, (len(branch), *(1,) * (branch.ndim - 1)))
    return jnp.where(keep, branch / stay, 0)
