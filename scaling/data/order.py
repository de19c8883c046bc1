"""Which image comes when: the whole order of a run as a function of (seed, step).

Nothing is shuffled in memory and nothing is remembered, so any step of any run can be asked for
at once, on any number of hosts. Two steps lead to an image: `step_indices` names members of the
run's data set, `subset` says which image of the source a member is.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.data.hashing import hash64, key

ROUNDS = 10  # fewer leave a bias that shows on data sets of a handful of images
EPOCH, SUBSET = 1, 3  # a key each; those of `scaling.data.augment` are 2, 4, 5 and 6


def step_indices(
    seed: int, step: int, batch: int, data_size: int | None, rows: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Members of the data set that are seen at this step, int64 [rows].

    The run reads one endless sequence, `batch` places a step: place p = step * batch + row. Place
    p lies in epoch p // data_size, and each epoch is a permutation of all members of its own, so
    a batch may end one epoch and begin the next.

    Args:
      seed: of the run, any whole number.
      step: >= 0.
      batch: images a step over all hosts.
      data_size: number of members, >= 1; None for an endless source, whose member p is seen at
        place p, once.
      rows: of the batch, those that are wanted; None: all.
    """
    place = places(step, batch, rows)
    if data_size is None:
        return place
    epoch, within = np.divmod(place, data_size)
    return permute(within, data_size, hash64(key(seed, EPOCH), epoch))


def places(step: int, batch: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Where these rows of this step stand in the run's endless sequence of images; None: all."""
    return step * batch + (np.arange(batch, dtype=np.int64) if rows is None else rows)


def subset(members: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Which of a source's `total` images the members 0, 1, 2 .. of a data set are.

    One fixed permutation of the whole source, whatever the run's seed: the data set of size n is
    the first n of it, so every smaller data set lies inside every larger one.
    """
    return permute(members, total, key(SUBSET))


def permute(index: ArrayLike, size: int, keys: ArrayLike) -> NDArray[np.int64]:
    """Image of `index` (in 0 .. size - 1) under the permutation of `keys`, elementwise.

    A Feistel network: index = left * b + right on a grid a x b that just holds `size`, where
    each round adds a hash of one half to the other, and so can be undone. What lands outside
    0 .. size - 1 is sent on until it is inside ("cycle walking"). Memory and time are those of
    `index`, not of `size`.

    Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains".
    """
    found = np.array(index, np.int64)
    keys = np.broadcast_to(np.asarray(keys, np.uint64), found.shape)
    outside = np.arange(found.size)
    while outside.size:
        found[outside] = _feistel(found[outside], size, keys[outside])
        outside = outside[found[outside] >= size]
    return found


def _feistel(index: NDArray[np.int64], size: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """One pass over a grid of a x b >= size places, less than a of them too many."""
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    left, right = np.divmod(index.astype(np.uint64), np.uint64(b))
    for turn in range(ROUNDS):
        word = hash64(keys, turn)
        if turn % 2:
            left = (left + hash64(word, right) % np.uint64(a)) % np.uint64(a)
        else:
            right = (right + hash64(word, left) % np.uint64(b)) % np.uint64(b)
    return (left * np.uint64(b) + right).astype(np.int64)
