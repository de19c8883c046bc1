"""A transformer over the tokens of a text: the text tower beside a backbone of images.

Tokens in, one vector a text out; it knows no words. Parameters by path: `embedding/table`,
`position`, `blocks/...` with depth as the leading axis, `norm/{scale,bias}`, and of a MAP head
`pool/...`.
"""

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from models.heads import pool
from models.layers import LayerNorm
from models.noise import Noise, at, dropped
from models.precision import PLAIN, Precision
from models.shapes import TextShape
from models.stack import stacked, through
from models.vit import Block


class TokenEmbedding(nnx.Module):
    """A learned vector a token: table [vocabulary, width], normal with variance 1 / width.

    No product takes it, so weight decay does not act on it.
    """

    def __init__(self, vocabulary: int, width: int, *, rngs: nnx.Rngs):
        normal = jax.random.normal(rngs.params(), (vocabulary, width))
        self.table = nnx.Param(normal * width**-0.5)

    def __call__(self, text: Int[Array, "batch length"]) -> Float[Array, "batch length width"]:
        return self.table[...][text]


class Text(nnx.Module):
    """Tokens to one vector a text.

        tokens = LN(blocks(table[text] + position));  output = pool(tokens)

    Every token sees every other, those that pad a text included; nothing is masked, and the last
    token is always one that ends or pads, so that `pool = "last"` reads the same place of any text.
    As the text tower of LiT and SigLIP, big_vision `models/proj/image_text/text_transformer.py`
    (commit 642c086); Zhai et al. 2022, "LiT", and 2023, "Sigmoid loss for language image
    pre-training". Unlike CLIP's, which masks what comes later.
    """

    def __init__(self, shape: TextShape, precision: Precision = PLAIN, *, rngs: nnx.Rngs):
        """
        Args:
          shape: decides what is computed.
          precision: decides how the blocks are.
          rngs: of the initial parameters.
        """
        self.shape = shape
        self.embedding = TokenEmbedding(shape.vocabulary, shape.width, rngs=rngs)
        normal = jax.random.normal(rngs.params(), (1, shape.length, shape.width))
        self.position = nnx.Param(normal * shape.width**-0.5)
        self.blocks = stacked(
            lambda rngs: Block(shape, precision, rngs=rngs), shape.depth, rngs.params()
        )
        self.norm = LayerNorm(shape.width)
        self.pool = pool(shape, rngs=rngs)
        self.precision = precision

    def __call__(
        self, text: Int[Array, "batch length"], noise: Noise | None = None
    ) -> Float[Array, "batch width"]:
        """
        Args:
          text: tokens, each in 0 .. vocabulary - 1.
          noise: of training; acts where it acts in a ViT.
        """
        x = dropped(self.embedding(text) + self.position[...], at(noise, self.shape.depth))
        x = through(self.blocks, x, self.shape.depth, noise, self.precision)
        return self.pool(self.norm(x))
