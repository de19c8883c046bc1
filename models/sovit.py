"""Which shape of a ViT a compute budget is best spent on, by the law of SoViT. Knows no JAX.

The law: the best width, depth and MLP grow as powers of compute, from a small model that a grid
search found best at a small compute. What the paper leaves open, and how far the law is from the
two shapes that it published, is said at `START_COMPUTE`.

Alabdulmohsin et al. 2023, "Getting ViT in Shape: Scaling Laws for Compute-Optimal Model Design",
arXiv 2305.13035, sections 3 and 4.1 and appendix B.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from models.cost import forward_macs, parameters, train_flops
from models.shapes import ViTShape


class Proportions(NamedTuple):
    """What the law speaks of, each as a number of features or blocks that need not be whole."""

    width: float
    depth: float
    mlp: float


START = Proportions(608, 10, 928)
"""The model that the paper's grid search found best for little compute (its x0)."""

EXPONENTS = Proportions(0.22, 0.45, 0.6)
"""How the best value of one dimension alone grows with compute, the others being large (s_k)."""

START_COMPUTE = 3.5e18
"""FLOPs of the forward passes for which START is best (the paper's t0), fitted here.

The paper prices a training as GFLOPs of one forward pass, two a multiply-add, times the images
seen, and no backward pass: 220 GFLOPs x 40e9 images = 8.8e12 GFLOPs for SoViT-400m/14, where it
says 9T. It does not state t0; of the computes for which START is best it took the least, and the
grid search saw 600M images, which is 9.3e18 FLOPs of START. 3.5e18, which is 226M images, is what
fits the logarithms of the two published shapes best by least squares:

                   compute      width         depth        mlp
    SoViT-150m/14  1.87e20   814 for 880   18.2 for 18   2056 for 2320
    SoViT-400m/14  8.81e21  1080 for 1152  32.4 for 27   4443 for 4304

The worst are depth, 20 % too deep at 400m, and the MLP, 11 % too small at 150m; the grid of the
paper's own search has steps of 20 %. With t0 = 9.3e18 depth at 400m is 4 % off, but the MLP at
150m 27 %. The published shapes follow no single t0: from the one to the other, 47 times the
compute, the law grows depth by 1.78 and the MLP by 2.16, the paper's shapes by 1.50 and 1.86.
"""

TESTED = (START_COMPUTE, 8.9e21)
"""FLOPs of the forward passes between which the law was tested: START's and SoViT-400m/14's."""

BACKWARD = 3  # FLOPs of a training step in forward passes: a backward pass costs two of them
TILE = 128  # features that a matrix unit takes at once
SMALL = 512  # below it steps of TILE are too coarse, and half a tile it is
FEWEST = 64  # features of the narrowest MLP that is proposed
MOST = 1e40  # FLOPs; beyond it floats would end before the arithmetic does
STEP = 4.0  # from one proposal to the next in compute: 11 % in width, 23 % in depth, 32 % in MLP
PATCH, RESOLUTION = 14, 224  # pixels, where the law was found


class Proposal(TypedDict):
    """A shape for a budget.

    Fields:
      name, patch, resolution, width, depth, mlp, heads: as in `ViTShape`.
      params: trainable numbers, MAP head included, with the classifier if there is one.
      forward_gmacs: multiply-adds of one image's forward pass, in 1e9; each is two FLOPs.
      train_gflops: FLOPs of one image in training, in 1e9: 2 x 3 forward_gmacs.
      images_seen: whole images that the budget asked for buys.
      best_for_flops: the training FLOPs for which the law proposes this shape.
      extrapolated: whether these lie outside of what the law was tested on.
    """

    name: str
    patch: int
    resolution: int
    width: int
    depth: int
    mlp: int
    heads: int
    params: int
    forward_gmacs: float
    train_gflops: float
    images_seen: int
    best_for_flops: float
    extrapolated: bool


def proportions(forward_flops: float) -> Proportions:
    """The best width, depth and MLP for a compute, as real numbers.

        x(t) = x0 (t / t0) ^ (s / 3)

    A straight line on a log-log plot for each dimension. The 3 shares a growth of compute equally
    between the three dimensions.

    Args:
      forward_flops: t, FLOPs of all forward passes of the training, > 0: two a multiply-add, and
        no backward pass. That is a third of what `cost.train_flops` counts.

    Source: as the file; `START_COMPUTE` says how well it meets the published shapes.
    """
    growth = forward_flops / START_COMPUTE
    return Proportions(
        *(start * growth ** (s / 3) for start, s in zip(START, EXPONENTS, strict=True))
    )


def shape_for(flops: float, *, patch: int = PATCH, resolution: int = RESOLUTION) -> ViTShape:
    """The law's shape for so many training FLOPs, rounded to what hardware tiles well.

    Width and MLP are multiples of 128, the side of the matrix units of TPUs and of the tiles that
    GPUs work best on, or of 64 below 512: a product of 1153 features takes as long as one of
    1280. Heads have 64 features, as in most of the zoo, and beyond a width of 1024, where there
    are enough of them, 128: a head's size is what the products of attention sum over. The law was
    found with 16 heads throughout, and says nothing of their number.

    Args:
      flops: of the whole training, backward passes included, > 0.
      patch: side in pixels. The law was found at 14 and 224 px, 256 tokens. At others the shape
        is that of the same compute, which fewer tokens spend on more images: an assumption.
      resolution: side of the image in pixels.

    Raises:
      ValueError: the law leaves no network at so little compute, or the patch exceeds the image.
    """
    best = proportions(flops / BACKWARD)
    if best.depth < 1 or best.mlp < FEWEST:
        raise ValueError(
            f"a budget of {flops:.3g} FLOPs is too small: below {least_flops():.2g} the law of "
            f"SoViT asks for less than one block, or for an MLP of less than {FEWEST} features."
        )
    width = _tiled(best.width)
    depth, mlp = max(1, round(best.depth)), _tiled(best.mlp)
    return ViTShape(
        name=f"{width}x{depth}x{mlp}",
        patch=patch,
        resolution=resolution,
        width=width,
        depth=depth,
        mlp=mlp,
        heads=width // (64 if width <= 1024 else 128),
    )


def proposals(
    flops: float,
    *,
    patch: int = PATCH,
    resolution: int = RESOLUTION,
    classes: int | None = None,
) -> list[Proposal]:
    """Shapes around the best one for a budget, smallest first: a grid to train at that budget.

    They are the law's shapes for a 16th, a 4th, 1, 4 and 16 times the budget, without those that
    round to the same or that the law has no shape for. All are priced at the budget itself.

    Args:
      flops: of the whole training, backward passes included, > 0.
      patch: side in pixels; as in `shape_for`.
      resolution: side of the image in pixels.
      classes: outputs of a linear classifier that is priced too; None for the backbone alone.

    Raises:
      ValueError: as `shape_for`, or the budget does not buy one image of the shape it asks for.
    """
    if not 0 < flops <= MOST:
        raise ValueError(f"a budget of {flops:g} FLOPs is not in (0, {MOST:g}]; write 1e18, say.")
    best = shape_for(flops, patch=patch, resolution=resolution)
    if not _images(best, flops, classes):
        raise ValueError(
            f"a budget of {flops:.3g} FLOPs does not buy one image of {resolution} px with a "
            f"patch of {patch} px: that takes {train_flops(best, 1, classes):.2g} FLOPs."
        )
    found: dict[str, Proposal] = {}
    for power in (0, -1, 1, -2, 2):  # the budget's own first: of two that round alike it stays
        best_for = flops * STEP**power
        if best_for < least_flops():
            continue
        shape = shape_for(best_for, patch=patch, resolution=resolution)
        if shape.name not in found and _images(shape, flops, classes):
            found[shape.name] = _priced(shape, flops, best_for, classes)
    return sorted(found.values(), key=lambda each: each["best_for_flops"])


def least_flops() -> float:
    """The training FLOPs below which the law leaves no network: one block, an MLP of 64."""
    growths = (
        (1 / START.depth) ** (3 / EXPONENTS.depth),
        (FEWEST / START.mlp) ** (3 / EXPONENTS.mlp),
    )
    return BACKWARD * START_COMPUTE * max(growths) * (1 + 1e-9)  # a hair, for the rounding


def _priced(shape: ViTShape, flops: float, best_for: float, classes: int | None) -> Proposal:
    macs = forward_macs(shape, classes)
    return Proposal(
        name=shape.name,
        patch=shape.patch,
        resolution=shape.resolution,
        width=shape.width,
        depth=shape.depth,
        mlp=shape.mlp,
        heads=shape.heads,
        params=parameters(shape, classes),
        forward_gmacs=macs / 1e9,
        train_gflops=train_flops(shape, 1, classes) / 1e9,
        images_seen=_images(shape, flops, classes),
        best_for_flops=best_for,
        extrapolated=not TESTED[0] <= best_for / BACKWARD <= TESTED[1],
    )


def _images(shape: ViTShape, flops: float, classes: int | None) -> int:
    return int(flops // train_flops(shape, 1, classes))


def _tiled(features: float) -> int:
    """The nearest multiple of a tile, or of half a tile where features are few; never 0."""
    grain = TILE if features >= SMALL else TILE // 2
    return max(1, round(features / grain)) * grain
