"""What is said of procedural images in words, and how well images and captions can be matched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

HUES = ("red", "green", "blue", "cyan", "magenta", "yellow")
"""Of the channel that is largest; then those without red, without green, without blue."""
COLOURS = tuple(f"{shade} {hue}" for shade in ("dark", "light") for hue in HUES)
PLACES = (
    "at the top left", "at the top", "at the top right",
    "at the left", "in the middle", "at the right",
    "at the bottom left", "at the bottom", "at the bottom right",
)  # fmt: skip


class Said(NamedTuple):
    """What the captions of some images say, a number each; int64 [n].

    Fields:
      label: the class that is named, wrong as often as a label is.
      ink: of `COLOURS`, the glyph's.
      paper: of `COLOURS`, the background's.
      place: of `PLACES`.

    Captions that name the class alone have 0 for all else.
    """

    label: NDArray[np.int64]
    ink: NDArray[np.int64]
    paper: NDArray[np.int64]
    place: NDArray[np.int64]

    def words(self, names: Sequence[str], class_alone: bool) -> list[str]:
        """The captions: "a light red glyph 7 on dark blue at the top left", or "a glyph 7".

        Args:
          names: of the classes.
          class_alone: whether captions name nothing else.
        """
        if class_alone:
            return [f"a {names[label]}" for label in self.label.tolist()]
        return [
            f"a {COLOURS[ink]} {names[label]} on {COLOURS[paper]} {PLACES[place]}"
            for label, ink, paper, place in zip(*(each.tolist() for each in self), strict=True)
        ]


def names_of(glyphs: int, parents: Sequence[int]) -> list[str]:
    """Names of the classes: "glyph 7", and of those above "family 2", "family 0 of level 2"."""
    found = [f"glyph {k}" for k in range(glyphs)]
    for level, size in enumerate(parents, start=1):
        of_level = f" of level {level}" if level > 1 else ""
        found += [f"family {k}{of_level}" for k in range(size)]
    return found


def colours(pixels: NDArray[np.uint8], light: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The nearest of `COLOURS`.

    The hue is that of the largest channel, or of the two largest, where the middle one is nearer to
    the largest than to the smallest.

    Args:
      pixels: [n, 3].
      light: whether each is the lighter of the two colours of its image, [n].
    """
    ordered = np.sort(pixels.astype(np.int64), axis=1)
    two = 2 * ordered[:, 1] > ordered[:, 0] + ordered[:, 2]
    hue = np.where(two, 3 + pixels.argmin(1), pixels.argmax(1))
    return hue + len(HUES) * light


def places(down: NDArray[np.int64], right: NDArray[np.int64], jitter: int) -> NDArray[np.int64]:
    """Which of `PLACES`: each way the third of -jitter .. jitter that a shift lies in."""
    row, column = (
        1 + (6 * shift > 2 * jitter + 1).astype(np.int64) - (6 * shift < -(2 * jitter + 1))
        for shift in (down, right)
    )
    return 3 * row + column


def best_recall(
    drawn: NDArray[np.int32], said: Said, shares: NDArray[np.float64], noise: float, most: int
) -> tuple[float, float]:
    """Recall of the best possible retrieval among these images and captions, expected: how often an
    image's own caption is among the `most` likeliest of all, and a caption's own image.

    Colours and place are always right, so only what agrees in these is considered, which is
    everything where captions name the class alone. Of those, an
    image that shows glyph x ranks captions by P(label | x) / P(label), as any caption is there for
    one image or another; a caption ranks images by P(label | x). P(label | x) is 1 - noise on x and
    noise / (glyphs - 1) elsewhere. Among equals the order is random.

    Args:
      drawn: the glyph that each image shows, [n].
      said: of its caption.
      shares: of the images, of each glyph.
      noise: chance that a label is wrong, below that of a right one.
      most: k of recall at k.

    Returns:
      From images to captions, and from captions to images.
    """
    glyphs = len(shares)
    other = noise / max(1, glyphs - 1)
    of_label = (1 - noise) * shares + other * (1 - shares)
    key = (said.ink * len(COLOURS) + said.paper) * len(PLACES) + said.place
    order = np.argsort(key, kind="stable")
    bounds = np.flatnonzero(np.diff(key[order])) + 1
    hits = np.zeros(2)
    for group in np.split(order, bounds):
        chance = np.where(drawn[group, None] == said.label[group], 1 - noise, other)
        hits += [
            _expected_hits(chance / of_label[said.label[group]], most),
            _expected_hits(chance.T, most),
        ]
    to_captions, to_images = hits / len(drawn)
    return float(to_captions), float(to_images)


def _expected_hits(scores: NDArray[np.float64], most: int) -> float:
    """How many rows have their own column among the `most` best, in expectation.

    Args:
      scores: [n, n]; row i belongs to column i. Columns of other groups have a score of 0.
    """
    own = scores.diagonal()[:, None]
    equal = np.isclose(scores, own, rtol=1e-9, atol=0)
    better = ((scores > own) & ~equal).sum(1)
    return float(np.clip((most - better) / equal.sum(1), 0, 1)[own[:, 0] > 0].sum())
