"""The four layers a ViT is made of: linear, norm, attention, MLP.

Parameters are float32 and named as in flax: `kernel`, `bias`, `scale`. A layer computes in the
dtype of what it is given; the statistics of a norm, and the scores and sums of attention's softmax,
are float32 whatever that is. A layer keeps no random state: `rngs` is used up in `__init__`.
Products are flattened to two dimensions, which on a CPU makes a training step about a sixth faster
than leaving the batch axes to the compiler.
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.mup import attention_scale
from models.noise import Noise, dropped
from models.precision import AttentionKernel
from models.shapes import Transformer

FUSED: Literal["cudnn", "xla"] = "cudnn"
WIDE = 128  # features from which query, key and value are one product; narrower ones gain little

xavier_uniform = jax.nn.initializers.xavier_uniform()


def at_least_float32(x: Array) -> jnp.dtype:
    """The dtype of statistics and sums over x: float32, or wider where x is."""
    return jnp.promote_types(x.dtype, jnp.float32)


class Kernel(nnx.Param):
    """A parameter that a product or a convolution takes. Weight decay acts on these alone: biases,
    scales of norms, position tables, tokens and probes are plain `nnx.Param`s."""


class Linear(nnx.Module):
    """y = x @ kernel + bias, kernel [inputs, outputs] Xavier-uniform."""

    def __init__(self, inputs: int, outputs: int, *, bias_std: float | None, rngs: nnx.Rngs):
        """
        Args:
          inputs: features of x.
          outputs: features of y.
          bias_std: standard deviation of the bias at the start; None: there is no bias.
        """
        self.kernel = Kernel(xavier_uniform(rngs.params(), (inputs, outputs)))
        self.bias = (
            nnx.Param(bias_std * jax.random.normal(rngs.params(), (outputs,)))
            if bias_std is not None
            else None
        )

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        flat = x.reshape(-1, x.shape[-1])
        y = flat @ self.kernel[...].astype(x.dtype)
        if self.bias is not None:
            y += self.bias[...].astype(x.dtype)
        return y.reshape(*x.shape[:-1], -1)


class LayerNorm(nnx.Module):
    """Zero mean, unit variance over the features of each token, then `scale` and `bias`.

    In float32 or wider, whatever x comes in, and what goes out is of x's dtype.
    """

    EPSILON = 1e-6  # flax's; PyTorch's 1e-5 is another function

    def __init__(self, width: int, *, bias: bool = True):
        self.scale = nnx.Param(jnp.ones(width))
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: Float[Array, "*batch width"]) -> Float[Array, "*batch width"]:
        wide = x.astype(at_least_float32(x))
        centred = wide - wide.mean(-1, keepdims=True)
        variance = jnp.square(centred).mean(-1, keepdims=True)
        unit = centred * jax.lax.rsqrt(variance + self.EPSILON)
        scaled = unit * self.scale[...]
        return (scaled if self.bias is None else scaled + self.bias[...]).astype(x.dtype)


class IntoHeads(nnx.Module):
    """A projection into heads: kernel [width, heads, width / heads], bias [heads, width / heads].

    Xavier-uniform with the fans of the plain [width, width] product, as flax does.
    """

    def __init__(self, width: int, heads: int, *, bias: bool = True, rngs: nnx.Rngs):
        flat = xavier_uniform(rngs.params(), (width, width))
        self.kernel = Kernel(flat.reshape(width, heads, -1))
        self.bias = nnx.Param(jnp.zeros((heads, width // heads))) if bias else None

    def __call__(
        self, x: Float[Array, "batch tokens width"]
    ) -> Float[Array, "batch heads tokens size"]:
        batch, tokens, width = x.shape
        flat = x.reshape(-1, width) @ self.kernel[...].reshape(width, -1).astype(x.dtype)
        if self.bias is not None:
            flat = flat + self.bias[...].reshape(-1).astype(x.dtype)
        return flat.reshape(batch, tokens, *self.kernel.shape[1:]).transpose(0, 2, 1, 3)


def at_once(
    projections: Sequence[IntoHeads], x: Float[Array, "batch tokens width"]
) -> list[Float[Array, "batch heads tokens size"]]:
    """Several projections of the same tokens as one product, forward and backward."""
    batch, tokens, width = x.shape
    heads, size = projections[0].kernel.shape[1:]
    kernels = [each.kernel[...].reshape(width, -1) for each in projections]
    flat = x.reshape(-1, width) @ jnp.concatenate(kernels, axis=1).astype(x.dtype)
    biases = [each.bias[...].reshape(-1) for each in projections if each.bias is not None]
    if biases:
        flat = flat + jnp.concatenate(biases).astype(x.dtype)
    apart = flat.reshape(batch, tokens, len(projections), heads, size).transpose(2, 0, 3, 1, 4)
    return list(apart)


class OutOfHeads(nnx.Module):
    """The projection back: kernel [heads, width / heads, width], bias [width]; Xavier-uniform."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        flat = xavier_uniform(rngs.params(), (width, width))
        self.kernel = Kernel(flat.reshape(heads, -1, width))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(
        self, x: Float[Array, "batch heads tokens size"]
    ) -> Float[Array, "batch tokens width"]:
        batch, _, tokens, _ = x.shape
        width = self.bias.shape[0]
        kernel = self.kernel[...].reshape(width, width).astype(x.dtype)
        flat = x.transpose(0, 2, 1, 3).reshape(-1, width) @ kernel
        return (flat + self.bias[...].astype(x.dtype)).reshape(batch, tokens, width)


class Attention(nnx.Module):
    """Multi-head attention: each query takes a weighted mean over the tokens.

        softmax(q k^T / sqrt(width / heads)) v,  with biases and an output projection.

    The sum of the softmax divides the mean and not the weights: the same number, and a training
    step on a CPU writes a sixth less. Queries shared by the whole batch may have a batch of 1.
    Vaswani et al. 2017, section 3.2. Where the shape asks for it, q and k first pass a LayerNorm
    over each head's features, one for all heads, so that scores cannot grow without bound:
    Dehghani et al. 2023 (ViT-22B), section 2.1. Under muP the root gives way to the size itself.
    """

    def __init__(self, shape: Transformer, kernel: AttentionKernel = "products", *, rngs: nnx.Rngs):
        """
        Args:
          shape: of the network.
          kernel: what computes it, where it can; `models.precision.Precision` says what there is.
        """
        width, heads, biases = shape.width, shape.heads, shape.qkv_and_norm_biases
        self.query = IntoHeads(width, heads, bias=biases, rngs=rngs)
        self.key = IntoHeads(width, heads, bias=biases, rngs=rngs)
        self.value = IntoHeads(width, heads, bias=biases, rngs=rngs)
        size, normed = width // heads, shape.query_key_norm
        self.query_norm = LayerNorm(size, bias=biases) if normed else None
        self.key_norm = LayerNorm(size, bias=biases) if normed else None
        self.out = OutOfHeads(width, heads, rngs=rngs)
        self.scale = attention_scale(shape)
        self.fused = kernel == "cudnn" and size % 8 == 0

    def __call__(
        self,
        queries: Float[Array, "#batch queries width"],
        tokens: Float[Array, "batch tokens width"],
    ) -> Float[Array, "batch queries width"]:
        if queries is tokens and tokens.shape[-1] >= WIDE:
            q, k, v = at_once([self.query, self.key, self.value], tokens)
        else:
            q, k, v = self.query(queries), self.key(tokens), self.value(tokens)
        if self.query_norm is not None and self.key_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        even = q.shape[-2] % 2 == 0 and k.shape[-2] % 2 == 0  # JAX trains the kernel with no other
        if self.fused and even and v.dtype == jnp.bfloat16:
            return self.out(fused_attention(q, k, v, self.scale))
        scores = jnp.matmul(
            q * self.scale, k.swapaxes(-1, -2), preferred_element_type=at_least_float32(q)
        )
        largest = jax.lax.stop_gradient(scores.max(-1, keepdims=True))  # keeps exp from overflow
        weights = jnp.exp(scores - largest)
        mean = weights.astype(v.dtype) @ v / weights.sum(-1, keepdims=True)
        return self.out(mean.astype(v.dtype))


def fused_attention(
    q: Float[Array, "batch heads queries size"],
    k: Float[Array, "batch heads tokens size"],
    v: Float[Array, "batch heads tokens size"],
    scale: float,
) -> Float[Array, "batch heads queries size"]:
    """softmax(scale q k^T) v by cuDNN, in bfloat16 with float32 sums."""
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
    mean = jax.nn.dot_product_attention(q, k, v, scale=scale, implementation=FUSED)
    return mean.transpose(0, 2, 1, 3)


class MLP(nnx.Module):
    """Two products with a GELU between: width -> hidden -> width.

    Biases start as noise of 1e-6, as in the paper.
    """

    def __init__(
        self, width: int, hidden: int, *, gelu: Literal["tanh", "erf"] = "tanh", rngs: nnx.Rngs
    ):
        """
        Args:
          width: features of input and output.
          hidden: features between.
          gelu: "tanh": the approximation, as in flax; "erf": exact, as in PyTorch. They differ by
            up to 5e-4.
        """
        self.into = Linear(width, hidden, bias_std=1e-6, rngs=rngs)
        self.out = Linear(hidden, width, bias_std=1e-6, rngs=rngs)
        self.gelu = gelu

    def __call__(
        self, x: Float[Array, "*batch width"], noise: Noise | None = None
    ) -> Float[Array, "*batch width"]:
        hidden = jax.nn.gelu(self.into(x), approximate=self.gelu == "tanh")
        return self.out(dropped(hidden, noise))
