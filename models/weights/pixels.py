"""Which pixels a network was trained on, and the same function of pixels of -1 .. 1.

Every network here sees a pixel p in -1 .. 1. One that was trained on ((p + 1) / 2 - mean) / std
sees the same once that affine map is folded into its patch embedding: (p + 1) / 2 in 0 .. 1 is what
`mean` and `std` are of.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from models.shapes import BiTShape, Shape
from models.weights.ours import Flat

Colours: TypeAlias = tuple[float, float, float]
KEYS = (("mean", "std"), ("image_mean", "image_std"))
"""What timm and open_clip call them, and transformers."""
KERNEL, BIAS = "embedding/kernel", "embedding/bias"
LEAST_STD = 1e-3  # pixels of 0 .. 255 have 1 / 255
SHOWN = 80  # characters of what is no mean
UNKNOWN = (
    "nothing says the mean and std of the pixels it was trained on: -1 .. 1 is assumed, a mean and "
    "std of 0.5; else give --mean and --std"
)


class Pixels(NamedTuple):
    """What was done to pixels of 0 .. 1, red, green and blue: (pixel - mean) / std.

    Fields:
      source: where that stands, for a person.
    """

    mean: Colours
    std: Colours
    source: str

    @property
    def usual(self) -> bool:
        """Whether they are -1 .. 1, as every network here sees them."""
        return np.allclose((*self.mean, *self.std), 0.5, rtol=0, atol=1e-9)

    @property
    def words(self) -> str:
        mean, std = (", ".join(f"{x:g}" for x in each) for each in (self.mean, self.std))
        return f"mean {mean} and std {std} ({self.source})"


def pixels_of(mean: Any, std: Any, source: str) -> Pixels | None:
    """What is said of pixels: each one number or three, or text with these; None: nothing is.

    Raises:
      ValueError: they are no such numbers.
    """
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        there, lacks = ("std", "mean") if mean is None else ("mean", "std")
        raise ValueError(f"{source}: {there} without {lacks}; give both.")
    return Pixels(
        _colours(mean, "mean", source, 0), _colours(std, "std", source, LEAST_STD), source
    )


def pixels_in(said: Mapping[str, Any], source: str) -> Pixels | None:
    """What a configuration says of pixels; None: nothing.

    Raises:
      ValueError: what it says cannot be done.
    """
    factor = said.get("rescale_factor")
    if said.get("do_rescale") is False or not (factor is None or _is_255th(factor)):
        raise ValueError(
            f"{source} brings pixels to another range than 0 .. 1 (do_rescale, rescale_factor)."
        )
    if said.get("do_normalize") is False:
        return Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), source)
    for mean, std in KEYS:
        if mean in said or std in said:
            return pixels_of(said.get(mean), said.get(std), source)
    return None


def check_can_fold(pixels: Pixels | None, shape: Shape) -> None:
    """Raise ValueError where a network cannot be had for pixels of -1 .. 1."""
    if pixels is not None and not pixels.usual and isinstance(shape, BiTShape):
        raise ValueError(
            f"{shape.name} was trained on pixels of {pixels.words}, which cannot be folded into a "
            "BiT: its root convolution pads with zeros and its kernel is standardised. Only a mean "
            "and std of 0.5 can be read."
        )


def fold(arrays: Flat, pixels: Pixels) -> None:
    """Make the patch embedding in `arrays` one of pixels of -1 .. 1; computed in float64.

    With (pixel - mean) / std = a p + b, a = 0.5 / std and b = (0.5 - mean) / std, the kernel's rows
    are multiplied by the a of their colour, and the bias has the sum of the rows times b added.
    """
    kernel = arrays[KERNEL].astype(np.float64)
    mean, std = np.array(pixels.mean), np.array(pixels.std)
    patches = len(kernel) // 3  # rows are pixel by pixel, colours innermost
    a, b = (np.tile(each, patches)[:, None] for each in (0.5 / std, (0.5 - mean) / std))
    bias = arrays[BIAS].astype(np.float64) + (b * kernel).sum(0)
    arrays[KERNEL] = (a * kernel).astype(arrays[KERNEL].dtype)
    arrays[BIAS] = bias.astype(arrays[BIAS].dtype)


def _colours(said: Any, what: str, source: str, least: float) -> Colours:
    each = said.split(",") if isinstance(said, str) else said
    try:
        found = tuple(float(x) for x in (each if isinstance(each, list | tuple) else [each]))
    except (TypeError, ValueError, OverflowError):
        found = ()
    if len(found) == 1:
        found *= 3
    if len(found) != 3 or not all(map(math.isfinite, found)):
        raise ValueError(
            f"{source}: {what} is {repr(said)[:SHOWN]}; it is one number, or three numbers."
        )
    if min(found) < least or max(found) > 1:
        shown = ", ".join(f"{x:g}" for x in found)
        raise ValueError(
            f"{source}: {what} is {shown}; of pixels of 0 .. 1 each is {least:g} to 1. Divide "
            "those of pixels of 0 .. 255 by 255."
        )
    return found


def _is_255th(factor: Any) -> bool:
    return isinstance(factor, int | float) and math.isclose(factor, 1 / 255, rel_tol=1e-6)
