"""What sources that stand on another one have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scaling.base.console import Say
from scaling.data.captions import Caption
from scaling.data.file_ranges import FileRange
from scaling.data.labels import Labels
from scaling.data.pixels.crops import Cropper
from scaling.data.source import Captioned, Images, Labelled, SourceConfig

if TYPE_CHECKING:
    from scaling.data import Source


class Around(SourceConfig):
    """Base of them: what a subclass does not say itself, the source `of` says."""

    of: Source

    @property
    def classes(self) -> int:
        return self.of.classes

    @property
    def resolution(self) -> int:
        return self.of.resolution

    @property
    def private(self) -> bool:
        return self.of.private

    @property
    def heldout_only(self) -> bool:
        return self.of.heldout_only

    @property
    def labels_each(self) -> int | None:
        return self.of.labels_each

    @property
    def labelled(self) -> bool:
        return self.of.labelled

    @property
    def captioned(self) -> bool:
        return self.of.captioned

    @property
    def class_names(self) -> Sequence[str] | None:
        """Those of the source `of`; a subclass whose classes have other numbers says its own."""
        return self.of.class_names

    @property
    def classes_told_apart(self) -> Sequence[str] | None:
        return self.of.classes_told_apart

    @property
    def names_at_hand(self) -> bool:
        return self.of.names_at_hand

    @property
    def subset(self) -> str:
        return self.of.subset

    def heldout(self) -> Images:
        return self.of.heldout()

    def sizes(self) -> tuple[int | None, int | None]:
        return self.of.sizes()

    def file_ranges(self, heldout: bool = False) -> Sequence[FileRange]:
        """Those of the source that holds the images, all of them."""
        return self.of.file_ranges(heldout)

    def unreadable(self, heldout: bool = False) -> Sequence[int]:
        """Numbers among all images of the source that holds them."""
        return self.of.unreadable(heldout)

    def area(self) -> int | None:
        return self.of.area()

    def check(self, say: Say) -> None:
        self.of.check(say)

    def provenance(self) -> dict[str, Any]:
        return self.of.provenance() | super().provenance()


class Numbers(Protocol):
    """Which images of one set those of another are."""

    def __call__(self, indices: NDArray[np.int64], /) -> NDArray[np.int64]: ...


def renumbered(images: Images, size: int, numbers: Numbers, *, shuffled: bool) -> Renumbered:
    """Some images of a set, under numbers of their own, and their captions, if they have any."""
    of = RenumberedCaptioned if isinstance(images, Captioned) else Renumbered
    return of(images, size, numbers, shuffled=shuffled)


class Renumbered:
    """Some images of a set, under numbers of their own."""

    def __init__(self, images: Images, size: int, numbers: Numbers, *, shuffled: bool):
        self.size: int | None = size
        self.resolution, self.classes = images.resolution, images.classes
        self.shuffled = shuffled
        self._images, self._numbers = images, numbers

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        return self._images.batch(self._numbers(indices), crop)

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self._images.labels_of(self._numbers(indices))


class RenumberedCaptioned(Renumbered):
    """The same of images with captions."""

    def captions_of(self, indices: NDArray[np.int64]) -> Sequence[Caption]:
        assert isinstance(self._images, Captioned)
        return self._images.captions_of(self._numbers(indices))


def innermost(source: SourceConfig) -> SourceConfig:
    """The source that holds the images."""
    while isinstance(source, Around):
        source = source.of
    return source
