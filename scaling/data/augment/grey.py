"""Images without colour."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scaling.base.config import Config
from scaling.data.augment.chance import Probability, changed, of_view, uniform

GREY = 42  # this augmentation's own random numbers; see `scaling.data.order`
LUMINANCE = (0.2989, 0.587, 0.114)


class Grey(Config):
    """All channels become 0.2989 red + 0.587 green + 0.114 blue.

    Source: `_to_grayscale` in `byol/utils/augmentations.py` (google-deepmind/deepmind-research),
    and the probability of SimCLR and BYOL.
    """

    kind: Literal["grey"] = "grey"
    probability: Probability = (0.2,)
    """Of an image to be changed; a list has one number a view."""

    def apply(
        self, images: NDArray[np.uint8], *, seed: int, places: NDArray[np.int64], view: int = 0
    ) -> NDArray[np.uint8]:
        """Arguments as those of `ColourJitter.apply`."""
        chosen = uniform((seed, GREY, view), places) < of_view(self.probability, view)
        return changed(images, chosen, lambda pixels, _: greyed(pixels))


def greyed(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """[n, side, side, 3], all channels alike."""
    red, green, blue = (np.float32(weight) * pixels[..., k] for k, weight in enumerate(LUMINANCE))
    return np.repeat((red + green + blue)[..., None], 3, axis=-1)
