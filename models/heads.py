"""What stands on top of the tokens: a pool that makes one vector of them, and a linear head."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.layers import MLP, Attention, LayerNorm, xavier_uniform


class MAPHead(nnx.Module):
    """Multi-head attention pooling: one learned probe asks, the tokens answer, an MLP thinks.

        x = attention(probe, tokens);  y = x + MLP(LN(x))

    There is no residual around the attention, no norm on the probe and none at the end.
    Zhai et al. 2022, section 3.2, after the Set Transformer (Lee et al. 2019).
    """

    def __init__(self, width: int, hidden: int, heads: int, *, rngs: nnx.Rngs):
        self.probe = nnx.Param(xavier_uniform(rngs.params(), (1, 1, width)))
        self.attention = Attention(width, heads, rngs=rngs)
        self.norm = LayerNorm(width)
        self.mlp = MLP(width, hidden, rngs=rngs)

    def __call__(self, tokens: Float[Array, "batch tokens width"]) -> Float[Array, "batch width"]:
        x = self.attention(self.probe[...], tokens)[:, 0]
        return x + self.mlp(self.norm(x))


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
          rngs: unused, a zero kernel needs no luck; taken so that all heads are built alike.
        """
        del rngs
        self.kernel = nnx.Param(jnp.zeros((width, classes)))
        self.bias = nnx.Param(jnp.full(classes, bias, jnp.float32))

    def __call__(self, x: Float[Array, "batch width"]) -> Float[Array, "batch classes"]:
        return x @ self.kernel[...] + self.bias[...]
