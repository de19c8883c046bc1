"""Which part of an image becomes the square that a network sees. Knows no pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

LONGEST = 8  # as many times the shorter side are kept of an image whose aspect ratio is kept


class Crops(NamedTuple):
    """Of each image: a box is cut out, resized, and a square taken of that.

    All are int64 and in pixels; the side of the square is the source's resolution.

    Fields:
      box: [n, 4] top, left, height, width, within the image as it lies in its file.
      resized: [n, 2] height and width that the box is resized to.
      corner: [n, 2] row and column of the resized box where the square begins. It may begin before
        the box and end beyond it: what is not covered is black.
    """

    box: NDArray[np.int64]
    resized: NDArray[np.int64]
    corner: NDArray[np.int64]


class Crop(NamedTuple):
    """`Crops` of one image, as whole numbers."""

    box: tuple[int, ...]
    resized: tuple[int, ...]
    corner: tuple[int, ...]


Cropper: TypeAlias = Callable[[NDArray[np.int64]], Crops]
"""Heights and widths of images, int64 [n, 2], to the crops of these images."""


def crop_of(crops: Crops, image: int) -> Crop:
    """That of one image."""
    return Crop(*(tuple(each[image].tolist()) for each in crops))


def whole(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Boxes [n, 4] of all of each image."""
    return np.pad(np.asarray(sizes, np.int64), ((0, 0), (2, 0)))


def less_elongated(box: NDArray[np.int64]) -> NDArray[np.int64]:
    """The central part of boxes more than `LONGEST` times as long as wide, others as they are: a
    line of pixels would be resized to an image that no memory holds."""
    longest = LONGEST * box[:, 2:].min(1, keepdims=True)
    kept = np.minimum(box[:, 2:], longest)
    return np.concatenate([box[:, :2] + (box[:, 2:] - kept) // 2, kept], axis=1)


def short_side(sizes: NDArray[np.int64], to: int) -> NDArray[np.int64]:
    """Sizes [n, 2] whose shorter side is `to`, the aspect ratio kept up to rounding."""
    factor = to / sizes.min(1, keepdims=True)
    return np.maximum(np.rint(sizes * factor).astype(np.int64), 1)


def central(resized: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """Corners [n, 2] of the central squares."""
    return (resized - side) // 2
