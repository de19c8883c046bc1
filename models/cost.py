"""What a shape costs, in closed form: parameters, multiply-adds, training FLOPs.

One multiply-add (MAC) is two FLOPs. Only matrix products are counted; normalisation, softmax,
GELU and biases are left out, as in the published tables. Exact, and it knows no JAX.
"""

from typing import TypedDict

from models.shapes import Shape, ViTShape
from models.zoo import VARIANTS, vit

CHANNELS = 3


def parameters(shape: Shape, classes: int | None = None) -> int:
    """Trainable numbers of the backbone, MAP head included, and of a classifier if there is one.

    Args:
      shape: the backbone.
      classes: outputs of a linear classifier with bias; None for the backbone alone.
    """
    if not isinstance(shape, ViTShape):
        raise ValueError(f"{shape.name}: only ViT is costed yet.")
    probe = shape.width
    pool = probe + _attention(shape) + _norm(shape) + _mlp(shape)
    classifier = 0 if classes is None else (shape.width + 1) * classes
    return trunk_parameters(shape) + pool + classifier


def trunk_parameters(shape: Shape) -> int:
    """Trainable numbers without MAP head and classifier: the "params" of the paper's Table 2."""
    if not isinstance(shape, ViTShape):
        raise ValueError(f"{shape.name}: only ViT is costed yet.")
    embedding = CHANNELS * shape.patch**2 * shape.width + shape.width
    position = shape.tokens * shape.width
    block = 2 * _norm(shape) + _attention(shape) + _mlp(shape)
    return embedding + position + shape.depth * block + _norm(shape)


def forward_macs(shape: Shape, classes: int | None = None) -> int:
    """Multiply-adds of one image's forward pass, MAP head and any classifier included.

    With n tokens, width d, MLP width m, the MAP head adds to the trunk

        2 n d^2 (keys, values) + 2 d^2 (query, output) + 2 n d (attention) + 2 d m (MLP).
    """
    if not isinstance(shape, ViTShape):
        raise ValueError(f"{shape.name}: only ViT is costed yet.")
    n, d, m = shape.tokens, shape.width, shape.mlp
    pool = 2 * n * d**2 + 2 * d**2 + 2 * n * d + 2 * d * m
    return trunk_forward_macs(shape) + pool + d * (classes or 0)


def trunk_forward_macs(shape: Shape) -> int:
    """Multiply-adds of one image's forward pass without MAP head and classifier.

    With n tokens of patch side p, width d, depth L, MLP width m:

        n 3 p^2 d (embedding) + L [4 n d^2 (projections) + 2 n^2 d (attention) + 2 n d m (MLP)].
    """
    if not isinstance(shape, ViTShape):
        raise ValueError(f"{shape.name}: only ViT is costed yet.")
    n, p, d, m = shape.tokens, shape.patch, shape.width, shape.mlp
    return n * CHANNELS * p**2 * d + shape.depth * (4 * n * d**2 + 2 * n**2 * d + 2 * n * d * m)


def train_flops(shape: Shape, images_seen: int, classes: int | None = None) -> int:
    """FLOPs of training on `images_seen` images: a backward pass costs two forward passes."""
    return 3 * 2 * forward_macs(shape, classes) * images_seen


class CatalogueRow(TypedDict):
    """One model at one resolution. Pixels for lengths, 1e9 multiply-adds for `forward_gmacs`."""

    name: str
    patch: int
    resolution: int
    width: int
    depth: int
    mlp: int
    heads: int
    params: int
    params_trunk: int
    forward_gmacs: float


def catalogue(classes: int | None = None) -> list[CatalogueRow]:
    """Every variant with patches 16 and 14, and the paper's own with 28 and 32, at two resolutions.

    The larger resolution is the paper's 384 px, save for patch 14, where 378 = 27 x 14 leaves no
    margin unseen.
    """
    resolutions = {16: (224, 384), 14: (224, 378), 28: (224, 384), 32: (224, 384)}
    names = [f"{variant}/{patch}" for variant in VARIANTS for patch in (16, 14)]
    names += ["s/28", "S/32", "B/28", "B/32"]
    return [
        row(vit(name, resolution), classes)
        for name in names
        for resolution in resolutions[vit(name).patch]
    ]


def row(shape: Shape, classes: int | None = None) -> CatalogueRow:
    """`params` has the MAP head, and the classifier if there is one; `params_trunk` has neither."""
    if not isinstance(shape, ViTShape):
        raise ValueError(f"{shape.name}: only ViT is costed yet.")
    return CatalogueRow(
        name=shape.name,
        patch=shape.patch,
        resolution=shape.resolution,
        width=shape.width,
        depth=shape.depth,
        mlp=shape.mlp,
        heads=shape.heads,
        params=parameters(shape, classes),
        params_trunk=trunk_parameters(shape),
        forward_gmacs=forward_macs(shape, classes) / 1e9,
    )


def _attention(shape: ViTShape) -> int:
    """Query, key, value and output projections, each with a bias."""
    return 4 * (shape.width**2 + shape.width)


def _mlp(shape: ViTShape) -> int:
    """Two products with their biases."""
    return 2 * shape.width * shape.mlp + shape.mlp + shape.width


def _norm(shape: ViTShape) -> int:
    """Scale and bias."""
    return 2 * shape.width
