"""Mirroring."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaling.base.config import Config
from scaling.data.hashing import hash64, key

FLIP = 2  # this augmentation's own random numbers; see `scaling.data.order`


class Flip(Config):
    """Every image is mirrored, left to right, half of the times it is shown."""

    kind: Literal["flip"] = "flip"

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
        flips = self.flips(seed, places, view)[:, None, None, None]
        return np.where(flips, images[:, :, ::-1], images)

    def flips(self, seed: int, places: NDArray[np.int64], view: int = 0) -> NDArray[np.bool_]:
        """Which images are mirrored, half of them on average."""
        words = (seed, FLIP, view) if view else (seed, FLIP)
        return hash64(key(*words), places) % np.uint64(2) == 1
