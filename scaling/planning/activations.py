"""What the blocks of a network make of a batch, array by array, and what of it is alive together.

Told of `models.vit.Block` as a TPU's compiler schedules it: of each array its shape, its dtype and
the two dimensions that a tile lies over. `kept` is what a block leaves for its backward pass;
`moments` are the moments of one block's backward pass that may be the fullest, each the sum of
what is alive besides what is kept and stacked gradients. Knows no JAX.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.cost import forward_macs
from models.precision import precision_for
from models.shapes import CHANNELS, BiTShape, MixerShape, Shape, TextShape, ViTShape
from scaling.planning.arrays import LANES, SUBLANES, rounded_up
from scaling.planning.devices import DeviceKind
from scaling.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Bytes of each array that a block makes of a batch, padded as a TPU pads it where it is one.

    Fields:
      depth: of blocks.
      size: bytes a number of the compute dtype; `wide` arrays are float32 whatever it is.
      tokens: [batch, tokens, width].
      rows: [batch * tokens, width], as a product takes them: no padding of each image's tokens.
      hidden: [batch, tokens, hidden].
      hidden_rows: [batch * tokens, hidden].
      heads: [batch, heads, tokens, width / heads], of query, key or value.
      wide_heads: the same of the weighted mean before it is divided.
      scores: [batch, heads, tokens, tokens], float32; of a large batch tiles lie over the images.
      scores_again: the same in the compute dtype, in tiles over the tokens, as a product takes it.
      pooled: what the pool's gradient needs of its keys and values: [batch, tokens, heads,
        width / heads] in float32, and twice in bfloat16.
      image: the batch as it comes, 8 bits a colour.
      flat: [batch * patches, 3 * patch ** 2], which the embedding's gradient needs.
      patches: the images as they are cut, before and after rows of patches come first.
      into_hidden: one of the two kernels of an MLP, float32.
      square: one [width, width] kernel, float32.
      convolutions: a BiT, whose `tokens` are all that is kept.
    """

    depth: int
    size: int
    tokens: float
    rows: float
    hidden: float
    hidden_rows: float
    heads: float
    wide_heads: float
    scores: float
    scores_again: float
    pooled: float
    image: float
    flat: float
    patches: float
    into_hidden: float
    square: float
    convolutions: bool = False

    @classmethod
    def of(cls, run: Run, images: float, kind: DeviceKind, tensor: int = 1) -> Arrays:
        """Of `run` with so many images on a device, heads and hidden features split by `tensor`."""
        return cls.of_network(run.model, run, images, kind, tensor)

    @classmethod
    def of_network(
        cls, shape: Shape | TextShape, run: Run, images: float, kind: DeviceKind, tensor: int = 1
    ) -> Arrays:
        """The same of another network that the run's images, or their captions, pass through.

        A BiT is told apart no further than this: about two numbers are kept of each that a kernel
        makes.
        """
        size = 4 if run.compute == "float32" else 2
        tile = (SUBLANES, LANES) if kind.platform == "tpu" else (1, 1)
        side = run.data.resolution
        image = images * side * rounded_up(side, tile[1]) * CHANNELS
        if isinstance(shape, BiTShape):
            return _of_convolutions(shape, images, size, image)
        n, width = _tokens(shape), shape.width
        hidden = max(shape.mlp, shape.mlp_tokens) if isinstance(shape, MixerShape) else shape.mlp
        heads = 0 if isinstance(shape, MixerShape) else shape.heads
        each = width // heads if heads else width
        hidden, heads = -(-hidden // tensor), -(-heads // tensor)

        def tiles(rows: float, lanes: float) -> float:  # either way round: what wastes less
            ways = (rows, lanes), (lanes, rows)
            return min(rounded_up(low, tile[0]) * rounded_up(high, tile[1]) for low, high in ways)

        flat = patches = 0.0
        if not isinstance(shape, TextShape):
            flat = tiles(CHANNELS * shape.patch**2, images * n) * size
            patches = _cut(images, shape.grid, shape.patch, tile) * size
        else:
            image = 0.0
        by_head = images * max(1, heads) * tiles(n, each)
        by_batch = n * max(1, heads) * tiles(images, each)
        precision = precision_for(kind.platform, run.compute, device=kind.name)
        fused = precision.attention == "cudnn" and n % 2 == 0 and each % 8 == 0
        scores = 0.0 if fused else images * heads * tiles(n, n)
        batched = images >= tile[1] > 1
        return cls(
            depth=shape.depth,
            size=size,
            tokens=images * tiles(n, width) * size,
            rows=tiles(images * n, width) * size,
            hidden=images * tiles(n, hidden) * size,
            hidden_rows=tiles(images * n, hidden) * size,
            heads=by_head * size,
            wide_heads=min(by_head, by_batch) * 4,
            scores=4.0 * (images * heads * n * n if batched else scores),
            scores_again=scores * size,
            pooled=(4 + 2 * 2) * min(by_head, by_batch),
            image=image,
            flat=flat,
            patches=patches,
            into_hidden=4.0 * tiles(width, hidden),
            square=4.0 * tiles(width, width) / tensor,
        )

    @property
    def kernels(self) -> float:
        """Parameters of one block, float32."""
        return 2 * self.into_hidden + 4 * self.square

    @property
    def made(self) -> float:
        """All that one block makes, wherever it lives."""
        weights = self.scores * (1 + self.size / 4) + self.scores_again
        return weights + 2 * self.hidden + 7 * self.tokens + 3 * self.heads

    @property
    def forward(self) -> float:
        """Of one block's forward pass that nothing is kept of, at its fullest: scores before and
        after the softmax beside query, key and value, or the MLP's features before and after."""
        attention = 2 * self.scores + 3 * self.heads
        return 2 * self.tokens + max(attention, 2 * self.hidden)

    def kept(self, remat: str) -> float:
        """Of one block, for its backward pass; parameters in the compute dtype are a part of it."""
        if self.convolutions or remat in ("full", "offload"):
            return self.tokens
        if remat == "dots":  # input, results of the products; the last is the next block's input
            return self.tokens + self.hidden_rows + 4 * self.rows
        cast = self.size / 4
        narrow = cast * (cast < 1)  # a float32 array is its own cast
        norms = 2 * 3 * self.tokens / cast  # float32: centred, of unit variance, scaled
        weights = self.scores * (1 + narrow)  # and as the product with values takes them
        gelu = 5 * self.hidden + self.hidden_rows  # what its derivative is made of; its result
        heads = 3 * self.heads + self.wide_heads
        return norms + weights + gelu + heads + 3 * self.rows + narrow * self.kernels

    def moments(self, remat: str, *, fused: bool) -> dict[str, float]:
        """Of one block's backward pass, besides what is kept and the gradients of the stack."""
        if self.convolutions:
            return {"stage": self.tokens / 4}  # a guess: the largest of four
        cast = self.size / 4
        of_mlp = 2 * cast * self.into_hidden  # its kernels, or their gradients
        if remat == "none":
            softmax = (2 + cast) * self.scores + self.hidden + self.heads + 2 * self.tokens
            return {
                "softmax": softmax,
                "heads": 6 * self.heads + self.tokens + of_mlp + cast * 3 * self.square,
                "kernels": 6 * self.square + 2 * self.tokens + of_mlp,
            }
        if remat == "dots":
            qkv, of_out = 3 * self.rows, of_mlp / 2
            softmax = 2 * self.scores + 3 * self.heads + self.hidden + of_out + self.tokens
            mlp = 2 * self.hidden_rows + qkv + of_out + 2 * self.tokens
            return {"softmax": softmax, "mlp": self.kernels + mlp}
        batched = self.scores_again * (self.scores < self.scores_again / cast)  # two layouts
        tokens = 4 * self.tokens + of_mlp
        found = {
            "softmax": (1 + cast) * self.scores + self.hidden + 4 * self.heads + tokens,
            "mlp": self.scores + batched + 2 * self.hidden + 3 * self.heads + 2 * tokens - of_mlp,
        }
        if fused:  # its kernels, as they were taken, and their gradients
            taken = cast * (1 + (cast < 1)) * self.kernels
            found["update"] = 2 * self.into_hidden + taken + self.tokens
        return found


def _cut(images: float, grid: int, patch: int, tile: tuple[int, int]) -> float:
    """Numbers of [batch, grid, patch, grid, patch, 3], and of the same with rows of patches first.

    Tiles lie over the inner patch and grid, then over both grids; over the images of a large batch.
    """
    rows, lanes = tile
    before = rounded_up(grid, rows) * rounded_up(patch, lanes) * grid * patch
    after = rounded_up(grid, rows) * rounded_up(grid, lanes) * patch**2
    batched = (
        rounded_up(images, lanes) / images * (grid * patch) ** 2 if images >= lanes else math.inf
    )
    return CHANNELS * images * (min(before, batched) + min(after, batched))


def _tokens(shape: ViTShape | MixerShape | TextShape) -> int:
    match shape:
        case ViTShape():
            return shape.tokens
        case TextShape():
            return shape.length
        case MixerShape():
            return shape.patches


def _of_convolutions(shape: BiTShape, images: float, size: int, image: float) -> Arrays:
    outputs = 2 * images * size * forward_macs(shape) / (9 * shape.width)
    names = (
        "rows",
        "hidden",
        "hidden_rows",
        "heads",
        "wide_heads",
        "scores",
        "scores_again",
        "flat",
        "patches",
    )
    nothing = dict.fromkeys((*names, "into_hidden", "square"), 0.0)
    return Arrays(depth=1, size=size, tokens=outputs, image=image, convolutions=True, **nothing)
