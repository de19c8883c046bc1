"""Tables of positions, one row a patch, row by row over a square grid; NumPy only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEMPERATURE = 10_000.0


def sincos_positions(grid: int, width: int) -> NDArray[np.float32]:
    """Fixed sines and cosines of column x and row y, [1, grid^2, width].

        sin(x w), cos(x w), sin(y w), cos(y w),   w_k = TEMPERATURE^(-k / (width / 4 - 1))

    with k = 0 .. width / 4 - 1, x and y in patches: wavelengths from 2 pi patches to 10,000 times
    that. Chen, Xie & He 2021 (MoCo v3), in the order of big_vision.

    Args:
      grid: patches along a side.
      width: features, a multiple of 4.
    """
    frequencies = width // 4
    w = TEMPERATURE ** (-np.arange(frequencies) / max(1, frequencies - 1))
    y, x = (np.outer(each.ravel(), w) for each in np.mgrid[:grid, :grid])
    table = np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1)
    return table[None].astype(np.float32)


def resize_positions(table: NDArray[Any], grid: int) -> NDArray[Any]:
    """A table for a square grid of another size, interpolated between the four nearest rows.

    Bilinear, the corners staying at the corners: patch i of the new side reads the old one at
    i (old - 1) / (grid - 1), which is `scipy.ndimage.zoom` of order 1 and what big_vision does.
    Computed in float64, returned in the table's own type.

    Args:
      table: [1, old^2, width], patches only: a class token's row is to be split off before.
      grid: patches along a side of the new grid.

    Raises:
      ValueError: the table's length is not a square, or its shape or the grid is impossible.
    """
    if table.ndim != 3 or table.shape[0] != 1 or table.shape[1] < 1 or grid < 1:
        raise ValueError(
            f"a position table of shape {table.shape} cannot be resized to a grid of {grid}; "
            f"it must be [1, patches, width] and the grid at least 1."
        )
    _, patches, width = table.shape
    old = math.isqrt(patches)
    if old**2 != patches:
        token = (
            f" ({patches} is {patches - 1} and a class token? Split its row off first.)"
            if math.isqrt(patches - 1) ** 2 == patches - 1
            else ""
        )
        raise ValueError(
            f"a position table of {patches} rows covers no square grid: "
            f"{old}x{old} would have {old**2} and {old + 1}x{old + 1} {(old + 1) ** 2}.{token}"
        )
    if old == grid:
        return table
    between = _weights(old, grid)
    square = table.reshape(old, old, width).astype(np.float64)
    resized = np.einsum("ir,jc,rcd->ijd", between, between, square, optimize=True)
    return resized.reshape(1, grid**2, width).astype(table.dtype)


def _weights(old: int, new: int) -> NDArray[np.float64]:
    """[new, old]: how much of each old row a new one takes, linear between the nearest two."""
    at = np.linspace(0, old - 1, new)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)))
