"""A part of any source: some of its classes, with some labels made wrong.

How many images of it a run learns from is the run's `data_size`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.errors import UserError
from scaling.base.config import Config
from scaling.base.console import Say
from scaling.data.around.source import Around
from scaling.data.captions import Caption
from scaling.data.hashing import hash64, key
from scaling.data.labels import NONE, Labels, as_rows
from scaling.data.order import permute
from scaling.data.pixels.crops import Cropper
from scaling.data.source import Captioned, Fault, Images, Labelled, check_each, check_sample

if TYPE_CHECKING:
    from scaling.data import Source

CLASSES, WRONG, OTHER = 31, 32, 33  # a key each, of the selection's seed
ROOM = 1 << 40  # members of an endless subset; member m is looked for at m, m + ROOM, ..
ATTEMPTS = 1 << 18


class Selection(Config):
    """What is taken of a source.

    The smaller lies inside the larger, of one seed: classes are the first of one permutation, and
    keep their numbers in it; an image whose label is wrong at some noise is wrong at any higher
    one, in the same way.
    """

    classes: int | None = Field(default=None, ge=2, le=10**9)
    """How many classes; left out, all. Images of no other label are left out, held-out ones too."""
    label_noise: float = Field(default=0.0, ge=0, lt=1)
    """Chance of each label of a training image to be replaced by another class, all equally likely.
    Labels of held-out images stay as they are."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Decides which classes, and which labels are wrong."""

    @property
    def all(self) -> bool:
        """Whether nothing is left out or changed."""
        return self.classes is None and self.label_noise == 0

    @property
    def words(self) -> str:
        """As tables and messages name it: "classes=100 label_noise=0.1"."""
        said = {} if self.all else self.model_dump(exclude_defaults=True)
        return " ".join(f"{name}={value}" for name, value in said.items()) or "all"


class Subset(Around):
    """Some classes of another source, or some of its labels made wrong; axis `subset` of a grid.

    To find the images of some classes, all labels are read when the source is opened: without
    decoding where the source can do that. In an endless source image m of the subset is the first
    of these classes among the source's images m, m + 2**40, m + 2 * 2**40, ...
    """

    kind: Literal["subset"] = "subset"
    of: Source = Field(description="the source, a table of the keys of [data]")
    select: Selection = Field(description="what is taken: `classes`, `label_noise`, `seed`")

    @property
    def classes(self) -> int:
        whole = self.of.classes
        return whole if self.select.classes is None else min(whole, self.select.classes)

    @property
    def class_names(self) -> Sequence[str] | None:
        return self._selected(self.of.class_names)

    @property
    def classes_told_apart(self) -> Sequence[str] | None:
        return self._selected(self.of.classes_told_apart)

    def _selected(self, names: Sequence[str] | None) -> Sequence[str] | None:
        """Those of the classes that are taken, in their new order."""
        if names is None or self.select.classes is None:
            return names
        renamed = new_numbers(self.of.classes, self.select)[:-1]
        return [names[there] for there in np.argsort(renamed) if renamed[there] != NONE]

    @property
    def subset(self) -> str:
        return self.select.words

    def train(self) -> SubsetImages:
        return self._open(self.of.train(), heldout=False)

    def heldout(self) -> SubsetImages:
        return self._open(self.of.heldout(), heldout=True)

    def heldout_names(self, shown: bool = True) -> Sequence[str] | None:
        names = self.of.heldout_names(shown)
        if names is None or not shown or self.select.classes is None:
            return names
        return [names[number] for number in _members(self, True, len(names))]

    def _open(self, images: Images, heldout: bool) -> SubsetImages:
        self._refuse(self.fault_of_selection())
        renamed = members = None
        if self.select.classes is not None:
            renamed = new_numbers(self.of.classes, self.select)
            if images.size is not None:
                members = _members(self, heldout, images.size)
                if not len(members):
                    self._refuse(self._fault_of_emptiness(heldout))
        noise = 0.0 if heldout else self.select.label_noise
        of = CaptionedSubsetImages if isinstance(images, Captioned) else SubsetImages
        return of(images, self.classes, renamed, members, noise, self.select.seed)

    def _refuse(self, fault: Fault | None) -> None:
        if fault:
            raise UserError([fault.words])

    def sizes(self) -> tuple[int | None, int | None]:
        train, heldout = self.of.sizes()
        if self.select.classes is None:
            return train, heldout
        return (
            train if not train else len(_members(self, False, train)),
            heldout if heldout is None else len(_members(self, True, heldout)),
        )

    def fault(self, to_train: bool = True) -> Fault | None:
        if fault := self.of.fault(to_train):
            return Fault("of", fault.words)
        return self.fault_of_selection() or next(
            (
                self._fault_of_emptiness(heldout)
                for heldout, size in zip((False, True), self.sizes(), strict=True)
                if size == 0 and (heldout or not self.heldout_only)
            ),
            None,
        )

    def fault_of_selection(self) -> Fault | None:
        """More classes than there are, or more noise than leaves anything to learn."""
        whole, wanted = self.of.classes, self.select.classes
        if wanted is not None and self.private:
            return Fault(
                "select",
                "which images are of which class is not known of a private source; leave classes "
                "out, and name a source of so many classes instead.",
            )
        if wanted is not None and not self.of.labelled:
            return Fault(
                "select",
                "training images of the source have no labels to choose classes by; leave classes "
                "out, or unlabelled.",
            )
        if wanted is not None and wanted > whole:
            return Fault(
                "select",
                f"classes={wanted:_} is more than the {whole:_} classes of the source; give at "
                f"most {whole:_}, or leave classes out for all.",
            )
        if self.select.label_noise and self.select.label_noise >= 1 - 1 / self.classes:
            return Fault(
                "select",
                f"label_noise={self.select.label_noise} makes a wrong label as likely as the right "
                f"one; with {self.classes:_} classes stay below {1 - 1 / self.classes:.3g}.",
            )
        return None

    def _fault_of_emptiness(self, heldout: bool) -> Fault:
        which = "held-out" if heldout else "training"
        return Fault(
            "select",
            f"no {which} image is of the {self.classes:_} classes that seed={self.select.seed} "
            "takes; take more classes, or another seed.",
        )

    def check(self, say: Say) -> None:
        super().check(say)
        check_each(check_sample, self.sets().values())

    def irreducible_error(self) -> float | None:
        """The source's, as wrong labels are in training alone; not known of some classes, unless
        it is 0 of all."""
        whole = self.of.irreducible_error()
        return whole if self.select.classes is None or whole == 0 else None


class SubsetImages:
    """The images of one set that are of some classes, their labels renamed or made wrong."""

    def __init__(
        self,
        images: Images,
        classes: int,
        renamed: Labels | None,
        members: NDArray[np.int64] | None,
        noise: float,
        seed: int,
    ):
        """
        Args:
          images: of the source.
          classes: of the subset.
          renamed: as `new_numbers` has it; None: all classes, under their own numbers.
          members: numbers of the source's images of these classes, rising; None: all are, or the
            source is endless.
          noise: chance of a label to be wrong.
          seed: of the selection.
        """
        self.images, self.classes, self.resolution = images, classes, images.resolution
        self.shuffled = images.shuffled
        self.size = images.size if members is None else len(members)
        self._renamed, self._members, self._noise, self._seed = renamed, members, noise, seed

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        numbers = self._numbers(indices)
        pixels, labels = self.images.batch(numbers, crop)
        return pixels, self._as_here(labels, numbers)

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        numbers = self._numbers(indices)
        return self._as_here(self.images.labels_of(numbers), numbers)

    def _numbers(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the source's images these are."""
        if self._members is not None:
            return self._members[indices]
        if self._renamed is None:
            return indices
        found, left = indices.copy(), np.arange(len(indices))
        for attempt in range(ATTEMPTS):
            found[left] = indices[left] + attempt * ROOM
            left = left[~is_of(self.images.labels_of(found[left]), self._renamed)]
            if not len(left):
                return found
        raise UserError(
            [
                f"of {ATTEMPTS:_} images not one is of these {self.classes:_} classes; take more "
                "classes, or another seed."
            ]
        )

    def _as_here(self, labels: Labels, numbers: NDArray[np.int64]) -> Labels:
        if self._renamed is not None:
            labels = self._renamed[labels]
        if not self._noise:
            return labels
        rows = as_rows(labels)
        slots = np.arange(rows.shape[1])
        chance, other = (
            hash64(hash64(key(self._seed, purpose), slots), numbers[:, None])
            for purpose in (WRONG, OTHER)
        )
        wrong = (chance >> np.uint64(11)).astype(float) < self._noise * 2.0**53
        moved = rows + 1 + (other % np.uint64(self.classes - 1)).astype(np.int32)
        rows = np.where(wrong & (rows != NONE), moved % np.int32(self.classes), rows)
        return rows.astype(np.int32).reshape(labels.shape)


class CaptionedSubsetImages(SubsetImages):
    """The same of images with captions, which say what they said: of a wrong label they know
    nothing."""

    def captions_of(self, indices: NDArray[np.int64]) -> Sequence[Caption]:
        assert isinstance(self.images, Captioned)
        return self.images.captions_of(self._numbers(indices))


def new_numbers(classes: int, select: Selection) -> Labels:
    """Of each class of the source its number in the subset, `NONE` of those left out, and of
    `NONE`, which comes last."""
    place = permute(np.arange(classes), classes, key(select.seed, CLASSES))
    kept = np.where(place < (select.classes or classes), place, NONE)
    return np.append(kept, NONE).astype(np.int32)


def is_of(labels: Labels, renamed: Labels) -> NDArray[np.bool_]:
    """Which images have a label that the subset keeps, [n]."""
    return (as_rows(renamed[labels]) != NONE).any(1)


@lru_cache(maxsize=8)  # a source of files reads all its labels for this
def _members(source: Subset, heldout: bool, size: int) -> NDArray[np.int64]:
    """Numbers of the source's images that are of the subset's classes.

    Args:
      size: images of the source's set; other files, another size.
    """
    del size
    renamed = new_numbers(source.of.classes, source.select)
    return np.flatnonzero(is_of(source.of.labels(heldout), renamed))
