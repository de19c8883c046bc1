"""A small source of images of which something is said: a square in a colour, at a place."""

import itertools
from typing import Literal

import numpy as np

from scaling.data.source import SourceConfig

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "white": (255, 255, 255),
}
PLACES = {"top left": (0, 0), "top right": (0, 8), "bottom left": (8, 0), "bottom right": (8, 8)}
KINDS = tuple(itertools.product(COLOURS, PLACES))
CAPTIONS = [f"a {colour} square at the {place}" for colour, place in KINDS]


def picture(number):
    """Image `number`, uint8 [16, 16, 3]; those of 16 in a row are all different."""
    colour, place = KINDS[number % len(KINDS)]
    noise = np.random.default_rng(number).integers(0, 64, (16, 16, 3))
    row, column = PLACES[place]
    noise[row : row + 8, column : column + 8] //= 4
    noise[row : row + 8, column : column + 8] += np.array(COLOURS[colour]) * 3 // 4
    return noise.astype(np.uint8)


class Pictures:
    """One of its sets."""

    resolution, classes, shuffled = 16, 4, True

    def __init__(self, first, size):
        self.first, self.size = first, size

    def batch(self, indices, crop=None):
        pixels = np.stack([picture(self.first + int(i)) for i in indices])
        return pixels, self.labels_of(indices)

    def labels_of(self, indices):
        return ((self.first + np.asarray(indices)) % len(KINDS) // 4).astype(np.int32)

    def captions_of(self, indices):
        return [CAPTIONS[(self.first + int(i)) % len(CAPTIONS)] for i in indices]


class Captions(SourceConfig):
    """16 kinds of pictures, over and over; the class is the colour."""

    kind: Literal["captions"] = "captions"
    size: int = 320

    classes = property(lambda self: 4)
    resolution = property(lambda self: 16)
    captioned = property(lambda self: True)
    class_names = property(lambda self: list(COLOURS))

    def train(self):
        return Pictures(0, self.size)

    def heldout(self):
        return Pictures(10_000, 64)
