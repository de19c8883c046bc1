"""Blurred images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Clash, Config
from scaling.data.augment.chance import Probability, changed, of_view, uniform

BLUR = 43  # this augmentation's own random numbers; see `scaling.data.order`
WHETHER, SIGMA = range(2)  # a stream each


class Blur(Config):
    """A Gaussian whose standard deviation is drawn for each image, cut off at a twentieth of the
    side each way: 23 pixels at 224. Beyond the image all is black, so that borders darken.

    Source: `gaussian_blur` in `byol/utils/augmentations.py` (google-deepmind/deepmind-research) and
    in `data_util.py` (google-research/simclr), which compute the same. Below 20 pixels there is
    nothing to blur by.
    """

    kind: Literal["blur"] = "blur"
    sigma_min: float = Field(default=0.1, gt=0, le=100)
    """Smallest standard deviation, pixels."""
    sigma_max: float = Field(default=2.0, gt=0, le=100)
    """Largest."""
    probability: Probability = (0.5,)
    """Of an image to be blurred; a list has one number a view."""

    def clashes(self) -> Iterator[Clash]:
        low, high = self.sigma_min, self.sigma_max
        if low > high:
            yield Clash(
                ("sigma_min", "sigma_max"), f"sigma_min={low:g} is more than sigma_max={high:g}."
            )

    def apply(
        self, images: NDArray[np.uint8], *, seed: int, places: NDArray[np.int64], view: int = 0
    ) -> NDArray[np.uint8]:
        """Arguments as those of `ColourJitter.apply`."""
        words = seed, BLUR, view
        chosen = uniform((*words, WHETHER), places) < of_view(self.probability, view)
        sigma = uniform((*words, SIGMA), places, self.sigma_min, self.sigma_max)
        return changed(images, chosen, lambda pixels, rows: blurred(pixels, sigma[rows]))


def blurred(pixels: NDArray[np.float32], sigma: NDArray[np.float64]) -> NDArray[np.float32]:
    """
    Args:
      pixels: [n, side, side, 3].
      sigma: of each image, pixels, [n].
    """
    radius = int(pixels.shape[1] / 10 / 2)
    away = np.arange(radius + 1)
    weights = np.exp(-(away**2) / (2 * sigma[:, None] ** 2))
    weights /= (2 * weights.sum(1) - weights[:, 0])[:, None]
    weights = weights.astype(np.float32).T[..., None, None, None]  # [radius + 1, n, 1, 1, 1]
    for axis in (2, 1):
        found = weights[0] * pixels
        for distance in away[1:]:
            near, far = (
                (slice(None),) * axis + (part,)
                for part in (slice(None, -distance), slice(distance, None))
            )
            found[near] += weights[distance] * pixels[far]
            found[far] += weights[distance] * pixels[near]
        pixels = found
    return pixels
