"""Image files laid out as for `tfds.ImageFolder`: path/split/class/image.{jpg,jpeg,png}.

Small images are decoded once, by whichever process comes first, into a memory-mapped file under
the user's cache folder; data sets beyond `CACHE_LIMIT` are decoded as they are asked for. What was
found wrong with a split, or that nothing was, is kept there too.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fits.base.files import write_text, written_aside
from fits.base.names import did_you_mean
from scaling.base.config import Clash
from scaling.base.console import Say
from scaling.base.machine import cache_folder
from scaling.data.decode import UnreadableImages, check_all, decode_all, decoder, together
from scaling.data.file_records import FileRecords
from scaling.data.labels import Labels
from scaling.data.readable import allowed, verdict
from scaling.data.source import (
    MOST_PIXELS,
    Fault,
    Labelled,
    SourceConfig,
    check_each,
    missing,
    same_sets,
)

SUFFIXES = (".jpg", ".jpeg", ".png")
CACHE_LIMIT = 8 << 30  # bytes of pixels, a split; beyond, a cache costs more disk than is polite
CHUNK = 1024  # images decoded between two writes to a cache
ABANDONED = 24 * 3600  # seconds without a write after which a file is a killed process's


class Folder(SourceConfig):
    """Folders of images, one a class, under one folder a split.

    Classes are the folder names of the training split in alphabetical order, images come in
    alphabetical order within them. Other files, and names that begin with a dot, are ignored.

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
    skip_unreadable: int = Field(0, ge=0)
    """So many images of each split may be unreadable: they are left out, the same ones in every
    run, and a run's manifest names them. With more the run stops."""

    def clashes(self) -> Iterator[Clash]:
        yield from same_sets(("train_split", "heldout_split"), self.train_split, self.heldout_split)

    @property
    def root(self) -> Path:
        return self.path.expanduser().absolute()

    @property
    def classes(self) -> int:
        return len(_folders(self.root / self.train_split))

    @property
    def class_names(self) -> list[str]:
        return _folders(self.root / self.train_split)

    def train(self) -> "FolderImages":
        return self._open(self.train_split)

    def heldout(self) -> "FolderImages":
        return self._open(self.heldout_split)

    def sizes(self) -> tuple[int, int]:
        train, heldout = (self._size(split) for split in (self.train_split, self.heldout_split))
        return train, heldout

    def _size(self, split: str) -> int:
        """Without what is known to be unreadable, where it is left out; all images otherwise."""
        classes, folder = _folders(self.root / self.train_split), self.root / split
        if not self.skip_unreadable:
            return sum(1 for name in classes for _ in _images(folder / name))
        members = list(_members(folder, classes))
        return len(members) - len(verdict(_records(folder, members, len(classes))) or {})

    def labels(self, heldout: bool = False) -> Labels:
        split = self.root / (self.heldout_split if heldout else self.train_split)
        members = _members(split, _folders(self.root / self.train_split))
        return np.array([member.label for member in members], np.int32)

    def check(self, say: Say) -> None:
        check_each(lambda images: images.check(say), (self.train, self.heldout))

    def _open(self, split: str) -> "FolderImages":
        if problem := self.problem():
            raise ValueError(problem)
        classes = _folders(self.root / self.train_split)
        return FolderImages(self.root / split, classes, self.resolution, self.skip_unreadable)

    def fault(self) -> Fault | None:
        if problem := missing(self.root):
            return Fault(
                "path",
                f"{problem} Unpack the images there as {self.train_split}/<class>/ and "
                f"{self.heldout_split}/<class>/, or say another path.",
            )
        return self._fault_of_splits() or self._fault_of_classes()

    def _fault_of_splits(self) -> Fault | None:
        splits = _folders(self.root)
        for field, split in (
            ("train_split", self.train_split),
            ("heldout_split", self.heldout_split),
        ):
            if split not in splits:
                there = ", ".join(splits) or "none"
                return Fault(
                    field,
                    f"{self.root} has no folder {split!r} ({field}); its folders: {there}."
                    f" {did_you_mean(split, splits)}".rstrip(),
                )
        return None

    def _fault_of_classes(self) -> Fault | None:
        train, heldout = self.root / self.train_split, self.root / self.heldout_split
        classes = _folders(train)
        if not classes:
            return Fault("train_split", f"{train} has no folders; each class needs one.")
        for name in _folders(heldout):
            if name not in classes:
                return Fault(
                    "heldout_split",
                    f"class {name!r} of {heldout} is not among the {len(classes)} of "
                    f"{self.train_split!r}. {did_you_mean(name, classes)}".rstrip(),
                )
        for field, split in (("train_split", train), ("heldout_split", heldout)):
            for name in _folders(split):
                if next(_images(split / name), None) is None:
                    return Fault(
                        field,
                        f"{split / name} holds no image ({', '.join(SUFFIXES)}); "
                        f"fill it, or remove the folder.",
                    )
        return None

    def provenance(self) -> dict[str, Any]:
        found = super().provenance() | {"decoder": decoder()}
        if self.skip_unreadable:
            found |= {"train_skipped": self.train().skipped}
            found |= {"heldout_skipped": self.heldout().skipped}
        return found


class Member(NamedTuple):
    """One image file of a split, and what tells whether it has changed since."""

    label: int
    name: str
    """Relative to the split's folder: class/file."""
    bytes: int
    modified: int
    """Nanoseconds since 1970."""


class FolderImages:
    """One split of a folder. Knows all its file names; holds no pixels of its own.

    Fields:
      skipped: what was left out, and why, by its path.
    """

    shuffled = False

    def __init__(self, folder: Path, classes: list[str], resolution: int, skip_unreadable: int = 0):
        self.folder, self.classes, self.resolution = folder, len(classes), resolution
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
        self.cache = None
        self._file = _cache_file(folder, members, resolution)
        if self.size * resolution**2 * 3 <= CACHE_LIMIT:
            self.cache = self._decoded_once(self._file)

    def check(self, say: Say) -> None:
        """Raise UnreadableImages unless all images can be read, which is found out once."""
        if self.cache is not None:
            return
        try:
            with self._first(self._file):
                if _verdict(self._file) is None:
                    say(f"{self.folder}: all {self.size:_} images are checked, this once.")
                    self._in_chunks(check_all)
                    _keep_verdict(self._file, {})
        except OSError:  # nothing can be kept on this machine
            self._in_chunks(check_all)

    def batch(self, indices: NDArray[np.int64]) -> Labelled:
        if self.cache is None:
            images = self._decoded([self.names[i] for i in indices])
        else:
            images = np.array(self.cache[indices])  # out of the map, into memory
        return images, self.labels[indices]

    def labels_of(self, indices: NDArray[np.int64]) -> Labels:
        return self.labels[indices]

    def _decoded(self, names: Sequence[str]) -> NDArray[np.uint8]:
        files = [self.folder / name for name in names]
        return decode_all(files, [str(file) for file in files], self.resolution)

    def _in_chunks(self, work: Callable[[Sequence[Path], Sequence[str]], object]) -> None:
        """All files through `work`, in order; what cannot be read is raised when all are done."""
        found: list[UnreadableImages] = []
        for start in range(0, self.size, CHUNK):
            files = [self.folder / name for name in self.names[start : start + CHUNK]]
            try:
                work(files, [str(file) for file in files])
            except UnreadableImages as error:
                found.append(error)
        if found:
            raise together(found)

    @contextmanager
    def _first(self, file: Path) -> Iterator[None]:
        """Keeps processes of one machine that start together waiting for the first of them.

        Raises:
          UnreadableImages: what is found within, which is kept, or what another found before.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if found := _verdict(file):
                raise UnreadableImages(found, lasting=True)
            try:
                yield
            except UnreadableImages as error:
                if error.lasting:
                    _keep_verdict(file, error.why)
                raise

    def _decoded_once(self, file: Path) -> NDArray[np.uint8]:
        """All images as a read-only map of `file`, which is made first where it is not there.

        Processes of one machine that start together wait for the one that makes it. The lock
        only saves their work: each writes to a temporary file with a random name and renames it,
        so that neither a kill nor a second machine on the same folder leaves half a file.
        """
        shape = (self.size, self.resolution, self.resolution, 3)
        try:
            with self._first(file):
                found = _mapped(file, shape)
                if found is None:
                    _remove_abandoned(file)
                    with written_aside(file, durable=True) as aside:
                        self._write(aside, shape)
                    found = _mapped(file, shape)
        except OSError as error:
            raise ValueError(
                f"{self.folder}: its decoded images ({np.prod(shape) / 2**30:.2g} GiB) cannot be "
                f"kept in {file.parent}: {error}. Point XDG_CACHE_HOME to a folder with room."
            ) from error
        assert found is not None
        return found

    def _write(self, file: Path, shape: tuple[int, ...]) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        with file.open("wb") as stream:  # not a map: a full disk kills whoever writes to one
            np.lib.format.write_array_header_1_0(stream, header)
            self._in_chunks(
                lambda files, names: stream.write(decode_all(files, names, self.resolution).data)
            )


def _members(folder: Path, classes: list[str]) -> Iterator[Member]:
    """All images of a split, class by class, each in alphabetical order."""
    for label, name in enumerate(classes):
        for entry in sorted(_images(folder / name), key=lambda entry: entry.name):
            stat = entry.stat()
            yield Member(label, f"{name}/{entry.name}", stat.st_size, stat.st_mtime_ns)


def _records(folder: Path, members: Sequence[Member], classes: int) -> FileRecords:
    files = [folder / member.name for member in members]
    labels = [member.label for member in members]
    name = f"{folder.parent.name}-{folder.name}"
    return FileRecords(name, files, labels, classes, [str(folder), *members])


def _images(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Image files of one folder, in the order in which the disk has them; none without it."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            visible = not entry.name.startswith(".")
            if visible and entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield entry


def _folders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted; none where there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _cache_file(folder: Path, members: list[Member], resolution: int) -> Path:
    """Where the decoded images belong: a name that changes with anything that changes them."""
    decides = [str(folder), resolution, decoder(), *members]
    digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]
    return cache_folder() / f"{folder.parent.name}-{folder.name}-{digest}.npy"


def _verdict(file: Path) -> dict[str, str] | None:
    """What cannot be read of the images that `file` belongs to, and why; None: not known."""
    try:
        found = json.loads(file.with_suffix(".checked.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    said = isinstance(found, dict) and all(isinstance(why, str) for why in found.values())
    return found if said else None


def _keep_verdict(file: Path, unreadable: dict[str, str]) -> None:
    write_text(file.with_suffix(".checked.json"), json.dumps(unreadable))


def _remove_abandoned(file: Path) -> None:
    """Remove temporary files of processes that were killed while they wrote `file`."""
    for aside in file.parent.glob(f".{file.name}.*.part"):
        if time.time() - aside.stat().st_mtime > ABANDONED:
            aside.unlink(missing_ok=True)


def _mapped(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """`file` as a read-only map; None when it is not there, or not whole."""
    try:
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.uint8 else None
