"""The Vision Transformer, by default that of "Scaling Vision Transformers": a MAP head on top.

Images in, one vector an image out. It knows no labels and no loss; a linear head on that vector
is `heads.LinearHead`. Parameters by path: `embedding/{kernel,bias}`, `position`, `blocks/...`
with depth as the leading axis, `norm/{scale,bias}`, `pool/...`; where the shape asks for them,
`token` and `pre_logits/{kernel,bias}`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from models.heads import PreLogits, pool
from models.layers import MLP, Attention, Kernel, LayerNorm
from models.mup import base_width, branch_scale
from models.noise import Noise, at, dropped, skipped
from models.positions import sincos_positions
from models.precision import PLAIN, Precision
from models.shapes import Transformer, ViTShape
from models.stack import stacked, through, through_one


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
        self.kernel = Kernel(lecun_normal(rngs.params(), (patch * patch * 3, width)))
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

        x <- x + attention(LN(x));  x <- x + MLP(LN(x))

    Width and token count are unchanged, so blocks stack and scan.
    Dosovitskiy et al. 2021, equations 2 and 3. Under muP the branches shrink with depth.
    """

    def __init__(self, shape: Transformer, precision: Precision = PLAIN, *, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(shape.width, bias=shape.qkv_and_norm_biases)
        self.attention = Attention(shape, precision.attention, rngs=rngs)
        self.norm2 = LayerNorm(shape.width, bias=shape.qkv_and_norm_biases)
        self.mlp = MLP(shape.width, shape.mlp, gelu=shape.gelu, rngs=rngs)
        self.scale = branch_scale(shape)

    def __call__(
        self, x: Float[Array, "batch tokens width"], noise: Noise | None = None
    ) -> Float[Array, "batch tokens width"]:
        y = self.norm1(x)
        x = joined(x, self.scale * self.attention(y, y), at(noise, 0))
        return joined(x, self.scale * self.mlp(self.norm2(x), at(noise, 1)), at(noise, 2))


class ParallelBlock(nnx.Module):
    """Tokens talk and think at once, on one normalised input.

        x <- x + attention(LN(x)) + MLP(LN(x))

    Half as many steps that wait for each other. The sum is one branch: both parts are skipped
    together. Dehghani et al. 2023 (ViT-22B), section 2.1.
    """

    def __init__(self, shape: Transformer, precision: Precision = PLAIN, *, rngs: nnx.Rngs):
        self.norm = LayerNorm(shape.width, bias=shape.qkv_and_norm_biases)
        self.attention = Attention(shape, precision.attention, rngs=rngs)
        self.mlp = MLP(shape.width, shape.mlp, gelu=shape.gelu, rngs=rngs)
        self.scale = branch_scale(shape)

    def __call__(
        self, x: Float[Array, "batch tokens width"], noise: Noise | None = None
    ) -> Float[Array, "batch tokens width"]:
        y = self.norm(x)
        branch = self.attention(y, y) + self.mlp(y, at(noise, 0))
        return joined(x, self.scale * branch, at(noise, 1))


BLOCKS = {"sequential": Block, "parallel": ParallelBlock}


class ViT(nnx.Module):
    """Images in [-1, 1] to one vector an image, which is what a linear head or a probe reads.

        tokens = LN(blocks(embedding(images) + position));  output = pool(tokens)

    A class token goes before the others and has no position of its own: a learned token would
    only learn their sum. Zhai et al. 2022, section 3 and Table 2; initialised as there.
    """

    def __init__(self, shape: ViTShape, precision: Precision = PLAIN, *, rngs: nnx.Rngs):
        self.shape = shape
        self.embedding = PatchEmbedding(shape.patch, shape.width, rngs=rngs)
        self.position = learned_positions(shape, rngs) if shape.position == "learned" else None
        self.token = nnx.Param(jnp.zeros((1, 1, shape.width))) if shape.pool == "token" else None
        self.blocks = stacked(
            lambda rngs: BLOCKS[shape.block](shape, precision, rngs=rngs),
            shape.depth,
            rngs.params(),
        )
        self.norm = LayerNorm(shape.width, bias=shape.qkv_and_norm_biases)
        self.pool = pool(shape, rngs=rngs)
        self.pre_logits = (
            PreLogits(shape.width, shape.pre_logits, rngs=rngs) if shape.pre_logits else None
        )
        self.precision = precision

    def __call__(
        self, images: Float[Array, "batch side side 3"], noise: Noise | None = None
    ) -> Float[Array, "batch features"]:
        """
        Args:
          images: in [-1, 1].
          noise: of training. Dropout acts on the sum of embedding and position, in each MLP after
            its GELU, and on each branch before it is added, as in big_vision; not in the pool.
            Stochastic depth skips a block's attention and its MLP, each for some of the images.
        """
        x = self.tokens(images, noise)
        return self.summary(through(self.blocks, x, self.shape.depth, noise, self.precision))

    def tokens(
        self, images: Float[Array, "batch side side 3"], noise: Noise | None = None
    ) -> Float[Array, "batch tokens width"]:
        """What the first block is given."""
        x = self.embedding(images) + self.positions()
        if self.token is not None:
            token = jnp.broadcast_to(self.token[...], (len(x), 1, self.shape.width))
            x = jnp.concatenate([token, x], axis=1)
        return dropped(x, at(noise, self.shape.depth))

    def block(
        self,
        layer: Any,
        x: Float[Array, "batch tokens width"],
        number: Any,
        noise: Noise | None = None,
    ) -> Float[Array, "batch tokens width"]:
        """One block alone: `number`, with the parameters `layer`; `blocks` may be abstract."""
        return through_one(self.blocks, layer, x, number, self.shape.depth, noise, self.precision)

    def summary(self, x: Float[Array, "batch tokens width"]) -> Float[Array, "batch features"]:
        """One vector of what the last block gives."""
        x = self.pool(self.norm(x))
        return x if self.pre_logits is None else self.pre_logits(x)

    def positions(self) -> Float[Array, "1 patches width"]:
        """What is added to the patches: parameters, or sines and cosines."""
        if self.position is not None:
            return self.position[...]
        return jnp.asarray(sincos_positions(self.shape.grid, self.shape.width))


def joined(
    x: Float[Array, "batch tokens width"],
    branch: Float[Array, "batch tokens width"],
    noise: Noise | None,
) -> Float[Array, "batch tokens width"]:
    """The residual stream after a branch: in training some features of it, and for some images
    all of it, are left out."""
    return x + skipped(dropped(branch, at(noise, 0)), at(noise, 1))


def learned_positions(shape: ViTShape, rngs: nnx.Rngs) -> nnx.Param:
    """A row a patch, normal with standard deviation 1 / sqrt(width), under muP that of the base."""
    normal = jax.random.normal(rngs.params(), (1, shape.patches, shape.width))
    return nnx.Param(normal * base_width(shape) ** -0.5)
