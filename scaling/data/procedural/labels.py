"""What labels the images of `Procedural` get, and the best that a classifier can make of them.

Nothing here knows pixels: an image is the class of its glyph.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.data.labels import NONE, Labels, ancestor_table

WIDTH = 1 << 32  # of the whole line that classes share
AT_ONCE = 256  # glyphs whose chances of all classes are in memory


def class_limits(classes: int, tail: float, offset: float = 0) -> NDArray[np.uint64]:
    """Where one class ends and the next begins on 0 .. 2**32, [classes - 1], rising.

    The cumulative Zipf-Mandelbrot distribution in decimal arithmetic, whose powers, unlike libm's,
    do not depend on the machine.
    """
    with localcontext(prec=28):
        weights = [(k + 1 + Decimal(offset)) ** -Decimal(tail) for k in range(classes)]
        *below, whole = itertools.accumulate(weights)
        return np.array([int(part / whole * WIDTH) for part in below], np.uint64)


def hierarchy(glyphs: int, parents: tuple[int, ...]) -> Labels:
    """The classes above each class and itself, as `labels.ancestor_table` has them.

    Classes are the glyphs, then the levels above, lowest first. Member k of a level is below member
    k modulo its size of the next, so that common and rare glyphs share parents.
    """
    sizes = (glyphs, *parents)
    starts = np.cumsum((0, *sizes))
    above = [
        [int(starts[level + 1]) + k % sizes[level + 1]] if level < len(parents) else []
        for level, size in enumerate(sizes)
        for k in range(size)
    ]
    return ancestor_table(above)


class LabelModel(NamedTuple):
    """How labels come about, given the glyph x that an image shows.

    The first label is x, or with chance `noise` another glyph, all equally likely. With chance
    `second` there is another, of the level right above: the parent of x, or with chance `noise`
    another class of that level, all equally likely. The three draws are independent. Where
    ancestors are filled in, an image also has all that is above its labels.

    Fields:
      shares: of the images, of each glyph.
      noise: chance that a label is wrong.
      parents: numbers of classes of the levels above the glyphs, lowest first.
      second: chance of a second label.
      ancestors: whether they are filled in.
    """

    shares: NDArray[np.float64]
    noise: float
    parents: tuple[int, ...]
    second: float
    ancestors: bool

    def chances(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """P(class c is among the labels | glyph x): shares [some], chances [some, classes].

        With A the chance that the first label is c or below it, and B that the second is there and
        is c or below it, both given x, it is 1 - (1 - A) (1 - B), as the draws are independent.
        Let g glyphs of G lie below c, or be it, and m of the M classes right above the glyphs.
        A first label is x with chance 1 - noise, and each of the others with noise / (G - 1), so
        A = (1 - noise) [x below c] + noise (g - [x below c]) / (G - 1); in the same way
        B = second ((1 - noise) [parent of x below c] + noise (m - [..]) / (M - 1)). Where ancestors
        are not filled in, nothing but c itself is "c or below it".
        """
        glyphs = len(self.shares)
        table = hierarchy(glyphs, self.parents)
        if not self.ancestors:
            table = np.arange(len(table), dtype=np.int32)[:, None]
        under = np.zeros((len(table), len(table)), bool)  # [each, c]: c is it, or above it
        of, column = np.nonzero(table > NONE)
        under[of, table[of, column]] = True
        first = under[:glyphs]
        right_above = under[glyphs : glyphs + self.parents[0]] if self.parents else under[:0]
        for start in range(0, glyphs, AT_ONCE):
            these = np.arange(start, min(start + AT_ONCE, glyphs))
            absent = 1 - self._drawn(first, these)
            if self.second:
                absent *= 1 - self.second * self._drawn(right_above, these % self.parents[0])
            yield self.shares[these], 1 - absent

    def _drawn(self, below: NDArray[np.bool_], right: NDArray[np.int64]) -> NDArray[np.float64]:
        """Chance that a draw around `right` ends at or below each class, [right, classes]."""
        held = below[right].astype(float)
        others = below.sum(0) - held
        return (1 - self.noise) * held + self.noise * others / max(1, len(below) - 1)

    def error(self) -> float:
        """Top-1 error of the best classifier: it answers with the likeliest class, given x."""
        return float(sum(shares @ (1 - found.max(1)) for shares, found in self.chances()))

    def sigmoid_loss(self) -> float:
        """Least expected loss, nats: of each class the entropy of being there or not, given x.

        A logistic loss is least, in expectation, where the answer is the chance itself; it is then
        the binary entropy of that chance, and losses of classes are summed.
        """
        return float(
            sum(
                shares @ (_entropy(found) + _entropy(1 - found)).sum(1)
                for shares, found in self.chances()
            )
        )

    def softmax_loss(self) -> float:
        """Least expected loss against targets 1 / k, nats; ancestors not filled in.

        The expected loss is the cross-entropy of the expected targets, given x, so it is least
        where the answer is those, and then their entropy. A first label is alone with chance
        1 - second, and has half a target otherwise: its expected target is its chance times
        1 - second / 2; that of a second label is half its chance.
        """
        loss = 0.0
        for shares, found in self.chances():
            target = found * np.where(np.arange(found.shape[1]) < len(self.shares),
                                      1 - self.second / 2, 0.5)  # fmt: skip
            loss += float(shares @ _entropy(target).sum(1))
        return loss


def _entropy(chance: NDArray[np.float64]) -> NDArray[np.float64]:
    """-p ln p, 0 at 0."""
    safe = np.where(chance > 0, chance, 1)
    return -safe * np.log(safe)
