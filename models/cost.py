"""What a shape costs, in closed form: parameters, multiply-adds, training FLOPs.

One multiply-add (MAC) is two FLOPs. Only matrix products and convolutions are counted, a
convolution at every place of its kernel, padding included; normalisation, standardisation of
weights, softmax, activations, biases and pools without products are left out, as in the published
tables. Exact, and it knows no JAX.
"""

from typing import TypedDict

from models.shapes import CHANNELS, BiTShape, MixerShape, Shape, TextShape, Transformer, ViTShape
from models.zoo import BITS, MIXERS, VARIANTS
from models.zoo import shape as named


def parameters(shape: Shape | TextShape, classes: int | None = None) -> int:
    """Trainable numbers of the backbone, its pool included, and of a classifier if there is one.

    Args:
      shape: the backbone.
      classes: outputs of a linear classifier with bias; None for the backbone alone.
    """
    classifier = 0 if classes is None else (shape.features + 1) * classes
    top = 0 if isinstance(shape, BiTShape | MixerShape) else _top_parameters(shape)
    return trunk_parameters(shape) + top + classifier


def trunk_parameters(shape: Shape | TextShape) -> int:
    """Trainable numbers without pool, pre-logits and classifier.

    For a ViT the "params" of Zhai et al. 2022, Table 2; the others have no such top.
    """
    match shape:
        case ViTShape():
            return _vit_trunk_parameters(shape)
        case BiTShape():
            return _bit_parameters(shape)
        case MixerShape():
            return _mixer_parameters(shape)
        case TextShape():
            return _text_parameters(shape)


def forward_macs(shape: Shape | TextShape, classes: int | None = None) -> int:
    """Multiply-adds of one image's or text's forward pass, pool and any classifier included."""
    top = 0 if isinstance(shape, BiTShape | MixerShape) else _top_macs(shape)
    return trunk_forward_macs(shape) + top + shape.features * (classes or 0)


def trunk_forward_macs(shape: Shape | TextShape) -> int:
    """The same without pool, pre-logits and classifier."""
    match shape:
        case ViTShape():
            return _vit_trunk_macs(shape)
        case BiTShape():
            return _bit_macs(shape)
        case MixerShape():
            return _mixer_macs(shape)
        case TextShape():
            return shape.depth * _block_macs(shape, shape.length)


def attention_macs(shape: Shape | TextShape) -> int:
    """Those of them that multiply what blocks make of an image with each other and not with
    parameters: queries with keys, weights with values. A pool's are left out."""
    match shape:
        case ViTShape():
            return shape.depth * _attention_macs(shape, shape.tokens)
        case TextShape():
            return shape.depth * _attention_macs(shape, shape.length)
        case _:
            return 0


def train_flops(shape: Shape, images_seen: int, classes: int | None = None) -> int:
    """FLOPs of training on `images_seen` images: a backward pass costs two forward passes."""
    return 3 * 2 * forward_macs(shape, classes) * images_seen


class CatalogueRow(TypedDict):
    """One model at one resolution. Pixels for lengths, 1e9 multiply-adds for `forward_gmacs`.

    None where a family has no such number. The width of a BiT is that of its root, its depth the
    layers with weights; the MLP of a Mixer is the one that mixes features.
    """

    name: str
    family: str
    patch: int | None
    resolution: int
    width: int
    depth: int
    mlp: int | None
    heads: int | None
    params: int
    params_trunk: int
    forward_gmacs: float


def catalogue(classes: int | None = None) -> list[CatalogueRow]:
    """The whole zoo: what was published, at the resolutions it was used at.

    Every ViT variant with patches 16 and 14, and the paper's own with 28 and 32, at 224 px and at
    the paper's 384 px, save for patch 14, where 378 = 27 x 14 leaves no margin unseen; BiTs at
    224 and 384 px; Mixers, which are made for one resolution, at 224 px.
    """
    names = [f"{variant}/{patch}" for variant in VARIANTS for patch in (16, 14)]
    names += ["s/28", "S/32", "B/28", "B/32"]
    vits = [(name, side) for name in names for side in (224, 378 if name.endswith("/14") else 384)]
    bits = [(name, side) for name in BITS for side in (224, 384)]
    mixers = [(f"{variant}/16", 224) for variant in MIXERS]
    return [row(named(name, side), classes) for name, side in (*vits, *bits, *mixers)]


def row(shape: Shape, classes: int | None = None) -> CatalogueRow:
    """`params` has the pool, and the classifier if there is one; `params_trunk` has neither."""
    family = {ViTShape: "ViT", BiTShape: "BiT", MixerShape: "Mixer"}[type(shape)]
    return CatalogueRow(
        name=shape.name,
        family=family,
        patch=None if isinstance(shape, BiTShape) else shape.patch,
        resolution=shape.resolution,
        width=shape.width,
        depth=shape.depth,
        mlp=None if isinstance(shape, BiTShape) else shape.mlp,
        heads=shape.heads if isinstance(shape, ViTShape) else None,
        params=parameters(shape, classes),
        params_trunk=trunk_parameters(shape),
        forward_gmacs=forward_macs(shape, classes) / 1e9,
    )


# What ViTs and texts share


def _blocks_parameters(shape: Transformer, norms: int = 2) -> int:
    """All blocks, with so many norms each, and the norm behind them."""
    block = norms * _norm(shape, shape.width) + _attention(shape) + _mlp(shape.width, shape.mlp)
    return shape.depth * block + _norm(shape, shape.width)


def _top_parameters(shape: ViTShape | TextShape) -> int:
    probe = shape.width
    mlp = _mlp(shape.width, shape.mlp)
    pool = probe + _attention(shape) + _norm(shape, shape.width) + mlp
    pre_logits = shape.pre_logits if isinstance(shape, ViTShape) else None
    return (pool if shape.pool == "map" else 0) + (shape.width + 1) * (pre_logits or 0)


def _attention(shape: Transformer) -> int:
    """Projections to query, key, value and out; norms of queries and of keys, one for all heads."""
    biases = (3 if shape.qkv_and_norm_biases else 0) + 1
    norms = 2 * _norm(shape, shape.width // shape.heads) if shape.query_key_norm else 0
    return 4 * shape.width**2 + biases * shape.width + norms


def _norm(shape: Transformer, width: int) -> int:
    """Scale, and bias where norms have one."""
    return (2 if shape.qkv_and_norm_biases else 1) * width


def _block_macs(shape: Transformer, n: int) -> int:
    """With n tokens, width d, MLP width m: 4 n d^2 (projections) + 2 n^2 d (attention) + 2 n d m
    (MLP)."""
    d, m = shape.width, shape.mlp
    return 4 * n * d**2 + _attention_macs(shape, n) + 2 * n * d * m


def _attention_macs(shape: Transformer, n: int) -> int:
    return 2 * n**2 * shape.width


def _top_macs(shape: ViTShape | TextShape) -> int:
    """With n tokens, width d, MLP width m, f features of pre-logits, the MAP head and they take

    2 n d^2 (keys, values) + 2 d^2 (query, output) + 2 n d (attention) + 2 d m (MLP) + d f.
    """
    n = shape.length if isinstance(shape, TextShape) else shape.tokens
    d, m = shape.width, shape.mlp
    pre_logits = shape.pre_logits if isinstance(shape, ViTShape) else None
    pool = 2 * n * d**2 + 2 * d**2 + 2 * n * d + 2 * d * m
    return (pool if shape.pool == "map" else 0) + d * (pre_logits or 0)


# ViT


def _vit_trunk_parameters(shape: ViTShape) -> int:
    position = shape.patches * shape.width if shape.position == "learned" else 0
    token = shape.width if shape.pool == "token" else 0
    norms = 1 if shape.block == "parallel" else 2
    return _embedding(shape) + position + token + _blocks_parameters(shape, norms)


def _vit_trunk_macs(shape: ViTShape) -> int:
    """With N patches of side p and width d: N 3 p^2 d (embedding), and the blocks."""
    return _embedding_macs(shape) + shape.depth * _block_macs(shape, shape.tokens)


# Text


def _text_parameters(shape: TextShape) -> int:
    """A row of the table a token of the vocabulary, one of the positions a token of a text."""
    return (shape.vocabulary + shape.length) * shape.width + _blocks_parameters(shape)


# BiT


def _bit_parameters(shape: BiTShape) -> int:
    """A block that turns c channels into 4 m by way of m normalises c, m and m of them before its
    convolutions, or m, m and 4 m after them, and 4 m once more where it has a projection."""
    norms = shape.features if shape.order == "pre" else shape.width
    kernels = 7 * 7 * CHANNELS * shape.width
    for inputs, middle, _ in _bottlenecks(shape):
        outputs = 4 * middle
        after = outputs + (outputs if inputs != outputs else 0)
        norms += 2 * middle + (inputs if shape.order == "pre" else after)
        kernels += _bottleneck_kernels(inputs, middle)
    return kernels + 2 * norms


def _bottleneck_kernels(inputs: int, middle: int) -> int:
    outputs = 4 * middle
    projection = inputs * outputs if inputs != outputs else 0
    return inputs * middle + 9 * middle**2 + middle * outputs + projection


def _bit_macs(shape: BiTShape) -> int:
    """Each kernel once for every pixel it makes; a block's first 1x1 comes before its stride."""
    side = _halved(shape.resolution)
    macs = side**2 * 7 * 7 * CHANNELS * shape.width
    side = _halved(side)  # by the pool
    for inputs, middle, stride in _bottlenecks(shape):
        before, side = side, _halved(side) if stride == 2 else side
        first = inputs * middle
        macs += before**2 * first + side**2 * (_bottleneck_kernels(inputs, middle) - first)
    return macs


def _bottlenecks(shape: BiTShape) -> list[tuple[int, int, int]]:
    """Channels that come in, channels of the middle, and stride, of every block."""
    blocks, inputs = [], shape.width
    for stage, depth in enumerate(shape.stages):
        middle = shape.width * 2**stage
        for block in range(depth):
            blocks.append((inputs, middle, 2 if stage and not block else 1))
            inputs = 4 * middle
    return blocks


def _halved(side: int) -> int:
    """Pixels at every second of which a kernel stands, the first one included."""
    return (side + 1) // 2


# Mixer


def _mixer_parameters(shape: MixerShape) -> int:
    mlps = _mlp(shape.patches, shape.mlp_tokens) + _mlp(shape.width, shape.mlp)
    norm = 2 * shape.width
    return _embedding(shape) + shape.depth * (mlps + 2 * norm) + norm


def _mixer_macs(shape: MixerShape) -> int:
    """With N patches of side p, width d, depth L, MLPs s and m wide:

    N 3 p^2 d (embedding) + L [2 N d s (across patches) + 2 N d m (across features)].
    """
    block = 2 * shape.patches * shape.width * (shape.mlp_tokens + shape.mlp)
    return _embedding_macs(shape) + shape.depth * block


# What families share


def _embedding(shape: ViTShape | MixerShape) -> int:
    return (CHANNELS * shape.patch**2 + 1) * shape.width


def _embedding_macs(shape: ViTShape | MixerShape) -> int:
    return shape.patches * CHANNELS * shape.patch**2 * shape.width


def _mlp(width: int, hidden: int) -> int:
    """Two products with their biases."""
    return 2 * width * hidden + hidden + width
