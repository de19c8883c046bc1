"""A source whose images also have all that lies above their labels in a hierarchy."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scaling.base.config import HomePath
from scaling.base.console import Say
from scaling.data.around.source import Around
from scaling.data.captions import Caption
from scaling.data.labels import Labels, ancestor_table, with_ancestors
from scaling.data.pixels.crops import Cropper
from scaling.data.source import (
    Captioned,
    Fault,
    Images,
    Labelled,
    check_each,
    check_sample,
    missing,
)

if TYPE_CHECKING:
    from scaling.data import Source

LONGEST = 100  # digits of a number that a message quotes whole


class Hierarchy(Around):
    """Another source, whose labels are completed: what is above a label is a label too.

    So Sun et al. 2017 trained on JFT-300M. Zhai et al. 2022 ignore its hierarchy, as a source does
    by itself.

    The file of parents has two class numbers a line, `child parent`, which may have several
    parents; empty lines and what follows a # are left out. Classes that no image has a label of
    have numbers of their own, behind those of the source, and `all_classes` says how many there are
    in all.
    """

    kind: Literal["hierarchy"] = "hierarchy"
    of: Source = Field(description="the source, a table of the keys of [data]")
    parents: HomePath = Field(description="the file, a line `child parent` each")
    all_classes: int | None = Field(
        None, ge=2, le=10**9, description="classes with those above; left out, those of the source"
    )

    @property
    def classes(self) -> int:
        return self.of.classes if self.all_classes is None else self.all_classes

    @property
    def class_names(self) -> Sequence[str] | None:
        """Those of the source; classes above them, which it does not have, have no names."""
        return self.of.class_names if self.classes == self.of.classes else None

    @property
    def classes_told_apart(self) -> Sequence[str] | None:
        return self.of.classes_told_apart if self.classes == self.of.classes else None

    @property
    def labels_each(self) -> int | None:
        return (self.of.labels_each or 1) * self._table().shape[1]

    def train(self) -> HierarchyImages:
        return _opened(self.of.train(), self._table())

    def heldout(self) -> HierarchyImages:
        return _opened(self.of.heldout(), self._table())

    def heldout_names(self, shown: bool = True) -> Sequence[str] | None:
        return self.of.heldout_names(shown)

    def labels(self, heldout: bool = False) -> Labels:
        return with_ancestors(self.of.labels(heldout), self._table())

    def fault(self, to_train: bool = True) -> Fault | None:
        if fault := self.of.fault(to_train):
            return Fault("of", fault.words)
        if self.classes < self.of.classes:
            return Fault(
                "all_classes",
                f"{self.classes:_} is less than the {self.of.classes:_} classes of the source; "
                "count those as well.",
            )
        if words := missing(self.parents):
            return Fault("parents", words)
        try:
            self._table()
        except OSError as error:
            return Fault("parents", f"{self.parents} cannot be read: {error.strerror}.")
        except ValueError as error:
            return Fault("parents", str(error))
        return None

    def check(self, say: Say) -> None:
        super().check(say)
        check_each(check_sample, self.sets().values())

    def provenance(self) -> dict[str, Any]:
        return super().provenance() | {
            "parents_sha256": hashlib.sha256(self.parents.read_bytes()).hexdigest()
        }

    def _table(self) -> Labels:
        """The classes above each class and itself, padded."""
        return read_table(self.parents, self.classes, self.parents.stat().st_mtime_ns)


class HierarchyImages:
    """One set of such a source."""

    def __init__(self, images: Images, table: Labels):
        self.images, self.table = images, table
        self.resolution, self.classes = images.resolution, len(table)
        self.size, self.shuffled = images.size, images.shuffled

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        pixels, labels = self.images.batch(indices, crop)
        return pixels, with_ancestors(labels, self.table)

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return with_ancestors(self.images.labels_of(indices), self.table)


class CaptionedHierarchyImages(HierarchyImages):
    """The same of images with captions."""

    def captions_of(self, indices: NDArray[np.int64]) -> Sequence[Caption]:
        assert isinstance(self.images, Captioned)
        return self.images.captions_of(indices)


def _opened(images: Images, table: Labels) -> HierarchyImages:
    of = CaptionedHierarchyImages if isinstance(images, Captioned) else HierarchyImages
    return of(images, table)


@lru_cache(maxsize=4)
def read_table(path: Path, classes: int, modified: int) -> Labels:
    """`labels.ancestor_table` of a file of `child parent` lines.

    Raises:
      ValueError: a line is no such pair, names no class, or the hierarchy goes round in a circle.
    """
    del modified
    above: list[list[int]] = [[] for _ in range(classes)]
    try:
        text = path.read_text(encoding="utf-8-sig")  # with a byte order mark or not
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start} is not UTF-8; this is no text file."
        ) from None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) != 2 or not all(word.isdecimal() and len(word) < LONGEST for word in words):
            raise ValueError(
                f"{where}: {line.strip()[:40]!r} is not `child parent`, two class numbers; correct "
                "it."
            )
        child, parent = map(int, words)
        for each, role in ((child, "child"), (parent, "parent")):
            if each >= classes:
                raise ValueError(
                    f"{where}: the {role} {each} is no class; there are 0 .. {classes - 1}. Where "
                    "it is one that no image has a label of, say how many there are: all_classes."
                )
        above[child].append(parent)
    try:
        return ancestor_table(above)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
