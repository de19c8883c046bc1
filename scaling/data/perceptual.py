"""Images that look alike: a 64-bit perceptual hash, and the search for near hashes.

Knows neither sources nor files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

SIDE = 8  # of the block of low frequencies
GREY = 0.299, 0.587, 0.114  # BT.601's weights of red, green and blue
HASHES_AT_ONCE = 1 << 18  # pairs compared at a time, few enough for a processor's cache
FEATURES_AT_ONCE = 1 << 22  # as many as make a matrix product quick


def dct_hashes(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The hash of each image, and of its mirror image, [n] both.

    A bit for each of the 8 x 8 lowest frequencies of the grey image's cosine transform: whether it
    is above their median, the mean brightness left out of that. Changes of size, compression,
    brightness and contrast leave nearly all bits as they are. An image of one colour hashes to 0.

    Args:
      images: [n, side, side, 3], side at least 8.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"
    (DCT based); computed at the images' own size, where that resizes to 32 x 32.
    """
    if images.shape[1] < SIDE:
        raise ValueError(
            f"images of {images.shape[1]} px are too small for a perceptual hash; take a "
            f"resolution of at least {SIDE}."
        )
    grey = sum(weight * images[..., channel] for channel, weight in enumerate(GREY))
    waves = dct(np.eye(images.shape[1]), axis=0, norm="ortho")[:SIDE]
    low = waves @ grey @ waves.T
    low[np.abs(low) < 1e-6] = 0  # rounding errors of what is exactly 0
    odd = 1 - 2.0 * (np.arange(SIDE) % 2)  # mirroring turns the sign of odd frequencies
    return _bits(low), _bits(low * odd)


def _bits(low: NDArray[np.float64]) -> NDArray[np.uint64]:
    flat = low.reshape(len(low), -1)
    above = flat > np.median(flat[:, 1:], axis=1, keepdims=True)
    above[:, 0] = False
    packed = np.packbits(above, axis=1).view(">u8")[:, 0]
    return packed.astype(np.uint64)


def near_by_bits(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64], distance: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of `hashes` [n] are near one of `others` [m], and the other way round: [n], [m].

    By comparing all pairs, in pieces.

    Args:
      distance: bits in which two near hashes differ, at most.
    """
    here, there = np.zeros(len(hashes), bool), np.zeros(len(others), bool)
    rows = max(1, HASHES_AT_ONCE // max(1, len(others)))
    for first in range(0, len(hashes), rows):
        piece = hashes[first : first + rows, None] ^ others
        found = np.bitwise_count(piece) <= distance
        here[first : first + rows] = found.any(1)
        there |= found.any(0)
    return here, there


def near_by_cosine(
    features: NDArray[np.float32], others: NDArray[np.float32], cosine: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """As `near_by_bits`, of feature vectors [n, width] and [m, width] of length 1, by
    their cosine, which is to be at least `cosine`."""
    here, there = np.zeros(len(features), bool), np.zeros(len(others), bool)
    rows = max(1, FEATURES_AT_ONCE // max(1, len(others)))
    for first in range(0, len(features), rows):
        found = features[first : first + rows] @ others.T >= cosine
        here[first : first + rows] = found.any(1)
        there |= found.any(0)
    return here, there


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same vectors [n, width], each of length 1; a vector of zeros stays one."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.where(length, length, 1)).astype(np.float32)
