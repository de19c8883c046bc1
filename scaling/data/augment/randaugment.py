"""RandAugment: a few operations an image, drawn from sixteen, all of one magnitude."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.data.augment.operations import OPERATIONS, Draw
from scaling.data.hashing import hash64, key

RANDAUGMENT = 4  # this augmentation's own random numbers; see `scaling.data.order`
NAMES = tuple(OPERATIONS)


class RandAugment(Config):
    """Every image goes through `layers` operations, each drawn from sixteen with equal chance.

    Cubuk et al. 2020, "RandAugment", as in TensorFlow: `OPERATIONS` says which they are, and
    where they differ from there.
    """

    kind: Literal["randaugment"] = "randaugment"
    layers: int = Field(default=2, ge=1, le=16)
    """Operations an image, one after the other; the same may come twice."""
    magnitude: int = Field(default=15, ge=0, le=30)
    """How far they go, in tenths of what the operations call their full level; 0 is not nothing."""

    def apply(
        self, images: NDArray[np.uint8], *, seed: int, places: NDArray[np.int64], view: int = 0
    ) -> NDArray[np.uint8]:
        """
        Args:
          images: [rows, side, side, 3].
          seed: of the run.
          places: step * batch + row of each image, whatever the hosts.
          view: number of the version, of an objective that wants several.
        """
        done = images.copy()
        for layer in range(self.layers):
            which, draws = self.draws(seed, places, view, layer)
            for row, (name, draw) in enumerate(zip(which, draws, strict=True)):
                done[row] = OPERATIONS[name](done[row], self.magnitude / 10, draw)
        return done

    def draws(
        self, seed: int, places: NDArray[np.int64], view: int, layer: int
    ) -> tuple[list[str], list[Draw]]:
        """The operation of each image in this layer, and what else of it is random."""
        which, sign, down, across = (
            hash64(key(seed, RANDAUGMENT, view, layer, number), places) for number in range(4)
        )
        names = [NAMES[number] for number in which % np.uint64(len(NAMES))]
        unit = [words / 2.0**64 for words in (down, across)]
        rows = zip(sign % np.uint64(2) == 1, *unit, strict=True)
        return names, [Draw(1 if positive else -1, y, x) for positive, y, x in rows]
