"""Random parts of images, of random size and aspect ratio, resized to the resolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Clash, Config
from scaling.data.hashing import hash64, key
from scaling.data.pixels.crops import Crops, whole

INCEPTION_CROP = 5  # this augmentation's own random numbers; see `scaling.data.order`
ATTEMPTS = 100
ASPECT, HEIGHT, TOP, LEFT = range(4)  # a stream each of every attempt

Ints: TypeAlias = NDArray[np.int64]


class InceptionCrop(Config):
    """A box of random size, aspect ratio and place is cut out of every image as it is stored, and
    resized to the resolution.

    Aspect ratio (width / height) uniform, then the height uniform among those for which the area is
    allowed and the box fits, then the place; an image with no such box after 100 attempts is seen
    whole. So small boxes are likelier than where the area is uniform, as in torchvision: the mean
    area is 34 % of a 500 x 375 image.

    Source: Szegedy et al. 2015, "Going deeper with convolutions", as TensorFlow's
    `sample_distorted_bounding_box` and big_vision's `inception_crop` compute it; there too the last
    place at the bottom and at the right is never drawn. The filter is the source's (`decode`):
    big_vision's is bilinear without antialiasing.

    SimCLR's crop is this one with `area_min = 0.08` and aspect ratios 3/4 to 4/3 (`data_util.py`
    in google-research/simclr): preset `simclr_views`. `resized_crop` is BYOL's.
    """

    kind: Literal["inception_crop"] = "inception_crop"
    area_min: float = Field(default=0.05, gt=0, le=1)
    """Smallest area, a share of the image's."""
    area_max: float = Field(default=1.0, gt=0, le=1)
    """Largest area."""
    aspect_min: float = Field(default=0.75, gt=0, le=100)
    """Smallest width / height of a box."""
    aspect_max: float = Field(default=1.33, gt=0, le=100)
    """Largest width / height: 1.33 is TensorFlow's, torchvision has 4/3."""

    def clashes(self) -> Iterator[Clash]:
        for low, high in (("area_min", "area_max"), ("aspect_min", "aspect_max")):
            a, b = getattr(self, low), getattr(self, high)
            if a > b:
                yield Clash((low, high), f"{low}={a:g} is more than {high}={b:g}.")

    def problem(self, side: int) -> str | None:
        """Why images of this side cannot be made so; None when they can."""
        del side
        return None

    def crops(self, sizes: Ints, *, side: int, seed: int, places: Ints, view: int = 0) -> Crops:
        """
        Args:
          sizes: heights and widths of the images as they are stored, [n, 2].
          side: that boxes are resized to.
          seed: of the run.
          places: step * batch + row of each image, whatever the hosts.
          view: number of the version, of an objective that wants several.
        """
        box, open_rows = whole(sizes), np.arange(len(sizes))
        for attempt in range(ATTEMPTS):
            if not open_rows.size:
                break
            words = [
                hash64(key(seed, INCEPTION_CROP, view, attempt, stream), places[open_rows])
                for stream in (ASPECT, HEIGHT, TOP, LEFT)
            ]
            found, allowed = self._boxes(sizes[open_rows], words)
            box[open_rows[allowed]] = found[allowed]
            open_rows = open_rows[~allowed]
        return Crops(box, np.full_like(sizes, side), np.zeros_like(sizes))

    def _boxes(
        self, sizes: Ints, words: list[NDArray[np.uint64]]
    ) -> tuple[Ints, NDArray[np.bool_]]:
        """One box an image, [n, 4], and whether its area is allowed and it fits, [n]."""
        rows, columns = sizes.T
        aspect = self.aspect_min + words[ASPECT] / 2.0**64 * (self.aspect_max - self.aspect_min)
        least, most = self.area_min * rows * columns, self.area_max * rows * columns
        low, high = _round(np.sqrt(least / aspect)), _round(np.sqrt(most / aspect))
        too_wide = _round(high * aspect) > columns
        high = np.where(too_wide, ((columns + 0.5 - 1e-7) / aspect).astype(np.int64), high)
        high = np.minimum(high - (_round(high * aspect) > columns), rows)
        low = np.minimum(low, high)
        height = low + _below(words[HEIGHT], high - low + 1)
        height += height * _round(height * aspect) < least  # rounding alone
        height -= height * _round(height * aspect) > most
        width = _round(height * aspect)
        area = height * width
        allowed = (area >= least) & (area <= most) & (height <= rows) & (width <= columns)
        allowed &= (height > 0) & (width > 0)
        top = _below(words[TOP], rows - height)
        left = _below(words[LEFT], columns - width)
        return np.stack([top, left, height, width], 1), allowed


def _round(values: NDArray[np.floating]) -> Ints:
    return np.rint(values).astype(np.int64)


def _below(words: NDArray[np.uint64], limit: Ints) -> Ints:
    """Uniform on 0 .. limit - 1; 0 where the limit is less than 2."""
    return (words % np.maximum(limit, 1).astype(np.uint64)).astype(np.int64)
