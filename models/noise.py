"""What is random in a forward pass of training: dropout and stochastic depth.

A network keeps no random state. Training hands it a `Noise`; without one, as in evaluation,
nothing is random.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Noise(NamedTuple):
    """Luck for one forward pass, and how much of it; rates are Python numbers.

    Fields:
      key: of the random numbers; another one for every step.
      dropout: probability that a feature is set to zero, in [0, 1).
      stochastic_depth: probability that the last block's branches are skipped, in [0, 1); it
        grows linearly from 0 at the first block. Huang et al. 2016.
    """

    key: jax.Array
    dropout: float = 0.0
    stochastic_depth: float = 0.0


def dropped(x: Float[Array, ...], key: jax.Array, rate: float) -> Float[Array, ...]:
    """Each number zero with probability `rate`, or divided by 1 - rate: the mean stays."""
    if rate == 0:
        return x
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


def skipped(
    branch: Float[Array, "batch ..."], key: jax.Array, rate: Float[Array, ""] | float
) -> Float[Array, "batch ..."]:
    """A residual branch, left out for whole images with probability `rate`; the mean stays."""
    shape = (branch.shape[0], *(1,) * (branch.ndim - 1))
    keep = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(keep, branch / (1 - rate), 0)
