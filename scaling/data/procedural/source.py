"""Images made from arithmetic: endless, long-tailed, mislabelled at a known rate.

Each class is a glyph, a mirrored pattern of square cells. An image shows the glyph of its class in
a random colour on a random background, at a random place, under noise too weak to hide a cell: the
class can be read off the pixels without error. The label then lies at a rate we choose, so the
error of the best possible classifier is that rate, exactly (`Procedural.irreducible_error`). With
classes above the glyphs an image may have several labels, and the best is known too. A caption says
in words what is drawn, where and in which colours (`captions.py`).

Image i is a pure function of (config, i), in integers alone, so it has the same bits everywhere.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Clash
from scaling.data.hashing import hash64, key
from scaling.data.labels import NONE, Labels, with_ancestors
from scaling.data.order import permute
from scaling.data.pixels.crops import Cropper
from scaling.data.pixels.resize import cut_all
from scaling.data.procedural.captions import Said, best_recall, colours, names_of, places
from scaling.data.procedural.labels import WIDTH, LabelModel, class_limits, hierarchy
from scaling.data.source import MOST_PIXELS, Labelled, SourceConfig

BLOCK = 1000  # of so many consecutive images, exactly label_noise * BLOCK have a wrong label
AT_HAND = 1_000_000  # training images whose labels take a second at most
CANDIDATES = 1 << 14  # random patterns among which the glyphs are looked for
GLYPHS, TRAIN, HELDOUT = 11, 12, 13  # a key each
CLASS, PLACE, COLOUR, NOISE, LIARS, LIE, SECOND, SECOND_LIARS, SECOND_LIE = range(
    9
)  # streams of it


class Procedural(SourceConfig):
    """Glyphs with a long tail: class k has probability proportional to (k + 1 + offset)^-tail.

    Zipf's law, or with an offset Mandelbrot's, which makes the commonest classes about equally
    common. If a class is learnt once so many of its images have been seen, the error above the
    floor falls as the power -(1 - 1 / tail) of the images seen, until the rarest class is learnt.

    A wrong label is any of the others, equally likely. Whatever the class prior, the posterior
    given the image is then 1 - label_noise on the glyph's own class, and the Bayes error is
    label_noise.

    With `parents`, the last classes are no glyphs but lie above them, as in a data set with a
    hierarchy and several labels an image: besides its glyph, an image has with chance
    `second_label` a label of the level right above, wrong as often as the first. So
    `label_noise = 0.2`, `second_label = 0.26`, some levels of parents and a tail are what Sun et
    al. 2017 ("Revisiting unreasonable effectiveness of data in deep learning era") say of JFT-300M:
    about 20 % of labels wrong, a hierarchy, 1.26 labels an image, thousands of rare classes.
    `LabelModel` derives the best error and loss.

    Every image has a caption, as "a light red glyph 7 on dark blue at the top left". The class it
    names is the image's first label, so it is wrong for the same images as that; colours and place
    are those drawn. So an objective that learns from captions is told of classes what one that
    learns from labels is told, and the best error of a zero-shot classifier is that of any other.
    With `caption = "class"` it is "a glyph 7", and colours and place tell no captions apart.
    `irreducible_recall` derives the best retrieval.

    Knobs that make it harder, each on its own: more classes, more cells, glyphs that differ in
    fewer cells, more jitter, less contrast, more noise. A tail of frequencies spreads the classes
    over the course of training: the rare are learnt last, and the error falls as a power.
    """

    kind: Literal["procedural"] = "procedural"
    classes: int = Field(64, ge=2, le=CANDIDATES, description="number of classes")
    resolution: int = Field(16, ge=1, le=MOST_PIXELS, description="side of an image, pixels")
    tail: float = Field(1.0, ge=0, le=4, description="exponent of the class frequencies")
    offset: float = Field(0.0, ge=0, le=1000, description="added to every rank: flattens the head")
    label_noise: float = Field(
        0.1, ge=0, lt=1, description="share of wrong labels, a multiple of 0.001"
    )
    cells: int = Field(5, ge=3, le=9, description="side of a glyph, cells")
    cell: int = Field(2, ge=1, le=MOST_PIXELS, description="side of a cell, pixels")
    differ: int = Field(
        4, ge=1, le=81, description="cells in which any two glyphs differ, at least"
    )
    jitter: int = Field(
        3, ge=0, le=MOST_PIXELS, description="largest shift from the centre each way, pixels"
    )
    contrast: int = Field(
        96, ge=1, le=254, description="step between the two colours, levels, at least"
    )
    noise: int = Field(
        16, ge=0, le=63, description="largest change of a channel of a pixel, levels"
    )
    inverted: bool = Field(True, description="half of the images show dark on light")
    heldout_size: int = Field(10_000, ge=1, le=10**9, description="number of held-out images")
    train_size: int | None = Field(
        None,
        ge=1,
        le=10**12,
        description="number of training images, the first of the endless ones; left out: endless",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="of the glyphs and of all images")
    parents: tuple[Annotated[int, Field(ge=1, le=CANDIDATES)], ...] = Field(
        (), max_length=12, description="how many of the classes lie above the glyphs, by levels"
    )
    second_label: float = Field(
        0.0, ge=0, le=1, description="share of images with a label of the level above, as well"
    )
    ancestors: bool = Field(False, description="all that is above an image's labels is added")
    caption: Literal["full", "class"] = Field(
        "full", description="a caption names class, colours and place, or the class alone"
    )
    unlabelled: bool = Field(
        False, description="training images have no label; held-out ones keep theirs"
    )

    def clashes(self) -> Iterator[Clash]:
        """What keeps the glyphs from being drawn, or read off the pixels without error."""
        yield from self._clashes_of_parents()
        if self.glyphs < 2:
            return
        need = self.cells * self.cell + 2 * self.jitter
        if need > self.resolution:
            yield Clash(
                ("cells", "cell", "jitter", "resolution"),
                f"{self.cells} cells of {self.cell} pixels that move by {self.jitter} each way "
                f"need {need} pixels, and resolution={self.resolution}.",
            )
        if 4 * self.noise >= self.contrast or self.contrast + 2 * self.noise > 254:
            yield Clash(
                ("contrast", "noise"),
                f"contrast={self.contrast} and noise={self.noise}: the glyph can be read off the "
                f"pixels only if 4 * noise < contrast and contrast + 2 * noise <= 254.",
            )
        for name in ("label_noise", "second_label"):
            share = getattr(self, name)
            if abs(share * BLOCK - round(share * BLOCK)) > 1e-6:
                yield Clash(
                    (name,),
                    f"{name}={share} is not a whole number of thousandths; "
                    f"use {round(share * BLOCK) / BLOCK}.",
                )
        if self.label_noise >= 1 - 1 / self.glyphs:
            yield Clash(
                ("label_noise", "classes", "parents"),
                f"label_noise={self.label_noise} makes a wrong label as likely as the right one; "
                f"with {self.glyphs} classes stay below {1 - 1 / self.glyphs:.3g}.",
            )
        try:
            find_glyphs(self.glyphs, self.cells, self.differ, self.seed)
        except ValueError as too_few:
            yield Clash(("classes", "cells", "differ", "seed"), str(too_few))

    def _clashes_of_parents(self) -> Iterator[Clash]:
        if self.glyphs < 2:
            yield Clash(
                ("classes", "parents"),
                f"classes={self.classes} of which {sum(self.parents)} are parents leave "
                f"{self.glyphs} glyphs; there must be 2 at least.",
            )
        for name in ("second_label", "ancestors"):
            if getattr(self, name) and not self.parents:
                yield Clash((name, "parents"), f"{name} needs classes above the glyphs: parents.")
        if self.parents[:1] == (1,) and self.second_label and self.label_noise:
            yield Clash(
                ("parents", "second_label", "label_noise"),
                "a second label cannot be wrong where the level above the glyphs is one class; "
                "give parents two or more, or label_noise = 0.",
            )

    @property
    def glyphs(self) -> int:
        """Classes that are drawn."""
        return self.classes - sum(self.parents)

    @property
    def labels_each(self) -> int | None:
        if not self.parents:
            return None
        return 2 * (1 + len(self.parents)) if self.ancestors else 2

    @property
    def labels_at_hand(self) -> bool:
        return self.train_size is not None and self.train_size <= AT_HAND

    @property
    def labelled(self) -> bool:
        return not self.unlabelled

    @property
    def captioned(self) -> bool:
        return True

    @property
    def class_names(self) -> Sequence[str]:
        return names_of(self.glyphs, self.parents)

    @property
    def classes_told_apart(self) -> Sequence[str]:
        """A glyph is another one under another seed."""
        return [f"{name} of seed {self.seed}" for name in self.class_names]

    def train(self) -> "ProceduralImages":
        stream = key(self.seed, TRAIN)
        return ProceduralImages(self, stream, size=self.train_size, labelled=self.labelled)

    def heldout(self) -> "ProceduralImages":
        return ProceduralImages(self, key(self.seed, HELDOUT), size=self.heldout_size)

    def area(self) -> int:
        return self.resolution**2

    def irreducible_error(self) -> float:
        return self._label_model().error() if self.ancestors else self.label_noise

    def irreducible_loss(self, loss: Literal["sigmoid", "softmax"]) -> float | None:
        """Least expected loss in nats of an image; None: not known.

        On held-out images it scatters about this, as their labels do.
        """
        if loss == "sigmoid":
            return self._label_model().sigmoid_loss()
        return None if self.ancestors else self._label_model().softmax_loss()

    def irreducible_recall(self, images: int, most: int) -> tuple[float, float]:
        """Recall at `most` of the best possible retrieval among the first `images` held-out images
        and their captions, from images to captions and from captions to images; among equals the
        order is random. Below 1 where captions are equal or name a wrong class."""
        heldout, numbers = self.heldout(), np.arange(images)
        drawn, said = heldout.clean_labels(numbers), heldout.said(numbers)
        return best_recall(drawn, said, self._shares(), self.label_noise, most)

    def _label_model(self) -> LabelModel:
        return LabelModel(
            self._shares(), self.label_noise, self.parents, self.second_label, self.ancestors
        )

    def _shares(self) -> NDArray[np.float64]:
        """Of the images, of each glyph."""
        limits = class_limits(self.glyphs, self.tail, self.offset).astype(float)
        return np.diff(limits, prepend=0, append=WIDTH) / WIDTH


class ProceduralImages:
    """One stream of such images. Streams of different keys share the glyphs and no image."""

    shuffled = True

    def __init__(
        self, source: Procedural, stream: np.uint64, size: int | None, *, labelled: bool = True
    ):
        self.labelled, self.names = labelled, source.class_names
        self.source, self.stream, self.size = source, stream, size
        self.resolution, self.classes = source.resolution, source.classes
        self.limits = class_limits(source.glyphs, source.tail, source.offset)
        self.hierarchy = hierarchy(source.glyphs, source.parents) if source.parents else None
        glyphs = find_glyphs(source.glyphs, source.cells, source.differ, source.seed)
        self.framed = np.pad(glyphs, ((0, 0), (0, 1), (0, 1)))  # cell [-1] is outside the glyph

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        clean = self.clean_labels(indices)
        images = self._images(indices, clean)
        if crop is not None:
            images = cut_all(images, crop, self.resolution)
        return images, self._labels(indices, clean)

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self._labels(indices, self.clean_labels(indices))

    def clean_labels(self, indices: NDArray[np.int64]) -> NDArray[np.int32]:
        """The class whose glyph each image shows, [n]: the answers of the best classifier."""
        chance = self._words(CLASS, indices) >> np.uint64(32)
        return np.searchsorted(self.limits, chance, side="right").astype(np.int32)

    def captions_of(self, indices: NDArray[np.int64]) -> list[str]:
        """What is said of each image; `Procedural` says how."""
        return self.said(indices).words(self.names, self.source.caption == "class")

    def said(self, indices: NDArray[np.int64]) -> Said:
        """The same in numbers."""
        label = self._first(indices, self.clean_labels(indices)).astype(np.int64)
        if self.source.caption == "class":
            return Said(label, *(np.zeros_like(label) for _ in range(3)))
        ink, paper = self._colours(self._words(COLOUR, indices))
        lighter = ink[:, 0] > paper[:, 0]
        down, right = self._shifts(self._words(PLACE, indices))
        jitter = self.source.jitter
        return Said(
            label,
            colours(ink, lighter),
            colours(paper, ~lighter),
            places(down - jitter, right - jitter, jitter),
        )

    def _words(self, purpose: int, counter: NDArray[np.int64]) -> NDArray[np.uint64]:
        return hash64(hash64(self.stream, purpose), counter)

    def _labels(self, indices: NDArray[np.int64], clean: NDArray[np.int32]) -> Labels:
        """`clean`, but wrong for exactly label_noise * BLOCK images of each block of BLOCK; and a
        second label for as exact a share, wrong for as exact a share.

        Which of them is random, so every image has the same chance; that the count is not spares
        the error of a good classifier its binomial scatter.
        """
        s, first = self.source, self._first(indices, clean)
        if not self.labelled:
            shape = (len(first),) if s.labels_each is None else (len(first), s.labels_each)
            return np.full(shape, NONE, np.int32)
        if self.hierarchy is None:
            return first
        right, level = clean % np.int32(s.parents[0]), s.parents[0]
        wrong = self._some(SECOND_LIARS, indices, s.label_noise)
        second = np.where(wrong, self._another(SECOND_LIE, indices, right, level), right)
        there = self._some(SECOND, indices, s.second_label)
        second = np.where(there, s.glyphs + second, NONE)
        labels = np.stack([first, second], axis=1).astype(np.int32)
        return with_ancestors(labels, self.hierarchy) if s.ancestors else labels

    def _first(self, indices: NDArray[np.int64], clean: NDArray[np.int32]) -> NDArray[np.int32]:
        """`clean`, or the glyph of a wrong label."""
        s = self.source
        wrong = self._some(LIARS, indices, s.label_noise)
        return np.where(wrong, self._another(LIE, indices, clean, s.glyphs), clean)

    def _some(self, stream: int, indices: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
        """Exactly `share` of each block of BLOCK images, at random."""
        block, within = np.divmod(indices, BLOCK)
        return permute(within, BLOCK, self._words(stream, block)) < round(share * BLOCK)

    def _another(
        self, stream: int, indices: NDArray[np.int64], right: NDArray[np.int32], of: int
    ) -> NDArray[np.int32]:
        """Any of 0 .. of - 1 but `right`, equally likely."""
        others = np.uint64(max(1, of - 1))
        other = right + 1 + (self._words(stream, indices) % others).astype(np.int32)
        return other % np.int32(of)

    def _images(self, indices: NDArray[np.int64], clean: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Place, two colours, noise: uint8 [n, resolution, resolution, 3]."""
        covered = self._covered(self._words(PLACE, indices), clean)[..., None]
        ink, paper = self._colours(self._words(COLOUR, indices))
        images = np.where(covered, ink[:, None, None], paper[:, None, None])
        if self.source.noise:
            images += self._noise(self._words(NOISE, indices))
        return images

    def _covered(self, words: NDArray[np.uint64], clean: NDArray[np.int32]) -> NDArray[np.bool_]:
        """The pixels under the glyph, [n, resolution, resolution], wherever it has moved."""
        s = self.source
        corner = (s.resolution - s.cells * s.cell) // 2 - s.jitter
        top, left = (corner + shift for shift in self._shifts(words))
        pixel = np.arange(s.resolution)
        row, column = ((pixel - start[:, None]) // s.cell for start in (top, left))
        row, column = (np.where(at < 0, s.cells, np.minimum(at, s.cells)) for at in (row, column))
        return self.framed[clean[:, None, None], row[:, :, None], column[:, None, :]]

    def _shifts(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Down and to the right from the top left corner that a glyph can have, 0 .. 2 jitter."""
        shifts = np.uint64(2 * self.source.jitter + 1)
        down, right = words % shifts, (words >> np.uint64(32)) % shifts
        return down.astype(np.int64), right.astype(np.int64)

    def _colours(self, words: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Colours of the glyph and of the background, uint8 [n, 3] each.

        One is the lighter in all channels by more than `contrast`; no noise takes either past 0
        or 255.
        """
        s = self.source
        levels = np.uint16((256 - s.contrast) // 2 - s.noise)  # from which a channel is drawn
        draw = as_bytes(words[:, None]).astype(np.uint16)
        dark = (s.noise + (draw[:, 0:3] * levels >> 8)).astype(np.uint8)
        light = (255 - s.noise - (draw[:, 3:6] * levels >> 8)).astype(np.uint8)
        swap = s.inverted & (draw[:, 6:7] % 2 == 1)
        return np.where(swap, dark, light), np.where(swap, light, dark)

    def _noise(self, words: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """-noise .. noise for every channel of every pixel, modulo 256 as uint8 sums are."""
        s = self.source
        channels = s.resolution * s.resolution * 3
        draw = as_bytes(hash64(words[:, None], np.arange(-(-channels // 8))))[:, :channels]
        steps = draw.astype(np.uint16) * np.uint16(2 * s.noise + 1) >> np.uint16(8)
        noise = steps.astype(np.uint8) - np.uint8(s.noise)
        return noise.reshape(-1, s.resolution, s.resolution, 3)


@functools.cache
def find_glyphs(classes: int, cells: int, differ: int, seed: int) -> NDArray[np.bool_]:
    """Mirrored patterns [classes, cells, cells]; True is ink. More classes only add to the list.

    All reach the four edges of their square, so that where ink begins tells where the glyph is;
    all leave more than half of it blank, so that the commoner colour is the background; any two
    differ in `differ` cells or more.
    """
    words = hash64(key(seed, GLYPHS), np.arange(CANDIDATES))
    half = -(-cells // 2)
    bits = words[:, None] >> np.arange(cells * half, dtype=np.uint64) & np.uint64(1)
    left = bits.astype(bool).reshape(-1, cells, half)
    drawn = np.concatenate([left, left[:, :, : cells // 2][:, :, ::-1]], axis=2)
    reaches = drawn[:, 0].any(1) & drawn[:, -1].any(1) & drawn[:, :, 0].any(1)
    light = 2 * drawn.sum((1, 2)) < cells * cells
    drawn = drawn[reaches & light]
    glyphs: list[NDArray[np.bool_]] = []
    while len(glyphs) < classes and len(drawn):
        glyphs.append(drawn[0])
        drawn = drawn[(drawn != drawn[0]).sum((1, 2)) >= differ]
    if len(glyphs) < classes:
        raise ValueError(
            f"found {len(glyphs)} glyphs of {cells} x {cells} cells that differ in {differ} cells, "
            f"and classes={classes}; lower `classes` or `differ`, or raise `cells`."
        )
    found = np.stack(glyphs)
    found.flags.writeable = False  # shared by every caller
    return found


def as_bytes(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The bytes of words [n, w], lowest first whatever the machine's own order: [n, 8 w]."""
    return np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)
