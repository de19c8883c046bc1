"""Projection heads: small MLPs on a backbone that learns without labels, and their norms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.layers import LayerNorm, Linear, at_least_float32
from scaling.objectives.config import Norm


class BatchNorm(nnx.Module):
    """Zero mean and unit variance of each feature over images of the batch, whatever devices these
    are on, then `scale` and `bias`.

    There are no running statistics, as nothing but training looks at what lies above a backbone.

    Args:
      apart: of how many parts of the batch, one after another, each is normalised by itself: the
        views of BYOL, which pass its network one by one.
      bias: whether there is one.
    """

    EPSILON = 1e-5

    def __init__(self, width: int, apart: int = 1, *, bias: bool = True):
        self.apart = apart
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: Float[Array, "n width"]) -> Float[Array, "n width"]:
        wide = x.astype(at_least_float32(x)).reshape(self.apart, len(x) // self.apart, -1)
        centred = wide - wide.mean(1, keepdims=True)
        variance = jnp.square(centred).mean(1, keepdims=True)
        unit = (centred * jax.lax.rsqrt(variance + self.EPSILON)).reshape(x.shape)
        scaled = unit * self.scale[...]
        return (scaled if self.bias is None else scaled + self.bias[...]).astype(x.dtype)


class MLP(nnx.Module):
    """Two products, between them a norm, if there is one, and a ReLU. A product that a batch
    normalisation follows has no bias, which that would take away again.

    Args:
      apart: parts of a batch that a batch normalisation takes one by one.
      after: what follows the second product; None: nothing.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        norm: Norm,
        apart: int = 1,
        after: BatchNorm | None = None,
        rngs: nnx.Rngs,
    ):
        before = None if norm == "batch" else 0.0
        self.into = Linear(inputs, hidden, bias_std=before, rngs=rngs)
        self.norm = _norm_of(norm, hidden, apart)
        self.out = Linear(hidden, outputs, bias_std=0.0 if after is None else None, rngs=rngs)
        self.after = after

    def __call__(self, x: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        x = self.into(x)
        x = self.out(jax.nn.relu(x if self.norm is None else self.norm(x)))
        return x if self.after is None else self.after(x)


def normalised(x: Float[Array, "n size"]) -> Float[Array, "n size"]:
    """Rows of length 1; a row of zeros stays one, and has a gradient of zero."""
    square = jnp.square(x).sum(-1, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))


def _norm_of(kind: Norm, width: int, apart: int) -> BatchNorm | LayerNorm | None:
    match kind:
        case "batch":
            return BatchNorm(width, apart)
        case "layer":
            return LayerNorm(width)
        case "none":
            return None
