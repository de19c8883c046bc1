"""Solarised images: what is bright becomes dark."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.data.augment.chance import Probability, of_view, uniform

SOLARISE = 44  # this augmentation's own random numbers; see `scaling.data.order`


class Solarise(Config):
    """Every level from a threshold on is inverted, 255 less itself.

    Source: `solarize` in `byol/utils/augmentations.py` (google-deepmind/deepmind-research), where
    the second view alone is, with probability 0.2: `probability = [0, 0.2]`.
    """

    kind: Literal["solarise"] = "solarise"
    threshold: int = Field(default=128, ge=0, le=256)
    """Lowest level that is inverted; 256: none."""
    probability: Probability = (0.2,)
    """Of an image to be changed; a list has one number a view."""

    def apply(
        self, images: NDArray[np.uint8], *, seed: int, places: NDArray[np.int64], view: int = 0
    ) -> NDArray[np.uint8]:
        """Arguments as those of `ColourJitter.apply`."""
        chosen = uniform((seed, SOLARISE, view), places) < of_view(self.probability, view)
        inverted = chosen[:, None, None, None] & (images >= self.threshold)
        return np.where(inverted, 255 - images, images)
