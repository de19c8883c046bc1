"""Retrieval: which caption belongs to an image, and which image to a caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.data.captions import Caption, all_texts, texts_of
from scaling.evaluate.frozen.own_head import HeadFault
from scaling.evaluate.frozen.reads_text import ReadsText
from scaling.evaluate.measured import Measured
from scaling.training.run import RunData

if TYPE_CHECKING:
    from flax import nnx

    from scaling.training.placement import Placement

WAYS = ("image_to_text", "text_to_image")
AT_ONCE = 1 << 24  # cosines in memory at a time: 64 MiB


class Retrieval(ReadsText):
    """Held-out images and their captions find each other among all of them, by cosine.

    `<name>_image_to_text_error_at_<k>` is the share of the images whose caption is not among the k
    most alike, 1 - recall at k, and `<name>_text_to_image_error_at_<k>` that of the captions whose
    image is not. Of an image with several captions each is right, and each is a caption that looks
    for it. Images with the same caption are all right for it, and it for them. Of equal cosines
    those of wrong pairs go first, so that a network whose vectors are all alike finds nothing.
    """

    kind: Literal["retrieval"] = "retrieval"
    k: tuple[Annotated[int, Field(gt=0, le=10**6)], ...] = Field((1, 5, 10), min_length=1)
    """How many of the most alike are looked at."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the numbers measured."""
        return tuple(f"{self.name}_{way}_error_at_{k}" for way in WAYS for k in self.k)

    @property
    def errors(self) -> tuple[str, ...]:
        """Those of `metrics` that are error rates: all."""
        return self.metrics

    def faults(
        self, source: RunData, classes: int, names: Sequence[str] | None = None
    ) -> Iterator[HeadFault]:
        del classes, names
        if not source.captioned:
            yield HeadFault((), "the images have no captions to be found; take some that have.")
        count = self.images or source.sizes()[1]
        if count is not None and count <= max(self.k):
            yield HeadFault(
                ("k",),
                f"{max(self.k)} of {count} captions leave none out; take a smaller k, or more "
                "images.",
            )

    def measure(
        self,
        module: nnx.Module,
        *,
        objective: Any,
        source: RunData,
        placement: Placement | None = None,
    ) -> list[Measured]:
        """Each error, n = images, or captions."""
        from scaling.data.source import captions

        seen = self.seen(module, source, placement)
        said = captions(seen.images, seen.chosen)
        vectors = self.read(module, objective, source, all_texts(said), placement)
        found = ranks(seen.vectors, vectors, said)
        return [
            Measured(
                f"{self.name}_{way}_error_at_{k}", float(np.mean(found[way] >= k)), len(found[way])
            )
            for way in WAYS
            for k in self.k
        ]


def ranks(
    images: NDArray[np.float32], texts: NDArray[np.float32], captions: Sequence[Caption]
) -> dict[str, NDArray[np.int64]]:
    """How many wrong ones are at least as alike as the best right one, [n] or [m], by way.

    Args:
      images: vectors [n, size].
      texts: those of all captions of all images, image after image [m, size].
      captions: of each image, n; pairs of equal texts are right, whoever's they are.
    """
    numbers: dict[str, int] = {}
    same = np.array([numbers.setdefault(each, len(numbers)) for each in all_texts(captions)])
    counts = [len(texts_of(each)) for each in captions]
    owners, ends = np.repeat(np.arange(len(counts)), counts), np.cumsum(counts)
    by_text = np.argsort(same, kind="stable")
    begins = np.searchsorted(same[by_text], np.arange(len(numbers) + 1))

    def equal_to(number: int) -> NDArray[np.int64]:
        return by_text[begins[number] : begins[number + 1]]

    def of_image(row: int) -> NDArray[np.int64]:
        own = same[ends[row] - counts[row] : ends[row]]
        return np.concatenate([equal_to(number) for number in own])

    def of_text(row: int) -> NDArray[np.int64]:
        return owners[equal_to(same[row])]

    both = (images, texts, of_image), (texts, images, of_text)
    return {way: _ranks(*each) for way, each in zip(WAYS, both, strict=True)}


def _ranks(
    asking: NDArray[np.float32],
    found: NDArray[np.float32],
    right_of: Callable[[int], NDArray[np.int64]],
) -> NDArray[np.int64]:
    """
    Args:
      right_of: a row of `asking` -> the rows of `found` that are right for it.
    """
    rank = np.empty(len(asking), np.int64)
    rows = max(1, AT_ONCE // len(found))
    for first in range(0, len(asking), rows):
        part = slice(first, first + rows)
        cosines = asking[part] @ found.T
        right = np.zeros(cosines.shape, bool)
        for row in range(len(cosines)):
            right[row, right_of(first + row)] = True
        best = np.where(right, cosines, -np.inf).max(1, keepdims=True)
        rank[part] = ((cosines >= best) & ~right).sum(1)
    return rank
