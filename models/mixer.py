"""MLP-Mixer: no attention, an MLP across the patches and one across the features.

Images in, one vector an image out, as every backbone here. Parameters by path:
`embedding/{kernel,bias}`, `blocks/...` with depth as the leading axis, `norm/{scale,bias}`; a
block has `norm1`, `token_mixing`, `norm2`, `channel_mixing`. There is no table of positions: the
MLP across the patches tells them apart, and so is made for one resolution.
"""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from models.layers import MLP, LayerNorm
from models.noise import Noise, at, dropped
from models.precision import PLAIN, Precision
from models.shapes import MixerShape
from models.stack import stacked, through, through_one
from models.vit import PatchEmbedding, joined


class MixerBlock(nnx.Module):
    """Each feature mixes the patches, then each patch its features.

        x <- x + MLP(LN(x)^T)^T;  x <- x + MLP(LN(x))

    Tolstikhin et al. 2021, equation 1.
    """

    def __init__(self, shape: MixerShape, *, rngs: nnx.Rngs):
        self.norm1 = LayerNorm(shape.width)
        self.token_mixing = MLP(shape.patches, shape.mlp_tokens, gelu=shape.gelu, rngs=rngs)
        self.norm2 = LayerNorm(shape.width)
        self.channel_mixing = MLP(shape.width, shape.mlp, gelu=shape.gelu, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch patches width"], noise: Noise | None = None
    ) -> Float[Array, "batch patches width"]:
        mixed = self.token_mixing(self.norm1(x).swapaxes(1, 2), at(noise, 0)).swapaxes(1, 2)
        x = joined(x, mixed, at(noise, 1))
        return joined(x, self.channel_mixing(self.norm2(x), at(noise, 2)), at(noise, 3))


class Mixer(nnx.Module):
    """Images in [-1, 1] to one vector an image, which is what a linear head or a probe reads.

        patches = LN(blocks(embedding(images)));  output = mean(patches)

    MLPs are initialised as a ViT's, Xavier-uniform. Tolstikhin et al. 2021, section 2.
    """

    def __init__(self, shape: MixerShape, precision: Precision = PLAIN, *, rngs: nnx.Rngs):
        self.depth = shape.depth
        self.embedding = PatchEmbedding(shape.patch, shape.width, rngs=rngs)
        self.blocks = stacked(lambda rngs: MixerBlock(shape, rngs=rngs), shape.depth, rngs.params())
        self.norm = LayerNorm(shape.width)
        self.precision = precision

    def __call__(
        self, images: Float[Array, "batch side side 3"], noise: Noise | None = None
    ) -> Float[Array, "batch features"]:
        """
        Args:
          images: in [-1, 1].
          noise: of training. Dropout acts on the embedding, in each MLP after its GELU, and on
            each branch before it is added; stochastic depth skips branches for some images.
        """
        x = self.tokens(images, noise)
        return self.summary(through(self.blocks, x, self.depth, noise, self.precision))

    def tokens(
        self, images: Float[Array, "batch side side 3"], noise: Noise | None = None
    ) -> Float[Array, "batch patches width"]:
        """What the first block is given."""
        return dropped(self.embedding(images), at(noise, self.depth))

    def block(
        self,
        layer: Any,
        x: Float[Array, "batch patches width"],
        number: Any,
        noise: Noise | None = None,
    ) -> Float[Array, "batch patches width"]:
        """One block alone: `number`, with the parameters `layer`; `blocks` may be abstract."""
        return through_one(self.blocks, layer, x, number, self.depth, noise, self.precision)

    def summary(self, x: Float[Array, "batch patches width"]) -> Float[Array, "batch features"]:
        """One vector of what the last block gives."""
        return self.norm(x).mean(1)
