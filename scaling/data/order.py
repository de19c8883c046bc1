"""Which image comes when: the whole order of a run as a function of (seed, step).

Nothing is shuffled in memory and nothing is remembered, so any step of any run can be asked for
at once, on any number of hosts. Two steps lead to an image: `step_indices` names members of the
run's data set, `subset` says which image of the source a member is. Where rare classes are shown
more often, all labels are looked at once, beforehand: `resampled`.
"""

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fits.base.errors import UserError
from scaling.data.hashing import hash64, key
from scaling.data.labels import NONE, Labels, as_rows

ROUNDS = 10  # fewer leave a bias that shows on data sets of a handful of images
EPOCH, SUBSET, OFFSET, OF_LABELLED, COUNT, DRAWN = 1, 3, 34, 35, 36, 37  # a key each; 2, 4 to 6
# and 41 to 45 are those of `scaling.data.augment`, 31 to 33 of `data.subset`, 38 of jigsaws, 39 of
# `data.captions`

Resampling: TypeAlias = Literal["square-root", "class-balanced"]


class Labelled(NamedTuple):
    """A training set of which few images have their labels shown.

    The labelled ones are the first `size` members, so that the smaller sets lie inside the larger.
    Of every batch some rows, spread evenly, show labelled images, as if from a run of their own;
    the others show any, without their labels.

    Fields:
      size: images whose labels are shown.
      share: of a batch's rows, those that show them.
    """

    size: int
    share: float

    def rows(self, batch: int) -> int:
        """Rows of a batch that show labelled images."""
        return round(self.share * batch)


def step_indices(
    seed: int,
    step: int,
    batch: int,
    data_size: int | None,
    rows: NDArray[np.int64] | None = None,
    shares: NDArray[np.float64] | None = None,
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
      shares: as `resampled` gives them; None: of each epoch every member has one place.
    """
    place = places(step, batch, rows)
    if data_size is None:
        return place
    epoch, within = np.divmod(place, data_size)
    within = permute(within, data_size, hash64(key(seed, EPOCH), epoch))
    if shares is None:
        return within
    offset = ((hash64(key(seed, OFFSET), epoch) >> np.uint64(11)).astype(float) + 0.5) / 2.0**53
    found = np.searchsorted(shares, (within + offset) / data_size, side="right")
    return np.minimum(found, data_size - 1).astype(np.int64)  # a sum of shares may end below 1


def labelled_rows(
    seed: int,
    step: int,
    batch: int,
    labelled: Labelled,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which rows show labelled images, bool [rows], and the member that each of these shows.

    Labelled images have epochs of their own, of `labelled.size` places.

    Args:
      rows: of the batch, those that are wanted; None: all.
    """
    each = labelled.rows(batch)
    row = np.arange(batch, dtype=np.int64) if rows is None else rows
    before, after = row * each // batch, (row + 1) * each // batch
    shows = after > before
    epoch, within = np.divmod(step * each + before[shows], labelled.size)
    return shows, permute(within, labelled.size, hash64(key(seed, OF_LABELLED), epoch))


def sampled_rows(
    seed: int,
    step: int,
    batch: int,
    data_size: int,
    mean: float,
    rows: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which rows show an image, bool [rows], and the member that each shows, int64 [rows].

    Every member is drawn with probability mean / data_size, whatever the others and the steps
    before are: a binomial number of them, at most `batch`, any as likely as others. A set that was
    drawn by Poisson sampling and then cut at random to at most `batch` is distributed so. Rows
    beyond them name some member too.

    Args:
      data_size: number of members, at least `mean`.
      mean: members that are drawn on average, were there no end to a batch.
      rows: of the batch, those that are wanted; None: all.
    """
    from scipy.stats import binom

    row = np.arange(batch, dtype=np.int64) if rows is None else rows
    word = int(hash64(key(seed, COUNT), step)[0])
    uniform = ((word >> 11) + 0.5) / 2.0**53
    count = int(binom.ppf(uniform, data_size, mean / data_size))
    members = permute(row % data_size, data_size, hash64(key(seed, DRAWN), step))
    return row < count, members


def resampled(labels: Labels, rule: Resampling) -> NDArray[np.float64]:
    """Where the members of a data set end on the line 0 .. 1 of which epochs are drawn, rising [n].

    A member with a class of f images has a share proportional to f^-1/2 ("square-root") or 1 / f
    ("class-balanced"), of several classes that of the rarest, of none that of the commonest. So a
    class of f images, each with that label alone, is shown in proportion to the square root of f,
    or as often as any other. The points of an epoch lie 1 / n apart, the first at random
    (systematic sampling): each member is shown its expected number of times, rounded down or up.

    Mahajan et al. 2018 ("Exploring the limits of weakly supervised pretraining") resampled hashtags
    by a square root. This is not their formula, which is known here from memory alone.

    Args:
      labels: of all members, [n] or [n, most].
    """
    rows = np.sort(as_rows(labels), axis=1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = NONE  # a label that an image has twice counts once
    count = np.bincount(rows[rows != NONE], minlength=1).astype(float)
    if not count.any():
        raise UserError([f"resample: none of {len(rows):_} images has a label; leave it out."])
    weight = np.zeros(len(count))
    there = count > 0
    weight[there] = 1 / (np.sqrt(count[there]) if rule == "square-root" else count[there])
    of_none = weight[there].min()
    each = np.where(rows == NONE, of_none, weight[rows]).max(1)
    ends = np.cumsum(each)
    return ends / ends[-1]


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
