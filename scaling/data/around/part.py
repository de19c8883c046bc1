"""A part of another source's training images, in two: to learn from, and to choose by.

For searches that must not see the test set: nothing of it is opened here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from scaling.base.config import Clash
from scaling.data import Source
from scaling.data.around.source import Around, Renumbered, renumbered
from scaling.data.order import subset
from scaling.data.source import Images


class Part(Around):
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

    def train(self) -> Images:
        return members(self.of.train(), 0, self.images - self.validation)

    def heldout(self) -> Images:
        return members(self.of.train(), self.images - self.validation, self.validation)

    def sizes(self) -> tuple[int, int]:
        return self.images - self.validation, self.validation

    def provenance(self) -> dict[str, Any]:
        return self.of.provenance()


def members(images: Images, first: int, size: int) -> Renumbered:
    """`size` members of a set of images, from member `first` of its fixed permutation on."""
    total = images.size
    if total is None:
        return renumbered(images, size, lambda indices: first + indices, shuffled=True)
    if first + size > total:
        raise ValueError(f"{first + size:_} of {total:_} images were asked for.")
    return renumbered(images, size, lambda indices: subset(first + indices, total), shuffled=True)
