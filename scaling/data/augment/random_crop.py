"""Random squares of resized images."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.data.hashing import hash64, key
from scaling.data.pixels.crops import Crops, whole

RANDOM_CROP = 6  # this augmentation's own random numbers; see `scaling.data.order`


class RandomCrop(Config):
    """Every image is resized to a square, with black around it if `padding` says so, of which a
    random square of the resolution is seen.

    | protocol | is |
    |---|---|
    | CIFAR: 4 pixels added on every side | `padding = 4` at resolution 32 |
    | BiT-HyperRule, large images | `resize_to = 448` at resolution 384 |
    | BiT-HyperRule, images below 96 x 96 | `resize_to = 160` at resolution 128 |

    Source: Kolesnikov et al. 2020, "Big Transfer", section 3.3.
    """

    kind: Literal["random_crop"] = "random_crop"
    resize_to: int | None = Field(default=None, ge=1, le=8192)
    """Height and width that an image is resized to, pixels; left out: the resolution."""
    padding: int = Field(default=0, ge=0, le=8192)
    """Black pixels added on every side after that."""

    def problem(self, side: int) -> str | None:
        """Why images of this side cannot be made so; None when they can."""
        to = self.resize_to or side
        spare = to + 2 * self.padding - side
        if spare > 0:
            return None
        if spare == 0:
            return (
                f"random_crop has nothing to choose: {side} pixels, the resolution, out of {side}; "
                f"say resize_to or padding."
            )
        return (
            f"random_crop cannot cut {side} pixels, the resolution, out of {to} with "
            f"{self.padding} added on every side; say a larger resize_to or padding."
        )

    def crops(
        self,
        sizes: NDArray[np.int64],
        *,
        side: int,
        seed: int,
        places: NDArray[np.int64],
        view: int = 0,
    ) -> Crops:
        """Arguments as those of `InceptionCrop.crops`."""
        to = self.resize_to or side
        choices = np.uint64(to + 2 * self.padding - side + 1)
        drawn = [hash64(key(seed, RANDOM_CROP, view, axis), places) % choices for axis in (0, 1)]
        corner = np.stack(drawn, 1).astype(np.int64) - self.padding
        return Crops(whole(sizes), np.full_like(sizes, to), corner)
