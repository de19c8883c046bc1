"""The four layers a ViT is made of: linear, norm, attention, MLP.

Parameters are float32 and named as in flax: `kernel`, `bias`, `scale`. A layer keeps no random
state: `rngs` is used up in `__init__`. Products are flattened to two dimensions, which on a CPU
makes a training step about a sixth faster than leaving the batch axes to the compiler.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

xavier_uniform = jax.nn.initializers.xavier_uniform()


class Linear(nnx.Module):
    """y = x @ kernel + bias, kernel [inputs, outputs] Xavier-uniform."""

    def __init__(self, inputs: int, outputs: int, *, bias_std: float, rngs: nnx.Rngs):
        """
        Args:
          inputs: features of x.
          outputs: features of y.
          bias_std: standard deviation of the bias at the start.
        """
        self.kernel = nnx.Param(xavier_uniform(rngs.params(), (inputs, outputs)))
        self.bias = nnx.Param(bias_std * jax.random.normal(rngs.params(), (outputs,)))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        flat = x.reshape(-1, x.shape[-1])
        return (flat @ self.kernel[...] + self.bias[...]).reshape(*x.shape[:-1], -1)


class LayerNorm(nnx.Module):
    """Zero mean, unit variance over the features of each token, then `scale` and `bias`."""

    EPSILON = 1e-6  # flax's; PyTorch's 1e-5 is another function

    def __init__(self, width: int):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        centred = x - x.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        unit = centred * jax.lax.rsqrt(variance + self.EPSILON)
        return unit * self.scale[...] + self.bias[...]


class IntoHeads(nnx.Module):
    """A projection into heads: kernel [width, heads, width / heads], bias [heads, width / heads].

    Xavier-uniform with the fans of the plain [width, width] product, as flax does.
    """

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        flat = xavier_uniform(rngs.params(), (width, width))
        self.kernel = nnx.Param(flat.reshape(width, heads, -1))
        self.bias = nnx.Param(jnp.zeros((heads, width // heads)))

    def __call__(
        self, x: Float[Array, "batch tokens width"]
    ) -> Float[Array, "batch heads tokens size"]:
        batch, tokens, width = x.shape
        kernel, bias = self.kernel[...].reshape(width, -1), self.bias[...].reshape(-1)
        flat = x.reshape(-1, width) @ kernel + bias
        return flat.reshape(batch, tokens, *self.bias.shape).transpose(0, 2, 1, 3)


class OutOfHeads(nnx.Module):
    """The projection back: kernel [heads, width / heads, width], bias [width]; Xavier-uniform."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        flat = xavier_uniform(rngs.params(), (width, width))
        self.kernel = nnx.Param(flat.reshape(heads, -1, width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(
        self, x: Float[Array, "batch heads tokens size"]
    ) -> Float[Array, "batch tokens width"]:
        batch, _, tokens, _ = x.shape
        width = self.bias.shape[0]
        flat = x.transpose(0, 2, 1, 3).reshape(-1, width) @ self.kernel[...].reshape(width, width)
        return (flat + self.bias[...]).reshape(batch, tokens, width)


class Attention(nnx.Module):
    """Multi-head attention: each query takes a weighted mean over the tokens.

        softmax(q k^T / sqrt(width / heads)) v,  with biases and an output projection.

    The sum of the softmax divides the mean and not the weights: the same number, and a training
    step on a CPU writes a sixth less. Queries shared by the whole batch may have a batch of 1.
    Vaswani et al. 2017, section 3.2.
    """

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.query = IntoHeads(width, heads, rngs=rngs)
        self.key = IntoHeads(width, heads, rngs=rngs)
        self.value = IntoHeads(width, heads, rngs=rngs)
        self.out = OutOfHeads(width, heads, rngs=rngs)

    def __call__(
        self,
        queries: Float[Array, "#batch queries width"],
        tokens: Float[Array, "batch tokens width"],
    ) -> Float[Array, "batch queries width"]:
        q, k, v = self.query(queries), self.key(tokens), self.value(tokens)
        scores = q * q.shape[-1] ** -0.5 @ k.swapaxes(-1, -2)
        largest = jax.lax.stop_gradient(scores.max(-1, keepdims=True))  # keeps exp from overflow
        weights = jnp.exp(scores - largest)
        return self.out(weights @ v / weights.sum(-1, keepdims=True))


class MLP(nnx.Module):
    """Two products with a GELU between: width -> hidden -> width.

    GELU is the tanh approximation, as in flax. Biases start as noise of 1e-6, as in the paper.
    """

    def __init__(self, width: int, hidden: int, *, rngs: nnx.Rngs):
        self.into = Linear(width, hidden, bias_std=1e-6, rngs=rngs)
        self.out = Linear(hidden, width, bias_std=1e-6, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        return self.out(jax.nn.gelu(self.into(x), approximate=True))
