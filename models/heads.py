"""What stands on top of the tokens: a pool that makes one vector of them, and linear heads."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.layers import MLP, Attention, Kernel, LayerNorm, xavier_uniform
from models.mup import base_width
from models.shapes import Transformer


def pool(shape: Transformer, *, rngs: nnx.Rngs) -> nnx.Module:
    """The pool that `shape.pool` names: tokens [batch, tokens, width] to [batch, width]."""
    match shape.pool:
        case "map":
            return MAPHead(shape, rngs=rngs)
        case "gap":
            return MeanPool()
        case "token":
            return TokenPool()
        case "last":
            return LastPool()


class MAPHead(nnx.Module):
    """Multi-head attention pooling: one learned probe asks, the tokens answer, an MLP thinks.

        x = attention(probe, tokens);  y = x + MLP(LN(x))

    There is no residual around the attention, no norm on the probe and none at the end.
    Zhai et al. 2022, section 3.2, after the Set Transformer (Lee et al. 2019).
    """

    def __init__(self, shape: Transformer, *, rngs: nnx.Rngs):
        probe = xavier_uniform(rngs.params(), (1, 1, shape.width))
        self.probe = nnx.Param(probe * math.sqrt((1 + shape.width) / (1 + base_width(shape))))
        self.attention = Attention(shape, rngs=rngs)
        self.norm = LayerNorm(shape.width, bias=shape.qkv_and_norm_biases)
        self.mlp = MLP(shape.width, shape.mlp, gelu=shape.gelu, rngs=rngs)

    def __call__(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch width"]:
        x = self.attention(self.probe[...], tokens)[:, 0]
        return x + self.mlp(self.norm(x))


class MeanPool(nnx.Module):
    """Global average pooling: the mean of the tokens."""

    def __call__(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch width"]:
        return tokens.mean(1)


class TokenPool(nnx.Module):
    """The first token, which saw all others. Dosovitskiy et al. 2021, equation 4."""

    def __call__(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch width"]:
        return tokens[:, 0]


class LastPool(nnx.Module):
    """The last token, where a text ends whatever its length."""

    def __call__(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch width"]:
        return tokens[:, -1]


class PreLogits(nnx.Module):
    """y = tanh(x @ kernel + bias): a last layer that a transfer learns anew, or throws away.

    kernel [width, features] LeCun-normal, bias [features] zero. Dosovitskiy et al. 2021,
    section 3.1.
    """

    def __init__(self, width: int, features: int, *, rngs: nnx.Rngs):
        lecun_normal = jax.nn.initializers.lecun_normal()
        self.kernel = Kernel(lecun_normal(rngs.params(), (width, features)))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: Float[Array, "batch width"]) -> Float[Array, "batch features"]:
        return jnp.tanh(x @ self.kernel[...] + self.bias[...])


class LinearHead(nnx.Module):
    """Logits = x @ kernel + bias. Starts at zero kernel, so every image starts at the bias.

    A bias of log(odds of a label) spares a sigmoid loss its first steps: the paper sets -10 for
    the 29,593 classes of JFT-3B. Zhai et al. 2022, appendix C.
    """

    def __init__(self, width: int, classes: int, *, bias: float, rngs: nnx.Rngs):
        """
        Args:
          width: features of x.
          classes: logits.
          bias: value at which every class's bias starts.
          rngs: unused, as the kernel is zero; an argument so that all heads are built alike.
        """
        del rngs
        self.kernel = Kernel(jnp.zeros((width, classes)))
        self.bias = nnx.Param(jnp.full(classes, bias, jnp.float32))

    def __call__(self, x: Float[Array, "batch width"]) -> Float[Array, "batch classes"]:
        return x @ self.kernel[...] + self.bias[...]
