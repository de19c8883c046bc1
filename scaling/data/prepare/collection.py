"""What people have: a folder or an archive of image files, or the binary CIFAR archives.

`opened` looks only at names and sizes; images are read one by one, as they lie there.
"""

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from fits.base.counted import counted
from fits.base.errors import UserError
from fits.base.files import folder_made
from fits.base.names import did_you_mean
from scaling.base.console import complain
from scaling.data.prepare import imagenet
from scaling.data.prepare.item import Item
from scaling.data.tar_members import COMPRESSED, read_member, tar_members

SUFFIXES = (".jpg", ".jpeg", ".png")
LAYOUT = "train/<class>/<image> and test/<class>/<image>"
SIDE = 32  # pixels of a CIFAR image


class Collection(ABC):
    """Images by split.

    Fields:
      classes: their names; a label is a place in this list.
      splits: the images of each, class by class.
    """

    def __init__(self, root: Path, classes: list[str], splits: dict[str, list[Item]]):
        self.root, self.classes, self.splits = root, classes, splits

    @abstractmethod
    def read(self, item: Item) -> bytes:
        """The encoded image."""


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

    def read(self, item: Item) -> bytes:
        archive, offset = item.place[:2]
        return read_member(self.root / archive, offset, item.size)


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

    splits: dict[str, tuple[str, ...]]
    names: str
    """File with the names of the classes, a line each."""
    labels: int
    """Bytes before the pixels; the last of them is the label."""


CIFARS = (
    Cifar(
        {
            "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        "batches.meta.txt",
        1,
    ),
    Cifar({"train": ("train.bin",), "test": ("test.bin",)}, "fine_label_names.txt", 2),
)


@contextmanager
def opened(path: Path, room: Path) -> Iterator[Collection]:
    """What lies at `path`: a folder, or a tar archive, compressed or not.

    Args:
      room: folder in which a compressed archive is decompressed, for as long as it is open.

    Raises:
      UserError: what is wrong with it.
    """
    if path.is_dir():
        yield _folder(path)
        return
    if not path.is_file():
        raise UserError([f"there is no {path}."])
    with path.open("rb") as stream:
        begins = stream.read(6)
    if not begins.startswith(COMPRESSED):
        yield _archive(path)
        return
    with folder_made(room), NamedTemporaryFile(dir=room, prefix=".", suffix=".part") as plain:
        _decompress(path, begins, plain)
        yield _archive(Path(plain.name), called=str(path))


def _decompress(path: Path, begins: bytes, plain: Any) -> None:
    import bz2
    import gzip
    import lzma
    import shutil
    import zlib

    opens: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
    found = next((how for magic, how in opens.items() if begins.startswith(magic)), None)
    if found is None:
        raise UserError([f"{path} is compressed with zstd; decompress it (zstd -d)."])
    try:
        with found(path, "rb") as stream:
            shutil.copyfileobj(stream, plain, 1 << 20)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError([f"{path} is cut off or damaged: {error}; get the file again."]) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise UserError([f"{path} is cut off or damaged: {error}; get the file again."]) from error
    plain.flush()


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
    entries = (
        (file.relative_to(root).as_posix(), file.stat())
        for file in root.rglob("*")
        if file.is_file()
    )
    files = ((name, stat.st_size, [name, stat.st_size, stat.st_mtime_ns]) for name, stat in entries)
    classes, splits = _labelled(str(root), files)
    return FolderCollection(root, classes, splits)


def _archive(archive: Path, called: str = "") -> Collection:
    called = called or str(archive)
    try:
        members = list(tar_members(archive))
    except ValueError as error:
        words = str(error).replace(str(archive), called)
        raise UserError([f"{words}. A folder or a tar archive is needed."]) from error
    places = {Path(member.name).name: (member.offset, member.size) for member in members}
    for cifar in CIFARS:
        if cifar.names in places:
            return _cifar(archive, cifar, places, called)
    files = ((m.name, m.size, [m.offset, m.name, m.size]) for m in members)
    classes, splits = _labelled(called, files)
    return TarCollection(archive, classes, splits)


def _say_left_out(
    where: str,
    found: Mapping[str, Mapping[str, object]],
    others: Mapping[tuple[str, str], Sequence[str]],
) -> None:
    """Files that are no image by their names are counted; a class of nothing else is refused."""
    empty = [key for key in others if key[0] in found and key[1] not in found[key[0]]]
    if empty:
        raise UserError(
            [
                f"{where}: {split}/{label} holds no image ({', '.join(SUFFIXES)}), but "
                f"{others[split, label][0]}; convert its files, or remove it."
                for split, label in sorted(empty)
            ]
        )
    left_out = [
        f"{split}/{label}/{file}" for (split, label), each in others.items() for file in each
    ]
    if left_out:
        complain(
            f"{where}: {counted(len(left_out), 'file that is', 'files that are', form='_')} no "
            f"{', '.join(SUFFIXES)} {'is' if len(left_out) == 1 else 'are'} left out, the "
            f"first of them {left_out[0]}."
        )


def _labelled(
    where: str, files: Iterable[tuple[str, int, Any]]
) -> tuple[list[str], dict[str, list[Item]]]:
    """Classes and splits of files that are named .../split/class/image."""
    found: dict[str, dict[str, dict[str, Item]]] = {}
    others: dict[tuple[str, str], list[str]] = {}
    for name, size, place in files:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if len(parts) < 3 or any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        split, label, file = parts[-3:]
        if not name.lower().endswith(SUFFIXES):
            others.setdefault((split, label), []).append(file)
            continue
        of_class = found.setdefault(split, {}).setdefault(label, {})
        if file in of_class:
            raise UserError([f"{where} has {split}/{label}/{file} twice."])
        of_class[file] = Item(0, file, size, place)
    if not found:
        words = f"{where} holds no images ({', '.join(SUFFIXES)}) laid out as {LAYOUT}"
        raise UserError([f"{words}, and is no binary CIFAR archive."])
    _say_left_out(where, found, others)
    first = "train" if "train" in found else sorted(found)[0]
    classes = sorted(found[first])
    wrong = [
        f"{where}: class {label!r} of {split!r} is not among the {len(classes)} of {first!r}. "
        f"{did_you_mean(label, classes)}".rstrip()
        for split, labels in found.items()
        for label in sorted(labels)
        if label not in classes
    ]
    if wrong:
        raise UserError(wrong)
    number = {label: i for i, label in enumerate(classes)}
    return classes, {
        split: [
            item._replace(label=number[label])
            for label in sorted(labels)
            for _, item in sorted(labels[label].items())
        ]
        for split, labels in sorted(found.items(), key=lambda each: (each[0] != first, each[0]))
    }


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
    return CifarCollection(root, _plain_names(classes, called), splits)


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
