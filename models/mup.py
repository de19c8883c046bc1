"""The maximal update parametrisation of a ViT: what changes with width, head size and depth.

A network of which only the width grows wants a smaller learning rate in the standard
parametrisation: Adam moves every entry of a kernel by the same step, a product over n features
adds up n such moves, and so the features of a wider network change more at each step. Here they
change by as much at every width, and the learning rate found on a small network is that of a
large one. At the base of `shape.mup` every number is that of the standard parametrisation.

With m = width / base_width and m_L = depth / base_depth, for Adam and for any other optimizer that
normalises the gradient (Adafactor without learning rates from parameter norms is one):

    parameter                        start                 learning rate      in a block, besides
    embedding kernel                 as ever               1
    position, token, probe           std as at the base    1
    biases and norms                 as ever               1                  m_L^(a - 1)
    kernels between features         variance ~ 1 / m      1 / m              m_L^(a - 1)
    head kernel                      zero                  1 / m

    scores of attention              q k sqrt(base_head) / size of a head, not q k / sqrt(size)
    residual branches                times m_L^-a, a = depth_exponent

The MLPs' and the pre-logits' features are to grow with the width. What weight decay takes from a
parameter is no part of the update that is scaled, so it stays the same share of it at all widths.

Sources: Yang et al. 2022, "Tensor Programs V", arXiv 2203.03466, Table 3 (its Table 8 divides the
logits by m in place of the head's learning rate; from a zero kernel that is the same). Depth, with
a = 1/2: Yang et al. 2024, "Tensor Programs VI", arXiv 2310.02244; with a = 1: Dey et al. 2025,
"CompleteP", arXiv 2505.01618, Table 1.

Knows no JAX: a layer asks here for its numbers, and `multiplier` knows parameters by their path.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from models.shapes import Shape, Transformer, ViTShape


def multipliers(shape: Shape) -> Callable[[tuple[str, ...]], float] | None:
    """From a parameter's path to the factor of its learning rate; None in the standard one."""
    if isinstance(shape, ViTShape) and shape.mup is not None:
        return partial(multiplier, shape)
    return None


def multiplier(shape: ViTShape, path: tuple[str, ...]) -> float:
    """The factor of one parameter's learning rate.

    Args:
      shape: of the backbone.
      path: keys down to the parameter, such as ("backbone", "blocks", "mlp", "into", "kernel");
        where it begins does not matter.
    """
    if shape.mup is None:
        return 1.0
    over_features = path[-1] == "kernel" and "embedding" not in path
    factor = shape.mup.base_width / shape.width if over_features else 1.0
    if "blocks" in path:
        factor *= _depths(shape) ** (shape.mup.depth_exponent - 1)
    return factor


def branch_scale(shape: Transformer) -> float:
    """What each residual branch is multiplied by before it joins the stream."""
    return 1.0 if shape.mup is None else _depths(shape) ** -shape.mup.depth_exponent


def attention_scale(shape: Transformer) -> float:
    """What the products of queries and keys are multiplied by.

    1 / sqrt(size) suits queries and keys that know nothing of each other, whose product over
    `size` features grows as its root. Trained ones do, and it grows as the size.
    """
    size = shape.width // shape.heads
    standard = size**-0.5
    return standard if shape.mup is None else standard * math.sqrt(shape.mup.base_head / size)


def folded(shape: ViTShape, path: str) -> float:
    """What a parameter is to be multiplied by for a network of the standard parametrisation to
    compute the same.

    Args:
      path: of a parameter of the backbone, such as "blocks/mlp/out/kernel".
    """
    if "/attention/query/" in path:
        return attention_scale(shape) * math.sqrt(shape.width // shape.heads)
    if path.startswith(("blocks/attention/out/", "blocks/mlp/out/")):
        return branch_scale(shape)
    return 1.0


def base_width(shape: Transformer) -> int:
    """The width whose standard deviation the position table and the probe start with."""
    return shape.width if shape.mup is None else shape.mup.base_width


def _depths(shape: Transformer) -> float:
    """m_L: how many times as deep as the base; 1 where depth is to change nothing."""
    if shape.mup is None or shape.mup.base_depth is None:
        return 1.0
    return shape.depth / shape.mup.base_depth
