"""What is said of images: a text each, or several, of which every showing takes one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scaling.data.hashing import hash64, key

Caption: TypeAlias = str | tuple[str, ...]
"""Of one image: a text, or several that are all right, at least one."""
CHOICE = 39  # a key, as `scaling.data.order` lists them


def texts_of(caption: Caption) -> tuple[str, ...]:
    """All texts of one image."""
    return (caption,) if isinstance(caption, str) else caption


def all_texts(captions: Sequence[Caption]) -> list[str]:
    """All texts of all images, image after image."""
    return [text for caption in captions for text in texts_of(caption)]


def chosen_texts(captions: Sequence[Caption], seed: int, places: NDArray[np.int64]) -> list[str]:
    """One text of each image, any as likely as others.

    Args:
      seed: of the run.
      places: step * batch + row of each image, whatever the hosts.
    """
    words = hash64(key(seed, CHOICE), places)
    return [
        texts[int(word % np.uint64(len(texts)))]
        for texts, word in zip(map(texts_of, captions), words, strict=True)
    ]
