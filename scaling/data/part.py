"""A part of another source's training images, in two: to learn from, and to choose by.

For searches that must not see the test set: nothing of it is opened here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import Clash
from scaling.base.console import Say
from scaling.data import Source
from scaling.data.labels import Labels
from scaling.data.order import subset
from scaling.data.source import Images, Labelled, SourceConfig


class Part(SourceConfig):
    """The first `images` of the fixed permutation of a source's training images, the last
    `validation` of them held out. A run with `data_size = images` on the source itself sees both.
    """

    kind: Literal["part"] = "part"
    of: Source
    images: int = Field(gt=1)
    """How many, those held out included."""
    validation: int = Field(gt=0)
    """Of them, held out."""

    def clashes(self) -> Iterator[Clash]:
        if self.validation >= self.images:
            yield Clash(
                ("images", "validation"),
                f"validation={self.validation:_} of {self.images:_} images leaves none to learn "
                "from.",
            )

    @property
    def classes(self) -> int:
        return self.of.classes

    @property
    def resolution(self) -> int:
        return self.of.resolution

    @property
    def labels_each(self) -> int | None:
        return self.of.labels_each

    @property
    def subset(self) -> str:
        return self.of.subset

    def train(self) -> Images:
        return Members(self.of.train(), 0, self.images - self.validation)

    def heldout(self) -> Images:
        return Members(self.of.train(), self.images - self.validation, self.validation)

    def sizes(self) -> tuple[int, int]:
        return self.images - self.validation, self.validation

    def check(self, say: Say) -> None:
        self.of.check(say)

    def provenance(self) -> dict[str, Any]:
        return self.of.provenance()


class Members:
    """`size` members of a set of images, from member `first` of its fixed permutation on."""

    shuffled = True

    def __init__(self, images: Images, first: int, size: int):
        total = images.size
        if total is not None and first + size > total:
            raise ValueError(f"{first + size:_} of {total:_} images were asked for.")
        self._images, self._first, self._total = images, first, total
        self.size, self.classes, self.resolution = size, images.classes, images.resolution

    def batch(self, indices: NDArray[np.int64]) -> Labelled:
        return self._images.batch(self._numbers(indices))

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self._images.labels_of(self._numbers(indices))

    def _numbers(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of images of the whole source."""
        members = self._first + np.asarray(indices)
        return members if self._total is None else subset(members, self._total)
