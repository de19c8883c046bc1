"""Image files laid out as for `tfds.ImageFolder`: path/split/class/image.{jpg,jpeg,png}."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.names import did_you_mean
from scaling.base.config import Clash
from scaling.base.console import Say
from scaling.base.files import expanded
from scaling.data.file_ranges import FileRange
from scaling.data.files.decoded import DecodedFiles, Member
from scaling.data.files.readable import allowed, verdict
from scaling.data.files.records import FileRecords
from scaling.data.labels import Labels
from scaling.data.pixels.crops import Cropper
from scaling.data.pixels.resize import DEFAULT, Decode
from scaling.data.source import (
    MOST_PIXELS,
    Fault,
    Labelled,
    SourceConfig,
    check_each,
    missing,
    same_sets,
    splits_of,
)

SUFFIXES = (".jpg", ".jpeg", ".png")


class Folder(SourceConfig):
    """Folders of images, one a class, under one folder a split.

    Classes are the folder names of the training split in alphabetical order, images come in
    alphabetical order within them. Other files, and names that begin with a dot, are ignored.
    Where nothing is learnt from the images the training split may be absent: classes are then the
    folder names of the held-out split.

    Decoded images are kept in `~/.cache/vit-scaling-laws` ($XDG_CACHE_HOME, if set, replaces
    `~/.cache`), 3 * resolution^2 bytes each, unless a split takes more than 8 GiB. The folder may
    be removed at any time.

    Before the first step all images of both splits are decoded, once on each machine, and all that
    cannot be read are named together. A split of more than 8 GiB is decoded for this alone, its
    JPEGs at an eighth of their size.
    """

    kind: Literal["folder"] = "folder"
    path: Path
    """The folder that holds a folder a split; `~` is one's home."""
    train_split: str = "train"
    """Folder of the images to learn from."""
    heldout_split: str = "test"
    """Folder of the images to measure on."""
    resolution: int = Field(ge=1, le=MOST_PIXELS)
    """Side of an image, pixels; images of another size are resized."""
    decode: Decode = DEFAULT
    """How files become squares of pixels."""
    skip_unreadable: int = Field(0, ge=0)
    """So many images of each split may be unreadable: they are left out, the same ones in every
    run, and a run's manifest names them. With more the run stops."""

    def clashes(self) -> Iterator[Clash]:
        yield from same_sets(("train_split", "heldout_split"), self.train_split, self.heldout_split)
        yield from self.decode.clash_with(self.resolution)

    @property
    def root(self) -> Path:
        return expanded(self.path).absolute()

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def class_names(self) -> list[str]:
        return _folders(self.root / (self.heldout_split if self.heldout_only else self.train_split))

    @property
    def heldout_only(self) -> bool:
        there = [(self.root / split).is_dir() for split in (self.train_split, self.heldout_split)]
        return there == [False, True]

    def heldout_names(self, shown: bool = True) -> list[str]:
        if shown and self.skip_unreadable:
            return self.heldout().names
        members = _members(self.root / self.heldout_split, self.class_names)
        return [member.name for member in members]

    def train(self) -> "FolderImages":
        return self._open(self.train_split, to_train=True)

    def heldout(self) -> "FolderImages":
        return self._open(self.heldout_split, to_train=False)

    def sizes(self) -> tuple[int, int]:
        """Without what is known to be unreadable, where it is left out; all images otherwise."""
        return len(self.labels()), len(self.labels(heldout=True))

    @property
    def labels_at_hand(self) -> bool:
        """Unless some images are left out, for which all are looked at."""
        return not self.skip_unreadable

    def labels(self, heldout: bool = False) -> Labels:
        """Without what is known to be unreadable, where it is left out; of all images otherwise."""
        classes = self.class_names
        folder = self.root / (self.heldout_split if heldout else self.train_split)
        if not self.skip_unreadable:  # names tell it, no file is looked at
            counts = [sum(1 for _ in _images(folder / name)) for name in classes]
            return np.repeat(np.arange(len(classes), dtype=np.int32), counts)
        members = list(_members(folder, classes))
        bad = verdict(_records(folder, members, len(classes))) or {}
        return np.array([each.label for i, each in enumerate(members) if i not in bad], np.int32)

    def file_ranges(self, heldout: bool = False) -> list[FileRange]:
        folder = self.root / (self.heldout_split if heldout else self.train_split)
        found = _members(folder, self.class_names)
        return [FileRange(str(folder), each.name, str(each.bytes), 0, 1) for each in found]

    def unreadable(self, heldout: bool = False) -> list[int]:
        if not self.skip_unreadable:
            return []
        folder = self.root / (self.heldout_split if heldout else self.train_split)
        members = list(_members(folder, self.class_names))
        return sorted(allowed(_records(folder, members, self.classes), self.skip_unreadable))

    def check(self, say: Say) -> None:
        opens = [partial(self._open, split, to_train=False) for split in splits_of(self).values()]
        check_each(lambda images: images.check(say), opens)

    def _open(self, split: str, to_train: bool) -> "FolderImages":
        if problem := self.problem(to_train):
            raise ValueError(problem)
        how = self.decode, self.skip_unreadable
        return FolderImages(self.root / split, self.class_names, self.resolution, *how)

    def fault(self, to_train: bool = True) -> Fault | None:
        if problem := self.decode.problem():
            return Fault("decode", problem)
        if problem := missing(self.root):
            return Fault(
                "path",
                f"{problem} Unpack the images there as {self.train_split}/<class>/ and "
                f"{self.heldout_split}/<class>/, or say another path.",
            )
        return self._fault_of_splits(to_train) or self._fault_of_classes()

    def _fault_of_splits(self, to_train: bool) -> Fault | None:
        splits = _folders(self.root)
        for field, split in splits_of(self, to_train).items():
            if split not in splits:
                there = ", ".join(splits) or "none"
                return Fault(
                    field,
                    f"{self.root} has no folder {split!r} ({field}); its folders: {there}."
                    f" {did_you_mean(split, splits)}".rstrip(),
                )
        return None

    def _fault_of_classes(self) -> Fault | None:
        heldout, classes = self.root / self.heldout_split, self.class_names
        if not classes and not self.heldout_only:
            return Fault(
                "train_split",
                f"{self.root / self.train_split} has no folders; each class needs one.",
            )
        if not _folders(heldout):
            return Fault(
                "heldout_split",
                f"{heldout} has no folders; at least one class needs images to measure on.",
            )
        if unknown := sorted({*_folders(heldout)}.difference(classes)):
            name = unknown[0]
            return Fault(
                "heldout_split",
                f"class {name!r} of {heldout} is not among the {len(classes)} of "
                f"{self.train_split!r}. {did_you_mean(name, classes)}".rstrip(),
            )
        for field, split in splits_of(self).items():
            if (link := _broken_link(self.root / split)) is not None:
                words = f"{link} is a link to nothing; restore the folder, or remove the link."
                return Fault(field, words)
            for name in _folders(self.root / split):
                if next(_images(self.root / split / name), None) is None:
                    return Fault(field, _without_images(self.root / split / name))
        return None

    def provenance(self) -> dict[str, Any]:
        found = super().provenance() | self.decode.provenance(self.resolution)
        if self.skip_unreadable:
            found |= {
                f"{key.removesuffix('_split')}_skipped": self._open(split, to_train=False).skipped
                for key, split in splits_of(self).items()
            }
        return found


class FolderImages:
    """One split of a folder.

    Fields:
      skipped: what was left out, and why, by its path.
    """

    shuffled = False

    def __init__(
        self,
        folder: Path,
        classes: list[str],
        resolution: int,
        how: Decode = DEFAULT,
        skip_unreadable: int = 0,
    ):
        self.classes, self.resolution = len(classes), resolution
        members = list(_members(folder, classes))
        self.skipped: dict[str, str] = {}
        if skip_unreadable:
            records = _records(folder, members, len(classes))
            bad = allowed(records, skip_unreadable)
            self.skipped = {records.called(i): why for i, why in bad.items()}
            members = [member for i, member in enumerate(members) if i not in bad]
        self.names = [member.name for member in members]
        self.labels = np.array([member.label for member in members], np.int32)
        self.size = len(members)
        self._files = DecodedFiles(folder, members, resolution, how)

    def check(self, say: Say) -> None:
        """Raise UnreadableImages unless all images can be read, which is found out once."""
        self._files.check(say)

    def batch(self, indices: NDArray[np.int64], crop: Cropper | None = None) -> Labelled:
        return self._files.batch(indices, crop), self.labels[indices]

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self.labels[indices]


def _without_images(folder: Path) -> str:
    words = f"{folder} holds no image ({', '.join(SUFFIXES)})"
    for below in _folders(folder):
        if next(_images(folder / below), None) is not None:
            return f"{words}, but its folder {below!r} does; move the images up."
    return f"{words}; fill it, or remove the folder."


def _members(folder: Path, classes: list[str]) -> Iterator[Member]:
    """All images of a split, class by class, each in alphabetical order."""
    for label, name in enumerate(classes):
        for entry in sorted(_images(folder / name), key=lambda entry: entry.name):
            try:
                stat = entry.stat()
                told = stat.st_size, stat.st_mtime_ns
            except FileNotFoundError:  # a link that leads nowhere
                told = 0, 0
            yield Member(label, f"{name}/{entry.name}", *told)


def _records(folder: Path, members: Sequence[Member], classes: int) -> FileRecords:
    files = [folder / member.name for member in members]
    labels = [member.label for member in members]
    name = f"{folder.parent.name}-{folder.name}"
    return FileRecords(name, files, labels, classes, [str(folder), *members])


def _images(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Image files of one folder, in the order in which the disk has them; none without it. A link
    that leads nowhere is one that cannot be read."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            visible = not entry.name.startswith(".")
            if not visible or not entry.name.lower().endswith(SUFFIXES):
                continue
            if entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):
                yield entry


def _broken_link(folder: Path) -> Path | None:
    """The first link in `folder` that leads nowhere: a class, were it restored."""
    with os.scandir(folder) as entries:
        links = [entry.path for entry in entries if entry.is_symlink()]
    broken = [Path(link) for link in sorted(links) if not os.path.exists(link)]
    return next((link for link in broken if not link.name.startswith(".")), None)


def _folders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
