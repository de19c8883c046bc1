"""Random parts of images, of uniform area, resized to the resolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Clash, Config
from scaling.data.augment.chance import uniform
from scaling.data.pixels.crops import Crops

RESIZED_CROP = 45  # this augmentation's own random numbers; see `scaling.data.order`
AREA, ASPECT, TOP, LEFT = range(4)  # a stream each


class ResizedCrop(Config):
    """A box of random area, aspect ratio and place is cut out of every image as it is stored, and
    resized to the resolution: a "random resized crop".

    Area uniform, then the logarithm of the aspect ratio (width / height) uniform; a box that is
    higher or wider than the image is cut to it; then the place. Boxes are larger than those of
    `inception_crop`, which draws the height.

    Source: `_decode_and_random_crop` in `byol/utils/dataset.py`
    (google-deepmind/deepmind-research).
    """

    kind: Literal["resized_crop"] = "resized_crop"
    area_min: float = Field(default=0.08, gt=0, le=1)
    """Smallest area, a share of the image's."""
    area_max: float = Field(default=1.0, gt=0, le=1)
    """Largest area."""
    aspect_max: float = Field(default=4 / 3, ge=1, le=100)
    """Largest width / height of a box, and height / width."""

    def clashes(self) -> Iterator[Clash]:
        low, high = self.area_min, self.area_max
        if low > high:
            yield Clash(
                ("area_min", "area_max"), f"area_min={low:g} is more than area_max={high:g}."
            )

    def problem(self, side: int) -> str | None:
        """Why images of this side cannot be made so; None when they can."""
        del side
        return None

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
        words, widest = (seed, RESIZED_CROP, view), np.log(self.aspect_max)
        area = uniform((*words, AREA), places, self.area_min, self.area_max) * sizes.prod(1)
        aspect = np.exp(uniform((*words, ASPECT), places, -widest, widest))
        shape = np.sqrt(np.stack([area / aspect, area * aspect], 1))
        shape = np.clip(np.rint(shape).astype(np.int64), 1, sizes)
        unit = np.stack([uniform((*words, stream), places) for stream in (TOP, LEFT)], 1)
        corner = (unit * (sizes - shape + 1)).astype(np.int64)
        box = np.concatenate([corner, shape], 1)
        return Crops(box, np.full_like(sizes, side), np.zeros_like(sizes))
