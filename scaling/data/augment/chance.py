"""With which probability an image is changed, and which images of a batch are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from scaling.data.hashing import hash64, key

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Probability: TypeAlias = Annotated[
    tuple[Share, ...],
    BeforeValidator(lambda given: tuple(given) if isinstance(given, list | tuple) else (given,)),
    Field(min_length=1, max_length=16, json_schema_extra={"axis": True}),
]
"""One number for all views, or one a view."""
AT_ONCE = 1 << 19  # numbers of images that are changed at once: what processors keep near


def of_view(probability: Probability, view: int) -> float:
    """The probability of one view."""
    return probability[0] if len(probability) == 1 else probability[view]


def uniform(
    words: tuple[int, ...], places: NDArray[np.int64], low: float = 0.0, high: float = 1.0
) -> NDArray[np.float64]:
    """A number from `low` to below `high` a row.

    Args:
      words: the run's seed, the augmentation's own number, the view, and whatever tells apart what
        is drawn.
      places: step * batch + row of each image.
    """
    unit = (hash64(key(*words), places) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return low + (high - low) * unit


def changed(
    images: NDArray[np.uint8],
    rows: NDArray[np.bool_],
    change: Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]],
) -> NDArray[np.uint8]:
    """The images with `change` made to some of them, a few at a time; rounded to bytes.

    Args:
      images: [n, side, side, 3].
      rows: which are changed, [n].
      change: given some images, 0 .. 255, and their rows.
    """
    which = np.flatnonzero(rows)
    if not len(which):
        return images
    done = images.copy()
    each = max(1, AT_ONCE // max(1, images[0].size))
    for start in range(0, len(which), each):
        these = which[start : start + each]
        found = change(images[these].astype(np.float32), these)
        done[these] = np.rint(np.clip(found, 0, 255)).astype(np.uint8)
    return done
