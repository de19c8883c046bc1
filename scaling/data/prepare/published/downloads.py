"""The files of a data set as its authors publish them: archives in a folder, packed or not.

Knows no data set; each has a file of its own beside this one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from fits.base.counted import counted
from fits.base.errors import UserError
from scaling.data.files.tar_members import read_member
from scaling.data.prepare.entries import (
    Entry,
    files_below,
    is_zip,
    members,
    plain_archive,
    zipped_archive,
)
from scaling.data.prepare.item import Item

Listed = tuple[list[str], dict[str, list[Item]]]
"""Classes, and the images of each split."""
ARCHIVES = (".tar", ".tgz", ".tar.gz", ".zip")
INNER = "101_ObjectCategories.tar.gz"  # the archive within a zip file, the only one so published


class Downloads(NamedTuple):
    """Files in archives and beside them.

    Places are [container, offset, time of its last change]: a container is an archive, or a file
    that lies there by itself, below `root`.
    """

    called: str
    root: Path
    files: Sequence[str]
    """Published names."""
    packed: list[Entry]
    """Members of archives."""
    loose: list[Entry]
    containers: Mapping[str, Path]
    """Where the archives lie, decompressed."""

    def read(self, place: Sequence, size: int) -> bytes:
        container, offset = place[:2]
        return read_member(self.containers.get(container, self.root / container), offset, size)

    @property
    def entries(self) -> list[Entry]:
        """All of them, what is packed first."""
        return [*self.packed, *self.loose]

    def by_path(self, parts: int) -> dict[str, Entry]:
        """Files by the last parts of their paths; of two the packed one."""
        found: dict[str, Entry] = {}
        for entry in self.entries:
            found.setdefault("/".join(entry.parts[-parts:]), entry)
        return found

    def contents(self, name: str, archive: str | None = None) -> bytes:
        """What a file holds, that nearest to the top of those called `name`.

        Args:
          archive: the one in which it is published, where it is in one.
        """
        found = [entry for entry in self.entries if entry.parts[-1:] == [name]]
        if not found:
            raise UserError([f"{self.called} has no {archive or name}{_nor(archive, name)}."])
        nearest = min(found, key=lambda each: len(each.parts))
        return self.read(nearest.place, nearest.size)

    def lines(self, name: str, archive: str, fields: int) -> Iterator[tuple[str, list[str]]]:
        """The lines of a table of text, each with where it stands.

        Raises:
          UserError: the file is not there, or a line has another number of fields.
        """
        text = self.contents(name, archive).decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if not (found := line.split()):
                continue
            where = f"{self.called}: {name}, line {number}"
            if len(found) != fields:
                raise UserError([f"{where} has {counted(len(found), 'field')}, of {fields}."])
            yield where, found

    def refuse_without(self, archive: str, folder: str) -> None:
        """Raise UserError unless some image lies below a folder of this name."""
        if not any(each.is_image and folder in each.parts[:-1] for each in self.entries):
            raise UserError([f"{self.called} has no {archive}{_nor(archive, f'{folder}/')}."])

    def images(self, archive: str, folder: str, wanted: Iterable[str]) -> dict[str, Entry]:
        """The images called `wanted` below `folder`, as folder/a.jpg or folder/class/a.jpg.

        Raises:
          UserError: some are not there: how many, the first.
        """
        wanted = list(wanted)
        by_path = self.by_path(2 + wanted[0].count("/")) if wanted else {}
        found = {name: by_path[path] for name in wanted if (path := f"{folder}/{name}") in by_path}
        if absent := [name for name in wanted if name not in found]:
            count = f"{len(absent):_} of its {len(wanted):_} images, the first {folder}/{absent[0]}"
            raise UserError([f"{self.called}: {archive} lacks {count}; get it again."])
        return found


def _nor(archive: str | None, name: str) -> str:
    return f", nor what it holds, {name}" if archive else ""


@contextmanager
def downloads(source: Path, files: Sequence[str], room: Path) -> Iterator[Downloads]:
    """What lies in a folder, or in the one archive that `source` is.

    Args:
      files: published names; the archives among them are looked into.
      room: folder for what is decompressed, for as long as it is open.

    Raises:
      UserError: an archive is cut off or damaged.
    """
    packed: list[Entry] = []
    loose: list[Entry] = []
    containers: dict[str, Path] = {}
    alone = source.is_file()
    with ExitStack() as held:
        there = [(source.name, source.stat())] if alone else files_below(source)
        root = source.parent if alone else source
        for name, state in there:
            if not (alone or (Path(name).name in files and name.endswith(ARCHIVES))):
                loose.append(Entry(name, state.st_size, [name, 0, state.st_mtime_ns]))
                continue
            zipped = INNER in files and is_zip(root / name)
            path = held.enter_context(
                zipped_archive(root / name, INNER, room)
                if zipped
                else plain_archive(root / name, room)
            )
            containers[name] = path
            packed += [
                Entry(each.name, each.size, [name, each.offset, state.st_mtime_ns])
                for each in members(path, str(root / name))
            ]
        yield Downloads(str(source), root, files, packed, loose, containers)


def label_names(name: str) -> list[str]:
    """The classes of a data set in the order in which TFDS numbers them."""
    from tempfile import TemporaryDirectory

    import tensorflow_datasets as tfds

    with TemporaryDirectory() as empty:  # nothing prepared that could be meant instead
        return list(tfds.builder(name, data_dir=empty).info.features["label"].names)


def item(label: int, entry: Entry) -> Item:
    return Item(label, entry.parts[-1], entry.size, entry.place)


def number(where: str, text: str, most: int) -> int:
    """A whole number from 1 to `most`.

    Raises:
      UserError: it is none.
    """
    if text.isdecimal() and text.isascii() and 1 <= int(text) <= most:
        return int(text)
    raise UserError([f"{where}: {text!r} is no number from 1 to {most:_}."])
