"""What people have: a folder or an archive of image files, or the binary CIFAR archives.

`opened` looks only at names and sizes; images are read one by one, as they lie there.
"""

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from fits.base.errors import UserError
from scaling.data.files.tar_members import read_member
from scaling.data.prepare import imagenet
from scaling.data.prepare.entries import Entry, files_below, members, plain_archive
from scaling.data.prepare.item import Item
from scaling.data.prepare.layout import by_layout
from scaling.data.prepare.published import imagenet21k
from scaling.data.prepare.published.downloads import downloads, label_names
from scaling.data.prepare.published.table import (
    IMAGENET_21K,
    OTHERS,
    PUBLISHED,
    published_as,
)

SIDE = 32  # pixels of a CIFAR image


class Collection(ABC):
    """Images by split.

    Fields:
      classes: their names; a label is a place in this list.
      splits: the images of each, class by class.
      published: the name that TFDS has for it, where what is there can be nothing else.
    """

    published: str | None = None

    def __init__(self, root: Path, classes: list[str], splits: dict[str, list[Item]]):
        self.root, self.classes, self.splits = root, classes, splits

    @abstractmethod
    def read(self, item: Item) -> bytes:
        """The encoded image."""

    def file_name(self, item: Item) -> str:
        """What a record calls its image: as the source `folder` does, or, of what TFDS knows, as
        TFDS does."""
        return f"{self.classes[item.label]}/{item.name}"


class FolderCollection(Collection):
    """Image files, each at its path below `root`."""

    def read(self, item: Item) -> bytes:
        return (self.root / item.place[0]).read_bytes()


class TarCollection(Collection):
    """Image files within a plain tar archive."""

    def read(self, item: Item) -> bytes:
        return read_member(self.root, item.place[0], item.size)


class ImageNetCollection(Collection):
    """Image files within the archives of ILSVRC 2012, as they were given out."""

    published = "imagenet2012"

    def read(self, item: Item) -> bytes:
        archive, offset = item.place[:2]
        return read_member(self.root / archive, offset, item.size)

    def file_name(self, item: Item) -> str:
        return item.name


class PublishedCollection(Collection):
    """Image files as their authors publish them, in archives or unpacked.

    Fields:
      containers: where archives lie, by the names in places; other names are files below `root`.
    """

    def __init__(
        self,
        root: Path,
        classes: list[str],
        splits: dict[str, list[Item]],
        containers: Mapping[str, Path],
    ):
        super().__init__(root, classes, splits)
        self.containers = containers

    def read(self, item: Item) -> bytes:
        container, offset = item.place[:2]
        found = self.containers.get(container, self.root / container)
        return read_member(found, offset, item.size)

    def file_name(self, item: Item) -> str:
        return item.name


class CifarCollection(Collection):
    """Raw pixels, 32 x 32, a colour plane after another; read as PNG, which loses nothing.

    Source: Krizhevsky, "The CIFAR-10 dataset", binary version, as tensorflow-datasets reads it.
    """

    def read(self, item: Item) -> bytes:
        import numpy as np
        from PIL import Image

        file, offset = item.place[:2]
        planes = np.frombuffer(read_member(self.root / file, offset, 3 * SIDE**2), np.uint8)
        stream = io.BytesIO()
        pixels = planes.reshape(3, SIDE, SIDE).transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "png")
        return stream.getvalue()


class Cifar(NamedTuple):
    """The files of one binary CIFAR archive."""

    name: str
    """As TFDS calls it."""
    splits: dict[str, tuple[str, ...]]
    names: str
    """File with the names of the classes, a line each."""
    labels: int
    """Bytes before the pixels; the last of them is the label."""


CIFARS = (
    Cifar(
        "cifar10",
        {
            "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        "batches.meta.txt",
        1,
    ),
    Cifar("cifar100", {"train": ("train.bin",), "test": ("test.bin",)}, "fine_label_names.txt", 2),
)
CIFAR_NAMES = [cifar.name for cifar in CIFARS]


@contextmanager
def opened(path: Path, room: Path, name: str = "") -> Iterator[Collection]:
    """What lies at `path`: a folder, or a tar archive, compressed or not.

    Args:
      room: folder in which compressed archives are decompressed, for as long as it is open.
      name: of the data set. Where it is one of `PUBLISHED`, its archives are looked for.

    Raises:
      UserError: what is wrong with it.
    """
    if not path.exists():
        raise UserError([f"there is no {path}."])
    with ExitStack() as held:
        found = _published(path, room, name, held)
        yield found or _own(path, room, name, held)


def _own(path: Path, room: Path, name: str, held: ExitStack) -> Collection:
    """Somebody's own images, or CIFAR or ImageNet 2012, whatever they are to be called."""
    files = PUBLISHED[name].files if name in PUBLISHED else OTHERS.get(name, ())
    if name in CIFAR_NAMES and (path / files[0]).is_file():
        path = path / files[0]
    try:
        if path.is_dir():
            found = _folder(path)
        else:
            found = _archive(held.enter_context(plain_archive(path, room)), str(path))
    except UserError as error:
        raise UserError(_wanting(path, name, files), *error.kinds) from error
    if files and found.published not in (None, name):
        raise UserError([f"{path} is of {found.published}: give --name {found.published}."])
    return found


def _wanting(path: Path, name: str, files: Sequence[str]) -> list[str]:
    """What a published data set needs and `path` has not."""
    if path.name in files:
        others = [file for file in files if file != path.name]
        return [f"give the folder that holds {path} and {', '.join(others)}."] if others else []
    words = f"{path} has none of the files of {name}, {', '.join(files)}"
    of_all = "; an archive that holds them is given by its path" if name == IMAGENET_21K else ""
    return [f"{words}{of_all}."] if files else []


def _published(path: Path, room: Path, name: str, held: ExitStack) -> Collection | None:
    """As its authors publish it; None where it is another one, or nothing of it is there."""
    if name == IMAGENET_21K:
        plain = path if path.is_dir() else held.enter_context(plain_archive(path, room))
        archives = imagenet21k.listed(path, plain)
        return archives and PublishedCollection(path, *archives, {"": plain})
    if (known := PUBLISHED.get(name)) is None:
        return None
    others = [] if path.is_dir() or path.name in known.files else published_as(path.name)
    if others:
        raise UserError([f"{path} is of {others[0]}: give --name {others[0]}."])
    found = held.enter_context(downloads(path, known.files, room))
    parts = {part for entry in found.entries for part in entry.parts}
    parts |= {Path(container).name for container in found.containers}
    if known.signs and not parts.intersection(known.signs):
        return None
    classes, splits = known.listed(found, label_names(name))
    return PublishedCollection(found.root, classes, splits, found.containers)


def _folder(root: Path) -> Collection:
    if imagenet.is_there(root):
        return ImageNetCollection(root, *imagenet.listed(root))
    for cifar in CIFARS:
        folders = [root, *sorted(each for each in root.iterdir() if each.is_dir())]
        for folder in folders:
            if (folder / cifar.names).is_file():
                return _cifar(
                    folder, cifar, {f.name: (0, f.stat().st_size) for f in folder.iterdir()}
                )
    within: list[str] = []
    files = [
        Entry(name, state.st_size, [name, state.st_size, state.st_mtime_ns])
        for name, state in files_below(root, within)
    ]
    files += [Entry(f"{name}/", 0, None) for name in within]
    return FolderCollection(root, *_laid_out(str(root), files))


def _archive(archive: Path, called: str) -> Collection:
    folders: list[str] = []
    found = members(archive, called, folders=folders)
    places = {Path(member.name).name: (member.offset, member.size) for member in found}
    for cifar in CIFARS:
        if cifar.names in places:
            return _cifar(archive, cifar, places, called)
    files = [Entry(m.name, m.size, [m.offset, m.name, m.size]) for m in found]
    files += [Entry(f"{name}/", 0, None) for name in folders]
    return TarCollection(archive, *_laid_out(called, files))


def _laid_out(where: str, files: list[Entry]) -> tuple[list[str], dict[str, list[Item]]]:
    """`by_layout`; what is published otherwise is said with the name under which it is read."""
    try:
        return by_layout(where, files)
    except UserError as error:
        there: dict[str, str] = {}
        for file in files:
            for known in published_as(Path(file.name).name):
                there.setdefault(known, file.name)
        hints = [
            f"{where}: {file} is of {known}; give --name {known} to read it."
            for known, file in there.items()
            if known.partition("/")[0] not in there or "/" not in known
        ]
        raise UserError(*error.kinds, hints) from error


def _cifar(
    root: Path, cifar: Cifar, places: dict[str, tuple[int, int]], called: str = ""
) -> Collection:
    """`places`: offset and size of each file; below `root`, or within it where it is an archive."""
    called, within = called or str(root), "" if root.is_file() else None
    wanted = [cifar.names, *(name for names in cifar.splits.values() for name in names)]
    if absent := [name for name in wanted if name not in places]:
        raise UserError([f"{called} has no {name}; get it again." for name in absent])
    text = _contents(root, cifar.names, places, within).decode("utf-8", "replace")
    classes = [line.strip() for line in text.splitlines() if line.strip()]
    each = cifar.labels + 3 * SIDE**2
    splits: dict[str, list[Item]] = {}
    for split, names in cifar.splits.items():
        splits[split] = []
        for name in names:
            first, size = places[name]
            if size % each or not size:
                whole = f"{size:_} bytes are no whole number of records of {each:_}"
                raise UserError([f"{called}: {name} is cut off: {whole}; get the file again."])
            data = _contents(root, name, places, within)
            for i in range(size // each):
                label = data[i * each + cifar.labels - 1]
                if label >= len(classes):
                    words = f"its label is {label}, and there are {len(classes)} classes"
                    raise UserError([f"{called}: {name}, record {i:_}: {words}."])
                file = f"{re.sub('[^a-z0-9_]', '', name.removesuffix('.bin'))}_{i:05d}.png"
                offset = first + i * each + cifar.labels
                pixels = name if within is None else within
                splits[split].append(Item(label, file, 3 * SIDE**2, [pixels, offset, name]))
    found = CifarCollection(root, _plain_names(classes, called), splits)
    found.published = cifar.name
    return found


def _contents(
    root: Path, name: str, places: dict[str, tuple[int, int]], within: str | None
) -> bytes:
    offset, size = places[name]
    return read_member(root if within is not None else root / name, offset, size)


def _plain_names(classes: list[str], called: str) -> list[str]:
    """Names of classes that may become names of folders."""
    bad = [name for name in classes if "/" in name or "\0" in name or name.startswith(".")]
    if bad or len(set(classes)) != len(classes) or not classes:
        raise UserError([f"{called}: its names of classes are no plain, different names."])
    return classes
