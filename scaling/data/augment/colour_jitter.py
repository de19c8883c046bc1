"""Colours changed at random: brightness, contrast, saturation and hue."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Config
from scaling.data.augment.chance import Probability, changed, of_view, uniform
from scaling.data.hashing import hash64, key

COLOUR_JITTER = 41  # this augmentation's own random numbers; see `scaling.data.order`
WHETHER, ORDER, BRIGHTNESS, CONTRAST, SATURATION, HUE = range(6)  # a stream each
SMALL = np.float32(1e-6)  # in place of 0 under a fraction whose value then does not matter
ORDERS = np.array(list(itertools.permutations(range(4))))

Pixels = NDArray[np.float32]


class ColourJitter(Config):
    """Brightness, contrast, saturation and hue are changed, in an order drawn for each image.

    | of | drawn | then |
    |---|---|---|
    | brightness | d in -brightness .. brightness | d * 255 is added, or the image scaled by 1 + d |
    | contrast | f in 1 - contrast .. 1 + contrast | each channel's distance from its mean times f |
    | saturation | f in 1 - saturation .. 1 + saturation | HSV's saturation times f, at most 1 |
    | hue | d in -hue .. hue | d turns are added to HSV's hue |

    Each range is multiplied by `strength`, a factor is never below 0, and the image is clipped to
    0 .. 255 after each of the four.

    Sources: `byol/utils/augmentations.py` (google-deepmind/deepmind-research), whose ranges are the
    defaults, and `data_util.py` (google-research/simclr), whose ranges are 0.8, 0.8, 0.8 and 0.2
    times the strength, and whose brightness is a factor since SimCLR's second version.
    """

    kind: Literal["colour_jitter"] = "colour_jitter"
    brightness: float = Field(default=0.4, ge=0, le=1)
    """Largest change, of the whole range of levels."""
    contrast: float = Field(default=0.4, ge=0, le=1)
    """Largest change of the factor 1."""
    saturation: float = Field(default=0.2, ge=0, le=1)
    """Largest change of the factor 1."""
    hue: float = Field(default=0.1, ge=0, le=0.5)
    """Largest change, in turns of the colour wheel."""
    strength: float = Field(default=1.0, gt=0, le=10)
    """What the four are multiplied by."""
    brightness_by: Literal["adding", "scaling"] = "adding"
    """Whether brightness is added or a factor."""
    probability: Probability = (0.8,)
    """Of an image to be changed; a list has one number a view."""

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
        words = seed, COLOUR_JITTER, view
        chosen = uniform((*words, WHETHER), places) < of_view(self.probability, view)
        order = ORDERS[hash64(key(*words, ORDER), places) % np.uint64(len(ORDERS))]
        drawn = self._drawn(words, places)

        def change(pixels: Pixels, rows: NDArray[np.int64]) -> Pixels:
            planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0)).reshape(3, len(rows), -1)
            for number in order[rows].T:  # of each image, which comes now
                for which, operation in enumerate((self._brighter, contrasted, saturated, turned)):
                    these = np.flatnonzero(number == which)
                    if len(these):
                        by = drawn[which, rows[these], None]
                        planes[:, these] = np.clip(operation(planes[:, these], by), 0, 255)
            return np.moveaxis(planes.reshape(3, *pixels.shape[:-1]), 0, -1)

        return changed(images, chosen, change)

    def _drawn(self, words: tuple[int, ...], places: NDArray[np.int64]) -> Pixels:
        """Of each image what is added to brightness, two factors, and what is added to hue."""
        ranges = self.brightness, self.contrast, self.saturation, self.hue
        found = np.stack(
            [
                uniform((*words, stream), places, -self.strength * most, self.strength * most)
                for stream, most in enumerate(ranges, start=BRIGHTNESS)
            ]
        )
        found[1:3] = np.maximum(1 + found[1:3], 0)
        return found.astype(np.float32)

    def _brighter(self, planes: Pixels, by: Pixels) -> Pixels:
        if self.brightness_by == "adding":
            return planes + 255 * by
        return planes * np.maximum(1 + by, 0)


def contrasted(planes: Pixels, factor: Pixels) -> Pixels:
    """Each channel's distance from its mean times the factor.

    Args:
      planes: of the channels, [3, n, pixels], 0 .. 255; so below.
      factor: [n, 1]; so below.
    """
    mean = planes.mean(-1, keepdims=True)
    return mean + factor * (planes - mean)


def saturated(planes: Pixels, factor: Pixels) -> Pixels:
    """HSV's saturation times the factor, at most 1; hue and value stay.

    A channel c becomes v - (v - c) r, with v the largest channel, r the factor of the saturation
    (v - m) / v, and m the smallest channel.
    """
    value, span = _value_and_span(planes)
    most = value / np.maximum(span, SMALL)
    return value - (value - planes) * np.minimum(factor, most)


def turned(planes: Pixels, turns: Pixels) -> Pixels:
    """HSV's hue moved by so many turns; saturation and value stay."""
    red, green, blue = planes
    value, span = _value_and_span(planes)
    safe = np.maximum(span, SMALL)
    sixths = 4 + (red - green) / safe
    np.copyto(sixths, 2 + (blue - red) / safe, where=green == value)
    np.copyto(sixths, (green - blue) / safe, where=red == value)
    sixths += 6 * turns
    found = np.empty_like(planes)
    for channel, start in enumerate((5, 3, 1)):
        at = sixths + start
        at -= 6 * np.floor(at / 6)
        found[channel] = value - span * np.clip(np.minimum(at, 4 - at), 0, 1)
    return found


def _value_and_span(planes: Pixels) -> tuple[Pixels, Pixels]:
    """The largest channel of each pixel, and by how much it is above the smallest."""
    red, green, blue = planes
    value = np.maximum(np.maximum(red, green), blue)
    return value, value - np.minimum(np.minimum(red, green), blue)
