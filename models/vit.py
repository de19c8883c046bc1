"""The Vision Transformer of "Scaling Vision Transformers": no class token, a MAP head on top.

Images in, one vector an image out. It knows no labels and no loss; a linear head on that vector
is `heads.LinearHead`. Parameters by path: `embedding/{kernel,bias}`, `position`, `blocks/...`
with depth as the leading axis, `norm/{scale,bias}`, `pool/...`.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.heads import MAPHead
from models.layers import MLP, Attention, LayerNorm
from models.shapes import ViTShape


class PatchEmbedding(nnx.Module):
    """Cuts the image into squares and maps each to a token, row by row.

    Equal to a VALID convolution with kernel = stride = patch: a margin narrower than a patch is
    not seen. kernel [patch * patch * 3, width] LeCun-normal, bias [width] zero. The kernel is kept
    as the matrix it is: a convolution's [patch, patch, 3, width] has one dimension of 32 or more,
    so Adafactor would not factor it, and it alone would take half of the optimizer's overhead.
    """

    def __init__(self, patch: int, width: int, *, rngs: nnx.Rngs):
        lecun_normal = jax.nn.initializers.lecun_normal()
        self.patch = patch
        self.kernel = nnx.Param(lecun_normal(rngs.params(), (patch * patch * 3, width)))
        self.bias = nnx.Param(jnp.zeros(width))

    def __call__(
        self, images: Float[Array, "batch side side 3"]
    ) -> Float[Array, "batch tokens width"]:
        batch, side, _, channels = images.shape
        patch, grid = self.patch, side // self.patch
        seen = images[:, : grid * patch, : grid * patch]
        squares = seen.reshape(batch, grid, patch, grid, patch, channels).swapaxes(2, 3)
        flat = squares.reshape(batch * grid**2, -1) @ self.kernel[...] + self.bias[...]
        return flat.reshape(batch, grid**2, -1)


class Block(nnx.Module):
    """One pre-norm encoder block: tokens talk, then each token thinks.

    Width and token count are unchanged, so blocks stack and scan.
    Dosovitskiy et al. 2021, equations 2 and 3.
    """

    def __init__(self, shape: ViTShape, *, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(shape.width)
        self.attention = Attention(shape.width, shape.heads, rngs=rngs)
        self.norm2 = LayerNorm(shape.width)
        self.mlp = MLP(shape.width, shape.mlp, rngs=rngs)

    def __call__(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch tokens width"]:
        y = self.norm1(x)
        x = x + self.attention(y, y)
        return x + self.mlp(self.norm2(x))


class ViT(nnx.Module):
    """Images in [-1, 1] to one vector an image, which is what a linear head or a probe reads.

        tokens = LN(blocks(embedding(images) + position));  output = MAPHead(tokens)

    Zhai et al. 2022, section 3 and Table 2; initialised as there.
    """

    def __init__(self, shape: ViTShape, *, rngs: nnx.Rngs):
        self.embedding = PatchEmbedding(shape.patch, shape.width, rngs=rngs)
        noise = jax.random.normal(rngs.params(), (1, shape.patches, shape.width))
        self.position = nnx.Param(noise * shape.width**-0.5)
        self.blocks = stacked_blocks(shape, rngs.params())
        self.norm = LayerNorm(shape.width)
        self.pool = MAPHead(shape.width, shape.mlp, shape.heads, rngs=rngs)
        self.unroll = layers_to_unroll(shape.depth)

    def __call__(self, images: Float[Array, "batch side side 3"]) -> Float[Array, "batch width"]:
        x = self.embedding(images) + self.position[...]
        block, layers = nnx.split(self.blocks)

        def step(x, layer):
            return nnx.merge(block, layer)(x), None

        x, _ = jax.lax.scan(step, x, layers, unroll=self.unroll)
        return self.pool(self.norm(x))


def stacked_blocks(shape: ViTShape, key: jax.Array) -> Block:
    """All blocks as one, each parameter with a leading axis of length depth, each with its luck.

    A scan, because a vmap over keys takes twice as long to compile.
    """

    @nnx.scan(in_axes=0, out_axes=0)
    def block(key):
        return Block(shape, rngs=nnx.Rngs(key))

    return block(jax.random.split(key, shape.depth))


def layers_to_unroll(depth: int) -> int:
    """Layers that one turn of the depth loop does.

    A CPU runs models of up to 12 layers about 1.3 times faster with the loop written out
    (`benchmarks/train_step.py`); deeper ones keep the loop, and compile as fast as one layer.
    """
    return depth if depth <= 12 and jax.default_backend() == "cpu" else 1
